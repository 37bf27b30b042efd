//! Eigenvalues against closed forms, against stored bits, and by what they mean.

use ndarray::Array2;
use proptest::prelude::*;

use super::{iterate, symmetric_eigen};
use crate::matrix::MatrixError;

fn symmetric(n: usize, element: impl Fn(usize, usize) -> f64) -> Array2<f64> {
    Array2::from_shape_fn((n, n), |(i, j)| element(i.max(j), i.min(j)))
}

/// The largest error of A·v = λ·v, as a share of the largest |λ|, and of the orthogonality of the vectors.
fn errors(a: &Array2<f64>) -> (f64, f64) {
    let (values, vectors) = symmetric_eigen(a).unwrap();
    assert!(values.iter().is_sorted_by(|a, b| a >= b), "the largest first: {values}");
    let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let (mut residual, mut skew) = (0.0_f64, 0.0_f64);
    for (i, vector) in vectors.rows().into_iter().enumerate() {
        for (row, component) in a.rows().into_iter().zip(vector) {
            // Divided first, so that nothing overflows.
            let sum: f64 = row.iter().zip(vector).map(|(a, v)| a / largest.max(1e-300) * v).sum();
            residual = residual.max((sum - values[i] / largest.max(1e-300) * component).abs());
        }
        for (j, other) in vectors.rows().into_iter().enumerate().take(i + 1) {
            let product: f64 = vector.iter().zip(other).map(|(a, b)| a * b).sum();
            skew = skew.max((product - f64::from(u8::from(i == j))).abs());
        }
    }
    (residual, skew)
}

fn is_decomposed(a: &Array2<f64>) {
    let (residual, skew) = errors(a);
    assert!(residual < 2e-14 && skew < 2e-14, "{residual:e} {skew:e} of\n{a:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn vectors_are_orthonormal_and_the_matrix_only_stretches_them(
        n in 1..40_usize,
        elements in prop::collection::vec(-1.0..1.0_f64, 40 * 40),
        rank in 1..40_usize,
        spread in 0.0..12.0_f64,
    ) {
        let any = symmetric(n, |i, j| elements[i * n + j]);
        is_decomposed(&any);
        let values = symmetric_eigen(&any).unwrap().0;
        prop_assert!((values.sum() - any.diag().sum()).abs() < 1e-13 * n as f64);
        let squares = |x: &mut dyn Iterator<Item = &f64>| x.map(|x| x * x).sum::<f64>();
        let (left, right) = (squares(&mut values.iter()), squares(&mut any.iter()));
        prop_assert!((left - right).abs() < 1e-13 * right);
        // Of little rank: many eigenvalues are rounding.
        let inner = |i: usize, j: usize| (0..rank).map(|p| elements[i * 40 + p] * elements[j * 40 + p]).sum();
        is_decomposed(&symmetric(n, inner));
        // Elements of very different sizes, the largest at either end.
        let size = |i: usize| 10_f64.powf(-spread * i as f64);
        is_decomposed(&symmetric(n, |i, j| elements[i * n + j] * size(i) * size(j)));
        is_decomposed(&symmetric(n, |i, j| elements[i * n + j] * size(n - 1 - i) * size(n - 1 - j)));
    }
}

#[test]
fn second_differences_have_cosines_for_eigenvalues() {
    for n in [1_usize, 2, 3, 10, 128] {
        let a = symmetric(n, |i, j| match i - j {
            0 => 2.0,
            1 => -1.0,
            _ => 0.0,
        });
        is_decomposed(&a);
        for (i, value) in symmetric_eigen(&a).unwrap().0.iter().enumerate() {
            let expected = 2.0 + 2.0 * libm::cos(std::f64::consts::PI * (i + 1) as f64 / (n + 1) as f64);
            assert!((value - expected).abs() < 1e-14, "{n}, {i}: {value} is not {expected}");
        }
    }
}

