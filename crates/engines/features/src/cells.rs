//! What nodes compute. Each file holds the cells of one kind and lists the functions that formulas call them by.

use crate::operations::Operation;

mod arithmetic;
mod averages;
mod components;
mod cross_section;
mod cycle;
mod indicators;
mod oscillators;
mod past;
mod regression;
mod statistics;
mod trend;

/// Every function.
pub(crate) const OPERATIONS: &[&[Operation]] = &[
    arithmetic::OPERATIONS,
    past::OPERATIONS,
    averages::OPERATIONS,
    oscillators::OPERATIONS,
    trend::OPERATIONS,
    indicators::OPERATIONS,
    regression::OPERATIONS,
    cycle::OPERATIONS,
    statistics::OPERATIONS,
    cross_section::OPERATIONS,
    components::OPERATIONS,
];
