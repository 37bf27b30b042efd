//! Covariances and what is built on them, against numpy on real prices, against plain loops, and by their properties.

use std::collections::BTreeMap;
use std::io::Read as _;

use nautilus_hardware::{Error, Failure, Hardware};
use nautilus_testkit::shared_data;
use ndarray::{Array1, Array2, ArrayView2, Axis, Slice, aview1};
use proptest::prelude::*;

use super::{correlation, covariance, ewma_covariance};
use crate::matrix::{MatrixError, cholesky, product, quadratic_form, solve_spd};

/// Rows `name,row,column,value`, written by `covariance_reference.py` with numpy.
const REFERENCE: &str = include_str!("covariance_reference.csv");

fn reference() -> BTreeMap<&'static str, Vec<(usize, usize, f64)>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for line in REFERENCE.lines().skip(1) {
        let cells: Vec<_> = line.split(',').collect();
        let value = (cells[1].parse().unwrap(), cells[2].parse().unwrap(), cells[3].parse().unwrap());
        all.entry(cells[0]).or_default().push(value);
    }
    all
}

/// Simple daily returns of 20 US shares.
fn returns() -> Option<Array2<f64>> {
    let file = std::fs::File::open(shared_data("prices_skfolio/sp500_dataset.csv.gz")?).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let prices = text.lines().skip(1).map(|line| line.split(',').skip(1).map(|cell| cell.parse().unwrap()));
    let prices: Vec<Vec<f64>> = prices.map(Iterator::collect).collect();
    let returns = |day: usize, asset: usize| prices[day + 1][asset] / prices[day][asset] - 1.0;
    Some(Array2::from_shape_fn((prices.len() - 1, prices[0].len()), |(day, asset)| returns(day, asset)))
}

/// Every entry against numpy's, with an error that may grow with the size of its row and column: `bound` · σᵢ·σⱼ.
fn agrees(name: &str, found: &Array2<f64>, bound: f64) {
    let scale = |i: usize| if found.nrows() == found.ncols() { found[[i, i]].abs().sqrt() } else { f64::NAN };
    for (i, j, value) in &reference()[name] {
        let size = scale(*i) * scale(*j);
        let size = if size.is_nan() { value.abs() } else { size };
        let error = (found[[*i, *j]] - value).abs();
        assert!(error <= bound * size, "{name} ({i}, {j}): {} is not {value}", found[[*i, *j]]);
    }
}

#[test]
fn agrees_with_numpy_on_real_prices() {
    let Some(returns) = returns() else { return };
    let hardware = Hardware::shared();
    let year = returns.slice_axis(Axis(0), Slice::from(-252..));
    let full = covariance(hardware, &returns, 1).unwrap();
    agrees("full", &full, 1e-13);
    agrees("correlation", &correlation(&full).unwrap(), 1e-13);
    let recent = covariance(hardware, &year, 1).unwrap();
    agrees("year", &recent, 1e-14);
    agrees("year_ddof0", &covariance(hardware, &year, 0).unwrap(), 1e-14);
    agrees("ewma", &ewma_covariance(hardware, &returns, 0.94).unwrap(), 1e-14);
    agrees("cholesky", &cholesky(hardware, &recent).unwrap(), 1e-12);
    let weights = Array1::from_elem(20, 0.05);
    let variance = quadratic_form(hardware, &recent, &weights).unwrap();
    agrees("variance", &Array2::from_elem((1, 1), variance), 1e-14);
    let least = solve_spd(hardware, &recent, &Array2::ones((20, 1))).unwrap();
    // The condition number of this covariance is below 100.
    agrees("least_variance", &least, 1e-12);
}

/// The definition, entry by entry.
fn slow_covariance(x: &Array2<f64>, ddof: usize) -> Array2<f64> {
    let rows = x.nrows() as f64;
    let mean: Vec<f64> = x.columns().into_iter().map(|column| column.iter().sum::<f64>() / rows).collect();
    Array2::from_shape_fn((x.ncols(), x.ncols()), |(i, j)| {
        let pairs = x.column(i).into_iter().zip(x.column(j));
        let sum: f64 = pairs.map(|(a, b)| (a - mean[i]) * (b - mean[j])).sum();
        sum / (rows - ddof as f64)
    })
}

