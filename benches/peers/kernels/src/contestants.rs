//! Who multiplies: ours by plan, by the router and by each backend alone, and the peers.

use std::sync::Arc;

use nautilus_hardware::{
    Backend, BackendId, Element, Gemm, Hardware, Job, Matrix, MatrixMut, Task, backends,
};

use crate::Real;
use crate::blas::Blas;
use crate::race::Contestant;

/// Rows and columns of the result, and the length of each sum.
pub type Shape = (usize, usize, usize);

/// C ← A·B, all by rows.
pub type Product<T> = dyn FnMut(Matrix<'_, T>, Matrix<'_, T>, &mut MatrixMut<'_, T>);

/// Everyone who runs in one race.
pub type Contenders<T> = Vec<Contestant<Product<T>>>;

/// Backends that stand in the table by themselves.
const ALONE: [BackendId; 5] =
    [BackendId::Portable, BackendId::Avx2, BackendId::Avx512, BackendId::Large, BackendId::Gpu];

/// A, B and C of a shape: numbers of a fixed sequence between -1 and 1.
pub fn operands<T: Element>((m, n, k): Shape) -> (Vec<T>, Vec<T>, Vec<T>) {
    let mut state = 0x9E37_79B9_u32;
    let mut numbers = |count: usize| -> Vec<T> {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            T::from_f64(f64::from(state >> 8) / f64::from(1 << 23) - 1.0)
        };
        (0..count).map(|_| next()).collect()
    };
    (numbers(m * k), numbers(k * n), numbers(m * n))
}

/// The operands by rows.
pub fn views<'a, T: Element>(
    (m, n, k): Shape,
    a: &'a [T],
    b: &'a [T],
    c: &'a mut [T],
) -> (Matrix<'a, T>, Matrix<'a, T>, MatrixMut<'a, T>) {
    let a = Matrix::row_major(a, m, k).expect("A is as long as its shape");
    let b = Matrix::row_major(b, k, n).expect("B is as long as its shape");
    (a, b, MatrixMut::row_major(c, m, n).expect("C is as long as its shape"))
}

/// Whether all are by rows and of this shape: what the peers, which take pointers, rely on.
#[inline]
pub fn is_of<T>((m, n, k): Shape, a: &Matrix<'_, T>, b: &Matrix<'_, T>, c: &MatrixMut<'_, T>) -> bool {
    (a.rows(), a.row_stride(), b.rows(), b.row_stride(), c.rows(), c.row_stride()) == (m, k, k, n, m, n)
}

fn job<'a, T: Element>(a: Matrix<'a, T>, b: Matrix<'a, T>, c: &'a mut MatrixMut<'_, T>) -> Job<'a> {
    T::job(Task::Gemm(Gemm::new(T::ONE, a, b, T::ZERO, c.reborrow()).expect("shapes belong together")))
}

/// Everyone who can multiply this shape.
pub fn contestants<T: Real>(hardware: &'static Hardware, peers: &[Blas], shape: Shape) -> Contenders<T> {
    let mut entered: Contenders<T> = Vec::new();
    let mut enter =
        |name: &str, run: Box<Product<T>>| entered.push(Contestant { name: name.to_owned(), run });
    if let Some(run) = planned::<T>(shape) {
        enter("JIT plan", run);
    }
    enter(
        "router",
        Box::new(move |a, b, c| {
            hardware.run(job(a, b, c)).expect("some backend can");
        }),
    );
    for backend in backends::available() {
        if ALONE.contains(&backend.id()) && backend.supports(&spec::<T>(shape)) {
            enter(backend.id().as_str(), alone(backend));
        }
    }
    for peer in peers {
        let call = peer.gemm::<T>(shape);
        enter(&peer.name, Box::new(move |a, b, c| call(a, b, c)));
        if let Some(call) = peer.jit::<T>(shape) {
            enter("oneMKL JIT", Box::new(move |a, b, c| call(a, b, c)));
        }
    }
    enter("nano-gemm", Box::new(move |a, b, c| T::nano_gemm(shape, a, b, c)));
    enter("matrixmultiply", Box::new(move |a, b, c| T::matrixmultiply(shape, a, b, c)));
    enter("faer", Box::new(move |a, b, c| faer_product(shape, a, b, c)));
    entered
}

fn spec<T: Element>(shape: Shape) -> nautilus_hardware::Spec {
    let (a, b, mut c) = operands::<T>(shape);
    let (a, b, mut c) = views(shape, &a, &b, &mut c);
    job(a, b, &mut c).spec()
}

/// The generated kernel by itself, as oneMKL's JIT hands it out.
pub fn planned<T: Real>(shape: Shape) -> Option<Box<Product<T>>> {
    let (m, n, k) = shape;
    let plan = nautilus_hardware::jit::Plan::<T>::gemm(
        nautilus_hardware::jit::GemmShape::row_major(m, n, k),
        T::ONE,
        T::ZERO,
    )
    .ok()?;
    Some(Box::new(move |a, b, c| plan.run(a, b, c.reborrow()).expect("the planned shape")))
}

fn alone<T: Real>(backend: Arc<dyn Backend>) -> Box<Product<T>> {
    Box::new(move |a, b, c| backend.run(&mut job(a, b, c)).expect("it supports the shape"))
}

fn faer_product<T: Real>((m, n, k): Shape, a: Matrix<'_, T>, b: Matrix<'_, T>, c: &mut MatrixMut<'_, T>) {
    assert!(is_of((m, n, k), &a, &b, c));
    let [across, along] = [n, k].map(|stride| stride as isize);
    // SAFETY: the views have the shape, which was just checked.
    let (c, a, b) = unsafe {
        (
            faer::MatMut::from_raw_parts_mut(c.as_mut_ptr(), m, n, across, 1),
            faer::MatRef::from_raw_parts(a.as_ptr(), m, k, along, 1),
            faer::MatRef::from_raw_parts(b.as_ptr(), k, n, across, 1),
        )
    };
    faer::linalg::matmul::matmul(c, faer::Accum::Replace, a, b, T::ONE, faer::Par::Seq);
}

/// That all agree with plain loops in f64, to k units of the last place of the terms.
pub fn compare<T: Real>(
    (m, n, k): Shape,
    a: &[T],
    b: &[T],
    c: &mut [T],
    entered: &mut [Contestant<Product<T>>],
) {
    let unit = if T::LETTER == 's' { f64::from(f32::EPSILON) } else { f64::EPSILON };
    // Every row of a long result would take minutes.
    let rows: Vec<usize> = (0..m).step_by((m / 50).max(1)).collect();
    let term = |i: usize, j: usize, p: usize| a[i * k + p].to_f64() * b[p * n + j].to_f64();
    let expected: Vec<(f64, f64)> = rows
        .iter()
        .flat_map(|&i| (0..n).map(move |j| (i, j)))
        .map(|(i, j)| (0..k).map(|p| term(i, j, p)).fold((0.0, 0.0), |(s, t), x| (s + x, t + x.abs())))
        .collect();
    for contestant in entered {
        c.fill(T::from_f64(f64::NAN));
        let (left, right, mut result) = views((m, n, k), a, b, c);
        (contestant.run)(left, right, &mut result);
        let got = rows.iter().flat_map(|&i| c[i * n..(i + 1) * n].iter());
        for (got, (sum, size)) in got.zip(&expected) {
            let off = (got.to_f64() - sum).abs();
            assert!(off <= 2.0 * (k + 3) as f64 * unit * size, "{} is off by {off:e}", contestant.name);
        }
    }
}
