//! Measures of given scenarios: against numpy, scipy and arch, against plain loops, and by their properties.
//!
//! It looks at requests and answers only.

use nautilus_engine_risk::{
    HorizonRule, Method, QuantileConvention, RiskError, ScenarioMatrix, VarAnswer, VarRequest, calculate_var,
};
use nautilus_hardware::{Hardware, Options, Switches, backends};
use nautilus_numerics::normal_quantile;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Written by `measures_reference.py`.
const REFERENCE: &str = include_str!("measures_reference.json");

fn ask(request: &VarRequest) -> Result<VarAnswer, RiskError> {
    calculate_var(Hardware::shared(), request)
}

fn parse(body: Value) -> VarRequest {
    serde_json::from_value(body).expect("a legal shape")
}

/// Every number of `expected` is at its place in `found`, to a share of the largest number of its list.
fn agrees(name: &str, expected: &Value, found: &Value, tolerance: f64) {
    match (expected, found) {
        (Value::Object(fields), _) => {
            fields.iter().for_each(|(field, value)| {
                agrees(&format!("{name}.{field}"), value, &found[field], tolerance);
            });
        }
        (Value::Array(expected), Value::Array(found)) => {
            assert_eq!(expected.len(), found.len(), "{name}");
            let size =
                |list: &[Value]| list.iter().fold(0.0, |most: f64, x| most.max(x.as_f64().unwrap().abs()));
            let size = size(expected).max(size(found));
            for (at, (expected, found)) in expected.iter().zip(found).enumerate() {
                let (expected, found) = (expected.as_f64().unwrap(), found.as_f64().unwrap());
                assert!(
                    (expected - found).abs() <= tolerance * size,
                    "{name}[{at}]: {found}, not {expected}"
                );
            }
        }
        (Value::Null, Value::Null) => {}
        _ => {
            let (expected, found) = (expected.as_f64().expect(name), found.as_f64().expect(name));
            assert!(
                (expected - found).abs() <= tolerance * expected.abs(),
                "{name}: {found}, not {expected}"
            );
        }
    }
}

#[test]
fn agrees_with_numpy_and_scipy() {
    let reference: Value = serde_json::from_str(REFERENCE).unwrap();
    let cases = reference["cases"].as_array().unwrap();
    assert!(cases.len() > 50);
    for case in cases {
        let mut body = case["request"].clone();
        (body["returns"], body["positions"]) = (reference["returns"].clone(), reference["positions"].clone());
        let answer = serde_json::to_value(ask(&parse(body)).unwrap()).unwrap();
        let name = case["name"].as_str().unwrap();
        let mut expected = case["answer"].clone();
        // The standard error is a difference of squares, and its beta function has an error of its own.
        if let Some(error) = expected.as_object_mut().unwrap().remove("standard_error") {
            agrees(name, &error, &answer["standard_error"], 1e-9);
        }
        agrees(name, &expected, &answer, 2e-12);
    }
}

#[test]
fn filters_by_garch_as_arch_does() {
    let reference: Value = serde_json::from_str(REFERENCE).unwrap();
    let answer = ask(&parse(json!({
        "returns": reference["returns"], "positions": reference["positions"], "confidence": 0.95,
        "method": "filtered_historical", "volatility": "garch",
    })))
    .unwrap();
    // Both stop near the top of a flat likelihood.
    for (expected, found) in [("var", answer.var), ("es", answer.es)] {
        let expected = reference["garch"][expected].as_f64().unwrap();
        assert!((expected - found).abs() <= 2e-4 * expected, "{found}, not {expected}");
    }
}

fn matrix(rows: &[&[f64]]) -> Option<ScenarioMatrix> {
    Some(ScenarioMatrix::new(rows.concat(), rows[0].len()).unwrap())
}

