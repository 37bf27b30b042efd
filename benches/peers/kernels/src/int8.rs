//! 8-bit integer products with 32-bit sums, packing included: each backend alone and the router, all exact.

use nautilus_benches::Report;
use nautilus_hardware::{GemmI8, Hardware, Job, Matrix, MatrixMut, backends};

use crate::race::{Contestant, Table, race};

type Product = dyn FnMut(&[u8], &[i8], &mut [i32]);

fn job<'a>(n: usize, a: &'a [u8], b: &'a [i8], c: &'a mut [i32]) -> Job<'a> {
    let a = Matrix::row_major(a, n, n).expect("A is as long as its shape");
    let b = Matrix::row_major(b, n, n).expect("B is as long as its shape");
    let c = MatrixMut::row_major(c, n, n).expect("C is as long as its shape");
    Job::I8(GemmI8::new(a, b, c).expect("shapes belong together"))
}

/// One table.
pub fn run(report: &mut Report, hardware: &'static Hardware) {
    let mut table = Table::new("C = A·B, n cubed, u8 by i8 into i32");
    for n in [8, 16, 32, 64, 128] {
        let a: Vec<u8> = (0..n * n).map(|i| (i * 37 % 256) as u8).collect();
        let b: Vec<i8> = (0..n * n).map(|i| (i * 91 % 256) as u8 as i8).collect();
        let mut entered: Vec<Contestant<Product>> = vec![Contestant {
            name: "router".to_owned(),
            run: Box::new(move |a, b, c| {
                hardware.run(job(n, a, b, c)).expect("some backend can");
            }),
        }];
        let mut result = vec![0; n * n];
        for backend in backends::available() {
            if backend.supports(&job(n, &a, &b, &mut result).spec()) {
                let name = backend.id().to_string();
                let run: Box<Product> =
                    Box::new(move |a, b, c| backend.run(&mut job(n, a, b, c)).expect("it can"));
                entered.push(Contestant { name, run });
            }
        }
        let at = |i: usize, j: usize| {
            (0..n).map(|p| i32::from(a[i * n + p]) * i32::from(b[p * n + j])).sum::<i32>()
        };
        let expected: Vec<i32> = (0..n * n).map(|place| at(place / n, place % n)).collect();
        for contestant in &mut entered {
            (contestant.run)(&a, &b, &mut result);
            assert_eq!(result, expected, "{}", contestant.name);
        }
        let times = race(&mut entered, |run| run(&a, &b, &mut result));
        table.row(&format!("{n}×{n}×{n}"), n, &entered, times);
    }
    report.note(&table.text());
}
