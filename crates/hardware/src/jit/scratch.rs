//! Memory of the thread for packed operands, aligned to 64 bytes: it grows to what was needed and is bounded by the
//! limits of the plans that use it.

use std::cell::RefCell;

/// A cache line, which is also the widest vector.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

thread_local! {
    static LINES: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with at least `bytes` bytes, whose content is whatever was left there. Not for use within itself.
pub(super) fn with<R>(bytes: usize, work: impl FnOnce(*mut u8) -> R) -> R {
    if bytes == 0 {
        return work(std::ptr::NonNull::<Line>::dangling().as_ptr().cast());
    }
    LINES.with_borrow_mut(|lines| {
        let needed = bytes.div_ceil(64);
        if lines.len() < needed {
            lines.resize(needed, Line([0; 64]));
        }
        work(lines.as_mut_ptr().cast())
    })
}