/// What another machine has to give as well; the smallest of these eigenvalues is rounding.
#[test]
fn the_bits_are_those_of_every_machine() {
    let hilbert = symmetric(14, |i, j| 1.0 / (i + j + 1) as f64);
    let (values, vectors) = symmetric_eigen(&hilbert).unwrap();
    let mixed =
        |mixed: u64, value: &f64| mixed.rotate_left(5) ^ value.to_bits().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let bits = values.iter().chain(&vectors).fold(0, mixed);
    assert_eq!(
        (values[0].to_bits(), values[13].to_bits(), bits),
        (0x3ffd_4a1d_a9f3_58b3, 0xbc73_e1d6_2c85_0fb7, 0x9de4_966a_73d9_8585)
    );
}

#[test]
fn what_is_special_is_decomposed_too() {
    is_decomposed(&Array2::eye(20));
    is_decomposed(&Array2::zeros((5, 5)));
    is_decomposed(&Array2::ones((30, 30)));
    is_decomposed(&symmetric(9, |i, j| f64::from(u8::from(i == j)) * (i as f64 - 4.0)));
    is_decomposed(&ndarray::array![[0.0, 1.0], [1.0, 0.0]]);
    // Wilkinson's matrix of close pairs.
    is_decomposed(&symmetric(21, |i, j| match i - j {
        0 => (i as f64 - 10.0).abs(),
        1 => 1.0,
        _ => 0.0,
    }));
    // Beside the smallest numbers there are few digits.
    for tiny in [1e-160, 1e-300, 1e-310, 5e-324] {
        let ends = |i: usize| if i == 2 { 1.0 } else { tiny };
        is_decomposed(&symmetric(5, |i, j| ends(i) * ends(j) * if i == j { 3.0 } else { 1.0 }));
        is_decomposed(&symmetric(6, |i, j| if i < 3 { tiny * (1 + i * j) as f64 } else { (i + j) as f64 }));
    }
    assert_eq!(symmetric_eigen(&Array2::zeros((0, 0))).unwrap().0.len(), 0);
    let (values, vectors) = symmetric_eigen(&ndarray::array![[-3.0]]).unwrap();
    assert_eq!((values[0], vectors[[0, 0]]), (-3.0, 1.0));
}

#[test]
fn a_power_of_two_changes_no_vector() {
    let a = symmetric(12, |i, j| ((i * 7 + j * 5) % 11) as f64 - 5.0);
    let (values, vectors) = symmetric_eigen(&a).unwrap();
    for exponent in [-1000, -1, 600, 1015] {
        let (other_values, other_vectors) = symmetric_eigen(&a.mapv(|a| libm::ldexp(a, exponent))).unwrap();
        assert_eq!(other_vectors, vectors);
        assert_eq!(other_values, values.mapv(|value| libm::ldexp(value, exponent)));
    }
}

#[test]
fn only_the_lower_triangle_is_read() {
    let a = symmetric(7, |i, j| (i * j) as f64 + 1.0 / (i + 1) as f64);
    let mut lower = a.clone();
    lower.indexed_iter_mut().filter(|((i, j), _)| j > i).for_each(|(_, element)| *element = f64::NAN);
    assert_eq!(symmetric_eigen(&lower), symmetric_eigen(&a));
}

#[test]
fn what_has_no_eigenvalues_is_said_in_one_sentence() {
    let said = |a: &Array2<f64>| symmetric_eigen(a).unwrap_err().to_string();
    assert!(said(&Array2::zeros((2, 3))).contains("2 is not 3"));
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut a = Array2::eye(3);
        a[[2, 1]] = bad;
        assert_eq!(symmetric_eigen(&a), Err(MatrixError::NotFinite { row: 2, column: 1 }));
        assert!(said(&a).contains("row 2, column 1"));
    }
    assert_eq!(symmetric_eigen(&Array2::from_elem((4, 4), f64::MAX)), Err(MatrixError::Overflow));
    let error = iterate(&mut [1.0, 2.0], &mut [0.0, 1.0], &mut [1.0, 0.0, 0.0, 1.0], 0);
    assert!(error.unwrap_err().to_string().contains("within 0 iterations"));
}
