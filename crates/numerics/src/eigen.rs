//! Eigenvalues and eigenvectors of a symmetric matrix, for the small ones that statistics leave: a hundred rows, not ten
//! thousand.
//!
//! Householder reduction to a tridiagonal matrix, then QL iterations with implicit shifts (Wilkinson and Reinsch 1971,
//! II/2 and II/4; EISPACK's tred2 and imtql2). Only additions, multiplications, divisions and roots, each rounded once,
//! in an order that follows from the matrix alone: equal matrices give equal bits on every machine. Nothing here asks
//! what is fastest, so that nothing here depends on it.

use nautilus_hardware::{Error, ShapeError};
use ndarray::{Array1, Array2, ArrayRef2};

use crate::matrix::{MatrixError, zeros};

/// Iterations, at most, for each eigenvalue. Two are usual.
const ITERATIONS_MAX: usize = 60;
/// What is smaller is taken for zero, because near the smallest numbers there are few digits left. The largest element
/// is near 1 by then.
const NOTHING: f64 = 1e-290;

/// The eigenvalues of A, the largest first, and a matrix whose row i is a unit eigenvector of value i, so that
/// A = Σᵢ λᵢ·vᵢ·vᵢᵀ. Only the lower triangle of A is read. Errors are some roundings of the largest |λ|, also in the
/// small eigenvalues; the rows are orthogonal to rounding, whatever the eigenvalues. Which of v and −v a row holds, and
/// which basis the vectors of one repeated eigenvalue are, means nothing.
///
/// # Errors
/// A is not square, an element is not finite or an eigenvalue would not be; or it does not converge, which no matrix is
/// known to do.
pub fn symmetric_eigen(a: &ArrayRef2<f64>) -> Result<(Array1<f64>, Array2<f64>), MatrixError> {
    let (n, columns) = a.dim();
    if n != columns {
        let what = "rows and columns of a symmetric matrix";
        return Err(Error::from(ShapeError::Mismatch { what, left: n, right: columns }).into());
    }
    let mut vectors = zeros(n, n)?;
    if n == 0 {
        return Ok((Array1::zeros(0), vectors));
    }
    let (mut full, exponent) = scaled(a)?;
    let (mut diagonal, mut beside) = tridiagonal(&mut full, n);
    let mut rows = reflected(&full, n);
    iterate(&mut diagonal, &mut beside, &mut rows, ITERATIONS_MAX)?;
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| diagonal[*b].total_cmp(&diagonal[*a]));
    let values: Array1<f64> = order.iter().map(|at| libm::ldexp(diagonal[*at], exponent)).collect();
    if !values.iter().all(|value| value.is_finite()) {
        return Err(MatrixError::Overflow);
    }
    for (mut vector, at) in vectors.rows_mut().into_iter().zip(order) {
        vector.iter_mut().zip(&rows[at * n..]).for_each(|(to, from)| *to = *from);
    }
    Ok((values, vectors))
}

/// Both triangles of A, row by row, divided by a power of two that brings the largest element into 0.5..1, and the
/// exponent of that power. Nothing is rounded.
fn scaled(a: &ArrayRef2<f64>) -> Result<(Vec<f64>, i32), MatrixError> {
    let n = a.nrows();
    let mut largest: f64 = 0.0;
    for (row, elements) in a.rows().into_iter().enumerate() {
        for (column, element) in elements.iter().take(row + 1).enumerate() {
            if !element.is_finite() {
                return Err(MatrixError::NotFinite { row, column });
            }
            largest = largest.max(element.abs());
        }
    }
    let (_, exponent) = libm::frexp(largest);
    let mut full = vec![0.0; n * n];
    for (row, elements) in a.rows().into_iter().enumerate() {
        for (column, element) in elements.iter().take(row + 1).enumerate() {
            let element = libm::ldexp(*element, -exponent);
            full[row * n + column] = element;
            full[column * n + row] = element;
        }
    }
    Ok((full, exponent))
}

