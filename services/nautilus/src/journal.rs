//! `nautilus journal`: what an engine's journal holds, and whether all of it reads. It changes nothing and knows no
//! payload.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use nautilus_journal::{Folder, Report, verify};
use nautilus_service::StartError;
use nautilus_types::UnixNanos;

/// Exit status when it is damaged: EX_DATAERR of sysexits.h.
const EXIT_DATA: u8 = 65;
/// Bytes of a payload that `show` prints.
const SHOWN: usize = 32;

/// Tasks of `nautilus journal`.
#[derive(Debug, Subcommand)]
pub(crate) enum Journal {
    /// Read a whole journal, and say what it holds and whether it is damaged.
    Verify {
        /// An engine's folder, such as data/journal/risk.
        folder: PathBuf,
    },
    /// Print records: position, time, length and the first bytes.
    Show {
        /// An engine's folder, such as data/journal/risk.
        folder: PathBuf,
        /// The first one.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// How many.
        #[arg(long, default_value_t = 20)]
        count: u64,
    },
}

impl Journal {
    pub(crate) fn run(&self) -> Result<ExitCode, StartError> {
        let report = match self {
            Self::Verify { folder } => {
                let report = read(folder, |_, _, _| ())?;
                tell(&report);
                report
            }
            Self::Show { folder, from, count } => read(folder, |position, at, payload| {
                if (*from..from.saturating_add(*count)).contains(&position) {
                    show(position, at, payload);
                }
            })?,
        };
        let Some(damage) = report.damage else { return Ok(ExitCode::SUCCESS) };
        complain!("error: {damage}");
        Ok(ExitCode::from(EXIT_DATA))
    }
}

fn read(folder: &Path, each: impl FnMut(u64, u64, &[u8])) -> Result<Report, StartError> {
    let unreadable = |reason: String| StartError::File(format!("{}: {reason}", folder.display()));
    let report = verify(&Folder::shared(folder), each).map_err(|error| unreadable(error.to_string()))?;
    if report.segments == 0 {
        return Err(unreadable("there is no journal".to_owned()));
    }
    Ok(report)
}

fn tell(report: &Report) {
    say!("segments  {}", report.segments);
    say!("records   {}", report.records);
    say!("bytes     {}", report.bytes);
    for (name, record) in [("first", report.first), ("last", report.last)] {
        if let Some((position, at)) = record {
            say!("{name:<9} {position} of {}", UnixNanos(at));
        }
    }
    if report.torn > 0 {
        say!("torn      {} bytes behind the last record: a commit that did not end", report.torn);
    }
    say!("damage    {}", report.damage.as_ref().map_or("none".to_owned(), ToString::to_string));
}

fn show(position: u64, at: u64, payload: &[u8]) {
    let mut bytes = String::new();
    for byte in payload.iter().take(SHOWN) {
        let _ = write!(bytes, "{byte:02x}");
    }
    let more = if payload.len() > SHOWN { "…" } else { "" };
    say!("{position} {} {} {bytes}{more}", UnixNanos(at), payload.len());
}
