//! The engine's settings, with defaults for all of them.
//!
//! Every limit stands here. Nothing here changes while the engine runs, except the bars, by command.

use nautilus_book::BookLimits;
use nautilus_messages::BarSpec;
use nautilus_types::Symbol;
use serde::{Deserialize, Serialize};

/// The most bar intervals an instrument may have.
pub const BAR_SPECS_MAX: usize = 16;

/// Settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The bars that are built for every instrument, at most [`BAR_SPECS_MAX`].
    pub bars: Vec<BarSpec>,
    /// Levels per side that readers see.
    pub depth: usize,
    /// How much memory a book may take.
    pub book: BookLimits,
    /// Instruments; definitions beyond are refused.
    pub instruments_max: u32,
    /// Recent trades kept per instrument for readers.
    pub trades_kept: usize,
    /// Closed bars kept per instrument and interval for readers.
    pub bars_kept: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bars: BarSpec::defaults(),
            depth: 1_000,
            book: BookLimits::default(),
            instruments_max: 100_000,
            trades_kept: 4_096,
            bars_kept: 4_096,
        }
    }
}

/// What the HTTP interface and the shell may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// A source has ended: hand over all session statistics, and give up waiting for frames that never came.
    /// Bars stay open.
    Flush,
    /// Replace the bars of one instrument, or of all present and future ones. Intervals that stay keep their past.
    SetBars {
        /// Which, or all.
        instrument: Option<Symbol>,
        /// The new intervals.
        bars: Vec<BarSpec>,
    },
}
