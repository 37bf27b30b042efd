//! Drawn and closed-form measures: against the formulas of the distributions, on any machine and number of threads.

use nautilus_engine_risk::{
    Distribution, FactorKind, Method, Sampling, ScenarioMatrix, VarAnswer, VarRequest, calculate_var,
};
use nautilus_hardware::{BackendId, Hardware, Options, Switches, backends};
use nautilus_numerics::{Philox, covariance, normal_quantile, student_t_density, student_t_quantile};
use ndarray::{Array1, Array2};

fn hardware() -> &'static Hardware {
    Hardware::shared()
}

fn pinned(id: BackendId) -> Hardware {
    let options = Options { pin: Some(id), ..Options::default() };
    Hardware::new(backends::listings(), Switches::default(), options)
}

/// Returns with one common factor: scenarios × assets.
fn returns(scenarios: usize, assets: usize, seed: u64) -> ScenarioMatrix {
    let mut draws = vec![0.0; (assets + 1) * scenarios];
    Philox::new(seed).normals(hardware(), 0, 0, scenarios, &mut draws);
    let (common, own) = draws.split_at(scenarios);
    let value = |scenario: usize, asset: usize| {
        let size = 0.005 + 0.0003 * asset as f64;
        0.0004 + 0.008 * common[scenario] + size * own[asset * scenarios + scenario]
    };
    let values = (0..scenarios).flat_map(|s| (0..assets).map(move |a| (s, a))).map(|(s, a)| value(s, a));
    ScenarioMatrix::new(values.collect(), assets).unwrap()
}

fn positions(assets: usize) -> Vec<f64> {
    (0..assets).map(|asset| 1e6 * ((asset as f64 * 0.7).sin() + 0.4)).collect()
}

fn request(method: Method, returns: &ScenarioMatrix) -> VarRequest {
    VarRequest {
        positions: Some(positions(returns.columns())),
        returns: Some(returns.clone()),
        ..VarRequest::new(method)
    }
}

/// √(e′Σe) and e′μ of the sample, and its covariance.
fn sample(returns: &ScenarioMatrix, exposures: &[f64]) -> (f64, f64, Array2<f64>) {
    let matrix =
        Array2::from_shape_vec((returns.rows(), returns.columns()), returns.values().to_vec()).unwrap();
    let covariance = covariance(hardware(), &matrix, 1).unwrap();
    let exposures = Array1::from_vec(exposures.to_vec());
    let variance = (0..exposures.len())
        .flat_map(|i| (0..exposures.len()).map(move |j| (i, j)))
        .map(|(i, j)| exposures[i] * covariance[[i, j]] * exposures[j])
        .sum::<f64>();
    let mean = matrix.mean_axis(ndarray::Axis(0)).unwrap();
    (variance.sqrt(), (&mean * &exposures).sum(), covariance)
}

fn ask(request: &VarRequest) -> VarAnswer {
    calculate_var(hardware(), request).unwrap()
}

fn near(got: f64, expected: f64, relative: f64) {
    assert!((got - expected).abs() <= relative * expected.abs(), "{got} is not {expected}");
}

#[test]
fn parametric_is_the_formula() {
    let returns = returns(300, 12, 1);
    for (confidence, days, include_mean) in [(0.99, 1.0, false), (0.95, 10.0, true), (0.4, 2.5, false)] {
        let request = VarRequest {
            confidence,
            horizon_days: days,
            include_mean,
            ..request(Method::Parametric, &returns)
        };
        let exposures = request.positions.clone().unwrap();
        let (sigma, mean, _) = sample(&returns, &exposures);
        let (sigma, mean) = (sigma * days.sqrt(), if include_mean { mean * days } else { 0.0 });
        let z = normal_quantile(confidence);
        let density = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
        let answer = ask(&request);
        near(answer.var, z * sigma - mean, 1e-11);
        near(answer.es, density / (1.0 - confidence) * sigma - mean, 1e-11);
        near(answer.standard_error.var.unwrap(), (z * sigma / (2.0 * 299.0_f64).sqrt()).abs(), 1e-11);
        near(answer.component_var.as_ref().unwrap().iter().sum(), answer.var, 1e-12);
        near(answer.component_es.as_ref().unwrap().iter().sum(), answer.es, 1e-12);
        for asset in 0..exposures.len() {
            let mut without = request.clone();
            without.positions.as_mut().unwrap()[asset] = 0.0;
            let without = ask(&without);
            near(answer.var - answer.incremental_var.as_ref().unwrap()[asset], without.var, 1e-11);
            near(answer.es - answer.incremental_es.as_ref().unwrap()[asset], without.es, 1e-11);
            let mut more = request.clone();
            more.positions.as_mut().unwrap()[asset] += 1.0;
            let slope = ask(&more).var - answer.var;
            assert!((slope - answer.marginal_var.as_ref().unwrap()[asset]).abs() < 1e-6);
        }
    }
}

