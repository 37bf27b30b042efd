//! Cholesky factors and solutions, judged by their residuals: |A − L·Lᵀ| ≤ g(m + 1)·|L||Lᵀ| and
//! |B − L·Lᵀ·X| ≤ g(3m + 1)·|L||Lᵀ||X| (Higham, 2nd ed., theorems 10.3 and 10.4), whatever order sums are added in.

use nautilus_hardware::{Cholesky, Element, Failure, Solve, Task, backends};
use proptest::prelude::*;

use crate::cases::{Lie, Numbers, Owned, bound, lie, size};
use crate::ran;

/// G·Gᵀ + I for a random G: positive definite, with NaN above the diagonal, where nobody may look.
fn positive_definite<T: Element>(order: usize, lie: Lie, seed: u64) -> Owned<T> {
    let mut numbers = Numbers(seed);
    let g: Vec<Vec<f64>> = (0..order).map(|_| (0..order).map(|_| numbers.next()).collect()).collect();
    Owned::new(order, order, lie, |i, j| {
        if j > i {
            return f64::NAN;
        }
        let product: f64 = g[i].iter().zip(&g[j]).map(|(x, y)| x * y).sum();
        product + f64::from(u8::from(i == j))
    })
}

fn check<T: Element>(order: usize, columns: usize, lies: [Lie; 2], seed: u64) {
    let a = positive_definite::<T>(order, lies[0], seed);
    let mut numbers = Numbers(!seed);
    let b = Owned::<T>::new(order, columns, lies[1], |_, _| numbers.next());
    for backend in backends::available() {
        let mut l = a.clone();
        if !ran(&*backend, T::job(Task::Cholesky(Cholesky::new(l.view_mut()).unwrap()))) {
            continue;
        }
        for i in 0..order {
            for j in 0..=i {
                let (mut sum, mut magnitude) = (0.0, 0.0);
                for p in 0..=j {
                    sum += l.get(i, p) * l.get(j, p);
                    magnitude += (l.get(i, p) * l.get(j, p)).abs();
                }
                let off = (sum - a.get(i, j)).abs();
                assert!(
                    off <= bound::<T>(order + 1, magnitude),
                    "{}: ({i}, {j}) is off by {off:e}",
                    backend.id()
                );
            }
            for j in i + 1..order {
                assert!(l.get(i, j).is_nan(), "{} wrote above the diagonal", backend.id());
            }
        }
        l.assert_only_inside_written();
        let mut x = b.clone();
        if ran(&*backend, T::job(Task::Solve(Solve::new(l.view(), x.view_mut()).unwrap()))) {
            assert_solves::<T>(&l, &x, &b, backend.id().as_str());
        }
    }
}

fn assert_solves<T: Element>(l: &Owned<T>, x: &Owned<T>, b: &Owned<T>, name: &str) {
    let order = l.rows;
    for column in 0..b.columns {
        // y = Lᵀ·x and its size, then L·y.
        let transposed = |abs: fn(f64) -> f64| -> Vec<f64> {
            (0..order).map(|p| (p..order).map(|i| abs(l.get(i, p)) * abs(x.get(i, column))).sum()).collect()
        };
        let (y, sizes) = (transposed(|v| v), transposed(f64::abs));
        for i in 0..order {
            let sum: f64 = (0..=i).map(|p| l.get(i, p) * y[p]).sum();
            let magnitude: f64 = (0..=i).map(|p| l.get(i, p).abs() * sizes[p]).sum();
            let off = (sum - b.get(i, column)).abs();
            assert!(off <= bound::<T>(3 * order + 1, magnitude), "{name}: row {i} of B is off by {off:e}");
        }
    }
    x.assert_only_inside_written();
}

fn check_refusal<T: Element>(order: usize, bad: usize, value: f64, lie: Lie, seed: u64) {
    let good = positive_definite::<T>(order, lie, seed);
    for backend in backends::available() {
        let mut a = good.clone();
        a.view_mut().set(bad, bad, T::from_f64(value));
        let mut job = T::job(Task::Cholesky(Cholesky::new(a.view_mut()).unwrap()));
        if backend.supports(&job.spec()) {
            let refusal = Err(Failure::NotPositiveDefinite { column: bad });
            assert_eq!(backend.run(&mut job), refusal, "{}", backend.id());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn factors_and_solutions(order in size(), columns in 1..20_usize, lies in [lie(), lie()], seed in any::<u64>()) {
        check::<f32>(order, columns, lies, seed);
        check::<f64>(order, columns, lies, seed);
    }

    #[test]
    fn a_pivot_that_is_not_above_zero_is_named(
        (order, bad) in size().prop_flat_map(|order| (Just(order), 0..order)),
        value in prop::sample::select(vec![-1.0, f64::NAN, f64::NEG_INFINITY]), lie in lie(), seed in any::<u64>()
    ) {
        check_refusal::<f32>(order, bad, value, lie, seed);
        check_refusal::<f64>(order, bad, value, lie, seed);
    }
}
