//! Cholesky factors and solutions with them, by halves: almost all of the work is products (Gustavson, Recursion leads
//! to automatic variable blocking for dense linear-algebra algorithms, 1997).

#![allow(unsafe_code)]

use super::pack::transpose;
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
    let (order, row_stride, column_stride) = (a.rows(), a.row_stride(), a.column_stride());
    let at = |i: usize, j: usize| i * row_stride + j * column_stride;
    let a = a.as_mut_ptr();
    // By columns, all of the same length so that loops have no ends to treat: what lies above the diagonal is
    // never used, what lies beyond the order stays 0.
    let mut l = [[T::ZERO; BASE]; BASE];
    for (j, column) in l.iter_mut().enumerate().take(order) {
        for (i, value) in column.iter_mut().enumerate().take(order).skip(j) {
            // SAFETY: (i, j) is an element of A.
            *value = unsafe { *a.add(at(i, j)) };
        }
    }
    for j in 0..order {
        let pivot = l[j][j];
        // NaN is not above zero either.
        if pivot.partial_cmp(&T::ZERO) != Some(std::cmp::Ordering::Greater) {
            return Err(j);
        }
        let root = pivot.sqrt();
        let reciprocal = T::ONE / root;
        let mut column = l[j].map(
            #[inline(always)]
            |value| value * reciprocal,
        );
        column[j] = root;
        for (other, target) in l.iter_mut().enumerate().take(order).skip(j + 1) {
            let factor = -column[other];
            for (value, &term) in target.iter_mut().zip(&column) {
                *value = factor.mul_add(term, *value);
            }
        }
        l[j] = column;
    }
    for (j, column) in l.iter().enumerate().take(order) {
        for (i, &value) in column.iter().enumerate().take(order).skip(j) {
            // SAFETY: (i, j) is an element of A.
            unsafe { *a.add(at(i, j)) = value };
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

/// Right-hand sides that are solved at a time, side by side.
type Sides<T> = [[T; SIDES * MAX_LANES]; BASE];

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
            let order = l.rows();
            // The triangle that is solved with, with the reciprocals of its diagonal.
            let mut triangle = [[S::Element::ZERO; BASE]; BASE];
            for i in 0..order {
                for p in 0..=i {
                    // What a single right-hand side needs together is a column, what several need is a row.
                    let (row, column) = if backward != (b.columns() == 1) { (p, i) } else { (i, p) };
                    // SAFETY: (i, p) is an element of L.
                    triangle[row][column] =
                        unsafe { *l.as_ptr().add(i * l.row_stride() + p * l.column_stride()) };
                }
                triangle[i][i] = S::Element::ONE / triangle[i][i];
            }
            if b.columns() == 1 {
                return eliminate_one(&triangle, backward, b);
            }
            let mut sides = [[S::Element::ZERO; SIDES * MAX_LANES]; BASE];
            for left in (0..b.columns()).step_by(SIDES * S::LANES) {
                let columns = (SIDES * S::LANES).min(b.columns() - left);
                let place = b.as_mut_ptr().wrapping_add(left * b.column_stride());
                let strides = (b.row_stride(), b.column_stride());
                // SAFETY: `columns` columns of B, as long as L is high.
                unsafe {
                    fetch(simd, place, strides, (order, columns), &mut sides);
                    match columns.div_ceil(S::LANES) {
                        1 => eliminate::<S, 1>(simd, &triangle, order, backward, &mut sides),
                        2 => eliminate::<S, 2>(simd, &triangle, order, backward, &mut sides),
                        _ => eliminate::<S, SIDES>(simd, &triangle, order, backward, &mut sides),
                    }
                    put_back(simd, place, strides, (order, columns), &sides);
                }
            }
        },
    );
}

/// Solves for one right-hand side, with the columns of the triangle.
#[inline(always)]
fn eliminate_one<T: Element>(columns: &[[T; BASE]; BASE], backward: bool, b: &mut MatrixMut<'_, T>) {
    let order = b.rows();
    let mut x = [T::ZERO; BASE];
    for (i, value) in x.iter_mut().enumerate().take(order) {
        *value = b.at(i, 0);
    }
    for step in 0..order {
        let p = if backward { order - 1 - step } else { step };
        let solved = x[p] * columns[p][p];
        for (value, &factor) in x.iter_mut().zip(&columns[p]) {
            *value = factor.mul_add(-solved, *value);
        }
        x[p] = solved;
    }
    for (i, &value) in x.iter().enumerate().take(order) {
        b.set(i, 0, value);
    }
}

/// Brings `rows` × `columns` side by side.
///
/// # Safety
/// They can be read at `from`, their strides apart, and are at most [`BASE`] by [`SIDES`] registers.
#[inline(always)]
unsafe fn fetch<S: Simd>(
    simd: S,
    from: *const S::Element,
    strides: (usize, usize),
    (rows, columns): (usize, usize),
    sides: &mut Sides<S::Element>,
) {
    // SAFETY: as the caller promises.
    unsafe {
        if strides.0 == 1 {
            let to = sides.as_flattened_mut().as_mut_ptr();
            return transpose(simd, from, strides.1, (columns, rows), to, SIDES * MAX_LANES);
        }
        for (i, line) in sides.iter_mut().enumerate().take(rows) {
            for (j, value) in line.iter_mut().enumerate().take(columns) {
                *value = *from.add(i * strides.0 + j * strides.1);
            }
        }
    }
}

/// The way back.
///
/// # Safety
/// As for [`fetch`], with places that can be written.
#[inline(always)]
unsafe fn put_back<S: Simd>(
    simd: S,
    to: *mut S::Element,
    strides: (usize, usize),
    (rows, columns): (usize, usize),
    sides: &Sides<S::Element>,
) {
    // SAFETY: as the caller promises.
    unsafe {
        if strides.0 == 1 {
            let from = sides.as_flattened().as_ptr();
            return transpose(simd, from, SIDES * MAX_LANES, (rows, columns), to, strides.1);
        }
        for (i, line) in sides.iter().enumerate().take(rows) {
            for (j, &value) in line.iter().enumerate().take(columns) {
                *to.add(i * strides.0 + j * strides.1) = value;
            }
        }
    }
}

/// Solves with the lower, or if `backward` the upper, triangle for `V` registers of right-hand sides.
#[inline(always)]
fn eliminate<S: Simd, const V: usize>(
    simd: S,
    triangle: &[[S::Element; BASE]; BASE],
    order: usize,
    backward: bool,
    sides: &mut Sides<S::Element>,
) {
    for step in 0..order {
        let i = if backward { order - 1 - step } else { step };
        let known = if backward { i + 1..order } else { 0..i };
        // SAFETY: `V` registers fit a line.
        unsafe {
            let mut sums = [simd.splat(S::Element::ZERO); V];
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = simd.load(sides[i].as_ptr().add(v * S::LANES));
            }
            for p in known {
                let factor = simd.splat(triangle[i][p]);
                for (v, sum) in sums.iter_mut().enumerate() {
                    let known = simd.load(sides[p].as_ptr().add(v * S::LANES));
                    *sum = simd.mul_sub_from(factor, known, *sum);
                }
            }
            let reciprocal = simd.splat(triangle[i][i]);
            for (v, &sum) in sums.iter().enumerate() {
                simd.store(sides[i].as_mut_ptr().add(v * S::LANES), simd.mul(sum, reciprocal));
            }
        }
    }
}
