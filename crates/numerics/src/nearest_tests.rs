//! The nearest correlation matrix against published values, against numpy, and by what it has to be.

use nautilus_hardware::Hardware;
use ndarray::{Array2, arr2};
use proptest::prelude::*;

use super::{NearestCorrelation, nearest_correlation, norm};
use crate::eigen::symmetric_eigen;
use crate::matrix::MatrixError;

/// Rows `case,row,column,value`, written by `nearest_reference.py` with numpy.
const REFERENCE: &str = include_str!("nearest_reference.csv");

fn nearest(a: &Array2<f64>) -> NearestCorrelation {
    nearest_correlation(Hardware::shared(), a).unwrap()
}

fn smallest(a: &Array2<f64>) -> f64 {
    *symmetric_eigen(a).unwrap().0.last().unwrap()
}

/// Higham (2002), section 4: the matrices as printed, and the distance of the first.
#[test]
fn meets_the_published_values() {
    let three = nearest(&arr2(&[[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]]));
    let printed = arr2(&[[1.0, 0.7607, 0.1573], [0.7607, 1.0, 0.7607], [0.1573, 0.7607, 1.0]]);
    assert!((&three.matrix - &printed).iter().all(|difference| difference.abs() < 5e-5), "{three:?}");
    assert!((three.distance - 0.5278).abs() < 5e-5);
    assert!((three.smallest_eigenvalue - (1.0 - 2.0_f64.sqrt())).abs() < 1e-15);
    let four = nearest(&arr2(&[
        [2.0, -1.0, 0.0, 0.0],
        [-1.0, 2.0, -1.0, 0.0],
        [0.0, -1.0, 2.0, -1.0],
        [0.0, 0.0, -1.0, 2.0],
    ]));
    let printed = arr2(&[
        [1.0, -0.8084, 0.1916, 0.1068],
        [-0.8084, 1.0, -0.6562, 0.1916],
        [0.1916, -0.6562, 1.0, -0.8084],
        [0.1068, 0.1916, -0.8084, 1.0],
    ]);
    assert!((&four.matrix - &printed).iter().all(|difference| difference.abs() < 5e-5), "{four:?}");
}

/// Of the reference's cases: an asset that follows another, a block that is stressed too far, and noise.
fn case(name: &str) -> Array2<f64> {
    let rows = REFERENCE.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    let rows: Vec<_> = rows.filter(|cells| cells[0] == name).collect();
    let n = rows.iter().map(|cells| cells[1].parse::<usize>().unwrap() + 1).max().unwrap();
    let mut matrix = Array2::zeros((n, n));
    for cells in rows {
        let (i, j) = (cells[1].parse::<usize>().unwrap(), cells[2].parse::<usize>().unwrap());
        let value: f64 = cells[3].parse().unwrap();
        (matrix[[i, j]], matrix[[j, i]]) = (value, value);
    }
    matrix
}

#[test]
fn agrees_with_alternating_projections() {
    for name in ["block", "noise"] {
        let found = nearest(&case(&format!("{name}_in")));
        let expected = case(&format!("{name}_out"));
        let off = norm(&(&found.matrix - &expected));
        assert!(off < 1e-8, "{name}: {off:e} after {} steps", found.iterations);
        assert!(found.iterations < 12);
    }
}

fn noise(n: usize, elements: &[f64]) -> Array2<f64> {
    let element = |i: usize, j: usize| elements[i * n + j];
    Array2::from_shape_fn((n, n), |(i, j)| if i == j { 1.0 } else { element(i.max(j), i.min(j)) })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn is_a_correlation_and_no_other_is_nearer(
        n in 2..14_usize,
        elements in prop::collection::vec(-1.0..1.0_f64, 14 * 14),
        factors in prop::collection::vec(-1.0..1.0_f64, 14 * 3),
    ) {
        let a = noise(n, &elements);
        let found = nearest(&a);
        let matrix = &found.matrix;
        prop_assert!(matrix.diag().iter().all(|element| *element == 1.0));
        prop_assert_eq!(matrix, &matrix.t());
        prop_assert!(matrix.iter().all(|element| element.abs() <= 1.0));
        prop_assert!(smallest(matrix) > -1e-12, "{}", smallest(matrix));
        prop_assert!((norm(&(matrix - &a)) - found.distance).abs() < 1e-14);
        // Its own answer.
        let again = nearest(matrix);
        prop_assert!(norm(&(&again.matrix - matrix)) < 1e-9, "{}", norm(&(&again.matrix - matrix)));
        // Any correlation of three factors, and the way to it.
        let row = |i: usize| {
            let row = &factors[3 * i..3 * i + 3];
            let size = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-3);
            [row[0] / size, row[1] / size, row[2] / size]
        };
        let other = Array2::from_shape_fn((n, n), |(i, j)| {
            if i == j { 1.0 } else { row(i).iter().zip(row(j)).map(|(a, b)| a * b).sum() }
        });
        for share in [1.0, 0.1, 0.01] {
            let between = share * &other + (1.0 - share) * matrix;
            prop_assert!(norm(&(&between - &a)) >= found.distance - 1e-12);
        }
    }
}

#[test]
fn what_is_a_correlation_stays() {
    let a = arr2(&[[1.0, 0.3, -0.2], [0.3, 1.0, 0.5], [-0.2, 0.5, 1.0]]);
    let found = nearest(&a);
    assert_eq!((&found.matrix, found.distance, found.iterations), (&a, 0.0, 0));
    assert!(found.smallest_eigenvalue > 0.0);
    // On the border: all of one piece.
    assert_eq!(nearest(&Array2::ones((5, 5))).distance, 0.0);
    assert_eq!(nearest(&Array2::zeros((0, 0))).distance, 0.0);
    assert_eq!(nearest(&arr2(&[[4.0]])).matrix, arr2(&[[1.0]]));
    let hardware = Hardware::shared();
    assert!(matches!(nearest_correlation(hardware, &Array2::zeros((2, 3))), Err(MatrixError::Hardware(_))));
    let gap = arr2(&[[1.0, f64::NAN], [f64::NAN, 1.0]]);
    assert_eq!(nearest_correlation(hardware, &gap), Err(MatrixError::NotFinite { row: 1, column: 0 }));
}
