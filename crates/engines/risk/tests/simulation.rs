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
