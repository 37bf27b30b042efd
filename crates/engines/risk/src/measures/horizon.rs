//! Sums of consecutive scenarios.

use crate::RiskError;

/// For every row from which on there are `days` rows, the sum of these rows; `values` holds rows of `columns` numbers.
///
/// Two passes of additions, however many days: a window is the end of one block of `days` rows and the beginning of the
/// next (van Herk 1992; Gil and Werman 1993). Nothing is subtracted, so nothing cancels.
///
/// # Errors
/// There are fewer rows than days.
pub(crate) fn overlapping(
    values: &[f64],
    columns: usize,
    days: usize,
    field: &str,
) -> Result<Vec<f64>, RiskError> {
    let rows = values.len() / columns;
    if days > rows {
        let reason = format!("{days} days need as many scenarios, {field} has {rows}: shorten the horizon");
        return Err(RiskError::new("too_few_scenarios", "horizon_days", reason));
    }
    // Sums from each row to the end of its block.
    let mut sums = values.to_vec();
    for row in (0..rows - 1).rev().filter(|row| (row + 1) % days != 0) {
        let (before, after) = sums.split_at_mut((row + 1) * columns);
        add(&mut before[row * columns..], &after[..columns]);
    }
    // And of the rows of the next block up to the window's last.
    let windows = rows - days + 1;
    let mut beginning = vec![0.0; columns];
    for row in (0..windows).filter(|row| row % days != 0) {
        let last = &values[(row + days - 1) * columns..][..columns];
        if row % days == 1 {
            beginning.copy_from_slice(last);
        } else {
            add(&mut beginning, last);
        }
        add(&mut sums[row * columns..][..columns], &beginning);
    }
    sums.truncate(windows * columns);
    Ok(sums)
}

fn add(to: &mut [f64], from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}
