//! How one node of the graph steps: over a list of instruments, from columns to columns.
//!
//! Most nodes are a [`Cell`]: what one instrument's value follows from, given its own past. A kernel is chosen once per
//! node and batch of instruments, so a choice costs little however many instruments there are.

use std::fmt::Debug;

use crate::columns::{History, Port, UNDEFINED, defined};

/// What all instruments have in common when a bar closes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Universe {
    /// Rows whose newest bar is recent enough to be compared with others, in order.
    pub(crate) fresh: Vec<u32>,
    /// By row, its place among all by symbol: what adds instruments up does so in this order, for rows are in the order
    /// in which instruments happened to be defined.
    pub(crate) order: Vec<u32>,
    /// By row, the number of its sector; 0 where none is known.
    pub(crate) sectors: Vec<u32>,
    /// By row, how many of the newest bar closes it had a bar at without a hole.
    pub(crate) streaks: Vec<u32>,
}

/// One node's work.
pub(crate) struct Task<'a> {
    /// The instruments that step.
    pub(crate) rows: &'a [u32],
    pub(crate) universe: &'a Universe,
    pub(crate) inputs: &'a [Port],
    pub(crate) values: &'a [Vec<f64>],
    pub(crate) histories: &'a [Option<History>],
    pub(crate) state: &'a mut [f64],
    pub(crate) out: &'a mut [Vec<f64>],
}

impl<'a> Task<'a> {
    /// The newest values of an input, by row.
    #[inline]
    pub(crate) fn values(&self, input: usize) -> &'a [f64] {
        &self.values[self.inputs[input] as usize]
    }

    /// The history of an input, which the layout has because the kernel asked for it.
    #[inline]
    pub(crate) fn history(&self, input: usize) -> &'a History {
        self.histories[self.inputs[input] as usize]
            .as_ref()
            .expect("the layout gives every window its history")
    }
}

/// What a node does.
pub(crate) trait Kernel: Debug + Send + Sync {
    /// By input, how many values of its past are needed, the present one included; 0 for the present one alone.
    fn windows(&self) -> Vec<usize>;
    /// Outputs.
    fn outputs(&self) -> usize;
    /// Private values per instrument.
    fn slots(&self) -> usize;
    /// Defined inputs that come before the first output is.
    fn warm(&self, output: usize) -> usize;
    /// Whether an instrument's result follows from its own values alone.
    fn is_local(&self) -> bool {
        true
    }
    /// Steps.
    fn run(&self, task: Task<'_>);
}

/// How one instrument's value follows from its own.
pub(crate) trait Cell<const I: usize, const O: usize>: Debug + Send + Sync + 'static {
    /// Whether it steps where an input is undefined; the others then give nothing and keep their state.
    const TAKES_UNDEFINED: bool = false;

    /// By input, how many values of its past are needed, the present one included; 0 for the present one alone.
    fn windows(&self) -> [usize; I] {
        [0; I]
    }

    /// Private values; zero at first.
    fn slots(&self) -> usize {
        0
    }

    /// Defined inputs that come before the first output is.
    fn warm(&self) -> [usize; O] {
        [self.windows().into_iter().max().unwrap_or(0).saturating_sub(1); O]
    }

    /// One step. `x` are the present inputs, `windows` the newest values of each that are defined without a hole, oldest
    /// first, the present one last: as many as were asked for, or fewer where there are no more.
    fn step(&self, state: &mut [f64], x: [f64; I], windows: [&[f64]; I]) -> [f64; O];
}

/// A [`Cell`] as a kernel.
#[derive(Debug)]
pub(crate) struct Of<C, const I: usize, const O: usize>(pub(crate) C);

impl<C: Cell<I, O>, const I: usize, const O: usize> Kernel for Of<C, I, O> {
    fn windows(&self) -> Vec<usize> {
        self.0.windows().to_vec()
    }

    fn outputs(&self) -> usize {
        O
    }

    fn slots(&self) -> usize {
        self.0.slots()
    }

    fn warm(&self, output: usize) -> usize {
        self.0.warm()[output]
    }

    fn run(&self, mut task: Task<'_>) {
        let lengths = self.0.windows();
        if self.0.slots() == 0 && lengths.iter().all(|length| *length == 0) && is_run(task.rows) {
            self.run_on_present_values(&mut task);
        } else {
            self.run_row_by_row(&mut task, lengths);
        }
    }
}

/// Whether rows follow each other without a hole.
fn is_run(rows: &[u32]) -> bool {
    rows.first().zip(rows.last()).is_some_and(|(first, last)| (last - first) as usize + 1 == rows.len())
}

impl<C: Cell<I, O>, const I: usize, const O: usize> Of<C, I, O> {
    #[inline]
    fn step(&self, state: &mut [f64], x: [f64; I], windows: [&[f64]; I]) -> [f64; O] {
        if !C::TAKES_UNDEFINED && x.iter().any(|value| value.is_nan()) {
            return [UNDEFINED; O];
        }
        self.0.step(state, x, windows).map(defined)
    }

    /// Columns of neighbours, which the processor takes several of at once.
    fn run_on_present_values(&self, task: &mut Task<'_>) {
        let rows = task.rows[0] as usize..task.rows[0] as usize + task.rows.len();
        let inputs: [&[f64]; I] = std::array::from_fn(|input| &task.values(input)[rows.clone()]);
        let mut out = task.out.iter_mut().map(|column| &mut column[rows.clone()]);
        let mut out: [&mut [f64]; O] = std::array::from_fn(|_| out.next().expect("a column per output"));
        for at in 0..rows.len() {
            let x: [f64; I] = std::array::from_fn(|input| inputs[input][at]);
            let result = self.step(&mut [], x, [&[]; I]);
            for (column, value) in out.iter_mut().zip(result) {
                column[at] = value;
            }
        }
    }

    fn run_row_by_row(&self, task: &mut Task<'_>, lengths: [usize; I]) {
        let values: [&[f64]; I] = std::array::from_fn(|input| task.values(input));
        let histories: [Option<&History>; I] =
            std::array::from_fn(|input| (lengths[input] > 0).then(|| task.history(input)));
        let slots = self.0.slots();
        let rows = task.rows;
        for &row in rows {
            let row = row as usize;
            let (mut x, mut windows): ([f64; I], [&[f64]; I]) = ([0.0; I], [&[]; I]);
            for input in 0..I {
                x[input] = values[input][row];
                if let Some(history) = histories[input] {
                    windows[input] = history.window(row, lengths[input]);
                }
            }
            let result = self.step(&mut task.state[row * slots..][..slots], x, windows);
            for (column, value) in task.out.iter_mut().zip(result) {
                column[row] = value;
            }
        }
    }
}
