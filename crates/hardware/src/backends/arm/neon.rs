//! aarch64 NEON: packed products on a tile of 24 registers, and the reductions.
//!
//! A tile is 8 rows of three vectors of C (8×12 of `f32`, 8×6 of `f64`): 24 accumulators, three registers of B and
//! the current one of A fill the register file. Both factors are packed into panels as wide as the tile, padded with
//! zeros that never reach C. NEON is part of every aarch64 processor, so this backend is always there.

#![allow(unsafe_code)]

use std::arch::aarch64::{
    float32x4_t, float64x2_t, vaddq_f32, vaddq_f64, vaddvq_f32, vaddvq_f64, vdupq_n_f32, vdupq_n_f64,
    vfmaq_f32, vfmaq_f64, vfmaq_laneq_f32, vfmaq_laneq_f64, vld1q_f32, vld1q_f64, vst1q_f32, vst1q_f64,
};

use super::{Plain, batched, better_transposed, rank_update, scale, with_scratch};
use crate::backend::{Backend, BackendId, Failure};
use crate::element::{Element, ElementType};
use crate::job::{Axpy, Cholesky, Dot, Job, QuadraticForm, Solve, Spec, Task};
use crate::view::{Matrix, MatrixMut};

/// Rows of a tile, of every type.
const ROWS: usize = 8;
/// The longest sum of one pass: a panel of B of this depth stays in the first-level cache.
const DEPTH: usize = 256;
/// Rows of A packed at once: they stay in the second-level cache.
const BLOCK_ROWS: usize = 128;
/// Columns of B packed at once.
const BLOCK_COLUMNS: usize = 1020;
/// Rows of a column-major matrix that a matrix-vector product sums at once.
const SUMS: usize = 256;

/// The NEON backend.
#[derive(Debug, Clone, Copy)]
pub struct Neon;

impl Backend for Neon {
    fn id(&self) -> BackendId {
        BackendId::Neon
    }

    fn supports(&self, spec: &Spec) -> bool {
        spec.element != ElementType::I8
    }

    fn run(&self, job: &mut Job<'_>) -> Result<(), Failure> {
        match job {
            Job::F32(task) => run(task),
            Job::F64(task) => run(task),
            Job::I8(_) => Err(Failure::Broken("the NEON backend has no 8-bit product".to_owned())),
        }
    }
}

fn run<T: Lanes>(task: &mut Task<'_, T>) -> Result<(), Failure> {
    match task {
        Task::Gemm(gemm) => product(gemm.alpha, gemm.a, gemm.b, gemm.beta, gemm.c.reborrow()),
        Task::BatchedGemm(all) => batched(all, product),
        Task::Syrk(syrk) => rank_update(syrk, product),
        Task::QuadraticForm(form) => quadratic_form(form),
        Task::Dot(Dot { x, y, result }) => **result = dot(*x, *y),
        Task::Axpy(Axpy { alpha, x, y }) => axpy(*alpha, x, y),
        Task::Cholesky(Cholesky { a }) => return factor(a),
        Task::Solve(Solve { l, b }) => solve(l, b),
    }
    Ok(())
}

/// The kernels of one type.
trait Lanes: Element + Plain {
    /// Columns of a tile.
    const COLUMNS: usize;
    /// A tile of C by rows, in an array that holds that of every type.
    const ZERO_TILE: [Self; ROWS * 12] = [Self::ZERO; ROWS * 12];

    /// Writes the product of a packed panel of A (`ROWS` wide) and one of B (`COLUMNS` wide), by rows.
    fn tile(a: &[Self], b: &[Self], out: &mut [Self; ROWS * 12]);

    /// Σ xᵢ·yᵢ over slices of equal length.
    fn dot(x: &[Self], y: &[Self]) -> Self;
}

