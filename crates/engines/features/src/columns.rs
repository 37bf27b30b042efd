//! State by column: of every node one column of values and one of private state over all instruments, and of every
//! node whose past is needed one column of histories.
//!
//! A row is an instrument. Histories are contiguous, oldest first, so that a window is a slice. What a value means is
//! not known here.

use zerocopy::IntoBytes as _;

/// The number of a column of values: one output of one node.
pub(crate) type Port = u32;

/// What is not defined. The only not-a-number that ever stands in a column, so that equal states are equal bytes.
pub(crate) const UNDEFINED: f64 = f64::NAN;

/// A finite number as it is, anything else undefined.
#[inline]
pub(crate) fn defined(value: f64) -> f64 {
    // The sign of zero carries no meaning, but would tell equal states apart.
    if value.is_finite() { value + 0.0 } else { UNDEFINED }
}

/// The newest values of one port, by row.
#[derive(Debug, Clone)]
pub(crate) struct History {
    depth: usize,
    /// Values per row: the depth, and room to append before the newest are moved to the front.
    stride: usize,
    values: Vec<f64>,
    /// By row, where the next value goes.
    ends: Vec<u32>,
    /// By row, how many of the newest values are defined without a hole, at most the depth.
    runs: Vec<u32>,
}

impl History {
    pub(crate) fn new(depth: usize) -> Self {
        let stride = depth + depth.clamp(8, 64);
        Self { depth, stride, values: Vec::new(), ends: Vec::new(), runs: Vec::new() }
    }

    fn add_row(&mut self) {
        self.values.resize(self.values.len() + self.stride, 0.0);
        self.ends.push(0);
        self.runs.push(0);
    }

    fn reset(&mut self, row: usize) {
        self.ends[row] = 0;
        self.runs[row] = 0;
    }

    #[inline]
    pub(crate) fn push(&mut self, row: usize, value: f64) {
        let depth = self.depth;
        let column = &mut self.values[row * self.stride..][..self.stride];
        let mut end = self.ends[row] as usize;
        if end == column.len() {
            column.copy_within(end + 1 - depth.., 0);
            end = depth - 1;
        }
        column[end] = value;
        self.ends[row] = end as u32 + 1;
        self.runs[row] = if value.is_nan() { 0 } else { (self.runs[row] + 1).min(depth as u32) };
    }

    /// The newest values that are defined without a hole, oldest first, at most `most`.
    #[inline]
    pub(crate) fn window(&self, row: usize, most: usize) -> &[f64] {
        let end = row * self.stride + self.ends[row] as usize;
        let length = (self.runs[row] as usize).min(most);
        &self.values[end - length..end]
    }

    /// What is kept of a row: its newest values, holes included.
    fn kept(&self, row: usize) -> &[f64] {
        let end = self.ends[row] as usize;
        &self.values[row * self.stride..][end.saturating_sub(self.depth)..end]
    }
}

/// What the columns of a graph look like.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    /// By port, how many values of the past are needed, the present one included; 0 for none.
    pub(crate) depths: Vec<usize>,
    /// By node, private values per row.
    pub(crate) slots: Vec<usize>,
}

/// All state of a graph over all instruments.
#[derive(Debug, Clone)]
pub(crate) struct Columns {
    rows: usize,
    slots: Vec<usize>,
    /// By port.
    pub(crate) values: Vec<Vec<f64>>,
    /// By port, where the past is needed.
    pub(crate) histories: Vec<Option<History>>,
    /// By node.
    pub(crate) states: Vec<Vec<f64>>,
}

/// Why bytes are not the columns of this graph.
pub(crate) const NOT_THESE_COLUMNS: &str = "the columns are not those of these definitions";

impl Columns {
    pub(crate) fn new(layout: &Layout) -> Self {
        Self {
            rows: 0,
            slots: layout.slots.clone(),
            values: vec![Vec::new(); layout.depths.len()],
            histories: layout.depths.iter().map(|&depth| (depth > 0).then(|| History::new(depth))).collect(),
            states: vec![Vec::new(); layout.slots.len()],
        }
    }

