//! The sample covariance of 500 and of 2,000 assets over 2,520 days, one thread: ours, the same by SYRK of each BLAS.
//!
//! A day is a row, as numpy users hold returns. Ours also mirrors the triangle that BLAS leaves out. The column `covariance`
//! is the whole of what a user asks for: means taken off, SYRK, scaled.

use nautilus_benches::Report;
use nautilus_hardware::{Element, Hardware, Matrix, MatrixMut, Syrk, Task};
use ndarray::ArrayView2;

use crate::blas::Blas;
use crate::contestants::operands;
use crate::race::{Contestant, Table, race};

const DAYS: usize = 2_520;

type Product = dyn FnMut(&[f64], &mut [f64]);

/// One table.
pub fn run(report: &mut Report, hardware: &'static Hardware, peers: &[Blas]) {
    let mut table = Table::new("SYRK of a covariance, f64, 2,520 days");
    for assets in [500, 2_000] {
        eprintln!("covariance of {assets} assets");
        let (returns, ..) = operands::<f64>((DAYS, 1, assets));
        let mut result = vec![0.0; assets * assets];
        let mut entered = contestants(hardware, peers, assets);
        let mut expected: Option<Vec<f64>> = None;
        for contestant in &mut entered {
            (contestant.run)(&returns, &mut result);
            let lower: Vec<f64> =
                (0..assets).flat_map(|i| result[i * assets..=i * assets + i].to_vec()).collect();
            if contestant.name == "covariance" {
                // Other numbers, tested beside the function.
                continue;
            }
            let expected = expected.get_or_insert_with(|| lower.clone());
            let off = lower.iter().zip(&*expected).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
            assert!(off < 1e-9, "{} differs by {off:e}", contestant.name);
        }
        let times = race(&mut entered, |run| run(&returns, &mut result));
        table.row(&format!("{assets} assets"), assets, &entered, times);
    }
    report.note(&table.text());
    report.note(&table.goals());
}

fn contestants(hardware: &'static Hardware, peers: &[Blas], assets: usize) -> Vec<Contestant<Product>> {
    let mut entered: Vec<Contestant<Product>> = vec![Contestant {
        name: "router".to_owned(),
        run: Box::new(move |returns, result| {
            let a = Matrix::row_major(returns, DAYS, assets).expect("a day is a row").transposed();
            let c = MatrixMut::row_major(result, assets, assets).expect("a square");
            let syrk = Syrk::new(1.0, a, 0.0, c).expect("shapes belong together");
            hardware.run(f64::job(Task::Syrk(syrk))).expect("some backend can");
        }),
    }];
    entered.push(Contestant {
        name: "covariance".to_owned(),
        run: Box::new(move |returns, result| {
            let returns = ArrayView2::from_shape((DAYS, assets), returns).expect("a day is a row");
            let covariance = nautilus_numerics::covariance(hardware, &returns, 1).expect("days enough");
            result.copy_from_slice(covariance.as_slice().expect("rows one after the other"));
        }),
    });
    for peer in peers {
        let call = peer.syrk::<f64>(assets, DAYS);
        entered.push(Contestant {
            name: peer.name.clone(),
            run: Box::new(move |returns, result| call(returns, result)),
        });
    }
    entered
}