macro_rules! lanes {
    ($type:ident, $vector:ident, $lanes:literal, [$($row:literal: $register:literal[$lane:literal]),*],
     $zero:ident, $load:ident, $store:ident, $fma:ident, $fma_lane:ident, $add:ident, $sum:ident) => {
        impl Lanes for $type {
            const COLUMNS: usize = 3 * $lanes;

            fn tile(a: &[Self], b: &[Self], out: &mut [Self; ROWS * 12]) {
                // SAFETY: NEON is part of the target; chunks have the length that is read, and `out` holds 24 vectors.
                unsafe {
                    let mut sums: [[$vector; 3]; ROWS] = [[$zero(0.0); 3]; ROWS];
                    for (a, b) in a.chunks_exact(ROWS).zip(b.chunks_exact(Self::COLUMNS)) {
                        let b = [$load(b.as_ptr()), $load(b.as_ptr().add($lanes)), $load(b.as_ptr().add(2 * $lanes))];
                        $(
                            let a_vector = $load(a.as_ptr().add($register * $lanes));
                            sums[$row][0] = $fma_lane::<$lane>(sums[$row][0], b[0], a_vector);
                            sums[$row][1] = $fma_lane::<$lane>(sums[$row][1], b[1], a_vector);
                            sums[$row][2] = $fma_lane::<$lane>(sums[$row][2], b[2], a_vector);
                        )*
                    }
                    for (at, sum) in sums.iter().flatten().enumerate() {
                        $store(out.as_mut_ptr().add(at * $lanes), *sum);
                    }
                }
            }

            fn dot(x: &[Self], y: &[Self]) -> Self {
                const STEP: usize = 4 * $lanes;
                let (x_steps, y_steps) = (x.chunks_exact(STEP), y.chunks_exact(STEP));
                let rest = x_steps.remainder().iter().zip(y_steps.remainder());
                let rest = rest.fold(0.0, |sum: $type, (x, y)| x.mul_add(*y, sum));
                // SAFETY: NEON is part of the target; chunks have the length that is read.
                unsafe {
                    let mut sums = [$zero(0.0); 4];
                    for (x, y) in x_steps.zip(y_steps) {
                        for (i, sum) in sums.iter_mut().enumerate() {
                            *sum = $fma(*sum, $load(x.as_ptr().add(i * $lanes)), $load(y.as_ptr().add(i * $lanes)));
                        }
                    }
                    $sum($add($add(sums[0], sums[1]), $add(sums[2], sums[3]))) + rest
                }
            }
        }
    };
}
lanes!(
    f32, float32x4_t, 4, [0: 0[0], 1: 0[1], 2: 0[2], 3: 0[3], 4: 1[0], 5: 1[1], 6: 1[2], 7: 1[3]],
    vdupq_n_f32, vld1q_f32, vst1q_f32, vfmaq_f32, vfmaq_laneq_f32, vaddq_f32, vaddvq_f32
);
lanes!(
    f64, float64x2_t, 2, [0: 0[0], 1: 0[1], 2: 1[0], 3: 1[1], 4: 2[0], 5: 2[1], 6: 3[0], 7: 3[1]],
    vdupq_n_f64, vld1q_f64, vst1q_f64, vfmaq_f64, vfmaq_laneq_f64, vaddq_f64, vaddvq_f64
);

/// Row `row` of a matrix, where its elements stand side by side.
fn row_slice<T: Copy>(matrix: Matrix<'_, T>, row: usize) -> Option<&[T]> {
    if matrix.columns() > 1 && matrix.column_stride() != 1 {
        return None;
    }
    let line = matrix.block(row, 1, 0, matrix.columns());
    // SAFETY: the view covers these elements, each one after the other (or there is one, or none).
    (line.columns() > 0).then(|| unsafe { std::slice::from_raw_parts(line.as_ptr(), line.columns()) })
}

/// Σ of the products of two columns.
fn dot<T: Lanes>(x: Matrix<'_, T>, y: Matrix<'_, T>) -> T {
    if x.rows() == 0 {
        return T::ZERO;
    }
    match (row_slice(x.transposed(), 0), row_slice(y.transposed(), 0)) {
        (Some(x), Some(y)) => T::dot(x, y),
        _ => (0..x.rows()).fold(T::ZERO, |sum, i| x.at(i, 0).mul_add(y.at(i, 0), sum)),
    }
}

fn axpy<T: Lanes>(alpha: T, x: &Matrix<'_, T>, y: &mut MatrixMut<'_, T>) {
    for i in 0..x.rows() {
        y.set(i, 0, alpha.mul_add(x.at(i, 0), y.at(i, 0)));
    }
}

/// xᵀ·A·x; xᵀ·Aᵀ·x is the same number.
fn quadratic_form<T: Lanes>(QuadraticForm { a, x, result }: &mut QuadraticForm<'_, T>) {
    let a = if a.row_stride() == 1 { a.transposed() } else { *a };
    let order = a.rows();
    **result = with_scratch([order, 0, 0], |packed: &mut [T], _: &mut [T], _: &mut [T]| {
        gather(*x, packed);
        let x = Matrix::column(packed);
        (0..order).fold(T::ZERO, |sum, i| {
            let row = dot(a.block(i, 1, 0, order).transposed(), x);
            packed[i].mul_add(row, sum)
        })
    });
}