/// The univariate sets of NIST's Statistical Reference Datasets: mean and standard deviation to so many digits as doubles
/// of their numbers allow.
#[test]
fn moments_are_those_that_nist_certifies() {
    const Z99: f64 = 2.326_347_874_040_841;
    for (name, relative) in [
        ("Lew", 1e-14),
        ("Lottery", 1e-14),
        ("Mavro", 1e-12),
        ("Michelso", 1e-12),
        ("NumAcc1", 1e-14),
        ("NumAcc2", 1e-13),
        ("NumAcc3", 1e-9),
        ("NumAcc4", 2e-8),
    ] {
        let Some(path) = nautilus_testkit::shared_data(&format!("nist_strd/{name}.dat")) else { return };
        let text = std::fs::read_to_string(path).unwrap();
        let certified = |what: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(what)).unwrap();
            line.split_whitespace().last().unwrap().parse().unwrap()
        };
        let data = text.lines().skip_while(|line| !line.starts_with("Data: Y")).skip(2);
        let data: Vec<f64> =
            data.flat_map(str::split_whitespace).map(|number| number.parse().unwrap()).collect();
        let count: f64 = certified("Number of Observations");
        assert_eq!(data.len() as f64, count, "{name}");
        let asked = |include_mean: bool| {
            let scenario_pnl = Some(data.clone());
            ask(&VarRequest { scenario_pnl, include_mean, ..VarRequest::new(Method::Parametric) }).var
        };
        let deviation = asked(false) / Z99;
        near(deviation, certified("Sample Standard Deviation"), relative);
        near(Z99 * deviation - asked(true), certified("Sample Mean"), 1e-14);
    }
}

#[test]
fn drawn_measures_converge_to_closed_forms() {
    let returns = returns(400, 30, 2);
    for (confidence, days) in [(0.99, 1.0), (0.95, 10.0)] {
        for sampling in [Sampling::PseudoRandom, Sampling::Sobol] {
            let base = VarRequest {
                confidence,
                horizon_days: days,
                include_mean: true,
                sampling: Some(sampling),
                seed: Some(11),
                ..request(Method::MonteCarlo, &returns)
            };
            let (sigma, mean, _) = sample(&returns, base.positions.as_ref().unwrap());
            let (sigma, mean) = (sigma * f64::sqrt(days), mean * days);
            let tail = 1.0 - confidence;
            let z = -normal_quantile(tail);
            let normal = (z, (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt() / tail);
            let nu = 4.5;
            let t = -student_t_quantile(tail, nu);
            let keep = ((nu - 2.0) / nu).sqrt();
            let expected = student_t_density(t, nu) / tail * (nu + t * t) / (nu - 1.0);
            let student = (keep * t, keep * expected);
            let cases = [(Distribution::Normal, None, normal), (Distribution::StudentT, Some(nu), student)];
            for (distribution, degrees_of_freedom, (var, es)) in cases {
                let answer =
                    ask(&VarRequest { distribution: Some(distribution), degrees_of_freedom, ..base.clone() });
                let error = answer.standard_error;
                let off = (answer.var - (var * sigma - mean)) / error.var.unwrap();
                assert!(off.abs() < 4.0, "{distribution:?} {sampling:?} VaR {off}");
                let off = (answer.es - (es * sigma - mean)) / error.es.unwrap();
                assert!(off.abs() < 4.0, "{distribution:?} {sampling:?} ES {off}");
                near(answer.component_var.as_ref().unwrap().iter().sum(), answer.var, 1e-12);
                near(answer.component_es.as_ref().unwrap().iter().sum(), answer.es, 1e-12);
                let simulation = answer.simulation.unwrap();
                assert_eq!(simulation.factor.kind, FactorKind::Cholesky);
                assert_eq!(simulation.paths, if sampling == Sampling::Sobol { 131_072 } else { 100_000 });
            }
        }
    }
}

#[test]
fn bits_depend_on_the_seed_alone() {
    let returns = returns(200, 70, 3);
    for distribution in [Distribution::Normal, Distribution::StudentT, Distribution::TCopula] {
        for sampling in [Sampling::PseudoRandom, Sampling::Sobol] {
            let request = VarRequest {
                paths: Some(3_000),
                distribution: Some(distribution),
                degrees_of_freedom: (distribution != Distribution::Normal).then_some(5.0),
                sampling: Some(sampling),
                confidence: 0.95,
                ..request(Method::MonteCarlo, &returns)
            };
            let expected = ask(&request);
            // However many cores may be used, and whatever was learned before.
            let options = Options { workers_max: 4, ..Options::default() };
            let many = Hardware::new(backends::listings(), Switches::default(), options);
            assert!(calculate_var(&many, &request).unwrap() == expected, "{distribution:?} {sampling:?}");
            let answers: Vec<VarAnswer> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| ask(&request))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(answers.iter().all(|answer| *answer == expected), "{distribution:?} {sampling:?}");
            // Another unit rounds otherwise.
            for id in [BackendId::Avx2, BackendId::Portable] {
                near(calculate_var(&pinned(id), &request).unwrap().es, expected.es, 1e-9);
            }
            let other = ask(&VarRequest { seed: Some(1), ..request.clone() });
            assert!(other.var != expected.var && (other.var / expected.var - 1.0).abs() < 0.3);
        }
    }
}

