//! Cholesky factors and solutions with them, by halves: almost all of the work is products (Gustavson, Recursion leads
//! to automatic variable blocking for dense linear-algebra algorithms, 1997).

#![allow(unsafe_code)]

use super::product::{Part, product};
use super::simd::{MAX_LANES, Simd};
use crate::backend::Failure;
use crate::element::Element;
use crate::view::{Matrix, MatrixMut};

/// The order of a triangle that is no longer halved.
const BASE: usize = 16;

/// Where a triangle of order `order` > [`BASE`] is halved.
fn half(order: usize) -> usize {
    (order / 2).next_multiple_of(BASE)
}

/// The four quarters of a square.
fn quarters<T>(a: MatrixMut<'_, T>, at: usize) -> [[MatrixMut<'_, T>; 2]; 2] {
    let (top, bottom) = a.split_rows(at);
    let ((a11, a12), (a21, a22)) = (top.split_columns(at), bottom.split_columns(at));
    [[a11, a12], [a21, a22]]
}

/// A = L·Lᵀ in place; `first` is the number of A's first column in the whole matrix.
pub(super) fn factor<S: Simd>(
    simd: S,
    mut a: MatrixMut<'_, S::Element>,
    first: usize,
) -> Result<(), Failure> {
    let order = a.rows();
    if order <= BASE {
        return simd
            .call(
                #[inline(always)]
                || factor_base(&mut a),
            )
            .map_err(|column| Failure::NotPositiveDefinite { column: first + column });
    }
    let at = half(order);
    let [[mut a11, _], [mut a21, mut a22]] = quarters(a, at);
    factor(simd, a11.reborrow(), first)?;
    forward(simd, a11.as_ref(), a21.reborrow().transposed());
    let minus_one = -S::Element::ONE;
    let factors = (a21.as_ref(), a21.as_ref().transposed());
    product(simd, Part::Lower, minus_one, factors, S::Element::ONE, a22.reborrow());
    factor(simd, a22, first + at)
}

/// A factor of order up to [`BASE`], column by column; fails with the first column whose pivot is not above zero.
#[inline(always)]
fn factor_base<T: Element>(a: &mut MatrixMut<'_, T>) -> Result<(), usize> {
    let order = a.rows();
    // By columns; what lies beyond the order or above the diagonal stays 0.
    let mut l = [[T::ZERO; BASE]; BASE];
    for (j, column) in l.iter_mut().enumerate().take(order) {
        for (i, value) in column.iter_mut().enumerate().take(order).skip(j) {
            *value = a.at(i, j);
        }
    }
    for j in 0..order {
        let pivot = l[j][j];
        // NaN is not above zero either.
        if pivot.partial_cmp(&T::ZERO) != Some(std::cmp::Ordering::Greater) {
            return Err(j);
        }
        let root = pivot.sqrt();
        let (done, rest) = l.split_at_mut(j + 1);
        let column = &mut done[j];
        column[j] = root;
        for value in &mut column[j + 1..] {
            *value = *value / root;
        }
        for (other, target) in rest.iter_mut().enumerate() {
            let factor = -column[j + 1 + other];
            for (value, &term) in target.iter_mut().zip(column.iter()) {
                *value = factor.mul_add(term, *value);
            }
        }
    }
    for (j, column) in l.iter().enumerate().take(order) {
        for (i, &value) in column.iter().enumerate().take(order).skip(j) {
            a.set(i, j, value);
        }
    }
    Ok(())
}

/// L·X = B in the place of B.
pub(super) fn forward<S: Simd>(simd: S, l: Matrix<'_, S::Element>, mut b: MatrixMut<'_, S::Element>) {
    let order = l.rows();
    if order <= BASE {
        return substitute(simd, l, &mut b, false);
    }
    let at = half(order);
    let l21 = l.block(at, order - at, 0, at);
    let (mut top, mut bottom) = b.split_rows(at);
    forward(simd, l.block(0, at, 0, at), top.reborrow());
    product(simd, Part::Whole, -S::Element::ONE, (l21, top.as_ref()), S::Element::ONE, bottom.reborrow());
    forward(simd, l.block(at, order - at, at, order - at), bottom);
}