    /// Appends an instrument of which nothing is known, and returns its row.
    pub(crate) fn add_row(&mut self) -> usize {
        self.values.iter_mut().for_each(|column| column.push(UNDEFINED));
        self.histories.iter_mut().flatten().for_each(History::add_row);
        for (state, slots) in self.states.iter_mut().zip(&self.slots) {
            state.resize(state.len() + slots, 0.0);
        }
        self.rows += 1;
        self.rows - 1
    }

    /// Forgets everything of an instrument.
    pub(crate) fn reset_row(&mut self, row: usize) {
        self.values.iter_mut().for_each(|column| column[row] = UNDEFINED);
        self.histories.iter_mut().flatten().for_each(|history| history.reset(row));
        for (state, &slots) in self.states.iter_mut().zip(&self.slots) {
            state[row * slots..][..slots].fill(0.0);
        }
    }

    #[inline]
    pub(crate) fn get(&self, port: Port, row: usize) -> f64 {
        self.values[port as usize][row]
    }

    /// Sets an input; its history is that of the clock that it ticks by.
    #[inline]
    pub(crate) fn set(&mut self, port: Port, row: usize, value: f64) {
        self.values[port as usize][row] = value;
    }

    /// Appends the newest values of a port to its history, which the layout has to give it.
    #[inline]
    pub(crate) fn remember(&mut self, port: Port, rows: &[u32]) {
        let Some(history) = &mut self.histories[port as usize] else { return };
        let values = &self.values[port as usize];
        rows.iter().for_each(|&row| history.push(row as usize, values[row as usize]));
    }

    /// Bytes of memory that the columns take.
    pub(crate) fn memory(&self) -> usize {
        let floats = self.values.iter().chain(&self.states).map(Vec::capacity).sum::<usize>();
        let histories = self.histories.iter().flatten();
        8 * floats + histories.map(|h| 8 * h.values.capacity() + 8 * h.ends.capacity()).sum::<usize>()
    }

    /// Appends the whole state in canonical form.
    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.rows as u64).to_le_bytes());
        self.values.iter().chain(&self.states).for_each(|column| put(out, column));
        for history in self.histories.iter().flatten() {
            for row in 0..self.rows {
                let kept = history.kept(row);
                out.extend_from_slice(&(kept.len() as u32).to_le_bytes());
                put(out, kept);
            }
        }
    }

    /// Reads what [`Self::save`] wrote for the same layout; the rest of the bytes comes back.
    pub(crate) fn restore<'a>(
        layout: &Layout,
        rows: usize,
        bytes: &'a [u8],
    ) -> Result<(Self, &'a [u8]), &'static str> {
        let (saved, mut rest) = take::<8>(bytes).ok_or(NOT_THESE_COLUMNS)?;
        let per_row = layout.depths.len() + layout.slots.iter().sum::<usize>();
        // Before memory is taken for them.
        if u64::from_le_bytes(saved) != rows as u64 || rest.len() / 8 / per_row.max(1) < rows {
            return Err(NOT_THESE_COLUMNS);
        }
        let mut columns = Self::new(layout);
        (0..rows).for_each(|_| {
            columns.add_row();
        });
        for column in &mut columns.values {
            rest = fill(column, rest).ok_or(NOT_THESE_COLUMNS)?;
        }
        for column in &mut columns.states {
            rest = fill_with(column, rest, |_| true).ok_or(NOT_THESE_COLUMNS)?;
        }
        let mut kept = Vec::new();
        for history in columns.histories.iter_mut().flatten() {
            for row in 0..rows {
                let (length, after) = take::<4>(rest).ok_or(NOT_THESE_COLUMNS)?;
                let length = u32::from_le_bytes(length) as usize;
                if length > history.depth {
                    return Err(NOT_THESE_COLUMNS);
                }
                kept.resize(length, 0.0);
                rest = fill(&mut kept, after).ok_or(NOT_THESE_COLUMNS)?;
                kept.iter().for_each(|value| history.push(row, *value));
            }
        }
        Ok((columns, rest))
    }
}

