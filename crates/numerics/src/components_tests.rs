//! Components against numpy on made-up returns, and by what they mean.

use std::sync::Arc;

use nautilus_hardware::backends::{self, Listing};
use nautilus_hardware::{BackendId, Hardware, Options, Switches};
use ndarray::{Array1, Array2, Axis, Slice};
use proptest::prelude::*;

use super::{PrincipalComponents, across, principal_components};
use crate::covariance::covariance;
use crate::matrix::MatrixError;

/// Rows `case,component,asset,value`, written by `components_reference.py` with numpy. Without an asset the value is the
/// component's variance, without a component the total one.
const REFERENCE: &str = include_str!("components_reference.csv");

/// What an engine opens: one backend on one core, neither file nor measurement.
fn pinned(listings: Vec<Listing>, id: BackendId) -> Hardware {
    Hardware::new(listings, Switches::default(), Options { pin: Some(id), ..Options::default() })
}

fn portable() -> Hardware {
    let listing = Listing { id: BackendId::Portable, backend: Ok(Arc::new(backends::Portable)) };
    pinned(vec![listing], BackendId::Portable)
}

/// The generator of `components_reference.py`.
struct Numbers(u64);

impl Numbers {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).fold(-6.0, |sum, _| sum + self.uniform())
    }
}

fn market(days: usize, assets: usize, own: f64, seed: u64) -> Array2<f64> {
    let mut numbers = Numbers(seed);
    let mut rows = Array2::zeros((days, assets));
    for mut row in rows.rows_mut() {
        let common = 0.0004 + 0.01 * numbers.normal();
        let sectors = [0.009, 0.007, 0.005].map(|scale| scale * numbers.normal());
        for (j, element) in row.iter_mut().enumerate() {
            let beta = 0.5 + (j * 7 % 11) as f64 / 10.0;
            *element = beta * common + sectors[j % 3] + own * numbers.normal();
        }
    }
    rows
}

fn nearly_equal(days: usize, assets: usize) -> Array2<f64> {
    let mut rows = Array2::from_shape_fn((days, assets), |(t, j)| {
        let sign = if (t & (j + 1)).count_ones() % 2 == 0 { 1.0 } else { -1.0 };
        0.02 * (1.0 - 0.0005 * j as f64) * sign
    });
    let axis = Array1::from_iter((0..assets).map(|j| 1.0 + j as f64));
    let square: f64 = axis.iter().map(|a| a * a).sum();
    for mut row in rows.rows_mut() {
        let along: f64 = axis.iter().zip(&row).map(|(a, x)| a * x).sum();
        row.zip_mut_with(&axis, |x, a| *x -= 2.0 * along / square * a);
    }
    rows
}

fn constant(mut rows: Array2<f64>, column: usize, value: f64) -> Array2<f64> {
    rows.column_mut(column).fill(value);
    rows
}

fn cases() -> [(&'static str, Array2<f64>, usize); 8] {
    [
        ("wide", market(60, 680, 0.015, 1), 4),
        ("tall", market(252, 20, 0.015, 2), 6),
        ("square", market(40, 40, 0.015, 3), 5),
        ("nearly_equal", nearly_equal(64, 12), 5),
        ("deficient", market(30, 12, 0.0, 4), 7),
        ("wide_deficient", market(30, 48, 0.0, 5), 7),
        ("constant", constant(market(60, 9, 0.015, 6), 4, 0.0125), 9),
        ("wide_constant", constant(market(12, 30, 0.015, 7), 4, 0.0125), 3),
    ]
}

fn agrees(name: &str, found: &PrincipalComponents) {
    let mut components = 0;
    for line in REFERENCE.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(',')) {
        let cells: Vec<&str> = line.split(',').collect();
        let expected: f64 = cells[2].parse().unwrap();
        let (value, size) = match (cells[0].parse::<usize>(), cells[1].parse::<usize>()) {
            (Ok(component), Ok(asset)) => (found.loadings[[component, asset]], 1.0),
            (Ok(component), Err(_)) => {
                components += 1;
                (found.variances[component], found.variances[0])
            }
            _ => (found.total_variance, found.total_variance),
        };
        let near = (value - expected).abs() <= 1e-9 * size;
        assert!(near, "{name},{line}: {value}");
    }
    assert!(components > 0 && found.variances.len() == components, "{name}: {}", found.variances);
    assert_eq!(found.loadings.nrows(), components, "{name}");
}

#[test]
fn agrees_with_numpy() {
    let portable = portable();
    for (name, returns, k) in cases() {
        for hardware in [&portable, Hardware::shared()] {
            agrees(name, &principal_components(hardware, &returns, k).unwrap());
        }
    }
}