/// A = L·Lᵀ, row by row: each element is a dot product of two rows (Cholesky–Banachiewicz).
fn factor<T: Lanes>(a: &mut MatrixMut<'_, T>) -> Result<(), Failure> {
    for i in 0..a.rows() {
        for j in 0..=i {
            let row = |row| a.as_ref().block(row, 1, 0, j).transposed();
            let rest = a.at(i, j) - dot(row(i), row(j));
            if i != j {
                let value = rest / a.at(j, j);
                a.set(i, j, value);
            } else if rest.partial_cmp(&T::ZERO) == Some(std::cmp::Ordering::Greater) {
                a.set(i, i, rest.sqrt());
            } else {
                // NaN is not above zero either.
                return Err(Failure::NotPositiveDefinite { column: i });
            }
        }
    }
    Ok(())
}

/// Forward through L, backward through Lᵀ, both along rows of L, on a copy of each column.
fn solve<T: Lanes>(l: &Matrix<'_, T>, b: &mut MatrixMut<'_, T>) {
    let order = l.rows();
    with_scratch([order, 0, 0], |x: &mut [T], _: &mut [T], _: &mut [T]| {
        for column in 0..b.columns() {
            gather(b.as_ref().block(0, order, column, 1), x);
            for i in 0..order {
                let known = dot(l.block(i, 1, 0, i).transposed(), Matrix::column(&x[..i]));
                x[i] = (x[i] - known) / l.at(i, i);
            }
            for i in (0..order).rev() {
                let value = x[i] / l.at(i, i);
                x[i] = value;
                subtract(value, l.block(i, 1, 0, i).transposed(), &mut x[..i]);
            }
            for (i, &value) in x.iter().enumerate() {
                b.set(i, column, value);
            }
        }
    });
}

/// y ← y − α·x.
fn subtract<T: Lanes>(alpha: T, x: Matrix<'_, T>, y: &mut [T]) {
    let contiguous = if y.is_empty() { None } else { row_slice(x.transposed(), 0) };
    match contiguous {
        Some(x) => y.iter_mut().zip(x).for_each(|(y, &x)| *y = (-alpha).mul_add(x, *y)),
        None => y.iter_mut().enumerate().for_each(|(i, y)| *y = (-alpha).mul_add(x.at(i, 0), *y)),
    }
}

/// The elements of a column, side by side.
fn gather<T: Copy>(column: Matrix<'_, T>, out: &mut [T]) {
    for (i, element) in out.iter_mut().enumerate() {
        *element = column.at(i, 0);
    }
}

/// C ← α·A·B + β·C.
fn product<T: Lanes>(alpha: T, a: Matrix<'_, T>, b: Matrix<'_, T>, beta: T, mut c: MatrixMut<'_, T>) {
    if alpha == T::ZERO || a.columns() == 0 {
        scale(beta, &mut c);
    } else if c.columns() == 1 {
        matrix_vector(alpha, a, b, beta, c);
    } else if better_transposed(&c) {
        packed_product(alpha, b.transposed(), a.transposed(), beta, c.transposed());
    } else {
        packed_product(alpha, a, b, beta, c);
    }
}

/// y ← α·A·x + β·y, α ≠ 0: along the rows of A, or several rows at once along its columns.
fn matrix_vector<T: Lanes>(alpha: T, a: Matrix<'_, T>, x: Matrix<'_, T>, beta: T, mut y: MatrixMut<'_, T>) {
    let (rows, depth) = (a.rows(), a.columns());
    with_scratch([depth, SUMS.min(rows), 0], |packed: &mut [T], sums: &mut [T], _: &mut [T]| {
        gather(x, packed);
        for from in (0..rows).step_by(SUMS) {
            let count = SUMS.min(rows - from);
            let (block, sums) = (a.block(from, count, 0, depth), &mut sums[..count]);
            if a.row_stride() == 1 && a.column_stride() != 1 {
                sums.fill(T::ZERO);
                for (p, &x) in packed.iter().enumerate() {
                    let column = row_slice(block.transposed(), p).unwrap_or_default();
                    for (sum, &a) in sums.iter_mut().zip(column) {
                        *sum = a.mul_add(x, *sum);
                    }
                }
            } else {
                let x = Matrix::column(packed);
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = dot(block.block(i, 1, 0, depth).transposed(), x);
                }
            }
            for (i, &sum) in sums.iter().enumerate() {
                let value = alpha * sum;
                let old = |y: &MatrixMut<'_, T>| beta.mul_add(y.at(from + i, 0), value);
                let value = if beta == T::ZERO { value } else { old(&y) };
                y.set(from + i, 0, value);
            }
        }
    });
}

