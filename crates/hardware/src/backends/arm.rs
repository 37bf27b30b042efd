//! The aarch64 backends, and what they share: scratch memory and the operations that are made of products.
//!
//! Kernels never allocate once a thread has run its largest block, and never touch memory outside the views.

#![allow(unsafe_code)]

mod neon;
mod sme;

use std::cell::RefCell;

use super::scale;
use crate::Element;
use crate::job::{BatchedGemm, Syrk};
use crate::view::{Matrix, MatrixMut};

pub use neon::Neon;
pub use sme::Sme;
pub(crate) use sme::za_is_free;

/// A product of two matrices on some kernel: `(α, A, B, β, C)`.
trait Product<T>: Fn(T, Matrix<'_, T>, Matrix<'_, T>, T, MatrixMut<'_, T>) {}
impl<T, F: Fn(T, Matrix<'_, T>, Matrix<'_, T>, T, MatrixMut<'_, T>)> Product<T> for F {}

/// Cᵢ ← α·Aᵢ·Bᵢ + β·Cᵢ, one after the other.
fn batched<T: Element>(all: &mut BatchedGemm<'_, T>, product: impl Product<T>) {
    for i in 0..all.c.count() {
        product(all.alpha, all.a.matrix(i), all.b.matrix(i), all.beta, all.c.matrix(i));
    }
}

/// Rows of a block of C ← α·A·Aᵀ + β·C.
const RANK_UPDATE_ROWS: usize = 64;

/// C ← α·A·Aᵀ + β·C: block rows up to and with the diagonal, then mirrored.
fn rank_update<T: Element>(Syrk { alpha, a, beta, c }: &mut Syrk<'_, T>, product: impl Product<T>) {
    let (order, k) = (c.rows(), a.columns());
    for from in (0..order).step_by(RANK_UPDATE_ROWS) {
        let rows = RANK_UPDATE_ROWS.min(order - from);
        let below = c.reborrow().split_rows(from).1;
        let block_row = below.split_rows(rows).0.split_columns(from + rows).0;
        // Above the diagonal the block may hold anything: it is overwritten below.
        product(
            *alpha,
            a.block(from, rows, 0, k),
            a.block(0, from + rows, 0, k).transposed(),
            *beta,
            block_row,
        );
    }
    for i in 0..order {
        for j in 0..i {
            let value = c.at(i, j);
            c.set(j, i, value);
        }
    }
}

/// Whether kernels should compute Cᵀ = Bᵀ·Aᵀ, so that neighbours of a row of their result stand side by side.
fn better_transposed<T>(c: &MatrixMut<'_, T>) -> bool {
    c.column_stride() != 1 && c.row_stride() == 1
}

/// Numbers that any pattern of bits, also all zeros, is a value of, and that need no more than eight bytes.
///
/// # Safety
/// Both must hold.
unsafe trait Plain: Copy {}
// SAFETY: every pattern is a number.
unsafe impl Plain for f32 {}
// SAFETY: every pattern is a number.
unsafe impl Plain for f64 {}
// SAFETY: every pattern is a number.
unsafe impl Plain for i32 {}
// SAFETY: every pattern is a number.
unsafe impl Plain for u8 {}
// SAFETY: every pattern is a number.
unsafe impl Plain for i8 {}

type Words = [Vec<u64>; 3];

thread_local! {
    static SCRATCH: RefCell<Words> = const { RefCell::new([Vec::new(), Vec::new(), Vec::new()]) };
}

/// Lends this thread's scratch memory as three slices of these lengths, which hold anything.
fn with_scratch<A: Plain, B: Plain, C: Plain, R>(
    lengths: [usize; 3],
    work: impl FnOnce(&mut [A], &mut [B], &mut [C]) -> R,
) -> R {
    SCRATCH.with_borrow_mut(|[a, b, c]| work(cast(a, lengths[0]), cast(b, lengths[1]), cast(c, lengths[2])))
}

fn cast<T: Plain>(words: &mut Vec<u64>, length: usize) -> &mut [T] {
    let needed = (length * size_of::<T>()).div_ceil(8);
    if words.len() < needed {
        words.resize(needed, 0);
    }
    // SAFETY: `needed` words are at least `length` elements, aligned for T, of which any bits are a value.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<T>(), length) }
}