#[test]
fn without_a_position_is_the_question_without_it() {
    let returns = returns(150, 9, 4);
    for distribution in [Distribution::Normal, Distribution::StudentT, Distribution::TCopula] {
        let request = VarRequest {
            paths: Some(5_000),
            confidence: 0.97,
            distribution: Some(distribution),
            degrees_of_freedom: (distribution != Distribution::Normal).then_some(4.0),
            ..request(Method::MonteCarlo, &returns)
        };
        let answer = ask(&request);
        for asset in 0..9 {
            let mut without = request.clone();
            without.positions.as_mut().unwrap()[asset] = 0.0;
            let without = ask(&without);
            near(answer.var - answer.incremental_var.as_ref().unwrap()[asset], without.var, 1e-10);
            near(answer.es - answer.incremental_es.as_ref().unwrap()[asset], without.es, 1e-10);
        }
        // P&L without the returns of all assets gives the same measures.
        let projected = ask(&VarRequest { incremental: false, ..request });
        near(projected.var, answer.var, 1e-12);
        near(projected.es, answer.es, 1e-12);
        assert_eq!(projected.component_es, answer.component_es);
    }
}

/// Of most paths and assets no return is drawn then; one position dominates, others are nothing, or hedge each other.
#[test]
fn without_each_of_many_positions_is_the_question_without_it() {
    let returns = returns(300, 60, 8);
    let alike = vec![1e5; 60];
    let mut dominated = positions(60);
    (dominated[7], dominated[11]) = (5e8, 0.0);
    let hedged: Vec<f64> = (0..60).map(|asset| if asset % 2 == 0 { 1e6 } else { -1e6 }).collect();
    for (positions, distribution) in [
        (alike, Distribution::Normal),
        (dominated, Distribution::Normal),
        (hedged.clone(), Distribution::Normal),
        (hedged, Distribution::StudentT),
    ] {
        let request = VarRequest {
            positions: Some(positions),
            paths: Some(4_000),
            include_mean: true,
            horizon_days: 5.0,
            distribution: Some(distribution),
            degrees_of_freedom: (distribution == Distribution::StudentT).then_some(3.0),
            ..request(Method::MonteCarlo, &returns)
        };
        let answer = ask(&request);
        for asset in (0..60).step_by(3).chain([7, 11]) {
            let mut without = request.clone();
            without.positions.as_mut().unwrap()[asset] = 0.0;
            let without = ask(&VarRequest { incremental: false, ..without });
            let size = without.var.abs().max(answer.var);
            let differs = |whole: f64, incremental: &Option<Vec<f64>>, without: f64| {
                (whole - incremental.as_ref().unwrap()[asset] - without).abs() / size
            };
            assert!(differs(answer.var, &answer.incremental_var, without.var) < 1e-12, "{asset}");
            assert!(differs(answer.es, &answer.incremental_es, without.es) < 1e-12, "{asset}");
        }
    }
}

/// While P&L rises with the return, its quantile is the P&L of the return's.
#[test]
fn curvature_bends_the_quantile_of_every_distribution() {
    let returns = returns(200, 1, 6);
    for distribution in [Distribution::Normal, Distribution::StudentT, Distribution::TCopula] {
        let straight = VarRequest {
            positions: Some(vec![1e6]),
            distribution: Some(distribution),
            degrees_of_freedom: (distribution != Distribution::Normal).then_some(4.0),
            paths: Some(10_000),
            ..request(Method::MonteCarlo, &returns)
        };
        let quantile = -ask(&straight).var / 1e6;
        for gamma in [2e5, -2e5] {
            let matrix = ScenarioMatrix::new(vec![gamma], 1).unwrap();
            let bent = ask(&VarRequest { gamma: Some(matrix), ..straight.clone() });
            near(bent.var, -(1e6 * quantile + 0.5 * gamma * quantile * quantile), 1e-12);
            near(bent.component_es.unwrap()[0], bent.es, 1e-12);
        }
    }
}

#[test]
fn fewer_scenarios_than_assets_have_a_singular_factor() {
    let returns = returns(20, 50, 5);
    let request = request(Method::MonteCarlo, &returns);
    let answer = ask(&request);
    let factor = answer.simulation.as_ref().unwrap().factor;
    assert_eq!((factor.kind, factor.rank), (FactorKind::PivotedCholesky, 19));
    let (sigma, _, _) = sample(&returns, request.positions.as_ref().unwrap());
    let off = (answer.var - normal_quantile(0.99) * sigma) / answer.standard_error.var.unwrap();
    assert!(off.abs() < 4.0, "{off}");
    near(answer.component_es.as_ref().unwrap().iter().sum(), answer.es, 1e-12);
}

/// Written by `simulation_reference.py`.
fn reference() -> (serde_json::Value, ScenarioMatrix, Vec<f64>) {
    let reference: serde_json::Value =
        serde_json::from_str(include_str!("simulation_reference.json")).unwrap();
    let returns = serde_json::from_value(reference["returns"].clone()).unwrap();
    let positions = serde_json::from_value(reference["positions"].clone()).unwrap();
    (reference, returns, positions)
}

