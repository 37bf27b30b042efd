//! The micro-kernel: one tile of C that stays in registers while the sums of its elements run.
//!
//! A tile is `V` registers high and `N` columns wide. A is read down its columns, one step of k after the other, B one
//! number at a time; both may be packed or lie where the caller has them.

#![allow(unsafe_code)]

use super::simd::{MAX_COLUMNS, MAX_LANES, MAX_VECTORS, Simd};
use crate::element::Element;

/// One tile: `rows` × `columns` of C ← α·A·B + β·C, where the rows of A and of C stand side by side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile<T> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) k: usize,
    pub(super) a: *const T,
    /// From one column of A to the next.
    pub(super) a_step: usize,
    pub(super) b: *const T,
    /// From one row of B to the next.
    pub(super) b_step: usize,
    /// From one column of B to the next.
    pub(super) b_next: usize,
    pub(super) alpha: T,
    pub(super) beta: T,
    pub(super) c: *mut T,
    /// From one column of C to the next.
    pub(super) c_next: usize,
}

/// Elements that hold any tile.
pub(super) const TILE_MAX: usize = MAX_VECTORS * MAX_LANES * MAX_COLUMNS;

/// Computes a whole tile of packed operands.
///
/// # Safety
/// As for [`any`]; the tile is as large as the unit's, A is packed with a step of the rows and B with one of the columns.
#[inline(always)]
pub(super) unsafe fn whole<S: Simd>(simd: S, tile: &Tile<S::Element>) {
    // SAFETY: as the caller promises.
    unsafe {
        match (S::VECTORS, S::COLUMNS) {
            (3, 8) => packed::<S, 3, 8>(simd, tile),
            (2, 6) => packed::<S, 2, 6>(simd, tile),
            _ => any(simd, tile),
        }
    }
}

/// Computes a tile of any size up to the unit's.
///
/// # Safety
/// `rows` × `k` numbers of A, `k` × `columns` of B can be read at their steps, and `rows` × `columns` of C written (and
/// read, if β is not 0). `rows` is from 1 to `VECTORS` registers, `columns` from 1 to `COLUMNS`.
#[inline(always)]
pub(super) unsafe fn any<S: Simd>(simd: S, tile: &Tile<S::Element>) {
    debug_assert!(tile.rows >= 1 && tile.columns >= 1 && tile.columns <= S::COLUMNS);
    // SAFETY: as the caller promises.
    unsafe {
        match tile.rows.div_ceil(S::LANES) {
            1 => wide::<S, 1>(simd, tile),
            2 if S::VECTORS >= 2 => wide::<S, 2>(simd, tile),
            _ if S::VECTORS >= 3 => wide::<S, 3>(simd, tile),
            _ => unreachable!("a tile is at most {} registers high", S::VECTORS),
        }
    }
}

/// # Safety
/// As for [`any`], with `V` registers of rows.
#[inline(always)]
unsafe fn wide<S: Simd, const V: usize>(simd: S, tile: &Tile<S::Element>) {
    // SAFETY: as the caller promises.
    unsafe {
        match tile.columns {
            1 => loose::<S, V, 1>(simd, tile),
            2 => loose::<S, V, 2>(simd, tile),
            3 => loose::<S, V, 3>(simd, tile),
            4 => loose::<S, V, 4>(simd, tile),
            5 => loose::<S, V, 5>(simd, tile),
            6 => loose::<S, V, 6>(simd, tile),
            7 if S::COLUMNS >= 7 => loose::<S, V, 7>(simd, tile),
            _ if S::COLUMNS >= 8 => loose::<S, V, 8>(simd, tile),
            _ => unreachable!("a tile is at most {} columns wide", S::COLUMNS),
        }
    }
}

