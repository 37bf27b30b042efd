//! Operands in panels, in the order in which the micro-kernel reads them, and the memory for them.
//!
//! Each thread keeps one buffer, as large as the block sizes allow and never larger; after its first use there is no
//! allocation.

#![allow(unsafe_code)]

use std::cell::Cell;

use super::simd::Simd;
use crate::element::Element;
use crate::view::{Matrix, MatrixMut};

/// A cache line, so that panels begin on one.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

thread_local! {
    static LINES: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// Calls `work` with two buffers of these lengths, whose content is whatever was there before.
pub(in crate::backends) fn with_buffers<T: Plain, R>(
    (first, second): (usize, usize),
    work: impl FnOnce(*mut T, *mut T) -> R,
) -> R {
    let lines = |count: usize| (count * size_of::<T>()).div_ceil(size_of::<Line>());
    let mut buffer = LINES.take();
    let needed = lines(first) + lines(second);
    if buffer.len() < needed {
        buffer.resize(needed, Line([0; 64]));
    }
    let start = buffer.as_mut_ptr();
    let result = work(start.cast(), start.wrapping_add(lines(first)).cast());
    LINES.set(buffer);
    result
}

/// Numbers for which any bytes are a value.
///
/// # Safety
/// Any bytes are a value, and the alignment is at most that of a cache line.
pub(in crate::backends) unsafe trait Plain: Copy {}
// SAFETY: any bytes are an integer.
unsafe impl Plain for i8 {}
// SAFETY: any bytes are a number or a NaN.
unsafe impl<T: Element> Plain for T {}

/// Writes `source` as panels of `width` rows, each column after column; rows that are missing from the last panel are 0.
///
/// # Safety
/// `to` has room for the rows, rounded up to `width`, times the columns.
pub(super) unsafe fn pack<S: Simd>(
    simd: S,
    source: Matrix<'_, S::Element>,
    width: usize,
    to: *mut S::Element,
) {
    simd.call(
        #[inline(always)]
        || {
            if source.row_stride() == 1 {
                // SAFETY: the room at `to` is the caller's promise.
                return unsafe { copy_columns(simd, source, width, to) };
            }
            let k = source.columns();
            let strides = (source.row_stride(), source.column_stride());
            for first in (0..source.rows()).step_by(width) {
                let rows = width.min(source.rows() - first);
                let to = to.wrapping_add(first * k);
                let from = source.as_ptr().wrapping_add(first * strides.0);
                // SAFETY: `rows` × `k` numbers at `from` are the source's; the room at `to` is the caller's promise.
                unsafe {
                    if strides.1 == 1 {
                        transpose(simd, from, strides.0, (rows, k), to, width);
                        for p in 0..k {
                            std::slice::from_raw_parts_mut(to.add(p * width + rows), width - rows)
                                .fill(S::Element::ZERO);
                        }
                    } else {
                        copy_strided(from, strides, (rows, k), to, width);
                    }
                }
            }
        },
    );
}

/// Packs rows that stand side by side, a whole column at a time: memory is read in its own order.
///
/// # Safety
/// As for [`pack`]; the row stride is 1.
#[inline(always)]
unsafe fn copy_columns<S: Simd>(simd: S, source: Matrix<'_, S::Element>, width: usize, to: *mut S::Element) {
    let k = source.columns();
    for p in 0..k {
        let column = source.as_ptr().wrapping_add(p * source.column_stride());
        for first in (0..source.rows()).step_by(width) {
            let rows = width.min(source.rows() - first);
            let (from, to) = (column.wrapping_add(first), to.wrapping_add(first * k + p * width));
            for v in (0..width).step_by(S::LANES) {
                // SAFETY: registers of `width` numbers, of which `rows` are there; the masks leave out the others.
                unsafe {
                    if v + S::LANES <= rows {
                        simd.store(to.add(v), simd.load(from.add(v)));
                    } else {
                        let there = simd.first(rows.saturating_sub(v).min(S::LANES));
                        let wanted = simd.first((width - v).min(S::LANES));
                        let value = simd.load_some(from.wrapping_add(v), there);
                        simd.store_some(to.add(v), wanted, value);
                    }
                }
            }
        }
    }
}

/// # Safety
/// `rows` × `k` numbers can be read at `from`, and `width` × `k` written at `to`.
#[inline(always)]
unsafe fn copy_strided<T: Element>(
    from: *const T,
    (row_stride, column_stride): (usize, usize),
    (rows, k): (usize, usize),
    to: *mut T,
    width: usize,
) {
    for p in 0..k {
        for i in 0..width {
            // SAFETY: row i < rows and column p < k of the source; place p · width + i of the panel.
            unsafe {
                let there = i < rows;
                let value = if there { *from.add(i * row_stride + p * column_stride) } else { T::ZERO };
                *to.add(p * width + i) = value;
            }
        }
    }
}

/// Number p of line i, lines `from_step` apart, becomes number i of line p, lines `to_step` apart.
///
/// # Safety
/// `lines` × `length` numbers can be read at `from`, and `length` × `lines` written at `to`.
#[inline(always)]
pub(super) unsafe fn transpose<S: Simd>(
    simd: S,
    from: *const S::Element,
    from_step: usize,
    (lines, length): (usize, usize),
    to: *mut S::Element,
    to_step: usize,
) {
    // Squares of four, and the rest one by one.
    let squares = (lines - lines % 4, length - length % 4);
    for p in (0..squares.1).step_by(4) {
        for i in (0..squares.0).step_by(4) {
            // SAFETY: numbers p to p + 3 of lines i to i + 3.
            unsafe {
                simd.transpose_4(from.add(i * from_step + p), from_step, to.add(p * to_step + i), to_step);
            }
        }
    }
    for p in 0..length {
        for i in if p < squares.1 { squares.0 } else { 0 }..lines {
            // SAFETY: number p of line i.
            unsafe { *to.add(p * to_step + i) = *from.add(i * from_step + p) };
        }
    }
}

/// Copies the lower triangle of a square matrix to the upper one, in squares of which two fit L1.
pub(super) fn mirror<S: Simd>(simd: S, mut c: MatrixMut<'_, S::Element>) {
    const SQUARE: usize = 16;
    let (order, row, column) = (c.rows(), c.row_stride(), c.column_stride());
    let c = c.as_mut_ptr();
    let at = |i: usize, j: usize| c.wrapping_add(i * row + j * column);
    simd.call(
        #[inline(always)]
        || {
            for left in (0..order).step_by(SQUARE) {
                for top in (left..order).step_by(SQUARE) {
                    let (rows, columns) = (SQUARE.min(order - top), SQUARE.min(order - left));
                    let (from, to) = (at(top, left).cast_const(), at(left, top));
                    // SAFETY: squares inside the matrix, which share no element unless they are the same.
                    unsafe {
                        if top > left && column == 1 {
                            transpose(simd, from, row, (rows, columns), to, row);
                        } else if top > left && row == 1 {
                            transpose(simd, from, column, (columns, rows), to, column);
                        } else {
                            for i in 0..rows {
                                for j in 0..columns.min(top + i - left) {
                                    *to.wrapping_add(j * row + i * column) =
                                        *from.wrapping_add(i * row + j * column);
                                }
                            }
                        }
                    }
                }
            }
        },
    );
}