fn case(case: &serde_json::Value, method: Method, returns: &ScenarioMatrix, positions: &[f64]) -> VarRequest {
    VarRequest {
        returns: Some(returns.clone()),
        positions: Some(positions.to_vec()),
        gamma: case.get("gamma").map(|gamma| serde_json::from_value(gamma.clone()).unwrap()),
        confidence: case["confidence"].as_f64().unwrap(),
        horizon_days: case["days"].as_f64().unwrap(),
        include_mean: case["include_mean"].as_bool().unwrap(),
        ..VarRequest::new(method)
    }
}

#[test]
fn the_expansion_is_that_of_numpy_or_refused() {
    let (reference, returns, positions) = reference();
    let mut refused = 0;
    for expected in ["cases", "past"].into_iter().flat_map(|part| reference[part].as_array().unwrap()) {
        let answer = calculate_var(hardware(), &case(expected, Method::CornishFisher, &returns, &positions));
        let Some(values) = expected["cornish_fisher"].as_array() else {
            assert_eq!(answer.unwrap_err().code(), "out_of_domain", "{expected}");
            refused += 1;
            continue;
        };
        let answer = answer.unwrap();
        near(answer.var, values[0].as_f64().unwrap(), 1e-8);
        near(answer.es, values[1].as_f64().unwrap(), 1e-6);
        let moments = answer.higher_moments.unwrap();
        near(moments.skewness, expected["skewness"].as_f64().unwrap(), 1e-9);
        near(moments.excess_kurtosis, expected["excess_kurtosis"].as_f64().unwrap(), 1e-9);
    }
    assert!(refused > 0);
}

#[test]
fn the_saddlepoint_is_near_the_exact_tail() {
    let (reference, returns, positions) = reference();
    let mut worst = [0.0_f64; 2];
    for expected in reference["cases"].as_array().unwrap() {
        let answer = ask(&case(expected, Method::Saddlepoint, &returns, &positions));
        let moments = answer.higher_moments.unwrap();
        near(moments.skewness, expected["skewness"].as_f64().unwrap(), 1e-9);
        for (worst, (got, name)) in worst.iter_mut().zip([(answer.var, "var"), (answer.es, "es")]) {
            let exact = expected[name].as_f64().unwrap();
            *worst = worst.max(((got - exact) / expected["deviation"].as_f64().unwrap()).abs());
        }
    }
    // In standard deviations.
    assert!(worst[0] < 0.08 && worst[1] < 0.08, "{worst:?}");
}

/// Components of both measures in 30 digits, and both without each position.
#[test]
fn positions_of_cumulants_are_those_of_mpmath() {
    let (reference, returns, positions) = reference();
    let (mut compared, mut worst) = (0, [0.0_f64; 3]);
    for expected in ["cases", "past"].into_iter().flat_map(|part| reference[part].as_array().unwrap()) {
        for (name, method) in
            [("cornish_fisher", Method::CornishFisher), ("saddlepoint", Method::Saddlepoint)]
        {
            let Some(exact) = expected["positions"].get(name) else { continue };
            let answer = ask(&case(expected, method, &returns, &positions));
            let lists = [
                (answer.var, &answer.component_var, &answer.incremental_var),
                (answer.es, &answer.component_es, &answer.incremental_es),
            ];
            for (at, (measure, components, incremental)) in lists.into_iter().enumerate() {
                let components = components.as_ref().unwrap();
                let number = |value: &serde_json::Value| value[at].as_f64().unwrap();
                let size: f64 = components.iter().map(|part| part.abs()).sum();
                let mut off = |k: usize, got: f64, expected: f64| {
                    worst[k] = worst[k].max((got - expected).abs() / size);
                };
                off(0, measure, number(&exact["measures"]));
                for (asset, component) in components.iter().enumerate() {
                    off(1, *component, number(&exact["components"][asset]));
                }
                // The expansion is left out where one of these is outside of its domain.
                for (asset, incremental) in incremental.iter().flatten().enumerate() {
                    off(2, measure - incremental, number(&exact["without"][asset]));
                    compared += 1;
                }
                near(components.iter().sum(), measure, 1e-12 * size / measure.abs());
            }
        }
    }
    assert!(compared >= 120, "{compared}");
    assert!(worst[0] < 1e-12 && worst[1] < 1e-9 && worst[2] < 1e-12, "{worst:?}");
}

/// The question without an asset, its column, row and all.
fn dropped(request: &VarRequest, asset: usize) -> VarRequest {
    let keep = |matrix: &ScenarioMatrix, rows: bool| {
        let n = matrix.columns();
        let kept = |at: &usize| at % n != asset && !(rows && at / n == asset);
        let values = (0..matrix.values().len()).filter(kept).map(|at| matrix.values()[at]).collect();
        ScenarioMatrix::new(values, n - 1).unwrap()
    };
    let positions = request.positions.as_ref().unwrap().iter().enumerate();
    VarRequest {
        returns: request.returns.as_ref().map(|returns| keep(returns, false)),
        gamma: request.gamma.as_ref().map(|gamma| keep(gamma, gamma.rows() > 1)),
        positions: Some(positions.filter(|(at, _)| *at != asset).map(|(_, held)| *held).collect()),
        incremental: false,
        ..request.clone()
    }
}