/// The kernel for operands that are packed: every step is a constant and every register full.
///
/// # Safety
/// As for [`whole`].
unsafe fn packed<S: Simd, const V: usize, const N: usize>(simd: S, tile: &Tile<S::Element>) {
    simd.call(
        #[inline(always)]
        || {
            for j in 0..N {
                for v in 0..V {
                    simd.prefetch(tile.c.wrapping_add(j * tile.c_next + v * S::LANES));
                }
                simd.prefetch(tile.c.wrapping_add(j * tile.c_next + V * S::LANES - 1));
            }
            let steps = Tile { a_step: V * S::LANES, b_step: N, b_next: 1, ..*tile };
            // SAFETY: as the caller promises.
            unsafe {
                let sums = sums::<S, V, N, false>(simd, &steps, simd.first(S::LANES));
                write::<S, V, N>(simd, tile, simd.first(S::LANES), &sums);
            }
        },
    );
}

/// The kernel for operands anywhere, whose last register may be partly used.
///
/// # Safety
/// As for [`any`].
unsafe fn loose<S: Simd, const V: usize, const N: usize>(simd: S, tile: &Tile<S::Element>) {
    simd.call(
        #[inline(always)]
        || {
            let mask = simd.first(tile.rows - (V - 1) * S::LANES);
            // SAFETY: as the caller promises; the mask leaves out the rows that are not there.
            unsafe {
                let sums = if !S::MASKS_ARE_FREE && tile.rows == V * S::LANES {
                    sums::<S, V, N, false>(simd, tile, mask)
                } else {
                    sums::<S, V, N, true>(simd, tile, mask)
                };
                write::<S, V, N>(simd, tile, mask, &sums);
            }
        },
    );
}

/// # Safety
/// A and B can be read as [`any`] says; with `MASKED`, `mask` leaves out the rows of the last register that are not there.
#[inline(always)]
unsafe fn sums<S: Simd, const V: usize, const N: usize, const MASKED: bool>(
    simd: S,
    tile: &Tile<S::Element>,
    mask: S::Mask,
) -> [[S::Vector; V]; N] {
    let mut sums = [[simd.splat(S::Element::ZERO); V]; N];
    let (mut a, mut b) = (tile.a, tile.b);
    for _ in 0..tile.k {
        let mut column = [simd.splat(S::Element::ZERO); V];
        // SAFETY: step p of k reads row or column p only, inside what the caller says can be read.
        unsafe {
            for (v, register) in column.iter_mut().enumerate() {
                let from = a.add(v * S::LANES);
                let last = MASKED && v + 1 == V;
                *register = if last { simd.load_some(from, mask) } else { simd.load(from) };
            }
            for (j, sums) in sums.iter_mut().enumerate() {
                let factor = simd.splat(*b.add(j * tile.b_next));
                for v in 0..V {
                    sums[v] = simd.mul_add(column[v], factor, sums[v]);
                }
            }
        }
        (a, b) = (a.wrapping_add(tile.a_step), b.wrapping_add(tile.b_step));
    }
    sums
}

/// # Safety
/// C can be written, and read if β is not 0, where `mask` does not leave out its rows.
#[inline(always)]
unsafe fn write<S: Simd, const V: usize, const N: usize>(
    simd: S,
    tile: &Tile<S::Element>,
    mask: S::Mask,
    sums: &[[S::Vector; V]; N],
) {
    let (alpha, beta) = (simd.splat(tile.alpha), simd.splat(tile.beta));
    let overwrite = tile.beta == S::Element::ZERO;
    for (j, sums) in sums.iter().enumerate() {
        for (v, &sum) in sums.iter().enumerate() {
            let product = simd.mul(alpha, sum);
            // SAFETY: rows and columns of the tile only; `mask` leaves out the rows that are not there.
            unsafe {
                let at = tile.c.add(j * tile.c_next + v * S::LANES);
                let last = v + 1 == V;
                let value = match (overwrite, last) {
                    (true, _) => product,
                    (false, true) => simd.mul_add(beta, simd.load_some(at, mask), product),
                    (false, false) => simd.mul_add(beta, simd.load(at), product),
                };
                if last { simd.store_some(at, mask, value) } else { simd.store(at, value) }
            }
        }
    }
}
