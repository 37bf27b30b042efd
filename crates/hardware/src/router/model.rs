//! The cost model: what a job takes on a backend, from measurements of other jobs.
//!
//! `time = Σ weightᵢ · termᵢ`: a start-up cost, costs per row, column and vector, operations over rate, and bytes over the
//! bandwidth of the level of cache that holds them (the roofline of Williams, Waterman and Patterson, CACM 52(4), 2009,
//! summed instead of taken the maximum of), fitted to relative errors. A roofline alone misroutes, so the logarithms of what it
//! misses at the measured shapes are added back, weighted by nearness in log-shape (a Nadaraya-Watson mean that fades
//! to zero away from them).

use serde::{Deserialize, Serialize};

use super::nnls;
use crate::backend::BackendId;
use crate::element::ElementType;
use crate::job::{Op, Order, Spec};

/// Terms of the roofline.
const TERMS: usize = 14;
/// Where the cost of a byte changes: the usual sizes of the first, second and third level of cache. That the steps stand at
/// a machine's exact sizes matters little, the residuals hold the rest.
const LEVELS: [f64; 3] = [32e3, 1e6, 16e6];
/// How far, in doublings, a measured shape speaks for its neighbours.
const REACH: f64 = 0.6;
/// How much the roofline's own word weighs against the neighbours'.
const PRIOR: f64 = 0.05;

/// Jobs that share a curve: a product into columns is the transposed product into rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Kind {
    pub(crate) op: Op,
    pub(crate) element: ElementType,
    pub(crate) a_by_columns: bool,
    pub(crate) b_by_columns: bool,
}

/// A job's sizes, once its kind is known: m, n, k and how many.
pub(crate) type Sizes = [usize; 4];

/// What is measured separately, and the job's sizes in it.
pub(crate) fn kind(spec: &Spec) -> (Kind, Sizes) {
    let Spec { op, element, m, n, k, batch, layout } = *spec;
    let kind = |a: Order, b: Order| Kind {
        op,
        element,
        a_by_columns: a != Order::Rows,
        b_by_columns: b != Order::Rows,
    };
    let other = |order| if order == Order::Rows { Order::Columns } else { Order::Rows };
    match op {
        Op::Gemm if layout.c == Order::Columns => (kind(other(layout.b), other(layout.a)), [n, m, k, batch]),
        Op::Gemm => (kind(layout.a, layout.b), [m, n, k, batch]),
        Op::Gemv | Op::Syrk => (kind(layout.a, Order::Rows), [m, n, k, batch]),
        _ => (kind(Order::Rows, Order::Rows), [m, n, k, batch]),
    }
}

/// A job that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) sizes: Sizes,
    pub(crate) ns: f64,
}

/// One backend's measurements of one kind of job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) kind: Kind,
    pub(crate) backend: BackendId,
    pub(crate) points: Vec<Point>,
}

/// The curve through a series.
#[derive(Debug)]
pub(crate) struct Curve {
    kind: Kind,
    weights: [f64; TERMS],
    /// Where it was measured, in doublings, and the logarithm of measured over roofline there.
    residuals: Vec<([f64; 4], f64)>,
}

#[allow(clippy::cast_precision_loss)]
fn real(sizes: Sizes) -> [f64; 4] {
    sizes.map(|size| size as f64)
}

/// Sizes in doublings; an empty side counts as half of one.
fn place(sizes: Sizes) -> [f64; 4] {
    real(sizes).map(|size| size.max(0.5).log2())
}

fn terms(kind: Kind, sizes: Sizes) -> [f64; TERMS] {
    let [m, n, k, batch] = real(sizes);
    let spec = Spec { batch: sizes[3], ..Spec::new(kind.op, kind.element, sizes[0], sizes[1], sizes[2]) };
    let (flops, bytes) = (spec.flops(), spec.bytes());
    // Whole vectors of 64 and tiles of 8 rows: what the tails of common kernels cost.
    let lanes = if kind.element == ElementType::F64 { 8.0 } else { 16.0 };
    let vectors = (n / lanes).ceil();
    let tiles = (m / 8.0).ceil();
    let beyond = |level: usize| (bytes - LEVELS[level]).max(0.0);
    [
        1.0,
        batch,
        batch * m,
        batch * n,
        batch * k,
        batch * m * n,
        batch * (m * k + n * k),
        batch * tiles * vectors,
        batch * m * vectors * k,
        batch * tiles * vectors * k,
        flops,
        beyond(0),
        beyond(1),
        beyond(2),
    ]
}