/// Every seventh day three times as wild.
fn fat(returns: &ScenarioMatrix) -> ScenarioMatrix {
    let n = returns.columns();
    let size = |at: usize| if at / n % 7 == 3 { 3.0 } else { 1.0 };
    let values = returns.values().iter().enumerate().map(|(at, value)| size(at) * value);
    ScenarioMatrix::new(values.collect(), n).unwrap()
}

/// Second derivatives: small ones by all pairs, or a diagonal.
fn gamma(assets: usize, full: bool) -> ScenarioMatrix {
    let element = |i: usize, j: usize| {
        let size = if i == j { -2e7 * ((i as f64 * 1.3).sin() + 0.3) } else { 2e6 };
        size * (1.0 + ((i + 1) * (j + 1)) as f64).cos()
    };
    let rows = if full { assets } else { 1 };
    let values =
        (0..rows).flat_map(|i| (0..assets).map(move |j| if full { element(i, j) } else { element(j, j) }));
    ScenarioMatrix::new(values.collect(), assets).unwrap()
}

#[test]
fn without_a_position_is_the_same_question_with_one_fewer() {
    for (scenarios, assets) in [(120, 14), (9, 14)] {
        let returns = fat(&returns(scenarios, assets, 12));
        for (gamma, include_mean) in
            [(Some(gamma(assets, true)), true), (Some(gamma(assets, false)), false), (None, true)]
        {
            for method in [Method::CornishFisher, Method::Saddlepoint] {
                // Nine days have thin tails, which the expansion refuses.
                if gamma.is_none() && scenarios == 9 && method == Method::CornishFisher {
                    continue;
                }
                let confidence = if scenarios > 100 { 0.99 } else { 0.9 };
                let asked = VarRequest {
                    gamma: gamma.clone(),
                    include_mean,
                    confidence,
                    horizon_days: 2.0,
                    ..request(method, &returns)
                };
                let answer = ask(&asked);
                let lists =
                    (answer.incremental_var.as_ref().unwrap(), answer.incremental_es.as_ref().unwrap());
                for asset in 0..assets {
                    let without = ask(&dropped(&asked, asset));
                    near(answer.var - lists.0[asset], without.var, 1e-9);
                    near(answer.es - lists.1[asset], without.es, 1e-9);
                }
                let sum = |parts: &Option<Vec<f64>>| parts.as_ref().unwrap().iter().sum();
                near(sum(&answer.component_var), answer.var, 1e-12);
                near(sum(&answer.component_es), answer.es, 1e-12);
            }
        }
    }
}

#[test]
fn marginals_are_the_derivatives_by_what_is_held() {
    let returns = fat(&returns(150, 6, 13));
    for (gamma, confidence) in
        [(Some(gamma(6, true)), 0.99), (Some(gamma(6, true)), 0.6), (None, 0.95), (None, 0.7)]
    {
        for method in [Method::CornishFisher, Method::Saddlepoint] {
            let asked = VarRequest {
                gamma: gamma.clone(),
                confidence,
                incremental: false,
                include_mean: true,
                ..request(method, &returns)
            };
            let answer = ask(&asked);
            for asset in 0..6 {
                let at = |change: f64| {
                    let mut changed = asked.clone();
                    changed.positions.as_mut().unwrap()[asset] += change;
                    ask(&changed)
                };
                let (up, down) = (at(100.0), at(-100.0));
                let (var, es) = (answer.marginal_var.as_ref().unwrap(), answer.marginal_es.as_ref().unwrap());
                let pairs = [(up.var, down.var, var[asset]), (up.es, down.es, es[asset])];
                for (up, down, marginal) in pairs {
                    let slope = (up - down) / 200.0;
                    assert!((slope - marginal).abs() < 1e-7, "{method:?} {confidence} {slope} {marginal}");
                }
                if gamma.is_none() {
                    let held = asked.positions.as_ref().unwrap()[asset];
                    near(held * var[asset], answer.component_var.as_ref().unwrap()[asset], 1e-9);
                }
            }
        }
    }
}

#[test]
fn a_position_that_is_all_there_is() {
    let returns = fat(&returns(80, 3, 14));
    for method in [Method::CornishFisher, Method::Saddlepoint] {
        for gamma in [None, Some(ScenarioMatrix::new(vec![0.0, -2e7, 0.0], 3).unwrap())] {
            let asked = VarRequest {
                positions: Some(vec![0.0, 3e5, 0.0]),
                confidence: 0.95,
                gamma,
                ..request(method, &returns)
            };
            let answer = ask(&asked);
            let lists = [
                (answer.var, answer.component_var.unwrap(), answer.incremental_var.unwrap()),
                (answer.es, answer.component_es.unwrap(), answer.incremental_es.unwrap()),
            ];
            for (measure, components, incremental) in lists {
                for (asset, whole) in [0.0, measure, 0.0].into_iter().enumerate() {
                    assert!((components[asset] - whole).abs() < 1e-12 * measure, "{method:?} {components:?}");
                    assert!(
                        (incremental[asset] - whole).abs() < 1e-12 * measure,
                        "{method:?} {incremental:?}"
                    );
                }
            }
        }
    }
}

