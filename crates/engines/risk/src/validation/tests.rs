//! Backtests against independent code, against published tables, and by how often they reject right forecasts.

use nautilus_numerics::{Philox, normal_cdf, normal_quantile};
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;

use super::*;

/// Records and what scipy and statsmodels say of them, written by `validation_reference.py`.
const REFERENCE: &str = include_str!("validation_reference.json");

#[derive(Deserialize)]
struct Case {
    name: String,
    confidence: f64,
    var: Vec<f64>,
    es: Vec<f64>,
    pit: Option<Vec<f64>>,
    pnl: Vec<f64>,
    exceptions: usize,
    tests: BTreeMap<TestName, Option<(f64, f64)>>,
    kolmogorov_exact: Option<f64>,
    cumulative: f64,
    yellow_from: usize,
    red_from: usize,
}

impl Case {
    fn forecasts(&self) -> Vec<Forecast> {
        let of = |at: usize| Forecast {
            var: self.var[at],
            es: Some(self.es[at]),
            confidence: self.confidence,
            pit: self.pit.as_ref().map(|pits| pits[at]),
            pnl: self.pnl[at],
        };
        (0..self.pnl.len()).map(of).collect()
    }
}

fn near(got: f64, expected: f64, tolerance: f64) -> bool {
    (got - expected).abs() <= tolerance * expected.abs().max(1.0)
}

#[test]
fn agrees_with_scipy_and_statsmodels() {
    let cases: Vec<Case> = serde_json::from_str(REFERENCE).unwrap();
    assert!(cases.len() >= 14);
    for case in cases {
        let name = &case.name;
        let answer = backtest(&case.forecasts()).unwrap();
        assert_eq!((answer.observations, answer.exceptions), (case.pnl.len(), case.exceptions), "{name}");
        let light = answer.traffic_light;
        assert!(near(light.cumulative_probability, case.cumulative, 1e-10), "{name}: {light:?}");
        assert_eq!((light.yellow_from, light.red_from), (case.yellow_from, case.red_from.max(1)), "{name}");
        let tests: Vec<TestName> = answer.tests.iter().map(|test| test.test).collect();
        assert_eq!(tests, case.tests.keys().copied().collect::<Vec<_>>(), "{name}");
        for test in &answer.tests {
            let Some((statistic, p_value)) = case.tests[&test.test] else {
                assert_eq!((test.statistic, test.p_value), (None, None), "{name} {test:?}");
                assert_eq!(test.verdict, Verdict::TooFewObservations);
                continue;
            };
            let tolerance: f64 = match test.test {
                // Simulated there and here.
                TestName::AcerbiSzekelyZ1 | TestName::AcerbiSzekelyZ2 => 0.012,
                TestName::Berkowitz => 1e-9,
                _ => 1e-10,
            };
            assert!(
                near(test.statistic.unwrap(), statistic, tolerance.min(1e-9)),
                "{name} {test:?} {statistic}"
            );
            assert!(near(test.p_value.unwrap(), p_value, tolerance), "{name} {test:?} {p_value}");
            if let (TestName::KolmogorovSmirnov, Some(exact)) = (test.test, case.kolmogorov_exact) {
                let most = if exact < 0.15 { 0.002 } else { 0.03 };
                assert!((test.p_value.unwrap() - exact).abs() < most, "{name} {test:?} {exact}");
            }
            let rejected = test.p_value.unwrap() <= 0.05;
            match test.verdict {
                Verdict::TooFewObservations => assert!(test.needs.is_some(), "{name} {test:?}"),
                verdict => assert_eq!(verdict == Verdict::Rejected, rejected, "{name} {test:?}"),
            }
        }
    }
}

