//! What nodes compute. Each file holds the cells of one kind and lists the functions that formulas call them by.

use crate::operations::Operation;

mod arithmetic;
mod components;
mod cross_section;
mod past;
mod statistics;

/// Every function.
pub(crate) const OPERATIONS: &[&[Operation]] =
    &[arithmetic::OPERATIONS, components::OPERATIONS, past::OPERATIONS, statistics::OPERATIONS, cross_section::OPERATIONS];