/// Without its long option, this one is outside of the expansion's domain.
#[test]
fn what_cannot_be_measured_without_a_position_is_said() {
    let returns = returns(80, 2, 15);
    let asked = VarRequest {
        positions: Some(vec![0.0, 3e5]),
        gamma: Some(ScenarioMatrix::new(vec![4e8, 0.0], 2).unwrap()),
        ..request(Method::CornishFisher, &returns)
    };
    assert_eq!(calculate_var(hardware(), &asked).unwrap_err().code(), "out_of_domain");
    let hedged = VarRequest { gamma: Some(ScenarioMatrix::new(vec![4e8, -4e8], 2).unwrap()), ..asked };
    let answer = ask(&hedged);
    assert!(answer.incremental_var.is_none() && answer.component_var.is_some());
    let reason = answer.higher_moments.unwrap().incremental_left_out.unwrap();
    assert!(reason.starts_with("without position 1, "), "{reason}");
}

/// VaR, ES and their parts by position, and both without each, path by path.
fn slowly(
    returns: &Array2<f64>,
    exposures: &[f64],
    gamma: &dyn Fn(usize, usize) -> f64,
    below: usize,
) -> [(f64, Vec<f64>, Vec<f64>); 2] {
    let assets = exposures.len();
    let bent = |row: &[f64], i: usize| (0..assets).map(|j| gamma(i, j) * row[j]).sum::<f64>();
    let rows: Vec<Vec<f64>> = returns.rows().into_iter().map(|row| row.to_vec()).collect();
    let part = |row: &[f64], i: usize| exposures[i] * row[i] + 0.5 * row[i] * bent(row, i);
    let total = |row: &[f64]| (0..assets).map(|i| part(row, i)).sum::<f64>();
    let measured = |mut pnl: Vec<f64>| {
        pnl.sort_by(f64::total_cmp);
        [-pnl[below - 1], -pnl[..below].iter().sum::<f64>() / below as f64]
    };
    let without = |i: usize| {
        let kept = |row: &Vec<f64>| {
            let mut row = row.clone();
            row[i] = 0.0;
            total(&row)
        };
        measured(rows.iter().map(kept).collect())
    };
    let mut sorted: Vec<&Vec<f64>> = rows.iter().collect();
    sorted.sort_by(|a, b| total(a).total_cmp(&total(b)));
    let tails = [&sorted[below - 1..below], &sorted[..below]];
    let whole = measured(rows.iter().map(|row| total(row)).collect());
    [0, 1].map(|k| {
        let mean = |i: usize| -tails[k].iter().map(|row| part(row, i)).sum::<f64>() / tails[k].len() as f64;
        let others = (0..assets).map(|i| without(i)[k]).collect();
        (whole[k], (0..assets).map(mean).collect(), others)
    })
}

#[test]
fn curved_paths_are_those_of_the_slow_version() {
    let (assets, count) = (7, 2_000);
    let returns = returns(150, assets, 16);
    let covariance = sample(&returns, &positions(assets)).2;
    let factor = nautilus_numerics::cholesky(hardware(), &covariance).unwrap();
    let mut normals = vec![0.0; assets * count];
    Philox::new(5).normals(hardware(), 0, 0, count, &mut normals);
    let drawn = Array2::from_shape_fn((count, assets), |(path, i)| {
        (0..=i).map(|k| factor[[i, k]] * normals[k * count + path]).sum::<f64>()
    });
    for full in [true, false] {
        let matrix = gamma(assets, full);
        let request = VarRequest {
            gamma: Some(matrix.clone()),
            paths: Some(count),
            seed: Some(5),
            confidence: 0.98,
            ..request(Method::MonteCarlo, &returns)
        };
        let element = |i: usize, j: usize| match full {
            true => 0.5 * (matrix.row(i)[j] + matrix.row(j)[i]),
            false => {
                if i == j {
                    matrix.row(0)[i]
                } else {
                    0.0
                }
            }
        };
        let answer = ask(&request);
        let got = [
            (answer.var, answer.component_var.as_ref(), answer.incremental_var.as_ref()),
            (answer.es, answer.component_es.as_ref(), answer.incremental_es.as_ref()),
        ];
        let expected = slowly(&drawn, request.positions.as_ref().unwrap(), &element, 40);
        for ((measure, components, incremental), (whole, parts, others)) in got.into_iter().zip(expected) {
            near(measure, whole, 1e-11);
            near(components.unwrap().iter().sum(), measure, 1e-12);
            for (asset, part) in parts.iter().enumerate() {
                assert!((components.unwrap()[asset] - part).abs() < 1e-11 * measure);
                near(measure - incremental.unwrap()[asset], others[asset], 1e-11);
            }
        }
        let options = Options { workers_max: 4, ..Options::default() };
        let many = Hardware::new(backends::listings(), Switches::default(), options);
        assert!(calculate_var(&many, &request).unwrap() == answer);
        let again = std::thread::scope(|scope| scope.spawn(|| ask(&request)).join().unwrap());
        assert!(again == answer);
    }
}