/// Reduces `full`, n×n, from its last row on by reflections I − u·uᵀ/h with h = u·u/2, and answers the diagonal and what
/// stands before each of its elements. Row k of `full` keeps its u in the first k places and h behind them; h is 0 where
/// there was nothing to reflect.
fn tridiagonal(full: &mut [f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut diagonal, mut beside) = (vec![0.0; n], vec![0.0; n]);
    let (mut products, mut vector) = (vec![0.0; n], vec![0.0; n]);
    for k in (0..n).rev() {
        let (block, rest) = full.split_at_mut(k * n);
        diagonal[k] = rest[k];
        rest[k] = 0.0;
        let Some(last) = k.checked_sub(1) else { break };
        let u = &mut rest[..k];
        let others = squares(&u[..last]);
        beside[k] = u[last];
        if others < NOTHING {
            continue;
        }
        let old = u[last];
        let norm = (others + old * old).sqrt();
        let new = if old < 0.0 { norm } else { -norm };
        // Both of one sign: nothing cancels.
        let h = norm * (norm + old.abs());
        u[last] = old - new;
        beside[k] = new;
        rest[k] = h;
        // B ← (I − u·uᵀ/h)·B·(I − u·uᵀ/h) for the block B above, as B − u·qᵀ − q·uᵀ.
        let (u, q) = (&mut vector[..k], &mut products[..k]);
        u.copy_from_slice(&rest[..k]);
        q.fill(0.0);
        for (row, factor) in block.chunks_exact(n).zip(&*u) {
            add(q, factor / h, &row[..k]);
        }
        let half: f64 = u.iter().zip(&*q).map(|(u, q)| u * q).sum::<f64>() / (2.0 * h);
        add(q, -half, u);
        for (row, (u_row, q_row)) in block.chunks_exact_mut(n).zip(u.iter().zip(&*q)) {
            for (element, (u, q)) in row.iter_mut().zip(u.iter().zip(&*q)) {
                *element -= u_row * q + q_row * u;
            }
        }
    }
    (diagonal, beside)
}

/// The transposed product of the reflections that [`tridiagonal`] left in `full`.
fn reflected(full: &[f64], n: usize) -> Vec<f64> {
    let mut product = vec![0.0; n * n];
    let mut sums = vec![0.0; n];
    for k in 0..n {
        product[k * n + k] = 1.0;
        let (u, h) = (&full[k * n..k * n + k], full[k * n + k]);
        if h == 0.0 {
            continue;
        }
        // Only the first k rows and columns are not those of the identity.
        let sums = &mut sums[..k];
        sums.fill(0.0);
        for (row, factor) in product.chunks_exact(n).zip(u) {
            add(sums, factor / h, &row[..k]);
        }
        for (row, factor) in product.chunks_exact_mut(n).zip(u) {
            add(&mut row[..k], -factor, sums);
        }
    }
    let mut transposed = vec![0.0; n * n];
    for (row, elements) in product.chunks_exact(n).enumerate() {
        elements.iter().enumerate().for_each(|(column, element)| transposed[column * n + row] = *element);
    }
    transposed
}

/// Brings the tridiagonal matrix to diagonal form and turns `rows` with it. `beside[i]` stands before `diagonal[i]`.
fn iterate(
    diagonal: &mut [f64],
    beside: &mut [f64],
    rows: &mut [f64],
    iterations_max: usize,
) -> Result<(), MatrixError> {
    let n = diagonal.len();
    // From here on what stands behind each element.
    beside.rotate_left(1);
    for low in 0..n {
        let mut iterations = 0;
        loop {
            let small = |at: &usize| {
                let around = diagonal[*at].abs() + diagonal[*at + 1].abs();
                beside[*at].abs() <= (f64::EPSILON * around).max(NOTHING)
            };
            let high = (low..n - 1).find(small).unwrap_or(n - 1);
            if high == low {
                break;
            }
            if iterations == iterations_max {
                return Err(MatrixError::NotConverged { iterations });
            }
            iterations += 1;
            step(diagonal, beside, rows, (low, high));
        }
    }
    Ok(())
}

/// One QL step on the rows and columns from `low` to `high`.
fn step(d: &mut [f64], e: &mut [f64], rows: &mut [f64], (low, high): (usize, usize)) {
    let n = d.len();
    let half = (d[low + 1] - d[low]) / (2.0 * e[low]);
    let mut g = d[high] - d[low] + e[low] / (half + libm::hypot(half, 1.0).copysign(half));
    let (mut sine, mut cosine, mut taken) = (1.0, 1.0, 0.0);
    for at in (low..high).rev() {
        let (f, b) = (sine * e[at], cosine * e[at]);
        let r = libm::hypot(f, g);
        e[at + 1] = r;
        if r < NOTHING {
            // It falls apart here: the rest is another step's.
            d[at + 1] -= taken;
            e[high] = 0.0;
            return;
        }
        (sine, cosine) = (f / r, g / r);
        g = d[at + 1] - taken;
        let turned = (d[at] - g) * sine + 2.0 * cosine * b;
        taken = sine * turned;
        d[at + 1] = g + taken;
        g = cosine * turned - b;
        let (above, below) = rows[at * n..(at + 2) * n].split_at_mut(n);
        for (above, below) in above.iter_mut().zip(below) {
            (*above, *below) = (cosine * *above - sine * *below, sine * *above + cosine * *below);
        }
    }
    d[low] -= taken;
    e[low] = g;
    e[high] = 0.0;
}

fn squares(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum()
}

/// y ← factor·x + y.
fn add(y: &mut [f64], factor: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
}

#[cfg(test)]
#[path = "eigen_tests.rs"]
mod tests;
