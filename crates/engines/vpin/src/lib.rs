//! VPIN, the volume-synchronised probability of informed trading (Easley, López de Prado, O'Hara 2012, RFS 25(5)).
//!
//! VPIN = Σ|buy − sell| / Σ volume over the last n buckets of equal volume. Four ways of telling bought from sold
//! volume run side by side for every instrument; all arithmetic on volume is exact, so streaming,
//! batch, restarted and re-batched runs agree to the bit. Nothing looks ahead: a bucket's size, its classification
//! and its place in the distribution depend on earlier trades only. Whether VPIN foretells volatility is contested
//! (Andersen and Bondarenko 2014); this crate measures it and claims nothing.
//!
//! [`VpinEngine`] is the live engine; [`calculate`] answers a question that brings its own trades.

mod bars;
mod calculate;
mod configuration;
mod decimal;
mod engine;
mod flow;
mod lane;
mod ranks;
mod request;
mod view;
mod volume;

pub use calculate::{CalculateError, calculate};
pub use configuration::{Configuration, ConfigurationError};
pub use decimal::Decimal;
pub use engine::{Command, VpinEngine};
pub use request::{BatchAnswer, BatchBucket, BatchRequest, BatchTrade, PartialBucket, Rules};
pub use view::{BucketRow, LaneView, VpinView};
pub use volume::BucketVolumeSource;
