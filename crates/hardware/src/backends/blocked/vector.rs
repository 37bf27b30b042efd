//! Matrix times vector, quadratic form, dot product and axpy: each element of a matrix is read once.

#![allow(unsafe_code)]

use super::simd::{MAX_LANES, Simd};
use crate::element::Element;
use crate::job::{Axpy, Dot, QuadraticForm};
use crate::view::{Matrix, MatrixMut};

/// Elements of a vector that are brought side by side at a time.
const GATHERED: usize = 1024;
/// Registers of sums of a matrix times a vector: enough to hide the latency of a fused multiply-add.
const SUMS: usize = 8;

/// Calls `work(from, piece)` with pieces of a column whose elements stand side by side: the column itself where they do
/// already, or copies of at most [`GATHERED`].
#[inline(always)]
fn side_by_side<T: Element>(x: Matrix<'_, T>, mut work: impl FnMut(usize, &[T])) {
    if x.row_stride() == 1 || x.rows() <= 1 {
        // SAFETY: the rows of the view stand side by side, and it can be read everywhere.
        return work(0, unsafe { std::slice::from_raw_parts(x.as_ptr(), x.rows()) });
    }
    let mut buffer = [T::ZERO; GATHERED];
    for from in (0..x.rows()).step_by(GATHERED) {
        let piece = &mut buffer[..GATHERED.min(x.rows() - from)];
        for (i, value) in piece.iter_mut().enumerate() {
            *value = x.at(from + i, 0);
        }
        work(from, piece);
    }
}

/// y ← α·A·x + β·y, y being one column; neither α nor the number of columns of A is 0.
pub(super) fn matrix_vector<S: Simd>(
    simd: S,
    alpha: S::Element,
    (a, x): (Matrix<'_, S::Element>, Matrix<'_, S::Element>),
    beta: S::Element,
    mut y: MatrixMut<'_, S::Element>,
) {
    simd.call(
        #[inline(always)]
        || {
            side_by_side(
                x,
                #[inline(always)]
                |from, x| {
                    let a = a.block(0, a.rows(), from, x.len());
                    let beta = if from == 0 { beta } else { S::Element::ONE };
                    let y = y.reborrow();
                    if a.row_stride() == 1 {
                        by_columns(simd, a, x, Target { alpha, beta, y });
                    } else {
                        let mut target = Target { alpha, beta, y };
                        by_rows(
                            simd,
                            a,
                            x,
                            #[inline(always)]
                            |i, sums| target.write(i, sums),
                        );
                    }
                },
            );
        },
    );
}

/// Where A·x goes.
struct Target<'a, T> {
    alpha: T,
    beta: T,
    y: MatrixMut<'a, T>,
}

impl<T: Element> Target<'_, T> {
    /// y ← α·sums + β·y from row `first` on.
    #[inline(always)]
    fn write(&mut self, first: usize, sums: &[T]) {
        for (r, &sum) in sums.iter().enumerate() {
            let product = self.alpha * sum;
            let old = || self.y.at(first + r, 0);
            let value = if self.beta == T::ZERO { product } else { self.beta.mul_add(old(), product) };
            self.y.set(first + r, 0, value);
        }
    }
}

/// xᵀ·A·x.
pub(super) fn quadratic_form<S: Simd>(simd: S, form: &mut QuadraticForm<'_, S::Element>) {
    // xᵀ·A·x = xᵀ·Aᵀ·x: take the one whose rows are lines of memory.
    let (x, a) = (form.x, if form.a.column_stride() == 1 { form.a } else { form.a.transposed() });
    let mut total = S::Element::ZERO;
    simd.call(
        #[inline(always)]
        || {
            side_by_side(
                x,
                #[inline(always)]
                |from, piece| {
                    by_rows(
                        simd,
                        a.block(0, a.rows(), from, piece.len()),
                        piece,
                        #[inline(always)]
                        |i, sums| {
                            for (r, &sum) in sums.iter().enumerate() {
                                total = x.at(i + r, 0).mul_add(sum, total);
                            }
                        },
                    );
                },
            );
        },
    );
    *form.result = total;
}

/// A·x where the rows of A stand side by side: sums of whole registers of rows.
#[inline(always)]
fn by_columns<S: Simd>(
    simd: S,
    a: Matrix<'_, S::Element>,
    x: &[S::Element],
    mut target: Target<'_, S::Element>,
) {
    if a.rows() > SUMS * S::LANES {
        return by_long_columns(simd, a, x, target);
    }
    let mut buffer = [S::Element::ZERO; SUMS * MAX_LANES];
    let (from, step, rows) = (a.as_ptr(), a.column_stride(), a.rows());
    // SAFETY: the rows of A stand side by side in each of its columns.
    unsafe {
        match rows.div_ceil(S::LANES) {
            1 => columns_into::<S, 1>(simd, from, step, rows, x, &mut buffer),
            2 => columns_into::<S, 2>(simd, from, step, rows, x, &mut buffer),
            3..=4 => columns_into::<S, 4>(simd, from, step, rows, x, &mut buffer),
            _ => columns_into::<S, SUMS>(simd, from, step, rows, x, &mut buffer),
        }
    }
    target.write(0, &buffer[..rows]);
}