#[test]
fn curved_paths_converge_to_the_exact_tail() {
    let (reference, returns, positions) = reference();
    for expected in reference["cases"].as_array().unwrap() {
        for sampling in [Sampling::PseudoRandom, Sampling::Sobol] {
            let request = VarRequest {
                sampling: Some(sampling),
                incremental: false,
                ..case(expected, Method::MonteCarlo, &returns, &positions)
            };
            let answer = ask(&request);
            let error = answer.standard_error;
            let off = |got: f64, name: &str, error: Option<f64>| {
                (got - expected[name].as_f64().unwrap()).abs() / error.unwrap()
            };
            let (var, es) = (off(answer.var, "var", error.var), off(answer.es, "es", error.es));
            assert!(var < 4.0 && es < 4.0, "{} {sampling:?} {var} {es}", expected["name"]);
        }
    }
    // Without a second derivative it is what it was.
    let flat = VarRequest {
        confidence: 0.95,
        gamma: Some(ScenarioMatrix::new(vec![0.0; 4], 4).unwrap()),
        ..case(&reference["past"][0], Method::MonteCarlo, &returns, &positions)
    };
    let (curved, linear) = (ask(&flat), ask(&VarRequest { gamma: None, ..flat.clone() }));
    near(curved.es, linear.es, 1e-12);
}

#[test]
fn without_curvature_the_saddlepoint_is_the_normal_distribution() {
    let returns = returns(60, 5, 6);
    for confidence in [0.2, 0.5, 0.7, 0.99, 0.9999] {
        let parametric = VarRequest {
            confidence,
            include_mean: true,
            incremental: false,
            ..request(Method::Parametric, &returns)
        };
        let gamma = Some(ScenarioMatrix::new(vec![0.0; 5], 5).unwrap());
        let flat = VarRequest { method: Method::Saddlepoint, gamma, ..parametric.clone() };
        let (expected, got) = (ask(&parametric), ask(&flat));
        let size = expected.es.abs();
        assert!((got.var - expected.var).abs() < 1e-6 * size && (got.es - expected.es).abs() < 1e-6 * size);
        let flat = ask(&VarRequest { method: Method::CornishFisher, ..flat });
        near(flat.var, expected.var, 1e-10);
        near(flat.es, expected.es, 1e-10);
    }
}

/// The end of its domain is far away then.
#[test]
fn with_hardly_any_curvature_the_saddlepoint_is_still_near_it() {
    let returns = returns(60, 5, 6);
    let parametric = VarRequest { incremental: false, ..request(Method::Parametric, &returns) };
    let expected = ask(&parametric);
    for curvature in [1.0, -1.0, -1e3, 1e3] {
        let gamma = Some(ScenarioMatrix::new(vec![curvature; 5], 5).unwrap());
        let got = ask(&VarRequest { method: Method::Saddlepoint, gamma, ..parametric.clone() });
        near(got.es, expected.es, 1e-3);
    }
}

