//! Live measures take no memory per change and per question, once everything has been there.

use nautilus_engine_risk::live::{Change, Cube, FactorModel, FactorScratch, Loadings, Scratch};
use nautilus_hardware::Hardware;
use nautilus_testkit::{CountingAllocator, allocations};

#[global_allocator]
static COUNTING: CountingAllocator = CountingAllocator;

const INSTRUMENTS: usize = 40;
const SCENARIOS: usize = 500;

fn wave(at: usize) -> f64 {
    0.02 * libm::sin(at as f64 * 1.7)
}

/// A cube whose portfolios are rebuilt every now and then, with one uncovered instrument.
fn cube() -> Cube {
    let mut cube = Cube::new(SCENARIOS, 50).unwrap();
    for _ in 0..INSTRUMENTS {
        cube.add_instrument().unwrap();
    }
    let columns: Vec<Vec<f64>> =
        (0..INSTRUMENTS).map(|i| (0..SCENARIOS).map(|s| wave(i * SCENARIOS + s)).collect()).collect();
    let mut views: Vec<Option<&[f64]>> = columns.iter().map(|column| Some(column.as_slice())).collect();
    views[INSTRUMENTS - 1] = None;
    cube.replace(SCENARIOS, &views).unwrap();
    cube.add_portfolio().unwrap();
    cube
}

#[test]
fn changes_and_questions_allocate_nothing() {
    let (mut cube, mut scratch) = (cube(), Scratch::default());
    let loadings = Loadings::of_scenarios(&Hardware::reproducible(), cube.scenarios(), 8).unwrap();
    let (mut model, mut factor_scratch) = (FactorModel::new(loadings, 50), FactorScratch::default());
    model.add_portfolio().unwrap();
    let row: Vec<f64> = (0..INSTRUMENTS).map(wave).collect();
    let mut round = |number: usize| {
        let before = allocations();
        for at in 0..200 {
            let (instrument, value) = ((at * 7 + number) % INSTRUMENTS, 1e8 * wave(at + number));
            cube.set_value(0, instrument, value).unwrap();
            cube.apply(0, instrument, 0.5 * value).unwrap();
            model.set_value(0, instrument, value).unwrap();
            model.apply(0, instrument, 0.5 * value).unwrap();
            let changes = [(0, 1e5), (INSTRUMENTS - 1, 1e5), (0, -2e5)]
                .map(|(instrument, value_change)| Change { instrument, value_change });
            cube.what_if(0, &changes, 0.99, &mut scratch).unwrap();
            cube.what_if_below(0, &changes, 1e5, &mut scratch).unwrap();
            model.what_if(0, &changes, (0.99, 1.0), &mut factor_scratch).unwrap();
            model.sigma_after(0, instrument, 1e5).unwrap();
            model.measure(0, 0.99, 10.0).unwrap();
            assert!(model.uncovered(0).unwrap().count() <= 1);
        }
        let risk = cube.measure(0, 0.99, &mut scratch).unwrap();
        cube.watch(0, risk.var).unwrap();
        cube.append(&row[..INSTRUMENTS]).unwrap();
        allocations() - before
    };
    assert!(round(0) > 0, "the allocator does not count");
    for number in 1..4 {
        assert_eq!(round(number), 0, "round {number}");
    }
}