/// The same for columns that registers do not hold: a few at a time are added to sums in L1, so that memory is read
/// along them.
#[inline(always)]
fn by_long_columns<S: Simd>(
    simd: S,
    a: Matrix<'_, S::Element>,
    x: &[S::Element],
    mut target: Target<'_, S::Element>,
) {
    let mut buffer = [S::Element::ZERO; GATHERED];
    let step = a.column_stride();
    for top in (0..a.rows()).step_by(GATHERED) {
        let sums = &mut buffer[..GATHERED.min(a.rows() - top)];
        sums.fill(S::Element::ZERO);
        let mut p = 0;
        while p < x.len() {
            let from = a.as_ptr().wrapping_add(top + p * step);
            // SAFETY: the columns from p on, of which there are as many as each case says, have the rows of the sums.
            p += unsafe {
                match x.len() - p {
                    8.. => add_columns::<S, 8>(simd, from, step, &x[p..], sums),
                    4.. => add_columns::<S, 4>(simd, from, step, &x[p..], sums),
                    _ => add_columns::<S, 1>(simd, from, step, &x[p..], sums),
                }
            };
        }
        target.write(top, sums);
    }
}

/// Adds Σ xₚ·(column p) of the first `N` columns to `sums`; gives `N`.
///
/// # Safety
/// `sums.len()` numbers can be read at each of `N` columns that lie `step` apart; x has as many numbers.
#[inline(always)]
unsafe fn add_columns<S: Simd, const N: usize>(
    simd: S,
    from: *const S::Element,
    step: usize,
    x: &[S::Element],
    sums: &mut [S::Element],
) -> usize {
    let factors: [S::Vector; N] = std::array::from_fn(
        #[inline(always)]
        |p| simd.splat(x[p]),
    );
    let full = sums.len() - sums.len() % S::LANES;
    // SAFETY: places below `sums.len()` of the sums and of each column; the mask leaves out those beyond.
    unsafe {
        for i in (0..full).step_by(S::LANES) {
            let mut sum = simd.load(sums.as_ptr().add(i));
            for (p, &factor) in factors.iter().enumerate() {
                sum = simd.mul_add(simd.load(from.wrapping_add(p * step + i)), factor, sum);
            }
            simd.store(sums.as_mut_ptr().add(i), sum);
        }
        if full < sums.len() {
            let mask = simd.first(sums.len() - full);
            let mut sum = simd.load_some(sums.as_ptr().add(full), mask);
            for (p, &factor) in factors.iter().enumerate() {
                let column = simd.load_some(from.wrapping_add(p * step + full), mask);
                sum = simd.mul_add(column, factor, sum);
            }
            simd.store_some(sums.as_mut_ptr().add(full), mask, sum);
        }
    }
    N
}

/// Σ xₚ·(column p), `V` registers of rows at a time.
///
/// # Safety
/// `rows` numbers, at most `V` registers, can be read at each of `x.len()` columns that lie `step` apart.
#[inline(always)]
unsafe fn columns_into<S: Simd, const V: usize>(
    simd: S,
    from: *const S::Element,
    step: usize,
    rows: usize,
    x: &[S::Element],
    sums_out: &mut [S::Element; SUMS * MAX_LANES],
) {
    let mut sums = [simd.splat(S::Element::ZERO); V];
    let masks: [S::Mask; V] = std::array::from_fn(
        #[inline(always)]
        |v| simd.first(rows.saturating_sub(v * S::LANES).min(S::LANES)),
    );
    for (p, &factor) in x.iter().enumerate() {
        let column = from.wrapping_add(p * step);
        let factor = simd.splat(factor);
        for v in 0..V {
            // SAFETY: as the caller promises; the masks leave out what lies beyond `rows`.
            let register = unsafe { simd.load_some(column.wrapping_add(v * S::LANES), masks[v]) };
            sums[v] = simd.mul_add(register, factor, sums[v]);
        }
    }
    for (v, &sum) in sums.iter().enumerate() {
        // SAFETY: `V` registers fit the buffer.
        unsafe { simd.store(sums_out.as_mut_ptr().add(v * S::LANES), sum) };
    }
}

/// A·x row by row, four at a time: `write(i, sums)` gets those from row i on.
#[inline(always)]
fn by_rows<S: Simd>(
    simd: S,
    a: Matrix<'_, S::Element>,
    x: &[S::Element],
    mut write: impl FnMut(usize, &[S::Element]),
) {
    let in_lines = a.column_stride() == 1 || a.columns() <= 1;
    let mut i = 0;
    while i < a.rows() {
        let row = a.as_ptr().wrapping_add(i * a.row_stride());
        if in_lines && a.rows() - i >= 4 {
            // SAFETY: rows i to i + 3 of A are lines of memory as long as x.
            write(i, &unsafe { dots::<S, 4>(simd, row, a.row_stride(), x) });
            i += 4;
        } else {
            // SAFETY: row i of A is as long as x.
            let sum = unsafe {
                if in_lines {
                    dot_lines(simd, x.len(), row, x.as_ptr())
                } else {
                    dot_strided(x.len(), (row, a.column_stride()), (x.as_ptr(), 1))
                }
            };
            write(i, &[sum]);
            i += 1;
        }
    }
}