fn matrices(
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
) -> impl Strategy<Value = Array2<f64>> {
    (rows, columns).prop_flat_map(|(rows, columns)| {
        let elements = prop::collection::vec(-1.0..1.0_f64, rows * columns);
        elements.prop_map(move |elements| Array2::from_shape_vec((rows, columns), elements).unwrap())
    })
}

fn top(x: &Array2<f64>, rows: usize) -> ArrayView2<'_, f64> {
    x.slice_axis(Axis(0), Slice::from(..rows))
}

/// |a − b| ≤ bound in every entry.
fn near(a: &Array2<f64>, b: &Array2<f64>, bound: f64) -> bool {
    a.dim() == b.dim() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= bound)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_covariance_is_symmetric_semidefinite_and_what_its_definition_says(x in matrices(2..60, 1..24)) {
        let hardware = Hardware::shared();
        let found = covariance(hardware, &x, 1).unwrap();
        prop_assert!(found == found.t(), "symmetric to the last bit");
        prop_assert!(near(&found, &slow_covariance(&x, 1), 1e-14));
        let weights = x.row(0);
        prop_assert!(quadratic_form(hardware, &found, &weights).unwrap() >= -1e-14);
        let correlation = correlation(&found).unwrap();
        prop_assert!(correlation == correlation.t());
        prop_assert!(correlation.iter().all(|value| value.abs() <= 1.0));
        prop_assert!(correlation.diag().iter().all(|value| *value == 1.0));
    }

    #[test]
    fn a_level_changes_nothing_and_a_scale_squares(x in matrices(2..60, 1..24), level in -1e6..1e6_f64) {
        let hardware = Hardware::shared();
        let found = covariance(hardware, &x, 1).unwrap();
        // Adding the level rounds each observation by 1e-10 or less; the covariance loses no more than that.
        prop_assert!(near(&covariance(hardware, &(&x + level), 1).unwrap(), &found, 1e-9));
        let ewma = ewma_covariance(hardware, &x, 0.9).unwrap();
        prop_assert!(near(&ewma_covariance(hardware, &(&x + level), 0.9).unwrap(), &ewma, 1e-9));
        let doubled = covariance(hardware, &(&x * 2.0), 1).unwrap();
        prop_assert!(near(&doubled, &(&found * 4.0), 1e-14));
    }

    #[test]
    fn how_a_matrix_lies_in_memory_changes_nothing(x in matrices(2..40, 2..20)) {
        let hardware = Hardware::shared();
        let by_columns = x.t().as_standard_layout().reversed_axes().to_owned();
        let mut wider = Array2::from_elem((x.nrows(), 2 * x.ncols()), f64::NAN);
        wider.slice_axis_mut(Axis(1), Slice::new(0, None, 2)).assign(&x);
        let strided = wider.slice_axis(Axis(1), Slice::new(0, None, 2));
        let mut backwards = x.clone();
        backwards.invert_axis(Axis(0));
        let mut backwards = backwards.as_standard_layout().into_owned();
        backwards.invert_axis(Axis(0));
        let expected = product(hardware, &x, &x.t()).unwrap();
        for view in [by_columns.view(), strided, backwards.view()] {
            prop_assert_eq!(view, x.view());
            prop_assert!(near(&product(hardware, &view, &x.t()).unwrap(), &expected, 1e-14));
            let same = covariance(hardware, &view, 0).unwrap();
            prop_assert!(near(&same, &covariance(hardware, &x, 0).unwrap(), 1e-14));
        }
    }

    #[test]
    fn a_solution_solves_and_a_factor_gives_the_matrix_back(x in matrices(30..40, 1..20)) {
        let hardware = Hardware::shared();
        let mut a = covariance(hardware, &x, 1).unwrap();
        a.diag_mut().mapv_inplace(|variance| variance + 1.0);
        let l = cholesky(hardware, &a).unwrap();
        prop_assert!(near(&product(hardware, &l, &l.t()).unwrap(), &a, 1e-13));
        let b = top(&x, a.nrows());
        let solved = solve_spd(hardware, &a, &b).unwrap();
        prop_assert!(near(&product(hardware, &a, &solved).unwrap(), &b.to_owned(), 1e-13));
    }
}

