//! What the benches share: contests in which the contestants take turns, and the rows they leave in a results file.
//!
//! It knows nothing of the platform and never states a figure that was not measured in the run at hand.

mod contest;
mod report;

pub use contest::{Contest, percentile, processor_time, timed};
pub use report::{Figures, Goal, Peer, Report, Unit};
