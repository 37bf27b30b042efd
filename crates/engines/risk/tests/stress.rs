//! Stress: against closed forms, QuantLib, numpy and scipy, against direct revaluation, and by what it has to be.
//!
//! It looks at requests and answers only.

use nautilus_engine_risk::{
    ReverseStressAnswer, ReverseStressRequest, RiskError, StressAnswer, StressRequest, reverse_stress, stress,
};
use nautilus_hardware::Hardware;
use nautilus_numerics::{American, European, OptionKind, OptionTerms};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Written by `stress_reference.py`.
const REFERENCE: &str = include_str!("stress_reference.json");

fn reference() -> Value {
    serde_json::from_str(REFERENCE).unwrap()
}

fn ask(body: Value) -> Result<StressAnswer, RiskError> {
    let request: StressRequest = serde_json::from_value(body).expect("a legal shape");
    stress(Hardware::shared(), &request)
}

fn reverse(body: Value) -> Result<ReverseStressAnswer, RiskError> {
    let request: ReverseStressRequest = serde_json::from_value(body).expect("a legal shape");
    reverse_stress(Hardware::shared(), &request)
}

fn near(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
}

/// A future, shares in another currency, a European and an American option.
fn book() -> Value {
    json!([
        {"instrument": "ES", "quantity": -3.0, "multiplier": 50.0, "price": 5000.0},
        {"instrument": "SAP", "quantity": 400.0, "price": 150.0, "currency": "EUR"},
        {"underlying": "ES", "kind": "put", "style": "european", "strike": 4800.0, "expiry_years": 0.25,
         "volatility": 0.2, "rate": 0.04, "dividend_yield": 0.015, "spot": 5000.0, "quantity": 10.0, "multiplier": 50.0},
        {"underlying": "SAP", "kind": "put", "style": "american", "strike": 160.0, "expiry_years": 0.5,
         "volatility": 0.3, "rate": 0.03, "spot": 150.0, "quantity": -5.0, "multiplier": 100.0, "currency": "EUR"},
    ])
}

fn put(kind: OptionKind, terms: [f64; 5]) -> OptionTerms {
    let [strike, rate, dividend_yield, volatility, expiry] = terms;
    OptionTerms { kind, strike, rate, dividend_yield, volatility, expiry }
}

fn european(terms: [f64; 5], spot: f64) -> f64 {
    European::new(put(OptionKind::Put, terms)).unwrap().value(spot).unwrap()
}

fn american(terms: [f64; 5], spot: f64) -> f64 {
    American::new(put(OptionKind::Put, terms)).unwrap().value(spot).unwrap()
}

#[test]
fn scenarios_are_full_revaluations() {
    let answer = ask(json!({
        "positions": book(), "currencies": {"EUR": 1.1}, "groups": {"europe": ["SAP"]},
        "scenarios": [
            {"name": "crash", "all": {"price": -0.2, "volatility": 0.5, "rate": 0.01}, "time_years": 0.1,
             "groups": {"europe": {"price": -0.3}},
             "shocks": {"ES": {"volatility_points": 0.05}, "EUR": {"price": -0.05}}},
            {"name": "nothing"},
        ],
    }))
    .unwrap();
    let crash = &answer.scenarios[0];
    let es = european([4800.0, 0.05, 0.015, 0.2 * 1.5 + 0.05, 0.15], 4000.0);
    let es_before = european([4800.0, 0.04, 0.015, 0.2, 0.25], 5000.0);
    let sap = american([160.0, 0.04, 0.0, 0.3 * 1.5, 0.4], 105.0);
    let sap_before = american([160.0, 0.03, 0.0, 0.3, 0.5], 150.0);
    let worth = 1.1 * 0.95;
    let expected = [
        -150.0 * (4000.0 - 5000.0),
        400.0 * (105.0 * worth - 150.0 * 1.1),
        500.0 * (es - es_before),
        -500.0 * (sap * worth - sap_before * 1.1),
    ];
    for (found, expected) in crash.positions.iter().zip(expected) {
        near(found.pnl, expected, 1e-9 * 150_000.0);
        near(found.value_after - found.value_before, found.pnl, 1e-9 * 750_000.0);
        let explanation = found.explanation.unwrap();
        let parts = [
            explanation.delta,
            explanation.gamma,
            explanation.vega,
            explanation.vanna,
            explanation.volga,
            explanation.theta,
            explanation.rho,
            explanation.currency,
            explanation.residual,
        ];
        near(parts.iter().sum(), found.pnl, 1e-9 * 150_000.0);
    }
    near(crash.pnl, expected.iter().sum(), 1e-6);
    let (before, after) =
        (crash.positions[2].greeks_before.unwrap(), crash.positions[2].greeks_after.unwrap());
    let expected = European::new(put(OptionKind::Put, [4800.0, 0.05, 0.015, 0.35, 0.15])).unwrap();
    near(after.vega, 500.0 * expected.greeks(4000.0).unwrap().vega, 1e-6);
    assert!(before.delta < 0.0 && after.delta < before.delta && before.theta < 0.0);
    // A position has no other sensitivity than to its price, and a series that ends with it.
    assert_eq!(crash.positions[0].explanation.unwrap().residual, 0.0);
    let nothing = &answer.scenarios[1];
    assert_eq!((nothing.pnl, nothing.value_before, nothing.value_after), (0.0, answer.value, answer.value));
}