#[test]
fn equal_weights_are_the_covariance_without_correction() {
    let x = Array2::from_shape_fn((30, 4), |(i, j)| ((i * 7 + j * 13) % 11) as f64);
    let hardware = Hardware::shared();
    let plain = covariance(hardware, &x, 0).unwrap();
    assert!(near(&ewma_covariance(hardware, &x, 1.0).unwrap(), &plain, 1e-13));
    // Of a decay that is next to nothing only the newest observation is left, and one does not vary.
    assert!(near(&ewma_covariance(hardware, &x, 1e-300).unwrap(), &Array2::zeros((4, 4)), 1e-290));
}

#[test]
fn what_is_not_a_number_touches_its_own_asset_only() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for row in [0, 5] {
            let clean = Array2::from_shape_fn((12, 3), |(i, j)| ((i * 5 + j * 3) % 7) as f64);
            let mut x = clean.clone();
            x[[row, 1]] = bad;
            let hardware = Hardware::shared();
            for (found, expected) in [
                (covariance(hardware, &x, 1), covariance(hardware, &clean, 1)),
                (ewma_covariance(hardware, &x, 0.9), ewma_covariance(hardware, &clean, 0.9)),
            ] {
                let (found, expected) = (found.unwrap(), expected.unwrap());
                for ((i, j), value) in found.indexed_iter() {
                    let own = i == 1 || j == 1;
                    let fine = if own { value.is_nan() } else { (value - expected[[i, j]]).abs() < 1e-12 };
                    assert!(fine, "{bad}: ({i}, {j})");
                }
            }
        }
    }
}

#[test]
fn an_asset_that_does_not_move_has_no_correlation() {
    let x = Array2::from_shape_fn((9, 2), |(i, j)| if j == 0 { 4.5 } else { i as f64 });
    let found = covariance(Hardware::shared(), &x, 1).unwrap();
    assert_eq!(found, ndarray::array![[0.0, 0.0], [0.0, 7.5]]);
    let correlation = correlation(&found).unwrap();
    assert!(correlation[[0, 0]].is_nan() && correlation[[0, 1]].is_nan() && correlation[[1, 1]] == 1.0);
}

#[test]
fn what_cannot_be_computed_is_said_in_one_sentence() {
    let hardware = Hardware::shared();
    let said = |error: MatrixError| error.to_string();
    let two = Array2::<f64>::zeros((2, 3));
    assert!(
        said(covariance(hardware, &two, 2).unwrap_err()).contains("2 observations are too few for ddof 2")
    );
    assert!(said(covariance(hardware, &top(&two, 0), 0).unwrap_err()).contains("at least 1"));
    for decay in [0.0, -1.0, 1.5, f64::NAN] {
        assert!(said(ewma_covariance(hardware, &two, decay).unwrap_err()).contains("weighs nothing"));
    }
    assert!(said(ewma_covariance(hardware, &top(&two, 0), 0.9).unwrap_err()).contains("too few"));
    let wide = Array2::<f64>::zeros((1, 20_000));
    assert!(said(covariance(hardware, &wide, 0).unwrap_err()).contains("20000×20000"));
    assert!(said(correlation(&two).unwrap_err()).contains("2 is not 3"));
    assert!(said(product(hardware, &two, &two).unwrap_err()).contains("columns of A and rows of B"));
    assert!(quadratic_form(hardware, &two, &aview1(&[1.0, 2.0])).is_err());
    assert!(cholesky(hardware, &two).is_err());
    let one = ndarray::array![[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 1.0]];
    let error = cholesky(hardware, &one).unwrap_err();
    assert_eq!(error, Error::from(Failure::NotPositiveDefinite { column: 2 }).into());
    assert!(solve_spd(hardware, &Array2::eye(2), &two.t()).is_err());
}

#[test]
fn nothing_gives_nothing() {
    let hardware = Hardware::shared();
    let none = Array2::<f64>::zeros((5, 0));
    assert_eq!(covariance(hardware, &none, 1).unwrap().dim(), (0, 0));
    assert_eq!(product(hardware, &none, &none.t()).unwrap(), Array2::<f64>::zeros((5, 5)));
    assert_eq!(cholesky(hardware, &top(&none, 0)).unwrap().dim(), (0, 0));
    assert_eq!(quadratic_form(hardware, &top(&none, 0), &aview1(&[])), Ok(0.0));
}
