//! Products and reductions: GEMM, GEMV, SYRK, batches, quadratic forms, dot, axpy and 8-bit GEMM.

use nautilus_hardware::{
    Axpy, Backend, Batch, BatchMut, BatchedGemm, Dot, Element, Gemm, GemmI8, Job, Matrix, MatrixMut,
    QuadraticForm, Syrk, Task, backends,
};
use proptest::prelude::*;

use crate::cases::{Lie, Numbers, Owned, bound, lie, scale, size};
use crate::ran;

/// One random product.
#[derive(Debug, Clone)]
struct Product {
    shape: (usize, usize, usize),
    scales: (f64, f64),
    lies: [Lie; 3],
    seed: u64,
}

fn product() -> impl Strategy<Value = Product> {
    let shape = prop_oneof![4 => (size(), size(), size()), 1 => (size(), Just(1), size()), 1 => (Just(1), size(), size())];
    (shape, (scale(), scale()), [lie(), lie(), lie()], any::<u64>())
        .prop_map(|(shape, scales, lies, seed)| Product { shape, scales, lies, seed })
}

/// Checks every element of a result that was `old` before.
fn assert_close<T: Element>(
    backend: &dyn Backend,
    (alpha, beta): (f64, f64),
    k: usize,
    old: &Owned<T>,
    new: &Owned<T>,
    terms: impl Fn(usize, usize, usize) -> f64,
) {
    for i in 0..new.rows {
        for j in 0..new.columns {
            let (mut sum, mut size) = (0.0, 0.0);
            if alpha != 0.0 {
                for p in 0..k {
                    sum += terms(i, j, p);
                    size += terms(i, j, p).abs();
                }
            }
            let before = if beta == 0.0 { 0.0 } else { old.get(i, j) };
            let expected = alpha * sum + beta * before;
            let allowed = bound::<T>(k, alpha.abs() * size + (beta * before).abs());
            let got = new.get(i, j);
            assert!(
                (got - expected).abs() <= allowed,
                "{} ({}): element ({i}, {j}) is {got}, not {expected} ± {allowed:e}",
                backend.id(),
                T::TYPE
            );
        }
    }
    new.assert_only_inside_written();
}

fn check_gemm<T: Element>(case: &Product) {
    let Product { shape: (m, n, k), scales, lies, seed } = *case;
    let mut numbers = Numbers(seed);
    let a = Owned::<T>::new(m, k, lies[0], |_, _| numbers.next());
    let b = Owned::<T>::new(k, n, lies[1], |_, _| numbers.next());
    // What is overwritten must not be read.
    let c = Owned::<T>::new(m, n, lies[2], |_, _| if scales.1 == 0.0 { f64::NAN } else { numbers.next() });
    for backend in backends::available() {
        let mut result = c.clone();
        let (alpha, beta) = (T::from_f64(scales.0), T::from_f64(scales.1));
        let gemm = Gemm::new(alpha, a.view(), b.view(), beta, result.view_mut()).unwrap();
        if ran(&*backend, T::job(Task::Gemm(gemm))) {
            assert_close(&*backend, scales, k, &c, &result, |i, j, p| a.get(i, p) * b.get(p, j));
        }
    }
}

fn check_syrk<T: Element>(case: &Product) {
    let Product { shape: (m, _, k), scales, lies, seed } = *case;
    let mut numbers = Numbers(seed);
    let a = Owned::<T>::new(m, k, lies[0], |_, _| numbers.next());
    // Only the lower triangle is read.
    let lower = Owned::<T>::new(m, m, lies[2], |i, j| {
        if scales.1 == 0.0 || j > i { f64::NAN } else { Numbers(seed ^ (i * 131 + j) as u64).next() }
    });
    let c = Owned::<T>::new(m, m, lies[2], |i, j| lower.get(i.max(j), i.min(j)));
    for backend in backends::available() {
        let mut result = lower.clone();
        let (alpha, beta) = (T::from_f64(scales.0), T::from_f64(scales.1));
        let syrk = Syrk::new(alpha, a.view(), beta, result.view_mut()).unwrap();
        if ran(&*backend, T::job(Task::Syrk(syrk))) {
            assert_close(&*backend, scales, k, &c, &result, |i, j, p| a.get(i, p) * a.get(j, p));
            for i in 0..m {
                for j in 0..i {
                    assert_eq!(result.get(i, j).to_bits(), result.get(j, i).to_bits(), "{}", backend.id());
                }
            }
        }
    }
}

