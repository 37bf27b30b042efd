//! The functions of formulas: one list of everything that a formula can call, with what it takes and what it is.
//!
//! The arithmetic stands with each cell; here is only how it is found and described.

use crate::cells;
use crate::inputs::Clock;
use crate::kernel::{Cell, Kernel, Of};

/// The longest window, in bars or events.
pub(crate) const WINDOW_MAX: usize = 1_024;

/// How a function's clock follows from those of its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ticks {
    /// With its inputs.
    WithInputs,
    /// By this clock, whatever its inputs do: it samples them.
    By(Clock),
    /// By bars, which its inputs have to do as well.
    AtBars,
}

/// A kernel for some parameters, or what is wrong with them.
pub(crate) type Made = Result<Box<dyn Kernel>, String>;

/// A function of formulas.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    /// What formulas call it.
    pub(crate) name: &'static str,
    /// Values that it takes, first.
    pub(crate) inputs: usize,
    /// Numbers that it takes behind them.
    pub(crate) parameters: &'static [&'static str],
    /// Which node it is an output of: functions of one kernel share a node.
    pub(crate) kernel: &'static str,
    /// Which output of that node.
    pub(crate) output: usize,
    pub(crate) ticks: Ticks,
    /// Whether the order of the first two inputs makes no difference.
    pub(crate) commutes: bool,
    /// What it is, with the source of the definition.
    pub(crate) words: &'static str,
    /// Its kernel, or what is wrong with the parameters.
    pub(crate) make: fn(&[f64]) -> Made,
}

/// Boxes a cell.
pub(crate) fn cell<C: Cell<I, O>, const I: usize, const O: usize>(cell: C) -> Made {
    Ok(Box::new(Of(cell)))
}

impl Operation {
    /// A function of one output, which ticks with its inputs.
    pub(crate) const fn new(
        name: &'static str,
        inputs: usize,
        parameters: &'static [&'static str],
        words: &'static str,
        make: fn(&[f64]) -> Made,
    ) -> Self {
        let ticks = Ticks::WithInputs;
        Self { name, inputs, parameters, kernel: name, output: 0, ticks, commutes: false, words, make }
    }

    pub(crate) const fn commuting(self) -> Self {
        Self { commutes: true, ..self }
    }

    pub(crate) const fn ticking(self, ticks: Ticks) -> Self {
        Self { ticks, ..self }
    }

    /// One of several outputs of a kernel.
    pub(crate) const fn output_of(self, kernel: &'static str, output: usize) -> Self {
        Self { kernel, output, ..self }
    }

    /// How it is written: `ema(x, n)`.
    pub(crate) fn signature(&self) -> String {
        const NAMES: [&str; 5] = ["x", "y", "z", "u", "v"];
        let arguments: Vec<&str> =
            NAMES.iter().take(self.inputs).copied().chain(self.parameters.iter().copied()).collect();
        format!("{}({})", self.name, arguments.join(", "))
    }
}

/// Every function, module by module.
pub(crate) fn all() -> impl Iterator<Item = &'static Operation> {
    cells::OPERATIONS.iter().copied().flatten()
}

pub(crate) fn named(name: &str) -> Option<&'static Operation> {
    all().find(|operation| operation.name == name)
}

/// A parameter that counts: whole and within bounds.
pub(crate) fn count(name: &str, value: f64, least: usize, most: usize) -> Result<usize, String> {
    let whole = value.fract() == 0.0 && value >= least as f64 && value <= most as f64;
    if whole {
        Ok(value as usize)
    } else {
        Err(format!("{name} is {value}; it must be a whole number from {least} to {most}"))
    }
}

/// A window's length.
pub(crate) fn window(value: f64, least: usize) -> Result<usize, String> {
    count("n", value, least, WINDOW_MAX)
}

/// A parameter that is a number within bounds.
pub(crate) fn within(name: &str, value: f64, least: f64, most: f64) -> Result<f64, String> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{name} is {value}; it must be from {least} to {most}"))
    }
}