/// A deployment may pin the fastest of these that it finds: a machine without it falls back on another's bits.
#[test]
fn the_bits_are_those_of_plain_loops_on_every_x86_backend() {
    let portable = portable();
    let shapes = [(60, 680), (700, 40), (40, 40), (2, 5), (90, 1)];
    let returns = shapes.map(|(days, assets)| market(days, assets, 0.015, 8));
    for id in [BackendId::Avx2, BackendId::Avx512] {
        let vector = pinned(backends::listings(), id);
        for returns in &returns {
            for k in [1, 2, 3, 7] {
                let found = principal_components(&vector, returns, k).unwrap();
                let expected = principal_components(&portable, returns, k).unwrap();
                assert!(found == expected, "{id}, {:?}, {k}", returns.dim());
            }
        }
        // Many days of many assets, without the time that their eigenvalues take.
        for k in [1, 2, 7] {
            let (vectors, x) = (market(k, 300, 0.015, 9), market(300, 310, 0.015, 10));
            assert!(across(&vector, &vectors, &x) == across(&portable, &vectors, &x), "{id}, {k}");
        }
    }
}

fn matrices() -> impl Strategy<Value = Array2<f64>> {
    // Both ways to decompose, and a factor that leaves some components small.
    (2..40_usize, 1..40_usize, 0.0..1.0_f64).prop_flat_map(|(rows, columns, own)| {
        let elements = prop::collection::vec(-1.0..1.0_f64, rows * (columns + 1));
        elements.prop_map(move |elements| {
            Array2::from_shape_fn((rows, columns), |(i, j)| {
                elements[i] * (j + 1) as f64 / columns as f64 + own * elements[rows + i * columns + j]
            })
        })
    })
}

fn sum_of_products<'a>(x: impl IntoIterator<Item = &'a f64>, y: impl IntoIterator<Item = &'a f64>) -> f64 {
    x.into_iter().zip(y).map(|(x, y)| x * y).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn components_are_orthonormal_and_the_covariance_only_stretches_them(x in matrices(), k in 0..40_usize) {
        let hardware = portable();
        let all = principal_components(&hardware, &x, usize::MAX).unwrap();
        let covariance = covariance(&hardware, &x, 1).unwrap();
        let total = all.total_variance;
        prop_assert!((total - covariance.diag().sum()).abs() <= 1e-14 * total);
        prop_assert!((all.variances.sum() - total).abs() <= 1e-12 * total);
        prop_assert!(all.variances.iter().is_sorted_by(|a, b| a >= b));
        prop_assert!(all.variances.len() <= x.ncols().min(x.nrows() - 1));
        for (i, row) in all.loadings.rows().into_iter().enumerate() {
            for (j, other) in all.loadings.rows().into_iter().enumerate() {
                let expected = f64::from(u8::from(i == j));
                prop_assert!((sum_of_products(row, other) - expected).abs() < 1e-13);
            }
            for (line, loading) in covariance.rows().into_iter().zip(row) {
                let error = sum_of_products(line, row) - all.variances[i] * loading;
                prop_assert!(error.abs() <= 1e-13 * total, "{i}: {error:e} of {total:e}");
            }
            prop_assert!(row.sum() >= -1e-9 * row.mapv(f64::abs).sum());
        }
        // The leading ones are the first of all.
        let some = principal_components(&hardware, &x, k).unwrap();
        let first = Slice::from(..k.min(all.variances.len()));
        prop_assert_eq!(some.variances, all.variances.slice_axis(Axis(0), first));
        prop_assert_eq!(some.loadings, all.loadings.slice_axis(Axis(0), first));
    }

    #[test]
    fn another_order_of_the_assets_is_that_of_the_loadings(
        x in matrices(),
        order in Just((0..40).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let hardware = portable();
        let order: Vec<usize> = order.into_iter().filter(|j| *j < x.ncols()).collect();
        let found = principal_components(&hardware, &x, 5).unwrap();
        let moved = principal_components(&hardware, &x.select(Axis(1), &order), 5).unwrap();
        prop_assert!((moved.total_variance - found.total_variance).abs() <= 1e-14 * found.total_variance);
        prop_assert_eq!(moved.variances.len(), found.variances.len());
        for (i, row) in found.loadings.select(Axis(1), &order).rows().into_iter().enumerate() {
            let (variance, largest) = (found.variances[i], found.variances[0]);
            prop_assert!((moved.variances[i] - variance).abs() <= 1e-13 * largest);
            // A vector is known as well as its variance is apart from its neighbours.
            let near = |at: usize| found.variances.get(at).map_or(f64::INFINITY, |other| (other - variance).abs());
            let gap = near(i + 1).min(near(i.wrapping_sub(1))).min(variance);
            for (a, b) in row.iter().zip(moved.loadings.row(i)) {
                prop_assert!((a - b).abs() <= 1e-12 * largest / gap || i == 4, "{i}: {a} is not {b}, gap {gap:e}");
            }
        }
    }

    #[test]
    fn how_returns_lie_in_memory_and_a_power_of_two_change_no_bit(x in matrices()) {
        let hardware = portable();
        let found = principal_components(&hardware, &x, 3).unwrap();
        let by_columns = x.t().as_standard_layout().reversed_axes().to_owned();
        let mut wider = Array2::from_elem((x.nrows(), 2 * x.ncols()), f64::NAN);
        wider.slice_axis_mut(Axis(1), Slice::new(0, None, 2)).assign(&x);
        for view in [by_columns.view(), wider.slice_axis(Axis(1), Slice::new(0, None, 2))] {
            prop_assert_eq!(&principal_components(&hardware, &view, 3).unwrap(), &found);
        }
        for exponent in [-400, 400] {
            let scaled = principal_components(&hardware, &x.mapv(|x| libm::ldexp(x, exponent)), 3).unwrap();
            prop_assert_eq!(scaled.loadings, found.loadings.view());
            prop_assert_eq!(scaled.variances, found.variances.mapv(|x| libm::ldexp(x, 2 * exponent)));
        }
    }
}