fn check_batch<T: Element>(case: &Product, count: usize, gap: usize) {
    let Product { shape: (m, n, k), scales, seed, .. } = *case;
    let (m, n, k) = (m.min(40), n.min(40), k.min(40));
    let mut numbers = Numbers(seed);
    let mut random = |len: usize| (0..len).map(|_| T::from_f64(numbers.next())).collect::<Vec<T>>();
    let (a, shared, c) = (random(count * (m * k + gap)), random(k * n), random(count * (m * n + gap)));
    for backend in backends::available() {
        let mut result = c.clone();
        let (alpha, beta) = (T::from_f64(scales.0), T::from_f64(scales.1));
        let all = BatchedGemm::new(
            alpha,
            Batch::new(&a, count, m * k + gap, (m, k), (k, 1)).unwrap(),
            Batch::new(&shared, count, 0, (k, n), (n, 1)).unwrap(),
            beta,
            BatchMut::new(&mut result, count, m * n + gap, (m, n), (n, 1)).unwrap(),
        )
        .unwrap();
        if !ran(&*backend, T::job(Task::BatchedGemm(all))) {
            continue;
        }
        for (index, (new, old)) in result.chunks(m * n + gap).zip(c.chunks(m * n + gap)).enumerate() {
            let a = &a[index * (m * k + gap)..];
            for i in 0..m {
                for j in 0..n {
                    let term = |p: usize| a[i * k + p].to_f64() * shared[p * n + j].to_f64();
                    let sum: f64 = if scales.0 == 0.0 { 0.0 } else { (0..k).map(term).sum() };
                    let size: f64 = (0..k).map(|p| term(p).abs()).sum();
                    let before = scales.1 * old[i * n + j].to_f64();
                    let difference = (new[i * n + j].to_f64() - scales.0 * sum - before).abs();
                    let allowed = bound::<T>(k, scales.0.abs() * size + before.abs());
                    assert!(difference <= allowed, "{}: matrix {index}, ({i}, {j})", backend.id());
                }
            }
            assert_eq!(new[m * n..], old[m * n..], "{} wrote between two matrices", backend.id());
        }
    }
}

fn check_reductions<T: Element>(length: usize, lies: [Lie; 3], seed: u64) {
    let mut numbers = Numbers(seed);
    let x = Owned::<T>::new(length, 1, lies[0], |_, _| numbers.next());
    let y = Owned::<T>::new(length, 1, lies[1], |_, _| numbers.next());
    let order = length.min(130);
    let a = Owned::<T>::new(order, order, lies[2], |_, _| numbers.next());
    let short = Owned::<T>::new(order, 1, lies[0], |_, _| numbers.next());
    let close = |backend: &dyn Backend, got: f64, terms: &[f64]| {
        let (sum, size): (f64, f64) = (terms.iter().sum(), terms.iter().map(|t| t.abs()).sum());
        let allowed = bound::<T>(length + order, size);
        assert!((got - sum).abs() <= allowed, "{}: {got} is not {sum} ± {allowed:e}", backend.id());
    };
    for backend in backends::available() {
        let mut result = T::from_f64(f64::NAN);
        if ran(&*backend, T::job(Task::Dot(Dot::new(x.view(), y.view(), &mut result).unwrap()))) {
            let terms: Vec<f64> = (0..length).map(|i| x.get(i, 0) * y.get(i, 0)).collect();
            close(&*backend, result.to_f64(), &terms);
        }
        let form = QuadraticForm::new(a.view(), short.view(), &mut result).unwrap();
        if ran(&*backend, T::job(Task::QuadraticForm(form))) {
            let term = |at: usize| {
                short.get(at / order, 0) * a.get(at / order, at % order) * short.get(at % order, 0)
            };
            close(&*backend, result.to_f64(), &(0..order * order).map(term).collect::<Vec<_>>());
        }
        let (alpha, mut sum) = (-0.75, y.clone());
        let axpy = Axpy::new(T::from_f64(alpha), x.view(), sum.view_mut()).unwrap();
        if ran(&*backend, T::job(Task::Axpy(axpy))) {
            for i in 0..length {
                close(&*backend, sum.get(i, 0), &[alpha * x.get(i, 0), y.get(i, 0)]);
            }
            sum.assert_only_inside_written();
        }
    }
}

