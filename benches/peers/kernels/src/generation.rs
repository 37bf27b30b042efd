//! What a generated kernel costs before its first call: time, bytes of code, and after how many calls OpenBLAS would have
//! taken longer.
//!
//! A time is that of making a plan: choice of blocks, machine code, pages made executable.

use std::time::Instant;

use nautilus_benches::{Figures, Report};
use nautilus_hardware::jit::{GemmShape, Plan};

use crate::Real;
use crate::blas::Blas;
use crate::contestants::{Contenders, operands, planned, views};
use crate::race::{Contestant, race};

const ROUNDS: usize = 101;

/// One table.
pub fn run<T: Real>(report: &mut Report, peers: &[Blas], sizes: &[usize]) {
    let peer = peers.first();
    let name = peer.map_or("no OpenBLAS", |blas| &blas.name);
    let mut text = format!(
        "### Generating C = A·B, n cubed, {}, median of {ROUNDS} plans\n\n\
         | n | plan, µs | code, bytes | call, ns | {name}, ns | calls until it pays |\n|---|--:|--:|--:|--:|--:|",
        T::TYPE.as_str()
    );
    for &n in sizes {
        eprintln!("generating {n}");
        let plan = || Plan::<T>::gemm(GemmShape::row_major(n, n, n), T::ONE, T::ZERO);
        let Ok(bytes) = plan().map(|plan| plan.code().len()) else { continue };
        let mut made = Figures::default();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let plan = std::hint::black_box(plan());
            made.push(start.elapsed().as_nanos() as f64);
            drop(plan);
        }
        let calls = calls::<T>(n, peer);
        let times: Vec<String> = calls.iter().map(|time| format!("{time:.0}")).collect();
        let (own, other) = (times[0].as_str(), times.get(1).map_or("–", String::as_str));
        let pays = match calls[..] {
            [own, other] if own < other => format!("{:.0}", (made.median() / (other - own)).ceil()),
            [_, _] => "never".to_owned(),
            _ => "–".to_owned(),
        };
        let micros = made.median() / 1e3;
        text += &format!("\n| {n} | {micros:.1} | {bytes} | {own} | {other} | {pays} |");
    }
    report.note(&text);
}

/// Nanoseconds of a call of the plan and, where there is one, of the peer.
fn calls<T: Real>(n: usize, peer: Option<&Blas>) -> Vec<f64> {
    let shape = (n, n, n);
    let (a, b, mut c) = operands::<T>(shape);
    let run = planned::<T>(shape).expect("it was just generated");
    let mut entered: Contenders<T> = vec![Contestant { name: String::new(), run }];
    if let Some(blas) = peer {
        let call = blas.gemm::<T>(shape);
        entered.push(Contestant { name: String::new(), run: Box::new(move |a, b, c| call(a, b, c)) });
    }
    let (a, b, mut c) = views(shape, &a, &b, &mut c);
    race(&mut entered, |run| run(a, b, &mut c)).iter().map(Figures::median).collect()
}
