//! Quantiles against reference values, printed tables and their own distribution functions.

use proptest::prelude::*;

use super::*;
use crate::normal_cdf;

/// Rows `distribution,degrees_of_freedom,p,value`, written by `quantile_reference.py` with mpmath.
const REFERENCE: &str = include_str!("quantile_reference.csv");

#[test]
fn agrees_with_reference_values() {
    let mut rows = 0;
    for line in REFERENCE.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |i: usize| fields[i].parse::<f64>().expect(line);
        let (nu, p, expected) = (number(1), number(2), number(3));
        let (got, relative) = match fields[0] {
            "normal" => (normal_quantile(p), 2e-14),
            _ => (student_t_quantile(p, nu), 1e-10),
        };
        assert!((got / expected - 1.0).abs() <= relative, "{line}: {got}, {:e}", got / expected - 1.0);
        rows += 1;
    }
    assert!(rows > 120, "{rows}");
}

#[test]
fn published_values() {
    // Abramowitz and Stegun, table 26.10, to the digits printed.
    for (nu, share, x) in
        [(1.0, 0.95, 6.314), (1.0, 0.995, 63.657), (10.0, 0.95, 1.812), (30.0, 0.995, 2.750)]
    {
        assert!((student_t_quantile(share, nu) - x).abs() < 6e-4, "{nu} {share}");
    }
    // The usual points of the normal distribution.
    for (share, x) in [(0.975, 1.959_963_984_540_054), (0.99, 2.326_347_874_040_841)] {
        assert!((normal_quantile(share) - x).abs() < 1e-14, "{share}");
    }
}

#[test]
fn edges() {
    for quantile in [normal_quantile as fn(f64) -> f64, |p| student_t_quantile(p, 2.5)] {
        assert_eq!((quantile(0.0), quantile(0.5), quantile(1.0)), (f64::NEG_INFINITY, 0.0, f64::INFINITY));
        assert!([-0.1, 1.1, f64::NAN].into_iter().all(|p| quantile(p).is_nan()));
    }
    assert!([0.0, -1.0, f64::NAN, f64::INFINITY].into_iter().all(|nu| student_t_quantile(0.3, nu).is_nan()));
}

#[test]
fn the_density_is_the_slope_of_the_distribution() {
    for nu in [1.0, 2.5, 8.0, 50.0] {
        for x in [-3.0, -0.5, 0.0, 1.0, 4.0] {
            let slope = (student_t_cdf(x + 1e-5, nu) - student_t_cdf(x - 1e-5, nu)) / 2e-5;
            assert!((student_t_density(x, nu) - slope).abs() < 1e-8, "{nu} {x}");
        }
    }
}

proptest! {
    #[test]
    fn many_at_a_time_have_the_same_bits(q in prop::collection::vec(-0.499_999..0.499_999_f64, 0..200)) {
        let expected: Vec<f64> = q.iter().map(|q| if q.abs() <= CENTRE { centre(*q) } else { tail(0.5 - q.abs()).copysign(*q) }).collect();
        let mut values = q;
        normal_quantiles_of_offsets(&mut values);
        prop_assert_eq!(values, expected);
    }

    #[test]
    fn undo_their_distribution_functions(p in 1e-9..0.999_f64, nu in 0.5..100.0_f64) {
        prop_assert!((normal_cdf(normal_quantile(p)) / p - 1.0).abs() < 1e-12);
        prop_assert!((student_t_cdf(student_t_quantile(p, nu), nu) / p - 1.0).abs() < 1e-9);
    }

    #[test]
    fn symmetric_and_rising(p in 0.000_001..0.999_f64, step in 0.000_001..0.000_9_f64, nu in 0.5..100.0_f64) {
        prop_assert!(normal_quantile(p + step) > normal_quantile(p));
        prop_assert!(student_t_quantile(p + step, nu) > student_t_quantile(p, nu));
    }
}
