//! Pages: what every list of a service has in common.

use nautilus_types::Symbol;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::problem::Problem;
use crate::views::Views;

/// The most entries that any page holds.
pub const PAGE_MAX: usize = 4_096;

/// Which page of the instruments.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct InstrumentsQuery {
    /// Instruments behind this one only.
    #[param(value_type = Option<String>)]
    pub after: Option<Symbol>,
    /// Instruments at the most, 1 to 4096.
    #[serde(default = "default_limit")]
    pub limit: usize,
}

/// Entries of a page unless asked otherwise.
#[must_use]
pub const fn default_limit() -> usize {
    100
}

/// A page of instruments, by symbol.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstrumentsPage<T> {
    /// One entry each.
    pub instruments: Vec<T>,
    /// Give it as `after` for the next page; absent on the last.
    #[schema(value_type = Option<String>)]
    pub next: Option<Symbol>,
}

impl<T> InstrumentsPage<T> {
    /// The page of `views` that was asked for.
    ///
    /// # Errors
    /// 400 for a limit out of range.
    pub fn of<V>(views: &Views<V>, query: InstrumentsQuery) -> Result<Self, Problem>
    where
        T: for<'a> From<&'a V>,
    {
        let limit = within("limit", query.limit, PAGE_MAX)?;
        let page = views.page(query.after, limit);
        let next = page.last().filter(|_| page.len() == limit).map(|(symbol, _)| *symbol);
        Ok(Self { instruments: page.iter().map(|(_, view)| T::from(view)).collect(), next })
    }
}

/// A number of the query in its range, 1 to `most`.
///
/// # Errors
/// 400 that names the parameter and the range.
pub fn within(parameter: &str, value: usize, most: usize) -> Result<usize, Problem> {
    if (1..=most).contains(&value) {
        return Ok(value);
    }
    let detail = format!("{parameter} is {value}; it must be between 1 and {most}");
    Err(Problem::bad_request("invalid_query", detail))
}
