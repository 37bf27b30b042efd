//! One job on several cores: the result is cut into parts that share nothing, and each part is a job of its own.
//!
//! Threads live as long as the job. Where a part breaks on one backend, the caller's `run` decides who does it instead;
//! the other parts stand.

use std::thread;

use crate::backend::Failure;
use crate::element::Element;
use crate::job::{BatchedGemm, Gemm, Job, Op, Solve, Spec, Syrk, Task};
use crate::view::{Matrix, MatrixMut};

/// The most parts that a job of this shape can be cut into.
pub(crate) fn parts_max(spec: &Spec) -> usize {
    match spec.op {
        Op::Gemm => spec.m.max(spec.n),
        Op::Gemv | Op::Syrk => spec.m,
        Op::BatchedGemm => spec.batch,
        Op::Solve => spec.n,
        _ => 1,
    }
}

/// The largest of `workers` parts of a job, for predictions. A part of a triangle counts as a product with as much work.
pub(crate) fn part(spec: &Spec, workers: usize) -> Spec {
    let share = |size: usize| size.div_ceil(workers);
    match spec.op {
        Op::Gemm if spec.n > spec.m => Spec { n: share(spec.n), ..*spec },
        Op::Gemm | Op::Gemv => Spec { m: share(spec.m), ..*spec },
        Op::Syrk => {
            let columns = spec.m.div_ceil(2);
            Spec { op: Op::Gemm, m: share(spec.m), n: columns, ..*spec }
        }
        Op::BatchedGemm => Spec { batch: share(spec.batch), ..*spec },
        Op::Solve => Spec { n: share(spec.n), ..*spec },
        _ => *spec,
    }
}

/// Runs the parts of a job with `run`, one of them on this thread, and answers the first failure.
pub(crate) fn run(
    job: &mut Job<'_>,
    workers: usize,
    run: impl Fn(&mut Job<'_>) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    match job {
        Job::F32(task) => run_task(task, workers, &run),
        Job::F64(task) => run_task(task, workers, &run),
        Job::I8(_) => run(job),
    }
}

