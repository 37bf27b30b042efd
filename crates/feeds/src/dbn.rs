//! DBN recordings, versions 1 to 3: reads a decompressed stream record by record.
//!
//! It decides where a record begins and how a fault is told; what a record means stands in `records`. It reads no
//! live connection and none of the older DBZ.

mod records;
mod symbols;
mod write;

pub use write::{Written, write_dbn};

use std::io::{self, Read as _};

use dbn::decode::dbn::fsm::{DbnFsm, ProcessResult};
use dbn::{Metadata, RecordRef, Schema, VersionUpgradePolicy};
use nautilus_messages::frame::SHORT_LEN;

use crate::feed::Ending;
use crate::file::Origin;
use crate::{Feed, FeedDescription, FeedError, FeedKind, Progress, Read, Registry};
use records::Translator;
use symbols::Symbols;

/// The longest header that is believed: some 600,000 symbols. A damaged length must not reserve gigabytes.
const HEADER_MAX: u32 = 64 * 1024 * 1024;
/// "DBN", the version and the header's length.
const PRELUDE: usize = 8;

/// A DBN recording being read.
pub(crate) struct DbnFeed {
    bytes: Records,
    translator: Translator,
    description: FeedDescription,
    ending: Ending,
}

/// The stream of records, and the faults that its bytes can have.
struct Records {
    origin: Origin,
    reader: Box<dyn io::Read + Send>,
    fsm: DbnFsm,
    read: u64,
}

impl DbnFeed {
    pub(crate) fn open(
        origin: Origin,
        reader: Box<dyn io::Read + Send>,
        registry: &Registry,
    ) -> Result<Self, FeedError> {
        let fsm = DbnFsm::new(DbnFsm::DEFAULT_BUF_SIZE, 0);
        let mut bytes = Records { origin, reader, fsm, read: 0 };
        let metadata = bytes.header()?;
        bytes.set_upgrades(metadata.schema)?;
        let symbols = Symbols::new(&metadata, registry)?;
        let description = FeedDescription {
            name: bytes.origin.name(),
            kind: FeedKind::Dbn,
            schema: metadata.schema.map_or("mixed", |schema| schema.as_str()).to_owned(),
            simulated: symbols.simulated(),
            symbols: symbols.names().to_vec(),
        };
        let translator = Translator::new(symbols, metadata.schema == Some(Schema::Tbbo));
        Ok(Self { bytes, translator, description, ending: Ending::default() })
    }

    fn decode(&mut self, enough: usize, out: &mut Vec<u8>) -> Result<Read, FeedError> {
        while out.len() < enough {
            match self.bytes.next()? {
                Some(record) => self.translator.translate(record, out)?,
                None => return Ok(Read::End),
            }
        }
        Ok(Read::Frames)
    }
}

impl Feed for DbnFeed {
    fn read(&mut self, max: usize, out: &mut Vec<u8>) -> Result<Read, FeedError> {
        if self.ending.reached() {
            return self.ending.finish();
        }
        let before = out.len();
        let outcome = self.decode(before + max.max(1) * SHORT_LEN, out);
        let names = self.translator.symbols().names();
        self.description.symbols.extend_from_slice(&names[self.description.symbols.len()..]);
        self.ending.settle(outcome, out.len() > before)
    }

    fn progress(&self) -> Progress {
        Progress {
            done_bytes: self.bytes.origin.done_bytes(),
            total_bytes: Some(self.bytes.origin.total_bytes),
            records: self.bytes.read,
            skipped: self.translator.skipped(),
            ts_event: self.translator.ts_event(),
        }
    }

    fn description(&self) -> &FeedDescription {
        &self.description
    }
}

impl Records {
    /// Reads the header, after a look at the length it claims.
    fn header(&mut self) -> Result<Metadata, FeedError> {
        while self.fsm.data().len() < PRELUDE {
            if self.fill()? == 0 {
                return Err(self.truncated());
            }
        }
        let prelude = &self.fsm.data()[..PRELUDE];
        if !prelude.starts_with(b"DBN") {
            return Err(FeedError::Foreign {
                path: self.origin.path.to_path_buf(),
                reason: "what is compressed in it is not DBN with its header; give a whole .dbn.zst file"
                    .into(),
            });
        }
        let version = prelude[3];
        let length = prelude[4..].iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte));
        if !(1..=3).contains(&version) {
            return Err(self.corrupt(format!("it says DBN version {version}, but versions 1 to 3 are read")));
        }
        if length > HEADER_MAX {
            return Err(self.corrupt(format!("the header claims {length} bytes, more than {HEADER_MAX}")));
        }
        loop {
            match self.fsm.process() {
                ProcessResult::Metadata(metadata) => return Ok(metadata),
                ProcessResult::ReadMore(_) if self.fill()? > 0 => {}
                ProcessResult::ReadMore(_) => return Err(self.truncated()),
                ProcessResult::Err(error) => return Err(self.corrupt(error.to_string())),
                ProcessResult::Record(()) => {
                    return Err(self.corrupt("a record stands before the header".into()));
                }
            }
        }
    }

    /// Older versions differ in definitions, statistics and texts only: all else is read as it stands, which is faster.
    fn set_upgrades(&mut self, schema: Option<Schema>) -> Result<(), FeedError> {
        let same_in_all_versions = schema.is_some_and(|schema| {
            !matches!(schema, Schema::Definition | Schema::Statistics | Schema::Status | Schema::Imbalance)
        });
        if !same_in_all_versions {
            return Ok(());
        }
        self.fsm
            .set_upgrade_policy(VersionUpgradePolicy::AsIs)
            .map_err(|error| self.corrupt(error.to_string()))
    }

    /// Decodes the next record; none at the end of the file.
    ///
    /// Every record is a multiple of eight bytes long. The decoder does not insist on it and would read the next
    /// record out of alignment, so it is checked here first, and records are taken one by one.
    #[inline]
    fn next(&mut self) -> Result<Option<RecordRef<'_>>, FeedError> {
        loop {
            if self.fsm.data().first().is_some_and(|words| words % 2 == 1) {
                return Err(self.corrupt("its length is no multiple of 8 bytes".into()));
            }
            match self.fsm.process() {
                ProcessResult::Record(()) => break,
                ProcessResult::ReadMore(_) if self.fill()? > 0 => {}
                ProcessResult::ReadMore(_) if self.fsm.data().is_empty() => return Ok(None),
                ProcessResult::ReadMore(_) => return Err(self.truncated()),
                ProcessResult::Err(error) => return Err(self.corrupt(error.to_string())),
                ProcessResult::Metadata(_) => return Err(self.corrupt("a second header stands here".into())),
            }
        }
        self.read += 1;
        Ok(self.fsm.last_record())
    }

    /// Reads more bytes; zero at the end of the file.
    fn fill(&mut self) -> Result<usize, FeedError> {
        let count = loop {
            match self.reader.read(self.fsm.space()) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(self.truncated()),
                Err(error) => return Err(self.corrupt(error.to_string())),
            }
        };
        self.fsm.fill(count);
        Ok(count)
    }

    /// The number of the record that a fault lies in; zero while the header is read.
    fn record(&self) -> u64 {
        if self.fsm.has_decoded_metadata() { self.read + 1 } else { 0 }
    }

    fn truncated(&self) -> FeedError {
        FeedError::Truncated { path: self.origin.path.to_path_buf(), record: self.record() }
    }

    fn corrupt(&self, reason: String) -> FeedError {
        FeedError::Corrupt { path: self.origin.path.to_path_buf(), record: self.record(), reason }
    }
}

#[cfg(test)]
mod tests;