#[test]
fn the_rank_is_whole_where_the_confidence_says_so() {
    // 1 − c is above what c says for many decimal c: the ceiling of n·(1 − c) would be one too many.
    for per_mille in [1usize, 5, 10, 25, 50, 100, 13, 7] {
        let confidence = (1000 - per_mille) as f64 / 1000.0;
        for n in (1..=40).map(|thousands| thousands * 1000) {
            let pnl: Vec<f64> = (0..n).map(|rank| rank as f64 + 1.0).collect();
            let request =
                VarRequest { scenario_pnl: Some(pnl), confidence, ..VarRequest::new(Method::Historical) };
            assert_eq!(-ask(&request).unwrap().var as usize, n * per_mille / 1000, "{n} {confidence}");
        }
    }
}

#[test]
fn ties_go_by_scenario() {
    let returns = matrix(&[&[-1.0, 0.0], &[0.0, -1.0], &[-0.5, -0.5], &[1.0, 0.0], &[2.0, 0.0]]);
    let request = VarRequest {
        returns,
        positions: Some(vec![1.0, 1.0]),
        confidence: 0.6,
        ..VarRequest::new(Method::Historical)
    };
    let answer = ask(&request).unwrap();
    assert_eq!((answer.var, answer.es), (1.0, 1.0));
    assert_eq!(answer.component_var, Some(vec![0.0, 1.0]), "the second of three equal ones");
    assert_eq!(answer.component_es, Some(vec![0.5, 0.5]));
    assert_eq!(answer.marginal_var, Some(vec![0.0, 1.0]));
    assert_eq!(answer.incremental_var, Some(vec![1.0 - 0.5, 1.0 - 0.5]));
}

#[test]
fn a_position_of_nothing_has_a_derivative() {
    let reference: Value = serde_json::from_str(REFERENCE).unwrap();
    let answer =
        ask(&parse(json!({"returns": reference["returns"], "positions": reference["positions"]}))).unwrap();
    let at = |list: &Option<Vec<f64>>| list.as_ref().unwrap()[3];
    assert_eq!(at(&answer.component_var), 0.0);
    assert_eq!(at(&answer.incremental_var), 0.0);
    assert!(at(&answer.marginal_var) != 0.0 && at(&answer.marginal_es) != 0.0);
}

#[test]
fn pnl_of_the_whole_has_measures_without_parts() {
    let pnl: Vec<f64> = (0..1000).map(|n| f64::from((n * 7919) % 1000)).collect();
    let answer =
        ask(&VarRequest { scenario_pnl: Some(pnl), evar: true, ..VarRequest::new(Method::Historical) })
            .unwrap();
    assert_eq!((answer.var, answer.es, answer.scenarios, answer.backend), (-9.0, -4.5, 1000, None));
    assert!(answer.component_var.is_none() && answer.incremental_es.is_none());
    let json = serde_json::to_value(&answer).unwrap();
    assert!(json.get("component_var").is_none() && json["evar"].is_number() && json["backend"].is_null());
}