/// Appends values as they stand in memory.
pub(crate) fn put(out: &mut Vec<u8>, values: &[f64]) {
    if cfg!(target_endian = "little") {
        out.extend_from_slice(values.as_bytes());
    } else {
        values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    }
}

fn take<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    bytes.split_first_chunk::<N>().map(|(head, rest)| (*head, rest))
}

/// Reads as many values as `column` has; they are finite or undefined, as everything is that leaves a node.
pub(crate) fn fill<'a>(column: &mut [f64], bytes: &'a [u8]) -> Option<&'a [u8]> {
    fill_with(column, bytes, |value| value.is_finite() || value.to_bits() == UNDEFINED.to_bits())
}

/// Reads as many values as `column` has. What a node keeps for itself may be anything: a running total can overflow.
fn fill_with<'a>(column: &mut [f64], bytes: &'a [u8], is_legal: impl Fn(f64) -> bool) -> Option<&'a [u8]> {
    let (own, rest) = bytes.split_at_checked(column.len() * 8)?;
    for (value, bytes) in column.iter_mut().zip(own.chunks_exact(8)) {
        *value = f64::from_le_bytes(bytes.try_into().ok()?);
        if !is_legal(*value) {
            return None;
        }
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout { depths: vec![5, 0, 1], slots: vec![0, 2] }
    }

    #[test]
    fn windows_are_the_newest_values_without_a_hole() {
        let mut history = History::new(5);
        history.add_row();
        history.add_row();
        let mut seen: Vec<f64> = Vec::new();
        for n in 0..200 {
            let value = if n % 37 == 36 { UNDEFINED } else { f64::from(n) };
            history.push(1, value);
            if value.is_nan() {
                seen.clear();
            } else {
                seen.push(value);
            }
            for most in 0..7 {
                let from = seen.len().saturating_sub(most.min(5));
                assert_eq!(history.window(1, most), &seen[from..], "{n} {most}");
            }
        }
        assert!(history.window(0, 5).is_empty());
    }

    #[test]
    fn what_is_saved_is_restored_wherever_the_histories_stood() {
        let layout = layout();
        let mut columns = Columns::new(&layout);
        columns.add_row();
        columns.add_row();
        for n in 0..300 {
            let row = n % 2;
            let value = if n % 41 == 0 { UNDEFINED } else { n as f64 };
            columns.set(0, row, value);
            columns.histories[0].as_mut().unwrap().push(row, value);
            columns.states[1][row * 2 + 1] += 1.5;
            let mut bytes = Vec::new();
            columns.save(&mut bytes);
            bytes.push(7);
            let (restored, rest) = Columns::restore(&layout, 2, &bytes).unwrap();
            assert_eq!(rest, [7]);
            let mut again = Vec::new();
            restored.save(&mut again);
            assert_eq!(again, bytes[..bytes.len() - 1]);
            let window = |columns: &Columns| columns.histories[0].as_ref().unwrap().window(row, 9).to_vec();
            assert_eq!(window(&restored), window(&columns));
            if n % 50 == 7 {
                columns = restored;
            }
        }
    }

    #[test]
    fn bytes_that_are_not_columns_are_refused() {
        let layout = layout();
        let mut columns = Columns::new(&layout);
        columns.add_row();
        let mut bytes = Vec::new();
        columns.save(&mut bytes);
        for length in 0..bytes.len() {
            assert!(Columns::restore(&layout, 1, &bytes[..length]).is_err(), "{length}");
        }
        let mut infinite = bytes.clone();
        infinite[8..16].copy_from_slice(&f64::INFINITY.to_le_bytes());
        assert!(Columns::restore(&layout, 1, &infinite).is_err());
        let mut endless = bytes.clone();
        endless[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(Columns::restore(&layout, 1, &endless).is_err());
        assert!(Columns::restore(&layout, usize::MAX, &endless).is_err());
        assert!(Columns::restore(&layout, 2, &bytes).is_err());
        // A node's own state is its own business.
        let mut overflown = bytes;
        let states = 8 + 8 * layout.depths.len();
        overflown[states..states + 8].copy_from_slice(&f64::INFINITY.to_le_bytes());
        assert!(Columns::restore(&layout, 1, &overflown).is_ok());
    }
}