/// A record of n periods at 99 % with so many exceptions, spread out.
fn spread(n: usize, exceptions: usize, confidence: f64) -> Vec<Forecast> {
    let of = |at: usize| {
        let hit = (at + 1) * exceptions / n > at * exceptions / n;
        Forecast { var: 1.0, es: None, confidence, pit: None, pnl: if hit { -2.0 } else { 0.1 } }
    };
    (0..n).map(of).collect()
}

#[test]
fn zones_and_multipliers_are_those_of_the_committee() {
    // Basel Committee (1996), table 2: exceptions in 250 days, multiplier, cumulative probability in per cent.
    for (exceptions, zone, multiplier, probability) in [
        (0, Zone::Green, 3.0, 8.11),
        (1, Zone::Green, 3.0, 28.58),
        (4, Zone::Green, 3.0, 89.22),
        (5, Zone::Yellow, 3.4, 95.88),
        (6, Zone::Yellow, 3.5, 98.63),
        (7, Zone::Yellow, 3.65, 99.60),
        (8, Zone::Yellow, 3.75, 99.89),
        (9, Zone::Yellow, 3.85, 99.97),
        (10, Zone::Red, 4.0, 99.99),
        (250, Zone::Red, 4.0, 100.0),
    ] {
        let light = backtest(&spread(250, exceptions, 0.99)).unwrap().traffic_light;
        assert_eq!((light.zone, light.yellow_from, light.red_from), (zone, 5, 10), "{exceptions}");
        assert!(near(light.multiplier_1996, multiplier, 1e-12), "{exceptions}: {light:?}");
        assert!(
            (100.0 * light.cumulative_probability - probability).abs() < 0.006,
            "{exceptions}: {light:?}"
        );
    }
    let of_2019 =
        |exceptions| backtest(&spread(250, exceptions, 0.99)).unwrap().traffic_light.multiplier_2019;
    let multipliers: Vec<f64> = (4..=10).map(of_2019).collect();
    assert_eq!(multipliers, [1.5, 1.7, 1.76, 1.83, 1.88, 1.92, 2.0]);
    // Other lengths take what the table is rounded from, which never falls.
    for n in [100, 249, 251, 500, 1_000] {
        let mut before = 3.0;
        for exceptions in 0..40 {
            let light = backtest(&spread(n, exceptions, 0.99)).unwrap().traffic_light;
            assert!(light.multiplier_1996 >= before && light.multiplier_1996 <= 4.0, "{n} {light:?}");
            assert!(near(light.multiplier_2019, 0.5 * light.multiplier_1996, 1e-12), "{n} {light:?}");
            before = light.multiplier_1996;
        }
    }
    let near_table = backtest(&spread(251, 7, 0.99)).unwrap().traffic_light.multiplier_1996;
    assert!((near_table - 3.65).abs() < 0.02, "{near_table}");
}

/// Uniform draws between 0 and 1.
fn uniform(seed: u64, at: u32, which: u32) -> f64 {
    let [high, low, ..] = Philox::new(seed).block([at, which, 0, 7]);
    (f64::from(high) + (f64::from(low) + 0.5) / 4_294_967_296.0) / 4_294_967_296.0
}

/// How many of `records` records of normal P&L under right forecasts each test rejects, as a share.
fn rejections(records: u32, n: u32, confidence: f64) -> BTreeMap<TestName, f64> {
    let q = normal_quantile(confidence);
    let es = (-0.5 * q * q).exp() / (2.0 * std::f64::consts::PI).sqrt() / (1.0 - confidence);
    let mut shares = BTreeMap::new();
    for record in 0..records {
        let forecasts: Vec<Forecast> = (0..n)
            .map(|at| {
                let pit = uniform(1, at, record);
                Forecast { var: q, es: Some(es), confidence, pit: Some(pit), pnl: normal_quantile(pit) }
            })
            .collect();
        let share = 1.0 - confidence;
        let hits: Vec<bool> = forecasts.iter().map(|forecast| forecast.pnl < -forecast.var).collect();
        let pits: Vec<f64> = forecasts.iter().filter_map(|forecast| forecast.pit).collect();
        let shortfalls = shortfall::Shortfalls::of(&forecasts, share).unwrap();
        // Fewer drawn records than a question gets: a p-value of any number of them is right on average.
        let findings = coverage::findings(&hits, share)
            .into_iter()
            .chain(shortfalls.findings(199))
            .chain(distribution::findings(&pits));
        for answer in findings.map(Finding::judged) {
            let rejected = answer.verdict == Verdict::Rejected;
            *shares.entry(answer.test).or_insert(0.0) += f64::from(u8::from(rejected)) / f64::from(records);
        }
    }
    shares
}

