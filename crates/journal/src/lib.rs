//! An append-only journal in a folder: what was committed is on the disk, and is read back exactly or not at all.
//!
//! Records are numbered from 1, each carries its instant and the checksum of the one before. [`Journal::append`] only
//! fills a buffer; [`Journal::commit`] writes what was appended and returns when the disk has it. Any number of records
//! share one such wait. What a payload means is the owner's business.
//!
//! # What a crash, and what a bad disk, leaves
//!
//! While a commit is under way nothing else is: so whatever is torn was never acknowledged and stands behind all that
//! was. But the same bytes may have been damaged later, on the disk. What decides between the two is *evidence*: every
//! record, and every mirror (below), says which records were on the disk when it was written, and a segment is begun
//! only when the former one is. A record that does not read and for which there is evidence is damage: the journal
//! refuses to open and names file and offset. Without evidence it is a torn end and is cut off.
//!
//! The newest commit has nothing behind it that could be evidence. So it is written twice, in the same wait: in its
//! place and in one of two *mirrors* at the segment's head, in turn, so that the mirror of the commit before is never
//! under way at the same time. A newest commit that was damaged in its place is put back from there, and with it what
//! stands before it in the same sector, which a torn write may take along. One that is longer than a mirror is waited
//! for twice: once itself, then evidence of it.
//!
//! A failed flush is never tried again: the system may have forgotten what it could not write (Rebello et al., "Can
//! Applications Recover from fsync Failures?", USENIX ATC 2020). The journal takes nothing from then on. What is read
//! at an open without evidence is written once more before it is relied upon, for the same reason.
//!
//! Not seen: two faults that hit the newest commit and its mirror alike (a torn sector of a crash, and then a bit of the
//! other that flips before the next open), and a disk that says it has what it has not.

mod journal;
mod layout;
mod read;
mod storage;

pub use journal::{Journal, Settings};
pub use layout::PAYLOAD_MAX;
pub use read::{Report, prune, verify};
pub use storage::{Folder, Storage};

/// A place in a journal that does not read although it was on the disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file} is damaged at byte {offset}, where record {position} should be: {reason}")]
pub struct Damage {
    /// Which file.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// The record that should be there.
    pub position: u64,
    /// What is wrong.
    pub reason: &'static str,
}

/// Why a journal does not open or go on. One sentence each.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused something.
    #[error("{what} failed: {cause}")]
    Io {
        /// What was tried, with the file.
        what: String,
        /// Why not.
        cause: std::io::Error,
    },
    /// Somebody else has it open.
    #[error("{0} is open in another process")]
    Locked(String),
    /// Committed records do not read.
    #[error("{0}; bring the file back from a copy")]
    Damaged(#[from] Damage),
    /// It begins behind the record that is needed.
    #[error("the journal begins with record {first}, and record {wanted} is needed")]
    Pruned {
        /// The first record that there is.
        first: u64,
        /// The first that is needed.
        wanted: u64,
    },
    /// It ends before the record that is needed.
    #[error("the journal ends with record {last}, and is known to have had record {known}")]
    Short {
        /// The last record that there is.
        last: u64,
        /// One that there has been.
        known: u64,
    },
    /// The owner cannot take a record back.
    #[error("record {position} of the journal cannot be applied: {reason}")]
    Refused {
        /// Which record.
        position: u64,
        /// Why not.
        reason: String,
    },
    /// A payload is longer than a record may be.
    #[error("a record of {length} bytes is longer than {most}")]
    TooLong {
        /// The payload's length.
        length: usize,
        /// The longest.
        most: usize,
    },
    /// An earlier write failed.
    #[error("an earlier write failed: what is on the disk is known only after a restart")]
    Dead,
}

impl Error {
    fn io(what: &'static str, file: &str) -> impl FnOnce(std::io::Error) -> Self {
        move |cause| Self::Io { what: format!("{what} {file}"), cause }
    }
}
