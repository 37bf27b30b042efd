//! Sensitivity grids: the P&L of the book by price and volatility.

use super::answer::GridStress;
use super::book::{Book, Move, Preparations, overflow, range};
use super::request::StressGrid;
use super::scenarios::{REVALUATIONS_MAX, unknown};
use crate::RiskError;

/// Grids of one question, and cells of a grid, at most.
const GRIDS_MAX: usize = 32;
const CELLS_MAX: usize = 10_000;

/// Full revaluation at every cell.
///
/// # Errors
/// The first field at fault, or there is too much to do.
pub(super) fn grids(
    book: &Book,
    grids: &[StressGrid],
    preparations: &mut Preparations,
) -> Result<Vec<GridStress>, RiskError> {
    if grids.len() > GRIDS_MAX {
        let reason = format!("{} are too many: send at most {GRIDS_MAX}", grids.len());
        return Err(RiskError::new("too_large", "grids", reason));
    }
    let cells: usize =
        grids.iter().map(|grid| grid.prices.len().saturating_mul(grid.volatilities.len())).sum();
    if cells.saturating_mul(book.positions.len()) > REVALUATIONS_MAX {
        let reason = format!("cells times positions are more than {REVALUATIONS_MAX}: send fewer");
        return Err(RiskError::new("too_large", "grids", reason));
    }
    grids
        .iter()
        .enumerate()
        .map(|(at, grid)| one(&format!("grids[{at}]"), book, grid, preparations))
        .collect()
}

fn one(
    at: &str,
    book: &Book,
    grid: &StressGrid,
    preparations: &mut Preparations,
) -> Result<GridStress, RiskError> {
    check(at, grid)?;
    let only = match &grid.underlying {
        None => None,
        Some(name) => {
            let place = book.place(name).filter(|place| *place < book.instruments);
            Some(place.ok_or_else(|| unknown(format!("{at}.underlying"), name))?)
        }
    };
    let mut pnl = vec![vec![0.0; grid.volatilities.len()]; grid.prices.len()];
    let moves = |place: usize| only.is_none_or(|only| only == place);
    for (index, held) in book.positions.iter().enumerate().filter(|(_, held)| moves(held.instrument)) {
        let mut last = None;
        // The volatility outside: at one volatility an option is prepared once for all prices.
        for (column, volatility) in grid.volatilities.iter().enumerate() {
            for (row, price) in grid.prices.iter().enumerate() {
                let by = Move { price: *price, volatility: *volatility, ..Move::default() };
                let shocked = held.shocked(index, &by, last.take(), preparations)?;
                pnl[row][column] += held.scale * (held.value(index, &shocked)? - book.values[index]);
                last = Some(shocked);
            }
        }
    }
    if !pnl.iter().flatten().all(|cell| cell.is_finite()) {
        return Err(overflow(at));
    }
    let (prices, volatilities) = (grid.prices.clone(), grid.volatilities.clone());
    Ok(GridStress { underlying: grid.underlying.clone(), prices, volatilities, pnl })
}

fn check(at: &str, grid: &StressGrid) -> Result<(), RiskError> {
    for (field, shocks) in [("prices", &grid.prices), ("volatilities", &grid.volatilities)] {
        if shocks.is_empty() {
            let reason = "a grid has at least one shock each way: send 0 for none";
            return Err(RiskError::new("empty", format!("{at}.{field}"), reason));
        }
        for (place, shock) in shocks.iter().enumerate() {
            let reason = "a relative shock is at least −1";
            range(shock.is_finite() && *shock >= -1.0, || format!("{at}.{field}[{place}]"), *shock, reason)?;
        }
    }
    let cells = grid.prices.len().saturating_mul(grid.volatilities.len());
    if cells > CELLS_MAX {
        let reason = format!("{cells} cells are too many: send at most {CELLS_MAX}");
        return Err(RiskError::new("too_large", at, reason));
    }
    Ok(())
}