/// Lᵀ·X = B in the place of B.
pub(super) fn backward<S: Simd>(simd: S, l: Matrix<'_, S::Element>, mut b: MatrixMut<'_, S::Element>) {
    let order = l.rows();
    if order <= BASE {
        return substitute(simd, l, &mut b, true);
    }
    let at = half(order);
    let l21 = l.block(at, order - at, 0, at);
    let (mut top, mut bottom) = b.split_rows(at);
    backward(simd, l.block(at, order - at, at, order - at), bottom.reborrow());
    let factors = (l21.transposed(), bottom.as_ref());
    product(simd, Part::Whole, -S::Element::ONE, factors, S::Element::ONE, top.reborrow());
    backward(simd, l.block(0, at, 0, at), top);
}

/// Registers of right-hand sides that are solved at a time: enough to hide the latency of a fused multiply-add.
const SIDES: usize = 4;

/// Solves with L (forward) or Lᵀ (backward) of order up to [`BASE`].
fn substitute<S: Simd>(
    simd: S,
    l: Matrix<'_, S::Element>,
    b: &mut MatrixMut<'_, S::Element>,
    backward: bool,
) {
    simd.call(
        #[inline(always)]
        || {
            // Row i of the triangle in the order of elimination, the reciprocal of its diagonal last.
            let order = l.rows();
            let place = |i: usize| if backward { order - 1 - i } else { i };
            let mut rows = [[S::Element::ZERO; BASE]; BASE];
            for (i, row) in rows.iter_mut().enumerate().take(order) {
                for (p, value) in row.iter_mut().enumerate().take(i) {
                    let (i, p) = (place(i), place(p));
                    *value = if backward { l.at(p, i) } else { l.at(i, p) };
                }
                row[i] = S::Element::ONE / l.at(place(i), place(i));
            }
            for left in (0..b.columns()).step_by(SIDES * S::LANES) {
                let columns = (SIDES * S::LANES).min(b.columns() - left);
                match columns.div_ceil(S::LANES) {
                    1 => sides::<S, 1>(simd, &rows, order, place, b, (left, columns)),
                    2 => sides::<S, 2>(simd, &rows, order, place, b, (left, columns)),
                    _ => sides::<S, SIDES>(simd, &rows, order, place, b, (left, columns)),
                }
            }
        },
    );
}

/// Solves for `columns` right-hand sides from `left` on, at most `V` registers of them.
#[inline(always)]
fn sides<S: Simd, const V: usize>(
    simd: S,
    rows: &[[S::Element; BASE]; BASE],
    order: usize,
    place: impl Fn(usize) -> usize,
    b: &mut MatrixMut<'_, S::Element>,
    (left, columns): (usize, usize),
) {
    let mut solved = [[S::Element::ZERO; SIDES * MAX_LANES]; BASE];
    for (i, row) in solved.iter_mut().enumerate().take(order) {
        for (j, value) in row.iter_mut().enumerate().take(columns) {
            *value = b.at(place(i), left + j);
        }
    }
    for i in 0..order {
        // SAFETY: `V` registers fit a row of `solved`.
        unsafe {
            let mut sums: [S::Vector; V] = std::array::from_fn(
                #[inline(always)]
                |v| simd.load(solved[i].as_ptr().add(v * S::LANES)),
            );
            for p in 0..i {
                let factor = simd.splat(rows[i][p]);
                for (v, sum) in sums.iter_mut().enumerate() {
                    let known = simd.load(solved[p].as_ptr().add(v * S::LANES));
                    *sum = simd.mul_sub_from(factor, known, *sum);
                }
            }
            let reciprocal = simd.splat(rows[i][i]);
            for (v, &sum) in sums.iter().enumerate() {
                simd.store(solved[i].as_mut_ptr().add(v * S::LANES), simd.mul(sum, reciprocal));
            }
        }
    }
    for (i, row) in solved.iter().enumerate().take(order) {
        for (j, &value) in row.iter().enumerate().take(columns) {
            b.set(place(i), left + j, value);
        }
    }
}