#[test]
fn loadings_sum_to_zero_or_more() {
    let hardware = portable();
    let days = Array1::from_vec(vec![1.0, -2.0, 3.0, -1.0, 0.5]);
    let loadings = |weights: &[f64]| {
        let x = Array2::from_shape_fn((days.len(), weights.len()), |(i, j)| days[i] * weights[j]);
        principal_components(&hardware, &x, 1).unwrap().loadings.into_raw_vec_and_offset().0
    };
    for (weights, expected) in [
        (&[-3.0, -4.0][..], [0.6, 0.8].as_slice()),
        (&[3.0, -4.0], &[-0.6, 0.8]),
        // The sum is zero: the largest decides, and of equal ones the first.
        (&[-1.0, 1.0], &[0.5_f64.sqrt(), -(0.5_f64.sqrt())]),
        (&[1.0, -1.0], &[0.5_f64.sqrt(), -(0.5_f64.sqrt())]),
        (&[1.0, 2.0, -3.0], &[-1.0 / 14_f64.sqrt(), -2.0 / 14_f64.sqrt(), 3.0 / 14_f64.sqrt()]),
        (&[-1.0, 1.0, 1.0, -1.0, 1.0, -1.0], &[1.0, -1.0, -1.0, 1.0, -1.0, 1.0].map(|x| x / 6_f64.sqrt())),
    ] {
        for (found, expected) in loadings(weights).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-15, "{weights:?}: {found} is not {expected}");
        }
    }
}

#[test]
fn what_does_not_move_has_no_component() {
    let hardware = portable();
    for shape in [(3, 8), (8, 3)] {
        let found = principal_components(&hardware, &Array2::from_elem(shape, 0.01), 2).unwrap();
        assert_eq!((found.variances.len(), found.loadings.dim()), (0, (0, shape.1)));
        assert_eq!(found.total_variance, 0.0);
        // Neither has what moves by less than a double can square.
        let moving = Array2::from_shape_fn(shape, |(i, j)| (i * j) as f64 * 1e-158);
        assert_eq!(principal_components(&hardware, &moving, 2).unwrap().variances.len(), 0);
    }
    let none = principal_components(&hardware, &Array2::zeros((5, 0)), 2).unwrap();
    assert_eq!((none.loadings.dim(), none.total_variance), ((0, 0), 0.0));
    let asked_for_none = principal_components(&hardware, &market(9, 4, 0.01, 1), 0).unwrap();
    assert_eq!(asked_for_none.loadings.dim(), (0, 4));
    assert!(asked_for_none.total_variance > 0.0);
    // Two days differ in one direction.
    let two = principal_components(&hardware, &market(2, 7, 0.01, 1), 5).unwrap();
    assert_eq!(two.variances.len(), 1);
}

#[test]
fn what_cannot_be_decomposed_is_said_in_one_sentence() {
    let hardware = portable();
    let refused = |x: &Array2<f64>| principal_components(&hardware, x, 1).unwrap_err();
    for observations in [0, 1] {
        let error = refused(&Array2::zeros((observations, 3)));
        assert!(error.to_string().ends_with("give at least 2"), "{error}");
    }
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for (row, column) in [(0, 0), (2, 1)] {
            let mut x = market(6, 3, 0.01, 1);
            x[[row, column]] = bad;
            assert_eq!(refused(&x), MatrixError::NotFinite { row, column });
        }
    }
    for huge in [1e200, f64::MAX] {
        for shape in [(3, 8), (8, 3)] {
            let x = Array2::from_shape_fn(shape, |(i, j)| if (i + j) % 2 == 0 { huge } else { -huge });
            assert_eq!(refused(&x), MatrixError::Overflow);
        }
    }
    let zero = Array2::<f64>::zeros((1, 1));
    let large = zero.broadcast((20_000, 30_000)).unwrap();
    let error = principal_components(&hardware, &large, 1).unwrap_err();
    assert!(error.to_string().contains("20000×20000"), "{error}");
}