/// Of a small move the second-order series leaves what is of third order.
#[test]
fn small_moves_are_explained() {
    let residual = |size: f64| {
        let answer = ask(json!({
            "positions": book(), "currencies": {"EUR": 1.1},
            "scenarios": [{"name": "x", "all": {"price": size, "volatility": 2.0 * size, "rate": size * size}}],
        }));
        let scenario = &answer.unwrap().scenarios[0];
        (scenario.explanation.unwrap().residual.abs(), scenario.pnl.abs())
    };
    let (large, small) = (residual(0.02), residual(0.002));
    assert!(small.0 < 2e-3 * small.1 && small.0 < 5e-3 * large.0, "{large:?} {small:?}");
}

#[test]
fn grids_are_direct_revaluations() {
    let positions = book();
    let (prices, volatilities) = ([-0.3, -0.1, 0.0, 0.2], [-0.5, 0.0, 1.0]);
    for underlying in [None, Some("SAP")] {
        let mut grid = json!({"prices": prices, "volatilities": volatilities});
        if let Some(underlying) = underlying {
            grid["underlying"] = json!(underlying);
        }
        let found =
            ask(json!({"positions": positions, "currencies": {"EUR": 1.1}, "grids": [grid]})).unwrap();
        for (row, price) in found.grids[0].pnl.iter().zip(prices) {
            for (cell, volatility) in row.iter().zip(volatilities) {
                let shock = json!({"price": price, "volatility": volatility});
                let scenario = match underlying {
                    None => json!({"name": "x", "all": shock}),
                    Some(name) => json!({"name": "x", "shocks": {name: shock}}),
                };
                let body = json!({"positions": positions, "currencies": {"EUR": 1.1}, "scenarios": [scenario], "detail": "totals"});
                near(*cell, ask(body).unwrap().scenarios[0].pnl, 1e-6);
            }
        }
        assert_eq!(found.grids[0].pnl[2][1], 0.0);
    }
}

#[test]
fn the_library_and_the_worst_of_history() {
    let answer = ask(json!({
        "positions": [{"instrument": "A", "quantity": 100.0, "price": 10.0}, {"instrument": "B", "quantity": -50.0, "price": 20.0}],
        "library": ["black_monday_1987", "pandemic_2020"],
        "instruments": ["B", "A"], "returns": [[0.01, -0.02], [0.0, 0.05], [-0.03, -0.04], [0.05, 0.05], [0.031, 0.0]],
        "historical": {"worst": 2},
    }))
    .unwrap();
    let names: Vec<_> = answer.scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
    assert_eq!(names, ["black_monday_1987", "pandemic_2020", "returns[4]", "returns[0]"]);
    assert!(answer.scenarios[0].source.as_ref().unwrap().contains("282.70"));
    near(answer.scenarios[0].positions[0].pnl, -204.7, 0.1);
    near(answer.scenarios[1].positions[0].pnl, -119.8, 0.1);
    // B −31; and A −20 with B −10.
    near(answer.scenarios[2].pnl, -31.0, 1e-9);
    near(answer.scenarios[3].pnl, -30.0, 1e-9);
}

