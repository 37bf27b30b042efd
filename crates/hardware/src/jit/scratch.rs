//! Memory for packed operands, aligned to 64 bytes: a little on the stack, more of the thread, which grows to what was
//! needed and is bounded by the limits of the plans that use it.

use std::cell::RefCell;
use std::mem::MaybeUninit;

/// A cache line, which is also the widest vector.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Lines that are taken from the stack: the thread's memory takes a tenth of the time of a tiny product to reach.
const SMALL: usize = 16;

thread_local! {
    static LINES: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with at least `bytes` bytes, whose content is whatever was left there. Not for use within itself.
pub(super) fn with<R>(bytes: usize, work: impl FnOnce(*mut u8) -> R) -> R {
    if bytes == 0 {
        return work(std::ptr::NonNull::<Line>::dangling().as_ptr().cast());
    }
    if bytes <= size_of::<[Line; SMALL]>() {
        let mut lines = [const { MaybeUninit::<Line>::uninit() }; SMALL];
        return work(lines.as_mut_ptr().cast());
    }
    LINES.with_borrow_mut(|lines| {
        let needed = bytes.div_ceil(64);
        if lines.len() < needed {
            lines.resize(needed, Line([0; 64]));
        }
        work(lines.as_mut_ptr().cast())
    })
}
