//! The live measures against slow obvious twins: sums over all positions, sorts over all scenarios, whole quadratic
//! forms.

use std::collections::VecDeque;

use nautilus_hardware::{BackendId, Hardware, Options, Switches, backends};
use ndarray::{Array1, Array2};
use proptest::prelude::*;

use super::*;

/// Half a unit in the last place of 1.
const ROUNDING: f64 = f64::EPSILON / 2.0;

fn hardware() -> Hardware {
    let options = Options { pin: Some(BackendId::Portable), ..Options::default() };
    Hardware::new(backends::listings(), Switches::default(), options)
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Numbers between -1 and 1 that look random (Steele, Lea, Flood 2014).
fn noise(seed: u64, at: usize) -> f64 {
    let mut z = seed.wrapping_add((at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

/// A cube with one portfolio, and scenarios of all instruments.
fn cube(scenarios: usize, instruments: usize, rebuild_every: u32) -> Cube {
    let mut cube = Cube::new(scenarios, rebuild_every).unwrap();
    for _ in 0..instruments {
        cube.add_instrument().unwrap();
    }
    cube.add_portfolio().unwrap();
    let column = |i: usize| (0..scenarios).map(|s| 0.03 * noise(7, i * scenarios + s)).collect::<Vec<f64>>();
    let columns: Vec<Vec<f64>> = (0..instruments).map(column).collect();
    let columns: Vec<Option<&[f64]>> = columns.iter().map(|column| Some(column.as_slice())).collect();
    cube.replace(scenarios, &columns).unwrap();
    cube
}

/// The obvious twin: rows of returns, the oldest first, NaN where there is none, and values.
#[derive(Debug, Default)]
struct Twin {
    rows: VecDeque<Vec<f64>>,
    values: Vec<Vec<f64>>,
    watched: Vec<Option<f64>>,
    instruments: usize,
}

impl Twin {
    fn covered(&self, instrument: usize) -> bool {
        self.rows.iter().all(|row| !row[instrument].is_nan())
    }

    /// P&L of each row, the oldest first.
    fn pnl(&self, portfolio: usize) -> Vec<f64> {
        let covered: Vec<usize> = (0..self.instruments).filter(|i| self.covered(*i)).collect();
        let of_row =
            |row: &Vec<f64>| covered.iter().fold(0.0, |sum, i| sum + self.values[portfolio][*i] * row[*i]);
        self.rows.iter().map(of_row).collect()
    }

    fn uncovered(&self, portfolio: usize) -> Vec<(usize, f64)> {
        let values = self.values[portfolio].iter().copied().enumerate();
        values.filter(|(i, value)| *value != 0.0 && !self.covered(*i)).collect()
    }
}

#[derive(Debug, Clone)]
enum Event {
    AddInstrument,
    AddPortfolio,
    Apply(usize, usize, f64),
    Set(usize, usize, f64),
    Append(Vec<Option<f64>>),
    SetReturns(usize, u64),
    Replace(usize, u64),
    Watch(usize, f64),
}

const ROOM: usize = 12;

fn event() -> impl Strategy<Value = Event> {
    let value = || prop_oneof![-1e6..1e6f64, Just(0.0)];
    let changes = (any::<bool>(), 0usize..4, 0usize..9, value());
    prop_oneof![
        2 => Just(Event::AddInstrument),
        1 => Just(Event::AddPortfolio),
        12 => changes.prop_map(|(set, p, i, v)| if set { Event::Set(p, i, v) } else { Event::Apply(p, i, v) }),
        6 => prop::collection::vec(prop::option::weighted(0.9, -0.1..0.1f64), 9).prop_map(Event::Append),
        1 => (0usize..9, any::<u64>()).prop_map(|(i, seed)| Event::SetReturns(i, seed)),
        1 => (0usize..=ROOM, any::<u64>()).prop_map(|(count, seed)| Event::Replace(count, seed)),
        1 => (0usize..4, -1e5..1e5f64).prop_map(|(p, loss)| Event::Watch(p, loss)),
    ]
}

/// Does to both what the event says.
fn step(cube: &mut Cube, twin: &mut Twin, event: &Event) {
    let (portfolios, instruments) = (twin.values.len(), twin.instruments);
    match event {
        Event::AddInstrument => {
            assert_eq!(cube.add_instrument().unwrap(), instruments);
            twin.instruments += 1;
            twin.rows.iter_mut().for_each(|row| row.push(f64::NAN));
            twin.values.iter_mut().for_each(|values| values.push(0.0));
        }
        Event::AddPortfolio => {
            assert_eq!(cube.add_portfolio().unwrap(), portfolios);
            twin.values.push(vec![0.0; instruments]);
            twin.watched.push(None);
        }
        Event::Apply(p, i, _) | Event::Set(p, i, _) if *p >= portfolios || *i >= instruments => {
            assert!(cube.apply(*p, *i, 1.0).is_err() && cube.set_value(*p, *i, 1.0).is_err());
        }
        Event::Apply(p, i, change) => {
            let below = cube.apply(*p, *i, *change).unwrap();
            assert_eq!(below, cube.below(*p).unwrap());
            twin.values[*p][*i] += change;
        }
        Event::Set(p, i, value) => {
            let below = cube.set_value(*p, *i, *value).unwrap();
            assert_eq!(below, cube.below(*p).unwrap());
            twin.values[*p][*i] = *value;
        }
        Event::Append(row) => {
            let row: Vec<f64> = row[..instruments.min(9)].iter().map(|r| r.unwrap_or(f64::NAN)).collect();
            if row.len() == instruments {
                cube.append(&row).unwrap();
                twin.rows.push_back(row);
                if twin.rows.len() > ROOM {
                    twin.rows.pop_front();
                }
            } else {
                assert!(cube.append(&row).is_err());
            }
        }
        Event::SetReturns(i, _) if *i >= instruments => assert!(cube.set_returns(*i, &[]).is_err()),
        Event::SetReturns(i, seed) => {
            let column: Vec<f64> = (0..twin.rows.len()).map(|s| 0.1 * noise(*seed, s)).collect();
            cube.set_returns(*i, &column).unwrap();
            twin.rows.iter_mut().zip(&column).for_each(|(row, value)| row[*i] = *value);
        }
        Event::Replace(count, seed) => {
            let column =
                |i: usize| (i % 4 != 3).then(|| (0..*count).map(move |s| noise(*seed, i * ROOM + s)));
            let columns: Vec<Option<Vec<f64>>> =
                (0..instruments).map(|i| column(i).map(Iterator::collect)).collect();
            let views: Vec<Option<&[f64]>> = columns.iter().map(|column| column.as_deref()).collect();
            cube.replace(*count, &views).unwrap();
            let at = |s: usize| {
                columns.iter().map(|column| column.as_ref().map_or(f64::NAN, |column| column[s])).collect()
            };
            twin.rows = (0..*count).map(at).collect();
        }
        Event::Watch(p, _) if *p >= portfolios => assert!(cube.watch(*p, 1.0).is_err()),
        Event::Watch(p, loss) => {
            assert_eq!(cube.watch(*p, *loss).unwrap(), cube.below(*p).unwrap());
            twin.watched[*p] = Some(*loss);
        }
    }
}

/// VaR and ES by a sort.
fn sorted_tail(pnl: &[f64], tail: usize) -> (f64, f64) {
    let mut sorted = pnl.to_vec();
    sorted.sort_by(f64::total_cmp);
    (-sorted[tail - 1], -sorted[..tail].iter().sum::<f64>() / tail as f64)
}

fn compare(cube: &Cube, twin: &Twin) -> Result<(), TestCaseError> {
    let mut scratch = Scratch::default();
    for portfolio in 0..twin.values.len() {
        let pnl = cube.pnl(portfolio).unwrap();
        let expected = twin.pnl(portfolio);
        // Scenarios are where their place in the ring is.
        let mut sorted = [pnl.to_vec(), expected.clone()];
        sorted.iter_mut().for_each(|sorted| sorted.sort_by(f64::total_cmp));
        for (got, expected) in sorted[0].iter().zip(&sorted[1]) {
            prop_assert!((got - expected).abs() < 1e-6, "{got} {expected}");
        }
        let uncovered: Vec<(usize, f64)> = cube.uncovered(portfolio).unwrap().collect();
        prop_assert_eq!(&uncovered, &twin.uncovered(portfolio));
        if let Some(loss) = twin.watched[portfolio] {
            let below = pnl.iter().filter(|pnl| **pnl < -loss).count();
            prop_assert_eq!(cube.below(portfolio).unwrap(), below);
        }
        if pnl.is_empty() {
            prop_assert_eq!(cube.measure(portfolio, 0.9, &mut scratch).unwrap_err().code(), "no_scenarios");
            continue;
        }
        let risk = cube.measure(portfolio, 0.8, &mut scratch).unwrap();
        prop_assert_eq!(risk.tail, cube.tail(0.8).unwrap());
        let (var, es) = sorted_tail(pnl, risk.tail);
        prop_assert_eq!((risk.var, risk.scenarios), (var, pnl.len()));
        prop_assert!((risk.es - es).abs() <= 1e-9 && risk.es >= risk.var);
        prop_assert_eq!(risk.uncovered.instruments, uncovered.len());
        let gross: f64 = uncovered.iter().map(|(_, value)| value.abs()).sum();
        prop_assert!((risk.uncovered.gross_value - gross).abs() <= 1e-9 * gross);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_cube_is_what_it_is_defined_to_be(
        events in prop::collection::vec(event(), 0..120),
        rebuild_every in 0u32..20,
    ) {
        let (mut cube, mut twin) = (Cube::new(ROOM, rebuild_every).unwrap(), Twin::default());
        (0..3).for_each(|_| step(&mut cube, &mut twin, &Event::AddInstrument));
        step(&mut cube, &mut twin, &Event::AddPortfolio);
        for event in &events {
            step(&mut cube, &mut twin, event);
            compare(&cube, &twin)?;
        }
        let snapshot = postcard::to_allocvec(&cube).unwrap();
        let mut restored: Cube = postcard::from_bytes(&snapshot).unwrap();
        prop_assert_eq!(&restored, &cube);
        prop_assert_eq!(&postcard::to_allocvec(&restored).unwrap(), &snapshot);
        // Whatever came before, a rebuild leaves the bits of the definition.
        for portfolio in 0..twin.values.len() {
            restored.rebuild(portfolio).unwrap();
            let mut pnl = restored.pnl(portfolio).unwrap().to_vec();
            if twin.rows.len() == ROOM {
                pnl.rotate_left(oldest(&restored));
            }
            prop_assert_eq!(bits(&pnl), bits(&twin.pnl(portfolio)));
        }
    }

    #[test]
    fn a_what_if_is_what_would_be(
        changes in prop::collection::vec((0usize..8, -1e6..1e6f64), 0..6),
        seed in any::<u64>(),
        loss in -1e5..1e5f64,
    ) {
        let mut cube = cube(300, 6, 0);
        for _ in 0..2 {
            cube.add_instrument().unwrap();
        }
        for instrument in 0..8 {
            cube.apply(0, instrument, 1e6 * noise(seed, instrument)).unwrap();
        }
        let changes: Vec<Change> =
            changes.into_iter().map(|(instrument, value_change)| Change { instrument, value_change }).collect();
        let (before, mut scratch) = (cube.clone(), Scratch::default());
        let would = cube.what_if(0, &changes, 0.95, &mut scratch).unwrap();
        let would_lose = cube.what_if_below(0, &changes, loss, &mut scratch).unwrap();
        prop_assert_eq!(&cube, &before);
        cube.watch(0, loss).unwrap();
        for Change { instrument, value_change } in changes {
            cube.apply(0, instrument, value_change).unwrap();
        }
        let is = cube.measure(0, 0.95, &mut scratch).unwrap();
        prop_assert_eq!((would.var.to_bits(), would.es.to_bits()), (is.var.to_bits(), is.es.to_bits()));
        prop_assert_eq!(would.uncovered.instruments, is.uncovered.instruments);
        prop_assert!((would.uncovered.gross_value - is.uncovered.gross_value).abs() < 1e-6);
        prop_assert_eq!(would_lose, cube.below(0).unwrap());
        // The watched loss tells whether VaR is above it.
        prop_assert_eq!(would_lose >= is.tail, is.var > loss);
    }
}

/// The place of the oldest scenario of a full cube, which its first instrument's returns tell.
fn oldest(cube: &Cube) -> usize {
    let snapshot = postcard::to_allocvec(cube.scenarios()).unwrap();
    // Capacity, length and the next place come first, each in one byte here.
    usize::from(snapshot[2])
}

#[test]
fn sums_drift_within_their_bound() {
    let (scenarios, instruments) = (500, 20);
    let mut cube = cube(scenarios, instruments, 0);
    let mut bounds = vec![0.0_f64; scenarios];
    for update in 0..20_000 {
        let instrument = update % instruments;
        // Values of very different sizes that come and go, the worst for a running sum.
        let value = 10_f64.powi((update % 13) as i32) * noise(3, update);
        let change = value - cube.value(0, instrument).unwrap();
        cube.set_value(0, instrument, value).unwrap();
        let returns = cube.scenarios().returns(instrument).unwrap();
        for ((bound, pnl), value) in bounds.iter_mut().zip(cube.pnl(0).unwrap()).zip(returns) {
            *bound += ROUNDING * (pnl.abs() + 2.0 * (change * value).abs());
        }
    }
    let drifted = cube.pnl(0).unwrap().to_vec();
    cube.rebuild(0).unwrap();
    let mut gross = vec![0.0; scenarios];
    for instrument in 0..instruments {
        let value = cube.value(0, instrument).unwrap();
        let returns = cube.scenarios().returns(instrument).unwrap();
        gross.iter_mut().zip(returns).for_each(|(gross, r)| *gross += (value * r).abs());
    }
    let mut largest = 0.0_f64;
    for (scenario, (drifted, rebuilt)) in drifted.iter().zip(cube.pnl(0).unwrap()).enumerate() {
        let of_rebuild = ROUNDING * (instruments as f64 + 1.0) * gross[scenario];
        let off = (drifted - rebuilt).abs();
        assert!(off <= 1.001 * (bounds[scenario] + of_rebuild), "{scenario}: {off}");
        largest = largest.max(off);
    }
    assert!(largest > 0.0, "nothing drifted: the test has no force");
}

#[test]
fn portfolios_are_rebuilt_when_they_are_due() {
    let (mut often, mut never) = (cube(100, 5, 7), cube(100, 5, 0));
    for update in 0..700 {
        let value = 1e6 * noise(5, update);
        often.set_value(0, update % 5, value).unwrap();
        never.set_value(0, update % 5, value).unwrap();
    }
    assert_ne!(bits(often.pnl(0).unwrap()), bits(never.pnl(0).unwrap()));
    never.rebuild(0).unwrap();
    assert_eq!(bits(often.pnl(0).unwrap()), bits(never.pnl(0).unwrap()), "700 is a multiple of 7");
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut cube = cube(4, 2, 0);
    cube.apply(0, 0, 100.0).unwrap();
    let before = cube.clone();
    let mut scratch = Scratch::default();
    assert_eq!(Cube::new(0, 0).unwrap_err().code(), "capacity");
    assert_eq!(Cube::new(SCENARIOS_MAX + 1, 0).unwrap_err().code(), "too_many");
    for change in [f64::NAN, f64::INFINITY, 2.0 * VALUE_MAX] {
        assert_eq!(cube.apply(0, 0, change).unwrap_err().code(), "value");
        assert_eq!(cube.set_value(0, 0, change).unwrap_err().code(), "value");
        let changes = [Change { instrument: 0, value_change: change }];
        assert_eq!(cube.what_if(0, &changes, 0.9, &mut scratch).unwrap_err().code(), "value");
    }
    for confidence in [0.0, 1.0, -1.0, f64::NAN] {
        assert_eq!(cube.measure(0, confidence, &mut scratch).unwrap_err().code(), "confidence");
    }
    assert_eq!(cube.watch(0, f64::NAN).unwrap_err().code(), "loss");
    assert_eq!(cube.set_returns(0, &[0.0; 3]).unwrap_err().code(), "count");
    assert_eq!(cube.set_returns(0, &[0.0, 0.0, f64::NAN, 0.0]).unwrap_err().field(), "returns[2]");
    assert_eq!(cube.append(&[0.0, 2.0 * RETURN_MAX]).unwrap_err().field(), "returns[1]");
    assert_eq!(cube.replace(5, &[None, None]).unwrap_err().code(), "too_many");
    assert_eq!(cube.replace(1, &[Some(&[0.1]), Some(&[])]).unwrap_err().code(), "count");
    assert_eq!(cube, before);
    let snapshot = serde_json::to_string(&cube.scenarios()).unwrap();
    assert!(serde_json::from_str::<Scenarios>(&snapshot.replace("\"len\":4", "\"len\":5")).is_err());
    assert!(
        serde_json::from_str::<Scenarios>(&snapshot.replace("\"capacity\":4", "\"capacity\":9")).is_err()
    );
}

/// H·Hᵀ + diag(d) of covered instruments, and their values.
fn variance(loadings: &Loadings, values: &[f64]) -> f64 {
    let row = |i: usize| loadings.loadings(i);
    let mut sum = 0.0;
    for (i, value) in values.iter().enumerate() {
        for (j, other) in values.iter().enumerate() {
            if let (Some(left), Some(right)) = (row(i), row(j)) {
                let mut covariance: f64 = left.iter().zip(right).map(|(left, right)| left * right).sum();
                if i == j {
                    covariance += loadings.specific(i).unwrap();
                }
                sum += value * covariance * other;
            }
        }
    }
    sum
}

/// A model of `instruments`, the last of them uncovered, on `factors`.
fn model(instruments: usize, factors: usize, rebuild_every: u32) -> FactorModel {
    let exposures = Array2::from_shape_fn((instruments - 1, factors), |(i, j)| noise(1, i * factors + j));
    let root = Array2::from_shape_fn((factors, factors), |(i, j)| noise(2, i * factors + j));
    let covariance = Array2::from_shape_fn((factors, factors), |(i, j)| {
        let product: f64 = root.row(i).iter().zip(root.row(j)).map(|(left, right)| left * right).sum();
        1e-4 * (product + if i == j { 0.1 } else { 0.0 })
    });
    let specific: Vec<f64> = (0..instruments - 1).map(|i| 1e-4 * (1.0 + noise(3, i))).collect();
    let loadings = Loadings::new(&hardware(), &exposures, &covariance, &specific).unwrap();
    let mut model = FactorModel::new(loadings, rebuild_every);
    model.add_portfolio().unwrap();
    model.add_instrument().unwrap();
    // The model is B·F·Bᵀ + diag(d).
    let row = exposures.row(0);
    let mut expected = specific[0];
    for (i, left) in row.iter().enumerate() {
        for (j, right) in row.iter().enumerate() {
            expected += left * covariance[[i, j]] * right;
        }
    }
    let of_one = variance(model.loadings(), &[1.0]);
    assert!((of_one - expected).abs() < 1e-12 * expected, "{of_one} {expected}");
    model
}

proptest! {
    #[test]
    fn a_factor_model_is_what_it_is_defined_to_be(
        updates in prop::collection::vec((any::<bool>(), 0usize..7, -1e6..1e6f64), 1..60),
        factors in 1usize..40,
        rebuild_every in 0u32..9,
    ) {
        let mut model = model(7, factors, rebuild_every);
        let mut values = vec![0.0; 7];
        for (set, instrument, value) in updates {
            let sigma = if set {
                values[instrument] = value;
                model.set_value(0, instrument, value).unwrap()
            } else {
                values[instrument] += value;
                model.apply(0, instrument, value).unwrap()
            };
            let expected = variance(model.loadings(), &values);
            let scale = values.iter().map(|value| value * value).sum::<f64>().max(1e12) * 1e-2;
            prop_assert!((sigma * sigma - expected).abs() <= 1e-12 * scale, "{sigma} {expected}");
            prop_assert_eq!(sigma.to_bits(), model.sigma(0).unwrap().to_bits());
        }
        let uncovered: Vec<(usize, f64)> = model.uncovered(0).unwrap().collect();
        prop_assert_eq!(uncovered.len(), usize::from(values[6] != 0.0));
        let risk = model.measure(0, 0.99, 10.0).unwrap();
        prop_assert_eq!(risk.uncovered.gross_value, values[6].abs());
        let mut components = Vec::new();
        model.components(&hardware(), 0, (0.99, 10.0), &mut components).unwrap();
        let sum: f64 = components.iter().sum();
        let gross: f64 = components.iter().map(|component| component.abs()).sum();
        prop_assert!((sum - risk.var).abs() <= 1e-12 * gross.max(1.0), "{sum} {}", risk.var);
        let snapshot = postcard::to_allocvec(&model).unwrap();
        let restored: FactorModel = postcard::from_bytes(&snapshot).unwrap();
        prop_assert_eq!(&restored, &model);
        // After a rebuild what came before is forgotten.
        let mut fresh = FactorModel::new(model.loadings().clone(), 0);
        fresh.add_portfolio().unwrap();
        for (instrument, value) in values.iter().enumerate() {
            fresh.set_value(0, instrument, *value).unwrap();
        }
        model.rebuild(0).unwrap();
        fresh.rebuild(0).unwrap();
        prop_assert_eq!(bits(model.exposures(0).unwrap()), bits(fresh.exposures(0).unwrap()));
        prop_assert_eq!(model.sigma(0).unwrap().to_bits(), fresh.sigma(0).unwrap().to_bits());
    }

    #[test]
    fn a_what_if_of_factors_is_what_would_be(
        changes in prop::collection::vec((0usize..7, -1e6..1e6f64), 0..9),
        seed in any::<u64>(),
    ) {
        let mut model = model(7, 5, 0);
        for instrument in 0..7 {
            model.apply(0, instrument, 1e6 * noise(seed, instrument)).unwrap();
        }
        let changes: Vec<Change> =
            changes.into_iter().map(|(instrument, value_change)| Change { instrument, value_change }).collect();
        let (before, mut scratch) = (model.clone(), FactorScratch::default());
        let would = model.what_if(0, &changes, (0.975, 1.0), &mut scratch).unwrap();
        prop_assert_eq!(&model, &before);
        for Change { instrument, value_change } in changes {
            model.apply(0, instrument, value_change).unwrap();
        }
        let is = model.measure(0, 0.975, 1.0).unwrap();
        // In another order: equal but for rounding.
        let near = |left: f64, right: f64| (left - right).abs() < 1e-6;
        prop_assert!(near(would.var, is.var) && near(would.es, is.es), "{would:?} {is:?}");
        prop_assert_eq!(would.uncovered.instruments, is.uncovered.instruments);
    }
}

#[test]
fn exposures_drift_within_their_bound() {
    let mut model = model(20, 8, 0);
    let mut bounds = [0.0_f64; 8];
    for update in 0..20_000 {
        let instrument = update % 19;
        let value = 10_f64.powi((update % 13) as i32) * noise(3, update);
        let change = value - model.value(0, instrument).unwrap();
        model.set_value(0, instrument, value).unwrap();
        let loadings = model.loadings().loadings(instrument).unwrap();
        for ((bound, exposure), loading) in bounds.iter_mut().zip(model.exposures(0).unwrap()).zip(loadings) {
            *bound += ROUNDING * (exposure.abs() + 2.0 * (change * loading).abs());
        }
    }
    let drifted = model.exposures(0).unwrap().to_vec();
    model.rebuild(0).unwrap();
    let mut largest = 0.0_f64;
    for (factor, (drifted, rebuilt)) in drifted.iter().zip(model.exposures(0).unwrap()).enumerate() {
        let gross: f64 = (0..19)
            .map(|i| (model.value(0, i).unwrap() * model.loadings().loadings(i).unwrap()[factor]).abs())
            .sum();
        let off = (drifted - rebuilt).abs();
        assert!(off <= 1.001 * (bounds[factor] + ROUNDING * 20.0 * gross), "{factor}: {off}");
        largest = largest.max(off);
    }
    assert!(largest > 0.0, "nothing drifted: the test has no force");
}

#[test]
fn principal_components_of_full_rank_are_the_sample_covariance() {
    let returns = Array2::from_shape_fn((60, 5), |(t, i)| {
        0.01 * (noise(4, t) + 0.5 * noise(5, t * 5 + i)) * (1.0 + i as f64)
    });
    let covariance = nautilus_numerics::covariance(&hardware(), &returns, 1).unwrap();
    let values = Array1::from_shape_fn(5, |i| 1e6 * (1.0 - 0.4 * i as f64));
    let expected = nautilus_numerics::quadratic_form(&hardware(), &covariance, &values).unwrap();
    for factors in [5, 2, 1] {
        let loadings = Loadings::principal(&hardware(), &returns, factors).unwrap();
        assert_eq!((loadings.instruments(), loadings.factors()), (5, factors));
        for i in 0..5 {
            let unit: Vec<f64> = (0..5).map(|j| f64::from(i == j)).collect();
            let own = variance(&loadings, &unit);
            // Whatever the number of factors, an instrument's variance is its own.
            assert!((own - covariance[[i, i]]).abs() < 1e-12 * own, "{factors} {i}");
        }
        let got = variance(&loadings, values.as_slice().unwrap());
        let off = (got / expected - 1.0).abs();
        assert!(if factors == 5 { off < 1e-9 } else { (1e-6..0.5).contains(&off) }, "{factors}: {off}");
    }
}

#[test]
fn a_model_of_scenarios_covers_what_they_cover() {
    let mut cube = cube(50, 4, 0);
    cube.add_instrument().unwrap();
    let row = [0.01, -0.02, f64::NAN, 0.01, 0.02];
    cube.append(&row).unwrap();
    assert_eq!(cube.scenarios().uncovered(), [2, 4]);
    let loadings = Loadings::of_scenarios(&hardware(), cube.scenarios(), 3).unwrap();
    let covered: Vec<bool> = (0..5).map(|i| loadings.loadings(i).is_some()).collect();
    assert_eq!(covered, [true, true, false, true, false]);
    let mut returns = Array2::zeros((50, 1));
    returns.column_mut(0).iter_mut().zip(cube.scenarios().returns(3).unwrap()).for_each(|(to, r)| *to = *r);
    let alone = nautilus_numerics::covariance(&hardware(), &returns, 1).unwrap()[[0, 0]];
    let of_model = variance(&loadings, &[0.0, 0.0, 0.0, 1.0, 0.0]);
    assert!((of_model - alone).abs() < 1e-12 * alone);
}

#[test]
fn a_normal_portfolio_has_the_published_var_and_es() {
    let loadings =
        Loadings::new(&hardware(), &Array2::eye(1), &Array2::from_elem((1, 1), 0.0004), &[0.0]).unwrap();
    let mut model = FactorModel::new(loadings, 0);
    model.add_portfolio().unwrap();
    assert_eq!(model.apply(0, 0, 1e6).unwrap(), 20_000.0);
    // Φ⁻¹(0.99), Φ⁻¹(0.975) and the ES factor of 97.5 %, to the digits that tables print.
    let risk = model.measure(0, 0.99, 4.0).unwrap();
    assert!((risk.var - 2.326_347_87 * 40_000.0).abs() < 1e-3, "{risk:?}");
    let risk = model.measure(0, 0.975, 1.0).unwrap();
    assert!((risk.var - 1.959_963_98 * 20_000.0).abs() < 1e-3, "{risk:?}");
    assert!((risk.es - 2.337_802_8 * 20_000.0).abs() < 1e-2, "{risk:?}");
    for (confidence, horizon) in [(1.0, 1.0), (0.99, 0.0), (0.99, f64::NAN), (0.99, f64::INFINITY)] {
        assert!(model.measure(0, confidence, horizon).is_err());
    }
    let mut components = vec![1.0];
    model.set_value(0, 0, 0.0).unwrap();
    model.components(&hardware(), 0, (0.99, 1.0), &mut components).unwrap();
    assert_eq!(components, [0.0], "no risk has no parts");
}

#[test]
fn models_that_do_not_fit_are_refused() {
    let (one, f) = (Array2::eye(1), Array2::from_elem((1, 1), 0.01));
    let code =
        |b: &Array2<f64>, f: &Array2<f64>, d: &[f64]| Loadings::new(&hardware(), b, f, d).unwrap_err().code();
    assert_eq!(code(&one, &f, &[]), "count");
    assert_eq!(code(&one, &f, &[-1e-9]), "variance");
    assert_eq!(code(&one, &f, &[f64::NAN]), "variance");
    assert_eq!(code(&one, &(-&f), &[0.0]), "matrix");
    assert_eq!(code(&one, &Array2::eye(2), &[0.0]), "matrix");
    assert_eq!(code(&(&one * f64::NAN), &f, &[0.0]), "number");
    let mut model = model(4, 2, 0);
    let other = model.loadings().for_instruments(&[Some(0), None]).unwrap();
    assert_eq!(model.replace(other).unwrap_err().code(), "count");
    assert!(model.loadings().for_instruments(&[Some(9)]).is_err());
    assert!(model.apply(1, 0, 1.0).is_err() && model.apply(0, 4, 1.0).is_err());
}
