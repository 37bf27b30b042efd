//! Live features: definitions as data, compiled to one graph, evaluated incrementally by two clocks.
//!
//! A definition is a formula over inputs and other definitions. Equal sub-expressions are one node of the graph; its
//! state stands in columns over all instruments. Microstructure steps with each trade and quote, everything else with
//! each bar. Nothing looks ahead, and what is not defined is absent with a reason, never a NaN.

// Instruments, windows and counts are far below 2^53, and an index is never negative.
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod calculate;
mod cells;
mod columns;
mod config;
mod engine;
mod expression;
mod fundamentals;
mod graph;
mod inputs;
mod kernel;
mod operations;
mod panel;
mod reason;
mod registry;
mod sets;
mod slot;
mod state;
mod view;

pub use calculate::{CalculateAnswer, CalculateError, CalculateRequest, Series, Values, Wanted, calculate};
pub use config::{Command, Config};
pub use engine::FeaturesEngine;
pub use fundamentals::{Fundamentals, FundamentalsError};
pub use inputs::{Clock, Source};
pub use nautilus_book::BookLimits;
pub use reason::Absence;
pub use registry::{Definition, DefinitionError, Family, FunctionView, Parameter, Registry, Template};
pub use sets::{FeatureSet, Publish, SET_FEATURES_MAX, SETS_MAX};
pub use view::{AsOf, Cut, Figures, InstrumentView, Snapshot, Vector};
