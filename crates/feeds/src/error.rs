//! What can go wrong with a source of market data, each as one sentence that says what to do.
//!
//! It decides the wording only; where a file was cut or a line is wrong is found by the readers.

use std::path::{Path, PathBuf};

use nautilus_types::{InstrumentError, Symbol};

/// Why a feed cannot be opened or read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// The symbol has another live source.
    #[error(
        "{symbol} is already fed by another source; stop that one or wait until it ends, then start this one"
    )]
    Busy {
        /// The symbol both want.
        symbol: Symbol,
    },
    /// More instruments than the platform keeps.
    #[error("there are more than {limit} instruments; split the source or leave some out")]
    TooManyInstruments {
        /// The most that are kept.
        limit: usize,
    },
    /// A definition with an illegal step or multiplier.
    #[error(transparent)]
    Instrument(#[from] InstrumentError),
    /// The operating system refused.
    #[error("cannot {action} {}: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: "open", "read", "write".
        action: &'static str,
        /// What the system said.
        reason: String,
    },
    /// No bytes at all.
    #[error("{} is empty; fetch the file again", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Not a format that is read here.
    #[error("{} is neither DBN, zstd nor CSV: {reason}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it looks like, and what to do.
        reason: String,
    },
    /// The file stops inside a record.
    #[error("{} ends in the middle of {}; fetch the file again", path.display(), nth_record(*record))]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The record's number from 1; zero is the file's header.
        record: u64,
    },
    /// Bytes that cannot be right.
    #[error("{} is damaged at {}: {reason}; fetch the file again", path.display(), nth_record(*record))]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The record's number from 1; zero is the file's header.
        record: u64,
        /// What the decoder found.
        reason: String,
    },
    /// The header row of a CSV file.
    #[error("{} has an unusable header row: {reason}", path.display())]
    CsvHeader {
        /// The file.
        path: PathBuf,
        /// What is wrong and what is expected.
        reason: String,
    },
    /// A line of a CSV file.
    #[error("{} line {line}, column {column}: {reason}", path.display())]
    CsvLine {
        /// The file.
        path: PathBuf,
        /// The line's number from 1, the header being line 1.
        line: u64,
        /// The column's name.
        column: &'static str,
        /// What is wrong and what is expected.
        reason: String,
    },
    /// A simulator that cannot be.
    #[error("the simulator's {setting} is {value}; it must be {expected}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// The value given.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// A feed that cannot be written as DBN.
    #[error("cannot write {} as DBN: {reason}", path.display())]
    Unwritable {
        /// The file that was to be written.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
}

impl FeedError {
    pub(crate) fn io(path: &Path, action: &'static str, error: &std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, reason: error.to_string() }
    }
}

/// "record 1,234", or "its header" for zero.
fn nth_record(number: u64) -> String {
    if number == 0 {
        return "its header".to_owned();
    }
    let digits = number.to_string();
    let mut text = String::from("record ");
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_records_are_grouped() {
        for (number, text) in
            [(0, "its header"), (7, "record 7"), (1234, "record 1,234"), (1_234_567, "record 1,234,567")]
        {
            assert_eq!(nth_record(number), text);
        }
        let cut = FeedError::Truncated { path: "x.dbn.zst".into(), record: 1234 };
        assert_eq!(cut.to_string(), "x.dbn.zst ends in the middle of record 1,234; fetch the file again");
    }
}
