//! Copies of matrices whose columns are contiguous, turned so that their rows are: tiles of 8×8 (f32) or 4×4 (f64) are
//! turned in registers.
//!
//! The last tiles of a side reach back over the ones before instead of beyond the matrix. It never reads or writes
//! outside either matrix.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256, _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_unpackhi_ps,
    _mm256_unpacklo_ps,
};

use crate::backends::transpose_f64;
use crate::element::{Element, ElementType};

/// The side of a tile.
fn side<T: Element>() -> usize {
    32 / T::TYPE.bytes()
}

/// Whether a matrix has a whole tile.
pub(in crate::jit) fn fits<T: Element>(rows: usize, columns: usize) -> bool {
    rows >= side::<T>() && columns >= side::<T>()
}

/// Element (i, j) of `to`, with rows `line` apart, becomes the one at `i + j · stride` of `from`.
///
/// # Safety
/// The processor has AVX; [`fits`] says so of `rows` and `columns`; both sides have that shape and do not overlap.
#[target_feature(enable = "avx")]
pub(in crate::jit) unsafe fn turn<T: Element>(
    from: *const T,
    stride: usize,
    (rows, columns): (usize, usize),
    to: *mut T,
    line: usize,
) {
    let side = side::<T>();
    let mut left = 0;
    while left < columns {
        let left_inside = left.min(columns - side);
        let mut top = 0;
        while top < rows {
            let top_inside = top.min(rows - side);
            // SAFETY: the tile lies inside both matrices, which are of the type that T says.
            unsafe {
                let (from, to) =
                    (from.add(top_inside + left_inside * stride), to.add(top_inside * line + left_inside));
                if T::TYPE == ElementType::F32 {
                    tile_f32(from.cast(), stride, to.cast(), line);
                } else {
                    transpose_f64(from.cast(), stride, to.cast(), line);
                }
            }
            top += side;
        }
        left += side;
    }
}

/// # Safety
/// As [`turn`], for one tile.
#[target_feature(enable = "avx")]
unsafe fn tile_f32(from: *const f32, stride: usize, to: *mut f32, line: usize) {
    // SAFETY: eight columns of eight elements, and eight rows of eight.
    unsafe {
        let column = |j| _mm256_loadu_ps(from.add(j * stride));
        let left = quarters([column(0), column(1), column(2), column(3)]);
        let right = quarters([column(4), column(5), column(6), column(7)]);
        for row in 0..4 {
            let (l, r) = (left[row], right[row]);
            _mm256_storeu_ps(to.add(row * line), _mm256_permute2f128_ps::<0x20>(l, r));
            _mm256_storeu_ps(to.add((row + 4) * line), _mm256_permute2f128_ps::<0x31>(l, r));
        }
    }
}

/// Four columns as rows of four: row i in the lower half of register i, row i + 4 in its upper half.
#[target_feature(enable = "avx")]
fn quarters([a, b, c, d]: [__m256; 4]) -> [__m256; 4] {
    let (low_ab, high_ab) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    let (low_cd, high_cd) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    [
        _mm256_shuffle_ps::<0x44>(low_ab, low_cd),
        _mm256_shuffle_ps::<0xEE>(low_ab, low_cd),
        _mm256_shuffle_ps::<0x44>(high_ab, high_cd),
        _mm256_shuffle_ps::<0xEE>(high_ab, high_cd),
    ]
}