#[test]
fn correlations_move_var_as_numpy_says() {
    for case in reference()["correlation"].as_array().unwrap() {
        let found = ask(case["request"].clone()).unwrap().correlation.unwrap();
        let expected = |name: &str| case["answer"][name].as_f64().unwrap();
        for (name, value) in [
            ("var_before", found.var_before),
            ("var_after", found.var_after),
            ("deviation_after", found.deviation_after),
        ] {
            near(value, expected(name), 1e-7 * expected(name));
        }
        near(found.smallest_eigenvalue_stressed, expected("smallest_eigenvalue_stressed"), 1e-12);
        near(found.repair_distance_stressed, expected("repair_distance_stressed"), 1e-7);
    }
}

#[test]
fn reverse_stress_agrees_with_scipy() {
    for case in reference()["reverse"].as_array().unwrap() {
        let found = reverse(case["request"].clone()).unwrap();
        let expected = case["distance"].as_f64().unwrap();
        // As near as scipy's SLSQP from many starts, or nearer.
        assert!(found.mahalanobis_distance <= expected * (1.0 + 1e-6), "{case} {found:?}");
        near(found.mahalanobis_distance, expected, 1e-4 * expected);
        near(found.loss_at_shock, found.loss, 1e-6 * found.loss);
    }
}

/// x = −L·Σw/(w′Σw), distance L/√(w′Σw).
#[test]
fn linear_portfolios_have_a_closed_form() {
    let body = json!({
        "positions": [{"instrument": "A", "quantity": 100.0, "price": 10.0}, {"instrument": "B", "quantity": -50.0, "price": 20.0}],
        "instruments": ["A", "B", "C"],
        "correlations": [[1.0, 0.5, 0.2], [0.5, 1.0, 0.0], [0.2, 0.0, 1.0]], "volatilities": [0.01, 0.02, 0.03],
        "loss": 60.0, "horizon": 4.0,
    });
    let found = reverse(body).unwrap();
    let variance: f64 = 4.0 * 1e6 * (1e-4 + 4e-4 - 2.0 * 1e-4);
    near(found.mahalanobis_distance, 60.0 / variance.sqrt(), 1e-12);
    near(found.loss_at_shock, 60.0, 1e-9);
    let scale = -60.0 * 4.0 * 1e3 / variance;
    for (shock, expected) in found.shocks.iter().zip([0.0, 1e-4 - 4e-4, 0.6e-4]) {
        near(shock.shock, scale * expected, 1e-12);
    }
    near(found.shocks.iter().map(|shock| shock.pnl).sum::<f64>(), -60.0, 1e-9);
    assert_eq!((found.starts, found.converged, found.rank), (1, 1, 3));
    near(found.probability, 0.041_632_258_331_775_2, 1e-12);
}

/// Of two assets that are one: the pseudo-inverse, and the shock in its range.
#[test]
fn a_singular_covariance_is_taken_as_it_is() {
    let found = reverse(json!({
        "positions": [{"instrument": "A", "quantity": 1.0, "price": 100.0}],
        "instruments": ["A", "B", "still"], "covariance": [[1e-4, 2e-4, 0.0], [2e-4, 4e-4, 0.0], [0.0, 0.0, 0.0]], "loss": 2.0,
    }))
    .unwrap();
    near(found.shocks[0].shock, -0.02, 1e-12);
    near(found.shocks[1].shock, -0.04, 1e-12);
    near(found.mahalanobis_distance, 2.0, 1e-9);
    assert_eq!((found.rank, found.shocks[2].shock), (1, 0.0));
}