impl Curve {
    /// Fits a curve; a series without points has none.
    pub(crate) fn through(series: &Series) -> Option<Self> {
        let rows: Vec<[f64; TERMS]> = series
            .points
            .iter()
            .map(|point| terms(series.kind, point.sizes).map(|term| term / point.ns))
            .collect();
        let weights = nnls::fit_ones(&rows);
        let mut curve = Self { kind: series.kind, weights, residuals: Vec::new() };
        for point in &series.points {
            let roofline = curve.roofline(point.sizes);
            if roofline > 0.0 {
                curve.residuals.push((place(point.sizes), (point.ns / roofline).ln()));
            }
        }
        (!curve.residuals.is_empty()).then_some(curve)
    }

    fn roofline(&self, sizes: Sizes) -> f64 {
        terms(self.kind, sizes).iter().zip(&self.weights).map(|(term, weight)| term * weight).sum()
    }

    /// What a job of this kind takes.
    pub(crate) fn predict_ns(&self, sizes: Sizes) -> f64 {
        let here = place(sizes);
        let (mut sum, mut total) = (0.0, PRIOR);
        for (there, residual) in &self.residuals {
            let distance: f64 = here.iter().zip(there).map(|(a, b)| (a - b) * (a - b)).sum();
            let near = (-distance / (2.0 * REACH * REACH)).exp();
            sum += near * residual;
            total += near;
        }
        self.roofline(sizes) * (sum / total).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Layout;

    fn series(cost: impl Fn(Sizes) -> f64) -> Series {
        let (kind, _) = kind(&Spec::new(Op::Gemm, ElementType::F64, 1, 1, 1));
        let edges = [1, 2, 4, 8, 16, 32, 64, 128, 256];
        let cubes = edges.map(|edge| [edge, edge, edge, 1]);
        let thin = edges.map(|edge| [edge, 8, 20, 1]);
        let points = cubes.into_iter().chain(thin).map(|sizes| Point { sizes, ns: cost(sizes) });
        Series { kind, backend: BackendId::Portable, points: points.collect() }
    }

    #[test]
    fn a_cost_made_of_the_terms_is_predicted_between_and_beyond_the_points() {
        let cost = |[m, n, k, _]: Sizes| 20.0 + 0.05 * (m * n * k) as f64 * 2.0;
        let curve = Curve::through(&series(cost)).unwrap();
        for sizes in [[3, 3, 3, 1], [100, 100, 100, 1], [50, 8, 20, 1], [2_000, 2_000, 2_000, 1]] {
            let ratio = curve.predict_ns(sizes) / cost(sizes);
            assert!((0.9..1.1).contains(&ratio), "{sizes:?}: {ratio}");
        }
    }

    #[test]
    fn what_no_roofline_knows_is_followed_at_the_measured_shapes() {
        let odd = |[m, n, k, _]: Sizes| (20.0 + (m * n * k) as f64) * if m == 64 { 1.5 } else { 1.0 };
        let curve = Curve::through(&series(odd)).unwrap();
        let ratio = curve.predict_ns([64, 64, 64, 1]) / odd([64, 64, 64, 1]);
        assert!((0.85..1.15).contains(&ratio), "{ratio}");
    }

    #[test]
    fn a_product_into_columns_is_the_transposed_one() {
        let rows = Spec::new(Op::Gemm, ElementType::F32, 3, 5, 7);
        let columns = Layout { a: Order::Columns, b: Order::Columns, c: Order::Columns };
        let transposed = Spec { m: 5, n: 3, layout: columns, ..rows };
        assert_eq!(kind(&rows), kind(&transposed));
    }

    #[test]
    fn nothing_measured_is_nothing_predicted() {
        assert!(Curve::through(&Series { points: Vec::new(), ..series(|_| 1.0) }).is_none());
    }
}
