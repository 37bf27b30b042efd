//! The hardware crate's kernels beside OpenBLAS, oneMKL with its JIT, nano-gemm, matrixmultiply and faer: one thread,
//! the same operands, results compared.
//!
//! ```text
//! eval "$(benches/peers/kernels/prepare.sh target/peers)"
//! cargo run --release --manifest-path benches/peers/kernels/Cargo.toml -- --bench [cubes|vectors|shapes|covariance|int8|generation …]
//! ```
//!
//! Every round runs each contestant once for about a fifth of a millisecond, in rotating order; a figure is the median
//! over rounds. Operands stay in the cache between calls, as in the tables that peers publish.

mod blas;
mod contestants;
mod covariance;
mod generation;
mod int8;
mod race;

use nautilus_benches::Report;
use nautilus_hardware::{Element, Hardware, Matrix, MatrixMut, Options, Switches};

use blas::Blas;
use contestants::{Shape, contestants};
use race::Table;

/// A number type that every peer has kernels for.
pub trait Real: Element + faer::traits::ComplexField {
    /// Its letter in BLAS names.
    const LETTER: char;
    /// C ← A·B, all by rows, by nano-gemm and by matrixmultiply.
    fn nano_gemm(shape: Shape, a: Matrix<'_, Self>, b: Matrix<'_, Self>, c: &mut MatrixMut<'_, Self>);
    /// See above.
    fn matrixmultiply(shape: Shape, a: Matrix<'_, Self>, b: Matrix<'_, Self>, c: &mut MatrixMut<'_, Self>);
}

macro_rules! real {
    ($type:ident, $letter:literal, $nano:ident, $mm:ident) => {
        impl Real for $type {
            const LETTER: char = $letter;

            fn nano_gemm(
                (m, n, k): Shape,
                a: Matrix<'_, Self>,
                b: Matrix<'_, Self>,
                c: &mut MatrixMut<'_, Self>,
            ) {
                assert!(contestants::is_of((m, n, k), &a, &b, c));
                let [rows, columns] = [k, n].map(|stride| stride as isize);
                // SAFETY: the views have the shape, which was just checked.
                unsafe {
                    nano_gemm::planless::$nano(
                        m,
                        n,
                        k,
                        c.as_mut_ptr(),
                        columns,
                        1,
                        a.as_ptr(),
                        rows,
                        1,
                        b.as_ptr(),
                        columns,
                        1,
                        0.0,
                        1.0,
                        false,
                        false,
                    );
                }
            }

            fn matrixmultiply(
                (m, n, k): Shape,
                a: Matrix<'_, Self>,
                b: Matrix<'_, Self>,
                c: &mut MatrixMut<'_, Self>,
            ) {
                assert!(contestants::is_of((m, n, k), &a, &b, c));
                let [rows, columns] = [k, n].map(|stride| stride as isize);
                // SAFETY: as above.
                unsafe {
                    matrixmultiply::$mm(
                        m,
                        k,
                        n,
                        1.0,
                        a.as_ptr(),
                        rows,
                        1,
                        b.as_ptr(),
                        columns,
                        1,
                        0.0,
                        c.as_mut_ptr(),
                        columns,
                        1,
                    );
                }
            }
        }
    };
}
real!(f32, 's', execute_f32, sgemm);
real!(f64, 'd', execute_f64, dgemm);

const CUBES: [usize; 19] = [2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 23, 24, 32, 48, 50, 64, 80, 96, 128];
const VECTORS: [Shape; 6] = [(8, 1, 8), (16, 1, 16), (32, 1, 32), (64, 1, 64), (128, 1, 128), (500, 1, 500)];
const SHAPES: [Shape; 6] =
    [(20, 20, 20), (100, 20, 20), (1_000, 20, 20), (10_000, 20, 20), (500, 1, 20), (252, 50, 50)];

fn main() {
    let parts: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|name| name == part);
    let Some(mut report) = Report::begin("kernels beside BLAS libraries") else { return };
    let peers = blas::open_all();
    // One thread, as the peers.
    let options = Options { workers_max: 1, ..Options::default() };
    let hardware = Hardware::configure(Switches::default(), options).expect("this is its first use");
    hardware.calibrate(|_, _| {}).expect("nobody else calibrates in this process");
    report.note(&format!(
        "Peers: {}.",
        peers.iter().map(|blas| blas.name.clone()).collect::<Vec<_>>().join(", ")
    ));
    if wanted("cubes") {
        let cubes = CUBES.map(|n| (n, n, n));
        products::<f32>(&mut report, hardware, &peers, "C = A·B, n cubed, f32", &cubes);
        products::<f64>(&mut report, hardware, &peers, "C = A·B, n cubed, f64", &cubes);
    }
    if wanted("vectors") {
        products::<f32>(&mut report, hardware, &peers, "y = A·x, f32", &VECTORS);
        products::<f64>(&mut report, hardware, &peers, "y = A·x, f64", &VECTORS);
    }
    if wanted("shapes") {
        products::<f32>(&mut report, hardware, &peers, "the platform's shapes, f32", &SHAPES);
        products::<f64>(&mut report, hardware, &peers, "the platform's shapes, f64", &SHAPES);
    }
    if wanted("covariance") {
        covariance::run(&mut report, hardware, &peers);
    }
    if wanted("int8") {
        int8::run(&mut report, hardware);
    }
    if wanted("generation") {
        generation::run::<f32>(&mut report, &peers, &CUBES);
        generation::run::<f64>(&mut report, &peers, &CUBES);
    }
}

/// One table: a row per shape, a column per contestant, and what the goals ask.
fn products<T: Real>(
    report: &mut Report,
    hardware: &'static Hardware,
    peers: &[Blas],
    title: &str,
    shapes: &[Shape],
) {
    let mut table = Table::new(title);
    for &shape in shapes {
        eprintln!("{title}: {shape:?}");
        let (m, n, k) = shape;
        let (a, b, mut c) = contestants::operands::<T>(shape);
        let mut entered = contestants::<T>(hardware, peers, shape);
        contestants::compare(shape, &a, &b, &mut c, &mut entered);
        // Views are made once, as the peers' pointers are.
        let (a, b, mut c) = contestants::views(shape, &a, &b, &mut c);
        let times = race::race(&mut entered, |run| run(a, b, &mut c));
        table.row(&format!("{m}×{n}×{k}"), m.max(n).max(k), &entered, times);
    }
    report.note(&table.text());
    report.note(&table.goals());
}