#[test]
fn errors_cover_the_truth_as_often_as_they_say() {
    let returns = returns(250, 20, 7);
    let (sigma, _, _) = sample(&returns, &positions(20));
    let z = normal_quantile(0.975);
    let truth = (z * sigma, (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt() / 0.025 * sigma);
    for (sampling, paths) in [(Sampling::PseudoRandom, 4_000), (Sampling::Sobol, 16_384)] {
        let mut inside = [0; 2];
        let mut spread = Vec::new();
        for seed in 0..40 {
            let answer = ask(&VarRequest {
                confidence: 0.975,
                paths: Some(paths),
                seed: Some(seed),
                sampling: Some(sampling),
                incremental: false,
                ..request(Method::MonteCarlo, &returns)
            });
            let (var, es) = (answer.confidence_interval.var, answer.confidence_interval.es);
            inside[0] += usize::from(var.lower.unwrap() <= truth.0 && truth.0 <= var.upper.unwrap());
            inside[1] += usize::from(es.lower.unwrap() <= truth.1 && truth.1 <= es.upper.unwrap());
            spread.push((answer.var - truth.0) / answer.standard_error.var.unwrap());
        }
        // 95 % of 40 are 38, give or take 1.4.
        assert!(inside.iter().all(|inside| *inside >= 33), "{sampling:?} {inside:?}");
        let square = spread.iter().map(|x| x * x).sum::<f64>() / 40.0;
        assert!((0.4..2.0).contains(&square), "{sampling:?} {square}");
    }
}

#[test]
fn sobol_is_more_precise_for_as_many_paths() {
    let returns = returns(250, 10, 8);
    let error = |sampling| {
        let request = VarRequest {
            sampling: Some(sampling),
            incremental: false,
            paths: Some(131_072),
            ..request(Method::MonteCarlo, &returns)
        };
        ask(&request).standard_error.es.unwrap()
    };
    let (pseudo, sobol) = (error(Sampling::PseudoRandom), error(Sampling::Sobol));
    assert!(sobol < 0.7 * pseudo, "{sobol} {pseudo}");
}

#[test]
fn a_copula_keeps_margins_and_dependence() {
    let returns = returns(500, 6, 9);
    let ask_of = |positions: Vec<f64>, method| {
        ask(&VarRequest {
            positions: Some(positions),
            incremental: false,
            confidence: 0.95,
            include_mean: method == Method::MonteCarlo,
            distribution: (method == Method::MonteCarlo).then_some(Distribution::TCopula),
            degrees_of_freedom: (method == Method::MonteCarlo).then_some(6.0),
            ..request(method, &returns)
        })
    };
    for asset in 0..6 {
        let mut one = vec![0.0; 6];
        one[asset] = 1e6;
        let (drawn, past) = (ask_of(one.clone(), Method::MonteCarlo), ask_of(one, Method::Historical));
        assert!((drawn.var - past.var).abs() < 0.02 * past.var, "{} {}", drawn.var, past.var);
        assert!((drawn.es - past.es).abs() < 0.02 * past.es, "{} {}", drawn.es, past.es);
    }
    let (drawn, past) = (ask_of(vec![1e6; 6], Method::MonteCarlo), ask_of(vec![1e6; 6], Method::Historical));
    assert!((drawn.es - past.es).abs() < 0.15 * past.es, "{} {}", drawn.es, past.es);
}

#[test]
fn degrees_of_freedom_are_fitted_to_kurtosis() {
    let values = vec![-3.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 3.0];
    let (m2, m4) = (20.0 / 8.0, 164.0 / 8.0);
    let returns = ScenarioMatrix::new(values, 1).unwrap();
    let request = VarRequest {
        positions: Some(vec![1.0]),
        distribution: Some(Distribution::StudentT),
        ..request(Method::MonteCarlo, &returns)
    };
    let fitted = ask(&request).simulation.unwrap().degrees_of_freedom.unwrap();
    near(fitted, 4.0 + 6.0 / (m4 / (m2 * m2) - 3.0), 1e-12);
    let flat = ScenarioMatrix::new(vec![-1.0, 1.0, -1.0, 1.0], 1).unwrap();
    let error = calculate_var(hardware(), &VarRequest { returns: Some(flat), ..request }).unwrap_err();
    assert_eq!(error.code(), "not_heavy_tailed");
}

#[test]
fn questions_that_cannot_be_answered_are_refused() {
    let returns = returns(30, 3, 10);
    let drawn = || request(Method::MonteCarlo, &returns);
    let gamma = || Some(ScenarioMatrix::new(vec![1.0; 4], 2).unwrap());
    let cases = [
        ("out_of_range", "paths", VarRequest { paths: Some(0), ..drawn() }),
        ("out_of_range", "paths", VarRequest { paths: Some(usize::MAX), ..drawn() }),
        ("too_few_scenarios", "paths", VarRequest { paths: Some(50), ..drawn() }),
        ("not_used", "degrees_of_freedom", VarRequest { degrees_of_freedom: Some(4.0), ..drawn() }),
        (
            "out_of_range",
            "degrees_of_freedom",
            VarRequest {
                distribution: Some(Distribution::StudentT),
                degrees_of_freedom: Some(2.0),
                ..drawn()
            },
        ),
        ("not_used", "gamma", VarRequest { gamma: gamma(), ..request(Method::Parametric, &returns) }),
        ("unequal_lengths", "gamma", VarRequest { gamma: gamma(), ..drawn() }),
        ("unequal_lengths", "gamma", VarRequest { gamma: gamma(), ..request(Method::Saddlepoint, &returns) }),
        (
            "not_supported",
            "horizon_rule",
            VarRequest { horizon_rule: nautilus_engine_risk::HorizonRule::Overlapping, ..drawn() },
        ),
        ("not_supported", "evar", VarRequest { evar: true, ..request(Method::Parametric, &returns) }),
        (
            "not_used",
            "include_mean",
            VarRequest { include_mean: true, ..request(Method::Historical, &returns) },
        ),
    ];
    for (code, field, request) in cases {
        let error = calculate_var(hardware(), &request).unwrap_err();
        assert_eq!((error.code(), error.field()), (code, field), "{error}");
    }
    let mut gap = returns.values().to_vec();
    gap[7] = f64::NAN;
    let gap = VarRequest { returns: Some(ScenarioMatrix::new(gap, 3).unwrap()), ..drawn() };
    assert_eq!(calculate_var(hardware(), &gap).unwrap_err().field(), "returns[2][1]");
}

#[test]
fn nothing_that_moves_is_no_risk() {
    let still = ScenarioMatrix::new(vec![0.25; 40], 4).unwrap();
    for method in [Method::Parametric, Method::MonteCarlo, Method::Saddlepoint, Method::CornishFisher] {
        let curved = Some(ScenarioMatrix::new(vec![1e6, -1e6, 1e3, 0.0], 4).unwrap());
        for gamma in [None, curved.filter(|_| method != Method::Parametric)] {
            let answer = ask(&VarRequest { gamma, ..request(method, &still) });
            assert_eq!((answer.var, answer.es), (0.0, 0.0), "{method:?}");
            for list in
                [answer.component_var, answer.component_es, answer.marginal_es, answer.incremental_var]
            {
                assert_eq!(list.unwrap(), [0.0; 4], "{method:?}");
            }
        }
    }
}