/// C ← α·A·B + β·C for α ≠ 0 and k > 0, block by block.
fn packed_product<T: Lanes>(alpha: T, a: Matrix<'_, T>, b: Matrix<'_, T>, beta: T, mut c: MatrixMut<'_, T>) {
    let (m, n, k) = (c.rows(), c.columns(), a.columns());
    let depth = DEPTH.min(k);
    let a_length = BLOCK_ROWS.min(m).next_multiple_of(ROWS) * depth;
    let b_length = BLOCK_COLUMNS.min(n).next_multiple_of(T::COLUMNS) * depth;
    with_scratch([a_length, b_length, 0], |packed_a: &mut [T], packed_b: &mut [T], _: &mut [T]| {
        for p in (0..k).step_by(DEPTH) {
            let depth = DEPTH.min(k - p);
            let beta = if p == 0 { beta } else { T::ONE };
            for j in (0..n).step_by(BLOCK_COLUMNS) {
                let columns = BLOCK_COLUMNS.min(n - j);
                pack(b.block(p, depth, j, columns).transposed(), T::COLUMNS, packed_b);
                for i in (0..m).step_by(BLOCK_ROWS) {
                    let rows = BLOCK_ROWS.min(m - i);
                    pack(a.block(i, rows, p, depth), ROWS, packed_a);
                    let below = c.reborrow().split_rows(i).1.split_rows(rows).0;
                    let block = below.split_columns(j).1.split_columns(columns).0;
                    block_product(alpha, packed_a, packed_b, depth, beta, block);
                }
            }
        }
    });
}

/// One block of C from packed factors.
fn block_product<T: Lanes>(
    alpha: T,
    packed_a: &[T],
    packed_b: &[T],
    depth: usize,
    beta: T,
    mut c: MatrixMut<'_, T>,
) {
    let mut tile = T::ZERO_TILE;
    for (panel, j) in packed_b.chunks_exact(depth * T::COLUMNS).zip((0..c.columns()).step_by(T::COLUMNS)) {
        for (a, i) in packed_a.chunks_exact(depth * ROWS).zip((0..c.rows()).step_by(ROWS)) {
            T::tile(a, panel, &mut tile);
            let rest = c.reborrow().split_rows(i).1.split_columns(j).1;
            merge(alpha, &tile, beta, rest);
        }
    }
}

/// C ← α·tile + β·C for as much of the tile as C has.
fn merge<T: Lanes>(alpha: T, tile: &[T], beta: T, mut c: MatrixMut<'_, T>) {
    let columns = T::COLUMNS.min(c.columns());
    for (i, sums) in tile.chunks_exact(T::COLUMNS).take(ROWS.min(c.rows())).enumerate() {
        if c.column_stride() == 1 {
            let start = c.reborrow().split_rows(i).1.as_mut_ptr();
            // SAFETY: row i of the view has at least `columns` elements, one after the other.
            let row = unsafe { std::slice::from_raw_parts_mut(start, columns) };
            for (element, &sum) in row.iter_mut().zip(sums) {
                let value = alpha * sum;
                *element = if beta == T::ZERO { value } else { beta.mul_add(*element, value) };
            }
        } else {
            for (j, &sum) in sums.iter().enumerate().take(columns) {
                let value = alpha * sum;
                let value = if beta == T::ZERO { value } else { beta.mul_add(c.at(i, j), value) };
                c.set(i, j, value);
            }
        }
    }
}

/// Copies the rows of `lines` into panels of `width` of them, each panel by columns, padded with zeros.
fn pack<T: Lanes>(lines: Matrix<'_, T>, width: usize, out: &mut [T]) {
    let depth = lines.columns();
    for (panel, from) in out.chunks_exact_mut(depth * width).zip((0..lines.rows()).step_by(width)) {
        let count = width.min(lines.rows() - from);
        let block = lines.block(from, count, 0, depth);
        if count < width {
            panel.fill(T::ZERO);
        }
        if block.row_stride() == 1 {
            for (p, step) in panel.chunks_exact_mut(width).enumerate() {
                let column = row_slice(block.transposed(), p).unwrap_or_default();
                step[..count].copy_from_slice(column);
            }
        } else {
            for line in 0..count {
                for (p, step) in panel.chunks_exact_mut(width).enumerate() {
                    step[line] = block.at(line, p);
                }
            }
        }
    }
}
