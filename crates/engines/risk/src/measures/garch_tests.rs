//! Fits against those of arch, by the recursion's definition, and on series that no model was made for.

use std::io::Read as _;

use nautilus_testkit::shared_data;
use serde_json::Value;

use super::{Garch, fit};

/// Written by `tests/measures_reference.py`.
const REFERENCE: &str = include_str!("../../tests/measures_reference.json");

/// The parameters are those of arch to `share` of each, and the likelihood is no lower.
fn meets(expected: &Value, found: &Garch, share: f64) {
    let number = |name: &str| expected[name].as_f64().unwrap();
    let pairs = [("omega", found.omega), ("alpha", found.alpha), ("beta", found.beta)];
    for (name, value) in pairs {
        assert!((value - number(name)).abs() <= share * number(name), "{name} {value}, not {}", number(name));
    }
    let (likelihood, expected) = (found.log_likelihood, number("log_likelihood"));
    assert!(likelihood >= expected - 1e-9 * expected.abs(), "{likelihood} below {expected}");
    assert!(likelihood <= expected + 1e-4, "{likelihood} far above {expected}");
}

/// Σ of the log densities, term by term.
fn log_likelihood(model: &Garch, series: &[f64]) -> f64 {
    let density = |(value, variance): (&f64, &f64)| {
        -0.5 * ((2.0 * std::f64::consts::PI * variance).ln() + value * value / variance)
    };
    series.iter().zip(&model.variances(series)).map(density).sum()
}

fn series(reference: &Value, asset: usize) -> Vec<f64> {
    reference["returns"].as_array().unwrap().iter().map(|row| row[asset].as_f64().unwrap()).collect()
}

#[test]
fn meets_arch_on_made_up_series() {
    let reference: Value = serde_json::from_str(REFERENCE).unwrap();
    let fits = reference["garch"]["fits"].as_array().unwrap();
    assert_eq!(fits.len(), 6);
    for (asset, expected) in fits.iter().enumerate() {
        let series = series(&reference, asset);
        let found = fit(&series).unwrap();
        meets(expected, &found, 2e-3);
        let by_definition = log_likelihood(&found, &series);
        assert!((found.log_likelihood - by_definition).abs() <= 1e-9 * by_definition.abs());
    }
}

#[allow(clippy::disallowed_methods)] // A test may read a file.
#[test]
fn meets_arch_on_the_s_and_p_500() {
    let Some(path) = shared_data("prices_arch/sp500.csv.gz") else { return };
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let prices: Vec<f64> =
        text.lines().skip(1).map(|line| line.split(',').nth(5).unwrap().parse().unwrap()).collect();
    let returns: Vec<f64> = prices.windows(2).map(|pair| pair[1] / pair[0] - 1.0).collect();
    let reference: Value = serde_json::from_str(REFERENCE).unwrap();
    meets(&reference["garch"]["sp500"], &fit(&returns).unwrap(), 1e-4);
}

#[test]
fn a_step_to_any_side_is_no_better() {
    let reference: Value = serde_json::from_str(REFERENCE).unwrap();
    let series = series(&reference, 0);
    let best = fit(&series).unwrap();
    for step in [0.999, 1.001] {
        for aside in [
            Garch { omega: best.omega * step, ..best },
            Garch { alpha: best.alpha * step, ..best },
            Garch { beta: best.beta * step, ..best },
        ] {
            assert!(log_likelihood(&aside, &series) < best.log_likelihood);
        }
    }
}

#[test]
fn a_unit_changes_nothing_but_the_unit() {
    let reference: Value = serde_json::from_str(REFERENCE).unwrap();
    let series = series(&reference, 1);
    let (one, other) =
        (fit(&series).unwrap(), fit(&series.iter().map(|x| 1e4 * x).collect::<Vec<_>>()).unwrap());
    assert!((other.omega / one.omega / 1e8 - 1.0).abs() < 1e-6);
    assert!((other.alpha - one.alpha).abs() < 1e-6 && (other.beta - one.beta).abs() < 1e-6);
}

#[test]
fn series_of_other_kinds_end_in_a_legal_model_or_none() {
    assert_eq!(fit(&[0.0; 100]), None);
    let flat = vec![0.01; 100];
    let spike: Vec<f64> = (0..100).map(|t| if t == 50 { 1.0 } else { 0.0 }).collect();
    let alternating: Vec<f64> = (0..100).map(|t| if t % 2 == 0 { 0.01 } else { -0.02 }).collect();
    let growing: Vec<f64> = (0..100).map(|t| 1e-6 * 1.2_f64.powi(t)).collect();
    let tiny: Vec<f64> = alternating.iter().map(|x| x * 1e-150).collect();
    for series in [flat, spike, alternating, growing, tiny] {
        let Some(model) = fit(&series) else { continue };
        assert!(model.omega > 0.0 && model.alpha >= 0.0 && model.beta >= 0.0, "{model:?}");
        assert!(model.alpha + model.beta <= 1.0, "{model:?}");
        assert!(model.variances(&series).iter().all(|variance| *variance > 0.0 && variance.is_finite()));
    }
}
