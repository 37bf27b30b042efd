//! NaN, infinities and zeros.

use nautilus_hardware::{Element, Gemm, Matrix, MatrixMut, Task, backends};

use crate::ran;

/// One product of an m×3 with a 3×n matrix whose middle column and row are `left` and `right`, everywhere.
fn middle<T: Element>(left: f64, right: f64, (m, n): (usize, usize)) -> Vec<(String, Vec<f64>)> {
    let of = |value: f64| T::from_f64(value);
    let a: Vec<T> = (0..m).flat_map(|_| [of(1.0), of(left), of(1.0)]).collect();
    let b: Vec<T> = [1.0, right, 1.0].iter().flat_map(|&v| vec![of(v); n]).collect();
    let mut results = Vec::new();
    for backend in backends::available() {
        let mut c = vec![of(5.0); m * n];
        let gemm = Gemm::new(
            T::ONE,
            Matrix::row_major(&a, m, 3).unwrap(),
            Matrix::row_major(&b, 3, n).unwrap(),
            T::ZERO,
            MatrixMut::row_major(&mut c, m, n).unwrap(),
        )
        .unwrap();
        if ran(&*backend, T::job(Task::Gemm(gemm))) {
            results.push((backend.id().to_string(), c.iter().map(|v| v.to_f64()).collect()));
        }
    }
    results
}

fn check<T: Element>() {
    for shape in [(1, 1), (5, 9), (17, 33), (64, 64)] {
        for (left, right, expected) in [
            (f64::NAN, 1.0, f64::NAN),
            (f64::INFINITY, 2.0, f64::INFINITY),
            (f64::INFINITY, -2.0, f64::NEG_INFINITY),
            (f64::INFINITY, 0.0, f64::NAN),
            (0.0, 7.0, 2.0),
        ] {
            for (backend, c) in middle::<T>(left, right, shape) {
                for value in c {
                    let same = value == expected || (value.is_nan() && expected.is_nan());
                    assert!(same, "{backend}: {left} · {right} gives {value}");
                }
            }
        }
    }
}

#[test]
fn nan_and_infinities_propagate() {
    check::<f32>();
    check::<f64>();
}