/// The products of `R` rows with x.
///
/// # Safety
/// `x.len()` numbers can be read at each of `R` rows that lie `step` apart.
#[inline(always)]
unsafe fn dots<S: Simd, const R: usize>(
    simd: S,
    row: *const S::Element,
    step: usize,
    x: &[S::Element],
) -> [S::Element; R] {
    let mut sums = [simd.splat(S::Element::ZERO); R];
    let full = x.len() - x.len() % S::LANES;
    // SAFETY: places below `x.len()` of x and of each row; the mask leaves out those beyond.
    unsafe {
        for p in (0..full).step_by(S::LANES) {
            let factor = simd.load(x.as_ptr().add(p));
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum = simd.mul_add(simd.load(row.wrapping_add(r * step + p)), factor, *sum);
            }
        }
        if full < x.len() {
            let mask = simd.first(x.len() - full);
            let factor = simd.load_some(x.as_ptr().add(full), mask);
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum = simd.mul_add(simd.load_some(row.wrapping_add(r * step + full), mask), factor, *sum);
            }
        }
    }
    sums.map(
        #[inline(always)]
        |sum| simd.sum(sum),
    )
}

/// x·y, both side by side.
///
/// # Safety
/// `count` numbers can be read at both.
#[inline(always)]
unsafe fn dot_lines<S: Simd>(
    simd: S,
    count: usize,
    x: *const S::Element,
    y: *const S::Element,
) -> S::Element {
    const CHAINS: usize = 4;
    let mut sums = [simd.splat(S::Element::ZERO); CHAINS];
    let mut at = 0;
    // SAFETY: places below `count`; the mask leaves out those beyond.
    unsafe {
        while count - at >= CHAINS * S::LANES {
            for (v, sum) in sums.iter_mut().enumerate() {
                let place = at + v * S::LANES;
                *sum = simd.mul_add(simd.load(x.add(place)), simd.load(y.add(place)), *sum);
            }
            at += CHAINS * S::LANES;
        }
        while at < count {
            let mask = simd.first((count - at).min(S::LANES));
            sums[0] = simd.mul_add(simd.load_some(x.add(at), mask), simd.load_some(y.add(at), mask), sums[0]);
            at += S::LANES;
        }
    }
    simd.sum(simd.add(simd.add(sums[0], sums[1]), simd.add(sums[2], sums[3])))
}

/// x·y at any strides.
///
/// # Safety
/// `count` numbers can be read at both, their strides apart.
#[inline(always)]
unsafe fn dot_strided<T: Element>(count: usize, x: (*const T, usize), y: (*const T, usize)) -> T {
    let mut sums = [T::ZERO; 4];
    for i in 0..count {
        // SAFETY: place i < count of both.
        let (x, y) = unsafe { (*x.0.add(i * x.1), *y.0.add(i * y.1)) };
        sums[i % 4] = x.mul_add(y, sums[i % 4]);
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3])
}

pub(super) fn dot<S: Simd>(simd: S, dot: &mut Dot<'_, S::Element>) {
    let (x, y, count) = (dot.x, dot.y, dot.x.rows());
    *dot.result = simd.call(
        #[inline(always)]
        // SAFETY: both are columns of `count` elements.
        || unsafe {
            if (x.row_stride(), y.row_stride()) == (1, 1) {
                dot_lines(simd, count, x.as_ptr(), y.as_ptr())
            } else {
                dot_strided(count, (x.as_ptr(), x.row_stride()), (y.as_ptr(), y.row_stride()))
            }
        },
    );
}

pub(super) fn axpy<S: Simd>(simd: S, axpy: &mut Axpy<'_, S::Element>) {
    let (alpha, x, count) = (axpy.alpha, axpy.x, axpy.x.rows());
    let (x_stride, y_stride) = (x.row_stride(), axpy.y.row_stride());
    let (x, y) = (x.as_ptr(), axpy.y.as_mut_ptr());
    simd.call(
        #[inline(always)]
        // SAFETY: both are columns of `count` elements; the mask leaves out what lies beyond.
        || unsafe {
            if (x_stride, y_stride) != (1, 1) {
                for i in 0..count {
                    let to = y.add(i * y_stride);
                    *to = alpha.mul_add(*x.add(i * x_stride), *to);
                }
                return;
            }
            let factor = simd.splat(alpha);
            let full = count - count % S::LANES;
            for i in (0..full).step_by(S::LANES) {
                simd.store(y.add(i), simd.mul_add(factor, simd.load(x.add(i)), simd.load(y.add(i))));
            }
            if full < count {
                let mask = simd.first(count - full);
                let (x, to) = (simd.load_some(x.add(full), mask), y.add(full));
                simd.store_some(to, mask, simd.mul_add(factor, x, simd.load_some(to, mask)));
            }
        },
    );
}