fn check_integers(
    (m, n, k): (usize, usize, usize),
    by_rows: [bool; 3],
    gap: usize,
    seed: u64,
    extremes: bool,
) {
    let mut numbers = Numbers(seed);
    let mut byte = || (numbers.next() * 127.9) as i8;
    let lies = |rows: usize, columns: usize, by_rows: bool| {
        if by_rows {
            (columns + gap, 1, rows * (columns + gap))
        } else {
            (1, rows + gap, columns * (rows + gap))
        }
    };
    let [of_a, of_b, of_c] = [lies(m, k, by_rows[0]), lies(k, n, by_rows[1]), lies(m, n, by_rows[2])];
    let a: Vec<u8> = (0..of_a.2).map(|_| if extremes { 255 } else { byte().cast_unsigned() }).collect();
    let b: Vec<i8> = (0..of_b.2).map(|_| if extremes { -128 } else { byte() }).collect();
    let before = vec![i32::MIN; of_c.2];
    let mut expected = before.clone();
    for i in 0..m {
        for j in 0..n {
            let term = |p| i32::from(a[i * of_a.0 + p * of_a.1]) * i32::from(b[p * of_b.0 + j * of_b.1]);
            expected[i * of_c.0 + j * of_c.1] = (0..k).map(term).sum();
        }
    }
    for backend in backends::available() {
        let mut c = before.clone();
        let gemm = GemmI8::new(
            Matrix::new(&a, m, k, of_a.0, of_a.1).unwrap(),
            Matrix::new(&b, k, n, of_b.0, of_b.1).unwrap(),
            MatrixMut::new(&mut c, m, n, of_c.0, of_c.1).unwrap(),
        );
        if ran(&*backend, Job::I8(gemm.unwrap())) {
            assert_eq!(c, expected, "{}: {m}×{n}×{k}", backend.id());
        }
    }
}

/// Sums and columns longer than one block or buffer of any backend.
#[test]
fn several_blocks() {
    let shapes = [(26, 26, 470), (26, 26, 900), (1100, 1, 29), (1, 1100, 29)];
    let orders = (0..8).map(|bits| [1, 2, 4].map(|bit| bits & bit == 0));
    for (shape, orders) in orders.flat_map(|orders| shapes.map(|shape| (shape, orders))) {
        let lies = orders.map(|by_rows| Lie { by_rows, gap: 1, spread: 0, offset: 1 });
        let case = Product { shape, scales: (0.5, -1.75), lies, seed: 7 };
        check_gemm::<f32>(&case);
        check_gemm::<f64>(&case);
        if shape.0 == shape.1 {
            check_syrk::<f32>(&case);
            check_syrk::<f64>(&case);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn gemm_f32(case in product()) { check_gemm::<f32>(&case); }

    #[test]
    fn gemm_f64(case in product()) { check_gemm::<f64>(&case); }

    #[test]
    fn syrk(case in product()) {
        check_syrk::<f32>(&case);
        check_syrk::<f64>(&case);
    }

    #[test]
    fn batches(case in product(), count in 0..7_usize, gap in 0..3_usize) {
        check_batch::<f32>(&case, count, gap);
        check_batch::<f64>(&case, count, gap);
    }

    #[test]
    fn reductions(length in prop_oneof![size(), 131..3000_usize], lies in [lie(), lie(), lie()], seed in any::<u64>()) {
        check_reductions::<f32>(length, lies, seed);
        check_reductions::<f64>(length, lies, seed);
    }

    #[test]
    fn integers(shape in (size(), size(), size()), by_rows in any::<[bool; 3]>(), gap in 0..3_usize, seed in any::<u64>(), extremes in prop::bool::weighted(0.1)) {
        check_integers(shape, by_rows, gap, seed, extremes);
    }
}