#[test]
fn bad_requests_are_refused_with_the_field_and_the_cure() {
    let base =
        || json!({"returns": [[0.1, 0.2], [-0.1, 0.1], [0.0, -0.2]], "positions": [1, 2], "confidence": 0.5});
    let with = |fields: Value| {
        let mut body = base();
        for (field, value) in fields.as_object().unwrap() {
            body[field] = value.clone();
        }
        body
    };
    ask(&parse(base())).unwrap();
    for (body, code, field, says) in [
        (with(json!({"confidence": 0})), "out_of_range", "confidence", "0.99"),
        (with(json!({"confidence": 1})), "out_of_range", "confidence", "0.99"),
        (with(json!({"confidence": -0.5})), "out_of_range", "confidence", "0.99"),
        (with(json!({"confidence": 0.99})), "too_few_scenarios", "returns", "at least 100"),
        (with(json!({"confidence": 0.999})), "too_few_scenarios", "returns", "at least 1000"),
        (with(json!({"horizon_days": 0})), "out_of_range", "horizon_days", "above 0"),
        (with(json!({"horizon_days": -1})), "out_of_range", "horizon_days", "above 0"),
        (
            with(json!({"horizon_days": 1.5, "horizon_rule": "overlapping"})),
            "out_of_range",
            "horizon_days",
            "whole",
        ),
        (
            with(json!({"horizon_days": 4, "horizon_rule": "overlapping"})),
            "too_few_scenarios",
            "horizon_days",
            "shorten",
        ),
        (
            with(json!({"horizon_days": 3, "horizon_rule": "overlapping"})),
            "too_few_scenarios",
            "returns",
            "at least 2",
        ),
        (with(json!({"positions": [1]})), "unequal_lengths", "positions", "2 assets"),
        (with(json!({"positions": [1, 2, 3]})), "unequal_lengths", "positions", "2 assets"),
        (with(json!({"positions": null})), "missing", "positions", "weights"),
        (with(json!({"weights": [1, 2]})), "conflict", "weights", "one of both"),
        (with(json!({"scenario_pnl": [1, 2]})), "conflict", "scenario_pnl", "one of both"),
        (with(json!({"returns": null, "scenario_pnl": [1, 2]})), "conflict", "positions", "leave it out"),
        (with(json!({"returns": null, "positions": null})), "missing", "returns", "scenario_pnl"),
        (with(json!({"returns": [[0.1, 0.2]]})), "too_few_scenarios", "returns", "at least 2"),
        (json!({"scenario_pnl": [], "confidence": 0.5}), "too_few_scenarios", "scenario_pnl", "at least 2"),
        (
            with(json!({"positions": [1e308, 1e308], "returns": [[3, 3], [1, 1]]})),
            "overflow",
            "returns",
            "unit",
        ),
        (with(json!({"decay": 0.9})), "not_used", "decay", "age_weighted"),
        (with(json!({"volatility": "garch"})), "not_used", "volatility", "filtered"),
        (with(json!({"seed": 1})), "not_used", "seed", "monte_carlo"),
        (with(json!({"paths": 1})), "not_used", "paths", "monte_carlo"),
        (with(json!({"method": "age_weighted", "decay": 1})), "out_of_range", "decay", "0.94"),
        (with(json!({"method": "age_weighted", "decay": 0})), "out_of_range", "decay", "0.94"),
        (
            with(json!({"method": "age_weighted", "convention": "linear"})),
            "not_supported",
            "convention",
            "inverted_cdf",
        ),
        (
            with(json!({"method": "filtered_historical", "volatility": "garch", "decay": 0.9})),
            "not_used",
            "decay",
            "ewma",
        ),
        (
            with(json!({"method": "filtered_historical", "volatility": "garch"})),
            "too_few_scenarios",
            "returns",
            "50",
        ),
        (with(json!({"spectral": {"risk_aversion": 0}})), "out_of_range", "spectral.risk_aversion", "20"),
        (with(json!({"spectral": {"weights": []}})), "out_of_range", "spectral.weights", "1 to"),
        (with(json!({"spectral": {"weights": [1, 2]}})), "out_of_range", "spectral.weights[1]", "never"),
        (with(json!({"spectral": {"weights": [1, -1]}})), "out_of_range", "spectral.weights[1]", "below 0"),
        (with(json!({"spectral": {"weights": [0, 0]}})), "out_of_range", "spectral.weights", "nothing"),
    ] {
        let error = ask(&parse(body.clone())).expect_err(&body.to_string());
        assert_eq!((error.code(), error.field()), (code, field), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn numbers_that_are_none_are_named() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for overlapping in [false, true] {
            for position in [0.0, 1.0] {
                let mut values = vec![0.01; 8];
                values[7] = bad;
                let mut request = VarRequest {
                    returns: Some(ScenarioMatrix::new(values, 2).unwrap()),
                    positions: Some(vec![1.0, position]),
                    confidence: 0.5,
                    ..VarRequest::new(Method::Historical)
                };
                if overlapping {
                    (request.horizon_days, request.horizon_rule) = (2.0, HorizonRule::Overlapping);
                }
                assert_eq!(ask(&request).unwrap_err().field(), "returns[3][1]");
                request.method = Method::FilteredHistorical;
                assert_eq!(ask(&request).unwrap_err().field(), "returns[3][1]");
                request.positions = Some(vec![1.0, bad]);
                assert_eq!(ask(&request).unwrap_err().field(), "positions[1]");
            }
        }
        let request =
            VarRequest { scenario_pnl: Some(vec![1.0, bad]), ..VarRequest::new(Method::Historical) };
        assert_eq!(ask(&request).unwrap_err().field(), "scenario_pnl[1]");
        let request = VarRequest { horizon_days: bad, ..VarRequest::new(Method::Historical) };
        assert_eq!(ask(&request).unwrap_err().field(), "horizon_days");
        let request = VarRequest { confidence: bad, ..VarRequest::new(Method::Historical) };
        assert_eq!(ask(&request).unwrap_err().field(), "confidence");
    }
}

#[test]
fn a_cube_is_read_from_nested_lists() {
    let read = |text: &str| serde_json::from_str::<ScenarioMatrix>(text);
    let cube = read("[[1, 2.5, -3e-2], [4, 5, 6]]").unwrap();
    assert_eq!((cube.rows(), cube.columns(), cube.values()), (2, 3, &[1.0, 2.5, -0.03, 4.0, 5.0, 6.0][..]));
    assert_eq!(serde_json::to_string(&cube).unwrap(), "[[1.0,2.5,-0.03],[4.0,5.0,6.0]]");
    for (text, says) in [
        ("[]", "no numbers"),
        ("[[]]", "no numbers"),
        ("[[1,2],[3],[4,5]]", "row [1] has 1 numbers"),
        ("[[1,2],[3,4],[5,6,7]]", "row [2] has 3 numbers"),
        ("[[1,2],[]]", "row [1] has 0 numbers"),
        ("[1,2]", "a list with one return per asset"),
        ("[[1,null]]", "invalid type: null"),
        ("[[1,\"2\"]]", "invalid type: string"),
        ("{}", "a list of scenarios"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    for unknown in [json!({"colour": 1}), json!({"convention": "nearest"}), json!({"method": "guess"})] {
        assert!(serde_json::from_value::<VarRequest>(unknown).is_err());
    }
    assert_eq!(ScenarioMatrix::new(vec![1.0; 5], 2).unwrap_err().code(), "ragged");
    assert_eq!(ScenarioMatrix::new(vec![], 2).unwrap_err().code(), "empty");
    assert_eq!(ScenarioMatrix::new(vec![1.0], 0).unwrap_err().code(), "empty");
}

/// A cube with positions; returns in steps so that ties happen.
fn portfolios() -> impl Strategy<Value = VarRequest> {
    (2usize..160, 1usize..40).prop_flat_map(|(rows, columns)| {
        let step = prop_oneof![Just(0.0), Just(0.01), Just(0.05)];
        let values = prop::collection::vec(-0.3..0.3_f64, rows * columns);
        let positions = prop::collection::vec(prop_oneof![1 => Just(0.0), 9 => -1e6..1e6_f64], columns);
        let methods = prop_oneof![2 => Just(Method::Historical), 1 => Just(Method::AgeWeighted)];
        let confidence = 0.3..1.0 - 1.0 / rows as f64;
        (values, positions, methods, confidence, step).prop_map(
            move |(mut values, positions, method, confidence, step)| {
                // Equal P&L of two scenarios may round to unequal: what their order changes is more where weights differ.
                if step > 0.0 && method == Method::Historical {
                    values.iter_mut().for_each(|value| *value = (*value / step).round() * step);
                }
                VarRequest {
                    returns: Some(ScenarioMatrix::new(values, columns).unwrap()),
                    positions: Some(positions),
                    confidence: confidence.clamp(0.01, 0.999),
                    ..VarRequest::new(method)
                }
            },
        )
    })
}

/// VaR and ES of P&L by a sort and a walk, equal weights or weights of age.
fn slow(pnl: &[f64], request: &VarRequest) -> (f64, f64) {
    let n = pnl.len();
    let decay = if request.method == Method::AgeWeighted { 0.99_f64 } else { 1.0 };
    let weights: Vec<f64> = (0..n).map(|t| decay.powi((n - 1 - t) as i32)).collect();
    let whole: f64 = weights.iter().sum();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| pnl[*a].total_cmp(&pnl[*b]));
    let (mut sum, mut mean) = (0.0, 0.0);
    for scenario in order {
        sum += weights[scenario] / whole;
        mean += weights[scenario] / whole * pnl[scenario];
        if sum >= 1.0 - request.confidence - 1e-12 {
            return (-pnl[scenario], -mean / sum);
        }
    }
    unreachable!("the weights add up to 1")
}

fn totals(request: &VarRequest, left_out: Option<usize>) -> Vec<f64> {
    let (returns, positions) = (request.returns.as_ref().unwrap(), request.positions.as_ref().unwrap());
    let held = |asset: usize| if Some(asset) == left_out { 0.0 } else { positions[asset] };
    let total =
        |row: usize| returns.row(row).iter().enumerate().map(|(asset, value)| held(asset) * value).sum();
    (0..returns.rows()).map(total).collect()
}

fn near(found: f64, expected: f64, scale: f64) -> bool {
    (found - expected).abs() <= 1e-12 * scale
}

/// The largest P&L that rounding can speak of: all positions at the largest return.
fn gross(request: &VarRequest) -> f64 {
    request.positions.iter().flatten().fold(1.0, |sum, value| sum + value.abs())
}

fn scaled(request: &VarRequest, factor: f64) -> VarRequest {
    let positions = request.positions.as_ref().unwrap().iter().map(|value| value * factor).collect();
    VarRequest { positions: Some(positions), ..request.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn is_what_a_sort_says_with_and_without_each_position(request in portfolios()) {
        let answer = ask(&request).unwrap();
        let scale = gross(&request);
        let (var, es) = slow(&totals(&request, None), &request);
        prop_assert!(near(answer.var, var, scale) && near(answer.es, es, scale), "{answer:?} {var} {es}");
        prop_assert!(answer.es >= answer.var);
        let (incremental_var, incremental_es) = (answer.incremental_var.unwrap(), answer.incremental_es.unwrap());
        for asset in 0..incremental_var.len() {
            let without = slow(&totals(&request, Some(asset)), &request);
            prop_assert!(near(incremental_var[asset], var - without.0, scale), "VaR without {asset}");
            prop_assert!(near(incremental_es[asset], es - without.1, scale), "ES without {asset}");
        }
    }

    #[test]
    fn components_add_up(request in portfolios(), convention in 0usize..9) {
        let mut request = request;
        if request.method == Method::Historical {
            request.convention = [
                QuantileConvention::InvertedCdf, QuantileConvention::InterpolatedInvertedCdf,
                QuantileConvention::Hazen, QuantileConvention::Weibull, QuantileConvention::Linear,
                QuantileConvention::MedianUnbiased, QuantileConvention::NormalUnbiased,
                QuantileConvention::Lower, QuantileConvention::Higher,
            ][convention];
        }
        let answer = ask(&request).unwrap();
        let sum = |list: &Option<Vec<f64>>| list.as_ref().unwrap().iter().sum::<f64>();
        let size = |list: &Option<Vec<f64>>| list.as_ref().unwrap().iter().map(|x| x.abs()).sum::<f64>();
        prop_assert!(near(sum(&answer.component_var), answer.var, size(&answer.component_var) + 1e-9));
        prop_assert!(near(sum(&answer.component_es), answer.es, size(&answer.component_es) + 1e-9));
        prop_assert!(answer.es >= answer.var);
        let parts = answer.component_es.iter().flatten().zip(answer.marginal_es.iter().flatten());
        for ((component, marginal), position) in parts.zip(request.positions.iter().flatten()) {
            prop_assert!(near(*component, marginal * position, component.abs()));
        }
    }

    #[test]
    fn scales_with_the_positions(request in portfolios(), factor in 0.001..1000.0_f64) {
        let request = VarRequest { evar: true, ..request };
        let (one, many) = (ask(&request).unwrap(), ask(&scaled(&request, factor)).unwrap());
        let scale = factor * gross(&request);
        prop_assert!(near(many.var, factor * one.var, scale) && near(many.es, factor * one.es, scale));
        // Its minimum is found to the root of a rounding, and it is flat there.
        prop_assert!((many.evar.unwrap() - factor * one.evar.unwrap()).abs() <= 1e-9 * scale);
    }

    #[test]
    fn money_in_hand_lowers_every_measure_by_itself(request in portfolios(), money in -1e6..1e6_f64) {
        let ask_pnl = |pnl: Vec<f64>| ask(&VarRequest {
            returns: None, positions: None, scenario_pnl: Some(pnl), evar: true,
            spectral: Some(nautilus_engine_risk::Spectrum::RiskAversion(10.0)), ..request.clone()
        }).unwrap();
        let pnl = totals(&request, None);
        let (before, after) = (ask_pnl(pnl.clone()), ask_pnl(pnl.iter().map(|x| x + money).collect()));
        let scale = gross(&request) + money.abs();
        for (before, after) in [
            (before.var, after.var), (before.es, after.es), (before.spectral.unwrap(), after.spectral.unwrap()),
        ] {
            prop_assert!(near(after, before - money, scale), "{before} {after} {money}");
        }
        prop_assert!((after.evar.unwrap() - before.evar.unwrap() + money).abs() <= 1e-9 * scale);
        // Chebyshev's inequality of exponentials: no tail mean is above it.
        prop_assert!(before.evar.unwrap() >= before.es - 1e-9 * scale);
    }

    #[test]
    fn a_better_portfolio_has_less_risk(request in portfolios(), gains in prop::collection::vec(0.0..1e5_f64, 160)) {
        let ask_pnl = |pnl: Vec<f64>| ask(&VarRequest {
            returns: None, positions: None, scenario_pnl: Some(pnl), ..request.clone()
        }).unwrap();
        let pnl = totals(&request, None);
        let better = pnl.iter().zip(&gains).map(|(pnl, gain)| pnl + gain).collect();
        let (worse, better) = (ask_pnl(pnl), ask_pnl(better));
        prop_assert!(better.var <= worse.var);
        if request.method == Method::Historical {
            prop_assert!(better.es <= worse.es + 1e-12 * gross(&request));
        }
    }

    #[test]
    fn two_portfolios_together_have_no_more_shortfall(request in portfolios(), other in prop::collection::vec(-1e6..1e6_f64, 40)) {
        // Of equally likely scenarios; the tail of weighted ones reaches over q by a part of a scenario.
        let request = VarRequest { method: Method::Historical, evar: true, ..request };
        let positions = request.positions.clone().unwrap();
        let other = VarRequest { positions: Some(other[..positions.len()].to_vec()), ..request.clone() };
        let sum = positions.iter().zip(other.positions.iter().flatten()).map(|(a, b)| a + b).collect();
        let both = VarRequest { positions: Some(sum), ..request.clone() };
        let (a, b, both) = (ask(&request).unwrap(), ask(&other).unwrap(), ask(&both).unwrap());
        let scale = gross(&request) + gross(&other);
        prop_assert!(both.es <= a.es + b.es + 1e-12 * scale);
        prop_assert!(both.evar.unwrap() <= a.evar.unwrap() + b.evar.unwrap() + 1e-9 * scale);
    }

    #[test]
    fn the_order_of_assets_is_that_of_their_parts(request in portfolios()) {
        let (returns, positions) = (request.returns.clone().unwrap(), request.positions.clone().unwrap());
        let reversed = returns.values().chunks(returns.columns()).flat_map(|row| row.iter().rev().copied());
        let mirror = VarRequest {
            returns: Some(ScenarioMatrix::new(reversed.collect(), returns.columns()).unwrap()),
            positions: Some(positions.into_iter().rev().collect()),
            ..request.clone()
        };
        let (one, other) = (ask(&request).unwrap(), ask(&mirror).unwrap());
        let scale = gross(&request);
        prop_assert!(near(one.var, other.var, scale) && near(one.es, other.es, scale));
        let pairs = [
            (one.incremental_var, other.incremental_var), (one.incremental_es, other.incremental_es),
        ];
        for (one, other) in pairs {
            for (a, b) in one.unwrap().iter().zip(other.unwrap().iter().rev()) {
                prop_assert!(near(*a, *b, scale));
            }
        }
    }

    #[test]
    fn sums_of_days_are_what_loops_say(request in portfolios(), days in 1usize..12) {
        let pnl = totals(&request, None);
        let rows = pnl.len();
        prop_assume!(days < rows && (rows - days + 1) as f64 * (1.0 - request.confidence) >= 1.01);
        let request = VarRequest {
            method: Method::Historical, horizon_days: days as f64, horizon_rule: HorizonRule::Overlapping, ..request
        };
        let windows: Vec<f64> = pnl.windows(days).map(|window| window.iter().sum()).collect();
        let (answer, expected) = (ask(&request).unwrap(), slow(&windows, &request));
        let scale = days as f64 * gross(&request);
        prop_assert!(near(answer.var, expected.0, scale) && near(answer.es, expected.1, scale));
        prop_assert_eq!(answer.scenarios, rows - days + 1);
    }
}

/// Uniform numbers between 0 and 1 (Knuth's MMIX).
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    ((*state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

#[test]
fn a_grid_of_the_normal_distribution_has_its_closed_forms() {
    let n = 100_000;
    let pnl: Vec<f64> = (0..n).map(|i| normal_quantile((f64::from(i) + 0.5) / f64::from(n))).collect();
    let at = |confidence| {
        ask(&VarRequest {
            scenario_pnl: Some(pnl.clone()),
            confidence,
            evar: true,
            ..VarRequest::new(Method::Historical)
        })
        .unwrap()
    };
    let density = |z: f64| (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let near = |found: f64, expected: f64, share: f64| {
        assert!((found - expected).abs() <= share * expected, "{found}, not {expected}");
    };
    for confidence in [0.9, 0.95, 0.99] {
        let (answer, q) = (at(confidence), 1.0 - confidence);
        let z = normal_quantile(confidence);
        let shortfall = density(z) / q;
        near(answer.var, z, 2e-4);
        near(answer.es, shortfall, 2e-4);
        // VaR: √(q(1 − q)/n)/f. ES: the variance of a normal tail is 1 + z·ES − ES².
        near(answer.standard_error.var.unwrap(), (q * (1.0 - q) / f64::from(n)).sqrt() / density(z), 5e-3);
        let within = 1.0 + z * shortfall - shortfall * shortfall;
        let beyond = (1.0 - q) * (shortfall - z).powi(2);
        near(answer.standard_error.es.unwrap(), ((within + beyond) / (q * f64::from(n))).sqrt(), 5e-3);
    }
    // The grid ends at 4.4, where the exponential of the entropic measure still has some weight.
    near(at(0.9).evar.unwrap(), (2.0 * 10.0_f64.ln()).sqrt(), 5e-3);
}

/// The share of `samples` whose interval of VaR holds `var`.
fn coverage(var: f64, samples: u32, mut sample: impl FnMut() -> VarRequest) -> f64 {
    let holds = (0..samples).filter(|_| {
        let interval = ask(&sample()).unwrap().confidence_interval.var;
        interval.lower.is_some_and(|lower| lower <= var) && interval.upper.is_none_or(|upper| var <= upper)
    });
    holds.count() as f64 / f64::from(samples)
}

#[test]
fn intervals_hold_the_true_value_as_often_as_they_say() {
    let mut state = 1;
    let mut pnl = |n: usize| Some((0..n).map(|_| normal_quantile(uniform(&mut state))).collect());
    let one_day = VarRequest { confidence: 0.95, ..VarRequest::new(Method::Historical) };
    let z = normal_quantile(0.95);
    let share = coverage(z, 1000, || VarRequest { scenario_pnl: pnl(300), ..one_day.clone() });
    assert!((0.94..0.98).contains(&share), "{share}");
    // Overlapping sums count as a fifth of their number: as many as do not overlap.
    let five_days = VarRequest { horizon_days: 5.0, horizon_rule: HorizonRule::Overlapping, ..one_day };
    let share =
        coverage(z * 5.0_f64.sqrt(), 400, || VarRequest { scenario_pnl: pnl(1000), ..five_days.clone() });
    assert!((0.93..1.0).contains(&share), "{share}");
}

#[test]
fn an_end_that_scenarios_do_not_reach_is_open() {
    let pnl: Vec<f64> = (1..=100).map(f64::from).collect();
    let answer = ask(&VarRequest { scenario_pnl: Some(pnl), ..VarRequest::new(Method::Historical) }).unwrap();
    let interval = answer.confidence_interval.var;
    // P(none of 100 is below the quantile) is 0.37; P(at most 3 are) is 0.98.
    assert_eq!((answer.var, interval.lower, interval.upper), (-1.0, Some(-4.0), None));
    assert_eq!((answer.standard_error.es, answer.confidence_interval.es.upper), (None, None));
}

#[test]
fn a_filter_that_never_forgets_changes_nothing() {
    let reference: Value = serde_json::from_str(REFERENCE).unwrap();
    let body =
        json!({"returns": reference["returns"], "positions": reference["positions"], "confidence": 0.95});
    let plain = parse(body);
    let still = VarRequest {
        method: Method::FilteredHistorical,
        decay: Some(1.0 - f64::EPSILON / 2.0),
        ..plain.clone()
    };
    let (plain, still) = (ask(&plain).unwrap(), ask(&still).unwrap());
    assert!((plain.var - still.var).abs() <= 1e-12 * plain.var);
    assert!((plain.es - still.es).abs() <= 1e-12 * plain.es);
}

#[test]
fn threads_change_no_bit() {
    let (mut state, columns) = (7, 129);
    let values: Vec<f64> = (0..columns * 3001).map(|_| uniform(&mut state) - 0.5).collect();
    let positions = (0..columns).map(|_| uniform(&mut state) - 0.5).collect();
    let request = VarRequest {
        returns: Some(ScenarioMatrix::new(values, columns).unwrap()),
        positions: Some(positions),
        evar: true,
        ..VarRequest::new(Method::Historical)
    };
    let hardware = |workers_max| {
        let options = Options { workers_max, ..Options::default() };
        Hardware::new(backends::listings(), Switches::default(), options)
    };
    let (one, all) = (hardware(1), hardware(0));
    // Now it cuts products over cores, and chooses by speed.
    all.calibrate(|_, _| {}).expect("nobody else calibrates this one");
    for method in [Method::Historical, Method::FilteredHistorical, Method::AgeWeighted] {
        let request = VarRequest { method, ..request.clone() };
        let by = |hardware| serde_json::to_string(&calculate_var(hardware, &request).unwrap()).unwrap();
        assert_eq!(by(&all), by(&one));
    }
}