#[test]
fn right_forecasts_are_rejected_about_as_often_as_they_should() {
    let shares = rejections(1_500, 500, 0.95);
    // Four standard errors of the share are 2.3 %. Counts of exceptions are discrete, so their tests miss 5 % by more.
    for (test, least, most) in [
        (TestName::KupiecProportion, 0.025, 0.08),
        (TestName::KupiecFirstFailure, 0.02, 0.09),
        (TestName::ChristoffersenIndependence, 0.015, 0.08),
        (TestName::ChristoffersenConditionalCoverage, 0.025, 0.08),
        (TestName::AcerbiSzekelyZ1, 0.027, 0.08),
        (TestName::AcerbiSzekelyZ2, 0.027, 0.08),
        (TestName::KolmogorovSmirnov, 0.027, 0.073),
        (TestName::Berkowitz, 0.027, 0.073),
    ] {
        let share = shares[&test];
        assert!((least..=most).contains(&share), "{test:?}: {share}");
    }
}

#[test]
fn the_critical_value_of_z2_is_the_published_one() {
    // Acerbi and Szekely (2014), table 3: −0.70 at 5 % for 250 days at 97.5 %, whatever the tail; −1.8 at 0.01 %.
    let (share, n) = (0.025, 250);
    for (degrees, ratio) in [("normal", 1.959_964 / 2.337_803), ("Student's t, 5", 2.570_582 / 3.521_6)] {
        let sum = |z2: f64| (z2 - 1.0) * share * f64::from(n);
        let p_value = |z2: f64| {
            let exceptions = 10;
            let es = 1.0;
            // So many equal losses that Z₂ is what is asked for.
            let loss = -sum(z2) / f64::from(exceptions);
            let forecasts: Vec<Forecast> = (0..n)
                .map(|at| {
                    let pnl = if at < exceptions { -loss.max(ratio + 1e-9) } else { 0.0 };
                    Forecast { var: ratio, es: Some(es), confidence: 0.975, pit: None, pnl }
                })
                .collect();
            let answer = backtest(&forecasts).unwrap();
            let z2_answer = answer.tests.iter().find(|test| test.test == TestName::AcerbiSzekelyZ2).unwrap();
            assert!(near(z2_answer.statistic.unwrap(), z2, 1e-9), "{z2_answer:?}");
            z2_answer.p_value.unwrap()
        };
        let at_critical = p_value(-0.70);
        assert!((0.04..0.065).contains(&at_critical), "{degrees}: {at_critical}");
        assert!(p_value(-1.8) < 0.002, "{degrees}");
    }
}

#[test]
fn wrong_forecasts_are_found_out() {
    let rejected = |answer: &BacktestAnswer| -> Vec<TestName> {
        let tests = answer.tests.iter().filter(|test| test.verdict == Verdict::Rejected);
        tests.map(|test| test.test).collect()
    };
    let with = |scale: f64, n: u32| {
        let forecasts: Vec<Forecast> = (0..n)
            .map(|at| {
                let pnl = scale * normal_quantile(uniform(2, at, 0));
                let (q, es) = (normal_quantile(0.975), 2.337_803);
                Forecast { var: q, es: Some(es), confidence: 0.975, pit: Some(normal_cdf(pnl)), pnl }
            })
            .collect();
        backtest(&forecasts).unwrap()
    };
    assert_eq!(rejected(&with(1.0, 1_000)), []);
    let narrow = rejected(&with(1.5, 1_000));
    for test in [
        TestName::KupiecProportion,
        TestName::ChristoffersenConditionalCoverage,
        TestName::AcerbiSzekelyZ1,
        TestName::AcerbiSzekelyZ2,
        TestName::KolmogorovSmirnov,
        TestName::Berkowitz,
    ] {
        assert!(narrow.contains(&test), "{test:?} of {narrow:?}");
    }
}