fn run_task<T: Element>(
    task: &mut Task<'_, T>,
    workers: usize,
    run: &(impl Fn(&mut Job<'_>) -> Result<(), Failure> + Sync),
) -> Result<(), Failure> {
    let parts: Vec<Part<'_, T>> = match task {
        Task::Gemm(gemm) => products(gemm, workers),
        Task::Syrk(syrk) => triangles(syrk, workers),
        Task::BatchedGemm(all) => batches(all, workers),
        Task::Solve(solve) => solutions(solve, workers),
        _ => return Err(Failure::Broken("this operation is not cut into parts".to_owned())),
    };
    thread::scope(|scope| {
        let mut parts = parts.into_iter();
        let own = parts.next();
        let others: Vec<_> = parts.map(|part| scope.spawn(move || part.run(run))).collect();
        let mut answer = own.map_or(Ok(()), |part| part.run(run));
        for other in others {
            let other = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            answer = answer.and(other);
        }
        answer
    })
}

/// Why a part of a checked job is a checked job.
const FITS: &str = "blocks of operands that belong together belong together";

/// What one thread does.
enum Part<'a, T> {
    Task(Task<'a, T>),
    /// A block row of a symmetric result: its diagonal block, what lies left of it, and the mirror image of that.
    Triangle {
        diagonal: Syrk<'a, T>,
        left: Option<(Gemm<'a, T>, MatrixMut<'a, T>)>,
    },
}

impl<T: Element> Part<'_, T> {
    fn run(self, run: &(impl Fn(&mut Job<'_>) -> Result<(), Failure> + Sync)) -> Result<(), Failure> {
        match self {
            Self::Task(task) => run(&mut T::job(task)),
            Self::Triangle { diagonal, left } => {
                run(&mut T::job(Task::Syrk(diagonal)))?;
                let Some((Gemm { alpha, a, b, beta, mut c }, mut mirror)) = left else { return Ok(()) };
                let gemm = Gemm::new(alpha, a, b, beta, c.reborrow()).expect(FITS);
                run(&mut T::job(Task::Gemm(gemm)))?;
                for i in 0..c.rows() {
                    for j in 0..c.columns() {
                        mirror.set(j, i, c.at(i, j));
                    }
                }
                Ok(())
            }
        }
    }
}

/// Where part `index` of `workers` begins when `size` is cut evenly.
fn cut(size: usize, workers: usize, index: usize) -> usize {
    size / workers * index + (size % workers).min(index)
}

fn products<'a, T: Element>(gemm: &'a mut Gemm<'_, T>, workers: usize) -> Vec<Part<'a, T>> {
    let (alpha, beta) = (gemm.alpha, gemm.beta);
    // A wide result is the transpose of a tall one.
    let turned = gemm.c.columns() > gemm.c.rows();
    let turn = |matrix: Matrix<'a, T>| if turned { matrix.transposed() } else { matrix };
    let (a, b) = if turned { (gemm.b, gemm.a) } else { (gemm.a, gemm.b) };
    let (a, b) = (turn(a), turn(b));
    let c = gemm.c.reborrow();
    let mut rest = if turned { c.transposed() } else { c };
    let rows = rest.rows();
    let mut parts = Vec::with_capacity(workers);
    for index in 0..workers {
        let (from, to) = (cut(rows, workers, index), cut(rows, workers, index + 1));
        let (c, below) = rest.split_rows(to - from);
        rest = below;
        let part = a.block(from, to - from, 0, a.columns());
        let gemm = if turned {
            Gemm::new(alpha, b.transposed(), part.transposed(), beta, c.transposed())
        } else {
            Gemm::new(alpha, part, b, beta, c)
        };
        parts.push(Part::Task(Task::Gemm(gemm.expect(FITS))));
    }
    parts
}

/// Block rows of a triangle with nearly as much work each: part `i` ends at row m·√(i / workers).
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn triangles<'a, T: Element>(syrk: &'a mut Syrk<'_, T>, workers: usize) -> Vec<Part<'a, T>> {
    let Syrk { alpha, a, beta, .. } = *syrk;
    let mut rest = syrk.c.reborrow();
    let rows = rest.rows();
    let mut parts = Vec::with_capacity(workers);
    for index in (0..workers).rev() {
        let from = (rows as f64 * (index as f64 / workers as f64).sqrt()) as usize;
        let count = rest.rows() - from;
        let own = a.block(from, count, 0, a.columns());
        let (top, bottom) = rest.split_rows(from);
        let (left, diagonal) = bottom.split_columns(from);
        let (above, mirror) = top.split_columns(from);
        rest = above;
        let before = a.block(0, from, 0, a.columns()).transposed();
        let left = (from > 0).then_some((Gemm { alpha, a: own, b: before, beta, c: left }, mirror));
        parts.push(Part::Triangle { diagonal: Syrk { alpha, a: own, beta, c: diagonal }, left });
    }
    parts
}

fn batches<'a, T: Element>(all: &'a mut BatchedGemm<'_, T>, workers: usize) -> Vec<Part<'a, T>> {
    let BatchedGemm { alpha, a, b, beta, .. } = *all;
    let mut rest = all.c.reborrow();
    let count = rest.count();
    let mut parts = Vec::with_capacity(workers);
    for index in 0..workers {
        let (from, to) = (cut(count, workers, index), cut(count, workers, index + 1));
        let (c, after) = rest.split(to - from);
        rest = after;
        let (a, b) = (a.part(from, to - from), b.part(from, to - from));
        parts.push(Part::Task(Task::BatchedGemm(BatchedGemm { alpha, a, b, beta, c })));
    }
    parts
}

fn solutions<'a, T: Element>(solve: &'a mut Solve<'_, T>, workers: usize) -> Vec<Part<'a, T>> {
    let l = solve.l;
    let mut rest = solve.b.reborrow();
    let columns = rest.columns();
    let mut parts = Vec::with_capacity(workers);
    for index in 0..workers {
        let (from, to) = (cut(columns, workers, index), cut(columns, workers, index + 1));
        let (b, right) = rest.split_columns(to - from);
        rest = right;
        parts.push(Part::Task(Task::Solve(Solve { l, b })));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::Portable;
    use crate::router::Workload;
    use crate::{Backend, ElementType, Layout, Order};

    /// What a job leaves in its result.
    fn result(spec: &Spec, workers: usize) -> Vec<f64> {
        let mut workload = Workload::new(spec).unwrap();
        run(&mut workload.job().unwrap(), workers, |job| Portable.run(job)).unwrap();
        workload.result()
    }

    #[test]
    fn parts_together_are_the_whole() {
        let columns = Layout { a: Order::Columns, b: Order::Columns, c: Order::Columns };
        for (op, m, n, k, batch) in [
            (Op::Gemm, 17, 5, 9, 1),
            (Op::Gemm, 5, 17, 9, 1),
            (Op::Gemv, 23, 1, 7, 1),
            (Op::Syrk, 19, 0, 6, 1),
            (Op::BatchedGemm, 3, 4, 5, 11),
            (Op::Solve, 6, 13, 0, 1),
        ] {
            for layout in [Layout::ROWS, columns] {
                // Batches and factors of the workload lie by rows.
                if layout == columns && op == Op::BatchedGemm {
                    continue;
                }
                let spec = Spec { batch, layout, ..Spec::new(op, ElementType::F64, m, n, k) };
                let mut whole = Workload::new(&spec).unwrap();
                Portable.run(&mut whole.job().unwrap()).unwrap();
                for workers in [1, 2, 3, 5] {
                    assert_eq!(result(&spec, workers), whole.result(), "{spec:?} on {workers}");
                }
            }
        }
    }

    #[test]
    fn more_parts_than_rows_are_empty_ones() {
        let spec = Spec::new(Op::Gemm, ElementType::F64, 2, 2, 2);
        assert_eq!(result(&spec, 5), result(&spec, 1));
        assert_eq!(parts_max(&spec), 2);
        assert_eq!(part(&Spec::new(Op::Gemm, ElementType::F64, 9, 4, 4), 2).m, 5);
    }
}