#[test]
fn what_cannot_be_lost_is_said() {
    let straddle = json!([
        {"underlying": "A", "kind": "call", "strike": 100.0, "expiry_years": 0.5, "volatility": 0.3, "rate": 0.0, "spot": 100.0, "quantity": 1.0},
        {"underlying": "A", "kind": "put", "strike": 100.0, "expiry_years": 0.5, "volatility": 0.3, "rate": 0.0, "spot": 100.0, "quantity": 1.0},
    ]);
    let body = |loss: f64| json!({"positions": straddle, "instruments": ["A"], "covariance": [[4e-4]], "loss": loss});
    let error = reverse(body(50.0)).unwrap_err();
    assert_eq!((error.code(), error.field()), ("not_converged", "loss"));
    let still = json!({"positions": [{"instrument": "A", "quantity": 1.0, "price": 1.0}], "instruments": ["A"], "covariance": [[0.0]], "loss": 1.0});
    assert_eq!(reverse(still).unwrap_err().code(), "unreachable");
    let short = json!({"positions": [{"instrument": "A", "quantity": 1.0, "price": 1.0}], "instruments": ["A", "B"],
        "correlations": [[1.0, 0.9], [0.9, 1.0]], "volatilities": [0.1, 0.1], "loss": 2.0});
    assert!(reverse(short).unwrap().warnings[0].starts_with("A would lose more than everything"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_shock_loses_the_loss_and_is_the_nearest_of_many(
        rows in prop::collection::vec(prop::collection::vec(-0.03..0.03_f64, 3), 8),
        held in prop::collection::vec(-100.0..100.0_f64, 3),
        contracts in -300.0..300.0_f64,
        share in 0.02..0.1_f64,
        directions in prop::collection::vec(prop::collection::vec(-1.0..1.0_f64, 3), 40),
    ) {
        let positions = json!([
            {"instrument": "A", "quantity": held[0], "price": 100.0},
            {"instrument": "B", "quantity": held[1], "price": 50.0},
            {"instrument": "C", "quantity": held[2], "price": 20.0},
            {"underlying": "A", "kind": "put", "strike": 95.0, "expiry_years": 0.3, "volatility": 0.25, "rate": 0.02, "spot": 100.0, "quantity": contracts},
        ]);
        let loss = share * held.iter().zip([100.0, 50.0, 20.0]).map(|(a, b): (&f64, f64)| (a * b).abs()).sum::<f64>();
        let body = json!({"positions": positions, "instruments": ["A", "B", "C"], "returns": rows, "loss": loss});
        let found = reverse(body).unwrap();
        prop_assert!((found.loss_at_shock - loss).abs() <= 1e-6 * loss);
        // The stress question says the same of the shock.
        let shocks: serde_json::Map<_, _> =
            found.shocks.iter().map(|shock| (shock.instrument.clone(), json!({"price": shock.shock}))).collect();
        prop_assume!(found.shocks.iter().all(|shock| shock.shock >= -1.0));
        let pnl = |scenarios: Value| {
            let asked = json!({"positions": positions, "scenarios": scenarios, "detail": "totals"});
            ask(asked).unwrap().scenarios.iter().map(|scenario| scenario.pnl).collect::<Vec<_>>()
        };
        let lost = -pnl(json!([{"name": "x", "shocks": shocks}]))[0];
        prop_assert!((lost - loss).abs() <= 1e-6 * loss);
        // Of shocks that are clearly nearer, made as A·v with Σ = A·A′, none loses as much.
        let mean: Vec<f64> = (0..3).map(|j| rows.iter().map(|row| row[j]).sum::<f64>() / 8.0).collect();
        let scenarios: Vec<Value> = directions.iter().map(|direction| {
            // Any mixture of the eight deviations is in the range; its distance is at most that of its weights.
            let weights: Vec<f64> = (0..8).map(|t| direction[t % 3] * if t < 3 { 1.0 } else { direction[(t + 1) % 3] }).collect();
            let size = weights.iter().map(|w| w * w).sum::<f64>().sqrt().max(1e-9);
            let x = |j: usize| (0..8).map(|t| weights[t] / size * (rows[t][j] - mean[j])).sum::<f64>() / 7.0_f64.sqrt();
            let scale = 0.97 * found.mahalanobis_distance;
            json!({"name": "x", "shocks": {"A": {"price": (scale * x(0)).max(-1.0)}, "B": {"price": (scale * x(1)).max(-1.0)}, "C": {"price": (scale * x(2)).max(-1.0)}}})
        }).collect();
        for pnl in pnl(json!(scenarios)) {
            prop_assert!(-pnl < loss, "{} loses {} of {}", found.mahalanobis_distance, -pnl, loss);
        }
    }
}

#[test]
fn bad_questions_name_the_field() {
    let linear = json!({"instrument": "A", "quantity": 1.0, "price": 10.0});
    let option = json!({"underlying": "A", "kind": "call", "strike": 10.0, "expiry_years": 1.0, "volatility": 0.2,
        "rate": 0.0, "spot": 10.0, "quantity": 1.0});
    let with = |base: &Value, field: &str, value: Value| {
        let mut changed = base.clone();
        changed[field] = value;
        changed
    };
    let without = |base: &Value, field: &str| {
        let mut changed = base.clone();
        changed.as_object_mut().unwrap().remove(field);
        changed
    };
    let of = |position: Value| json!({"positions": [linear, position]});
    let scenario = |body: Value| json!({"positions": [linear, option], "currencies": {"EUR": 1.0}, "groups": {"g": ["A"], "h": ["A"]}, "scenarios": [body]});
    let joint = |extra: Value| {
        let mut body =
            json!({"positions": [linear], "instruments": ["A"], "correlation": {"toward": 1.0, "by": 0.5}});
        extra.as_object().unwrap().iter().for_each(|(key, value)| body[key] = value.clone());
        body
    };
    let questions = [
        (json!({"positions": []}), "positions"),
        (of(with(&linear, "price", json!(-1.0))), "positions[1].price"),
        (of(without(&linear, "price")), "positions[1].price"),
        (of(with(&linear, "strike", json!(1.0))), "positions[1].strike"),
        (of(with(&linear, "currency", json!("EUR"))), "positions[1].currency"),
        (of(with(&linear, "multiplier", json!(0.0))), "positions[1].multiplier"),
        (of(without(&linear, "instrument")), "positions[1].instrument"),
        (of(with(&linear, "instrument", json!(""))), "positions[1].instrument"),
        (of(with(&option, "instrument", json!("A"))), "positions[1].underlying"),
        (of(without(&option, "kind")), "positions[1].kind"),
        (of(without(&option, "spot")), "positions[1].spot"),
        (of(with(&option, "price", json!(1.0))), "positions[1].price"),
        (of(with(&option, "strike", json!(0.0))), "positions[1].strike"),
        (of(with(&option, "volatility", json!(-0.1))), "positions[1].volatility"),
        (of(with(&option, "expiry_years", json!(-0.1))), "positions[1].expiry_years"),
        (json!({"positions": [linear], "currencies": {"A": 1.0}}), "currencies.A"),
        (json!({"positions": [linear], "currencies": {"EUR": 0.0}}), "currencies.EUR"),
        (json!({"positions": [linear], "groups": {"g": ["B"]}}), "groups.g[0]"),
        (json!({"positions": [linear], "library": ["tulips"]}), "library[0]"),
        (scenario(json!({"name": "x", "shocks": {"B": {}}})), "scenarios[0].shocks.B"),
        (scenario(json!({"name": "x", "shocks": {"A": {"price": -1.5}}})), "scenarios[0].shocks.A.price"),
        (scenario(json!({"name": "x", "shocks": {"EUR": {"rate": 0.1}}})), "scenarios[0].shocks.EUR"),
        (scenario(json!({"name": "x", "groups": {"i": {}}})), "scenarios[0].groups.i"),
        (scenario(json!({"name": "x", "groups": {"g": {}, "h": {}}})), "scenarios[0].groups.h"),
        (scenario(json!({"name": "x", "time_years": -1.0})), "scenarios[0].time_years"),
        (scenario(json!({"name": "x", "all": {"volatility_points": -0.3}})), "positions[1].volatility"),
        (json!({"positions": [linear], "grids": [{"prices": []}]}), "grids[0].prices"),
        (json!({"positions": [linear], "grids": [{"prices": [-2.0]}]}), "grids[0].prices[0]"),
        (
            json!({"positions": [linear], "grids": [{"underlying": "B", "prices": [0.0]}]}),
            "grids[0].underlying",
        ),
        (json!({"positions": [linear], "historical": {}}), "returns"),
        (json!({"positions": [linear], "historical": {}, "returns": [[0.0]]}), "instruments"),
        (
            json!({"positions": [linear], "historical": {}, "returns": [[0.0]], "instruments": ["B"]}),
            "instruments",
        ),
        (
            json!({"positions": [linear], "historical": {}, "returns": [[-2.0]], "instruments": ["A"]}),
            "returns[0][0]",
        ),
        (
            json!({"positions": [linear], "historical": {"worst": 0}, "returns": [[0.0]], "instruments": ["A"]}),
            "historical.worst",
        ),
        (joint(json!({})), "covariance"),
        (joint(json!({"covariance": [[-1.0]]})), "covariance[0][0]"),
        (joint(json!({"covariance": [[1.0, 0.0]]})), "covariance"),
        (joint(json!({"covariance": [[1.0], [1.0]]})), "covariance"),
        (joint(json!({"covariance": [[1.0]], "correlations": [[1.0]]})), "correlations"),
        (joint(json!({"correlations": [[1.0]]})), "volatilities"),
        (joint(json!({"correlations": [[1.0]], "volatilities": []})), "volatilities"),
        (joint(json!({"correlations": [[1.0]], "volatilities": [-1.0]})), "volatilities[0]"),
        (joint(json!({"correlations": [[0.9]], "volatilities": [1.0]})), "correlations[0][0]"),
        (
            joint(
                json!({"instruments": ["A", "B"], "correlations": [[1.0, 1.5], [1.5, 1.0]], "volatilities": [1.0, 1.0]}),
            ),
            "correlations[0][1]",
        ),
        (
            joint(json!({"instruments": ["A", "B"], "covariance": [[1.0, 0.5], [0.4, 1.0]]})),
            "covariance[1][0]",
        ),
        (joint(json!({"instruments": ["A", "A"], "covariance": [[1.0, 0.5], [0.5, 1.0]]})), "instruments[1]"),
        (joint(json!({"returns": [[0.1]]})), "returns"),
        (
            joint(json!({"covariance": [[1.0]], "correlation": {"toward": 2.0, "by": 0.5}})),
            "correlation.toward",
        ),
        (joint(json!({"covariance": [[1.0]], "correlation": {"toward": 1.0, "by": 1.5}})), "correlation.by"),
        (
            joint(json!({"covariance": [[1.0]], "correlation": {"toward": 1.0, "by": 1.0, "block": ["B"]}})),
            "correlation.block[0]",
        ),
    ];
    for (body, field) in questions {
        let error = ask(body.clone()).expect_err(&body.to_string());
        assert_eq!(error.field(), field, "{body}: {error}");
    }
    let many: Vec<_> = (0..10_001).map(|_| linear.clone()).collect();
    assert_eq!(ask(json!({"positions": many})).unwrap_err().code(), "too_large");
    let bodies = [
        (json!({"loss": 0.0, "covariance": [[1.0]]}), "loss"),
        (json!({"loss": 1.0, "covariance": [[1.0]], "horizon": 0.0}), "horizon"),
        (
            json!({"loss": 1.0, "instruments": ["A", "B", "C"], "volatilities": [1.0, 1.0, 1.0],
            "correlations": [[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]]}),
            "covariance",
        ),
    ];
    for (mut body, field) in bodies {
        body["positions"] = json!([linear]);
        if body.get("instruments").is_none() {
            body["instruments"] = json!(["A"]);
        }
        assert_eq!(reverse(body).unwrap_err().field(), field);
    }
    let mut request: StressRequest = serde_json::from_value(json!({"positions": [linear]})).unwrap();
    request.positions[0].quantity = f64::NAN;
    let error = stress(Hardware::shared(), &request).unwrap_err();
    assert_eq!((error.code(), error.field()), ("not_finite", "positions[0].quantity"));
}
