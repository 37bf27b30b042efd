//! The values of the platform: fixed-point numbers, instruments, identifiers and time.
//!
//! This crate decides what a legal price, quantity, symbol or instant is. It does no input or output,
//! reads no clock and allocates only to print.

mod fixed;
mod instrument;
mod text;
mod time;

pub use fixed::{FixedError, Money, Price, Quantity, SCALE, format_nanos};
pub use instrument::{AssetClass, Instrument, InstrumentError, InstrumentId, Side};
pub use text::{Currency, DeskName, FeatureSetName, Symbol, TextError, Venue};
pub use time::{DayError, NANOS_PER_DAY, NANOS_PER_SECOND, UnixNanos, UtcDay, days_from_civil};