#[test]
fn what_is_no_record_is_refused() {
    let legal = Forecast { var: 1.0, es: Some(1.2), confidence: 0.99, pit: Some(0.5), pnl: 0.1 };
    assert!(backtest(&[legal]).is_ok());
    assert_eq!(backtest(&[]).unwrap_err().code(), "empty");
    assert_eq!(backtest(&vec![legal; FORECASTS_MAX + 1]).unwrap_err().code(), "too_many");
    for (wrong, code, field) in [
        (Forecast { var: f64::NAN, ..legal }, "number", "forecasts[1].var"),
        (Forecast { pnl: f64::INFINITY, ..legal }, "number", "forecasts[1].pnl"),
        (Forecast { es: Some(f64::NAN), ..legal }, "number", "forecasts[1].es"),
        (Forecast { es: Some(0.9), ..legal }, "es", "forecasts[1].es"),
        (Forecast { var: -2.0, es: Some(-1.0), ..legal }, "es", "forecasts[1].es"),
        (Forecast { es: None, ..legal }, "missing", "forecasts[1].es"),
        (Forecast { pit: None, ..legal }, "missing", "forecasts[1].pit"),
        (Forecast { pit: Some(1.1), ..legal }, "pit", "forecasts[1].pit"),
        (Forecast { pit: Some(f64::NAN), ..legal }, "pit", "forecasts[1].pit"),
        (Forecast { confidence: 1.0, ..legal }, "confidence", "forecasts[1].confidence"),
        (Forecast { confidence: 0.98, ..legal }, "confidence", "forecasts[1].confidence"),
    ] {
        let error = backtest(&[legal, wrong]).unwrap_err();
        assert_eq!((error.code(), error.field()), (code, field), "{wrong:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_legal_record_has_finite_answers(
        rows in prop::collection::vec((0.0..3.0f64, 0.0..=1.0f64, -5.0..5.0f64), 1..80),
        confidence in 0.001..0.999f64,
        with in any::<(bool, bool)>(),
    ) {
        let forecasts: Vec<Forecast> = rows
            .iter()
            .map(|(var, pit, pnl)| Forecast {
                var: *var,
                es: with.0.then_some(var * 1.1 + 0.01),
                confidence,
                pit: with.1.then_some(*pit),
                pnl: *pnl,
            })
            .collect();
        let answer = backtest(&forecasts).unwrap();
        prop_assert_eq!(answer.tests.len(), 4 + 2 * usize::from(with.0) + 2 * usize::from(with.1));
        for test in &answer.tests {
            prop_assert!(test.statistic.is_none_or(f64::is_finite), "{test:?}");
            prop_assert!(test.p_value.is_none_or(|p_value| (0.0..=1.0).contains(&p_value)), "{test:?}");
            prop_assert_eq!(test.needs.is_some(), test.verdict == Verdict::TooFewObservations, "{:?}", test);
        }
        prop_assert!((3.0..=4.0).contains(&answer.traffic_light.multiplier_1996));
        prop_assert_eq!(&backtest(&forecasts).unwrap(), &answer, "equal records, equal answers");
        let json = serde_json::to_string(&answer).unwrap();
        prop_assert_eq!(serde_json::from_str::<BacktestAnswer>(&json).unwrap().tests.len(), answer.tests.len());
    }
}
