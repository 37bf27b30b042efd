//! Executable memory that is never writable and executable for one thread at once (W^X).
//!
//! Code is copied into fresh pages, which then become read-only and executable for good. On Apple silicon the pages
//! come from `MAP_JIT` and only the copying thread may write, for the length of the copy. It never changes code that
//! was handed out, and frees it when the last owner is gone.

#![allow(unsafe_code)]

use std::fmt;

/// Machine code in pages of its own.
pub(crate) struct Code {
    pages: pages::Pages,
    len: usize,
}

impl Code {
    /// Copies `bytes` into executable pages.
    ///
    /// # Errors
    /// One sentence, where the system gives no such memory.
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, String> {
        let len = bytes.len();
        let pages = pages::Pages::holding(bytes).map_err(|error| {
            format!("the system refuses executable memory ({error}): allow it for this process or leave the generator out")
        })?;
        Ok(Self { pages, len })
    }

    /// The first instruction.
    pub(crate) fn entry(&self) -> *const u8 {
        self.pages.start()
    }

    /// The instructions.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the pages hold at least `len` bytes, readable, and nobody writes them again.
        unsafe { std::slice::from_raw_parts(self.pages.start(), self.len) }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of code at {:p}", self.len, self.pages.start())
    }
}

#[cfg(not(all(target_os = "macos", target_arch = "aarch64")))]
mod pages {
    use std::io;

    use memmap2::{Mmap, MmapMut};

    pub(super) struct Pages(Mmap);

    impl Pages {
        pub(super) fn holding(bytes: &[u8]) -> io::Result<Self> {
            let mut writable = MmapMut::map_anon(bytes.len())?;
            writable[..bytes.len()].copy_from_slice(bytes);
            let pages = writable.make_exec()?;
            synchronise(pages.as_ptr(), bytes.len());
            Ok(Self(pages))
        }

        pub(super) fn start(&self) -> *const u8 {
            self.0.as_ptr()
        }
    }

    /// x86 keeps instruction fetches coherent with stores.
    #[cfg(not(target_arch = "aarch64"))]
    fn synchronise(_: *const u8, _: usize) {}

    /// Arm Architecture Reference Manual, "Concurrent modification and execution of instructions": clean each data
    /// line to the point of unification, invalidate the instruction lines, then synchronise.
    #[cfg(target_arch = "aarch64")]
    fn synchronise(start: *const u8, len: usize) {
        use std::arch::asm;
        let types: usize;
        // SAFETY: CTR_EL0 may be read by user code on Linux; nothing is written.
        unsafe { asm!("mrs {}, ctr_el0", out(reg) types, options(nomem, nostack, preserves_flags)) };
        let (data, instruction) = (4_usize << ((types >> 16) & 15), 4_usize << (types & 15));
        let end = start as usize + len;
        for line in (start as usize & !(data - 1)..end).step_by(data) {
            // SAFETY: the line lies in the mapping that holds the code; cleaning changes no content.
            unsafe { asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags)) };
        }
        // SAFETY: a barrier.
        unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
        for line in (start as usize & !(instruction - 1)..end).step_by(instruction) {
            // SAFETY: as above.
            unsafe { asm!("ic ivau, {}", in(reg) line, options(nostack, preserves_flags)) };
        }
        // SAFETY: barriers.
        unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
    }
}

#[cfg(all(target_os = "macos", target_arch = "aarch64"))]
mod pages {
    use std::io;

    pub(super) struct Pages {
        start: *mut u8,
        len: usize,
    }

    // SAFETY: after `holding` the pages are only read and executed.
    unsafe impl Send for Pages {}
    // SAFETY: as above.
    unsafe impl Sync for Pages {}

    unsafe extern "C" {
        fn sys_icache_invalidate(start: *mut libc::c_void, len: usize);
    }

    impl Pages {
        pub(super) fn holding(bytes: &[u8]) -> io::Result<Self> {
            let len = bytes.len();
            let access = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
            let kind = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_JIT;
            // SAFETY: a fresh anonymous mapping; MAP_JIT makes it either writable or executable per thread.
            let start = unsafe { libc::mmap(std::ptr::null_mut(), len, access, kind, -1, 0) };
            if start == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the mapping is ours and `len` long; between the two switches this thread only copies.
            unsafe {
                libc::pthread_jit_write_protect_np(0);
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), start.cast::<u8>(), len);
                libc::pthread_jit_write_protect_np(1);
                sys_icache_invalidate(start, len);
            }
            Ok(Self { start: start.cast(), len })
        }

        pub(super) fn start(&self) -> *const u8 {
            self.start
        }
    }

    impl Drop for Pages {
        fn drop(&mut self) {
            // SAFETY: the mapping of `holding`, which nobody uses any more.
            unsafe { libc::munmap(self.start.cast(), self.len) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_keeps_its_bytes() {
        let code = Code::new(&[0xC3; 5000]).unwrap();
        assert_eq!(code.bytes(), &[0xC3; 5000]);
        assert_eq!(code.entry(), code.bytes().as_ptr());
    }
}
