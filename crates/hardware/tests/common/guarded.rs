//! Memory between two pages that nobody may touch: one element too far ends the test program.

#![allow(unsafe_code)]

use std::ptr;

/// At least the page size of any machine.
const PAGE: usize = 65536;

/// Which of the two forbidden pages the elements touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Against {
    Front,
    Back,
}

/// Elements flush with one of two forbidden pages.
pub(crate) struct Guarded<T> {
    map: *mut libc::c_void,
    bytes: usize,
    first: *mut T,
    length: usize,
}

impl<T: Copy> Guarded<T> {
    /// `length` elements from `next`.
    pub(crate) fn new(length: usize, against: Against, next: impl FnMut() -> T) -> Self {
        let size = length * size_of::<T>();
        let inner = size.next_multiple_of(PAGE).max(PAGE);
        let bytes = inner + 2 * PAGE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let offset = if against == Against::Front { 0 } else { inner - size };
        // SAFETY: a fresh anonymous mapping, whose middle is made accessible.
        let (map, first) = unsafe {
            let map = libc::mmap(ptr::null_mut(), bytes, libc::PROT_NONE, kind, -1, 0);
            assert_ne!(map, libc::MAP_FAILED);
            let middle = map.cast::<u8>().add(PAGE);
            assert_eq!(libc::mprotect(middle.cast(), inner, libc::PROT_READ | libc::PROT_WRITE), 0);
            (map, middle.add(offset).cast())
        };
        let mut memory = Self { map, bytes, first, length };
        memory.slice().fill_with(next);
        memory
    }

    pub(crate) fn slice(&mut self) -> &mut [T] {
        // SAFETY: `length` elements in the accessible part, aligned since pages and sizes are; any bytes that the system
        // hands out, which are zero, are a number.
        unsafe { std::slice::from_raw_parts_mut(self.first, self.length) }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, which no slice outlives.
        unsafe { libc::munmap(self.map, self.bytes) };
    }
}
