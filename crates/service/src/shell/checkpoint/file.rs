//! What a checkpoint's file looks like, and how it comes to the disk whole or not at all.
//!
//! Thirty-two bytes (magic, format, the lengths of what follows, XXH3 of everything else), a postcard header, the
//! engine's bytes. A file is believed only when all of it fits; what the engine's bytes mean is not decided here.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use nautilus_messages::EngineName;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

use super::Cursor;

const MAGIC: [u8; 8] = *b"NAUTILCP";
/// Changes with the layout of the prefix, or of the header.
const FORMAT: u32 = 2;
const PREFIX_LEN: usize = 32;
/// Where the checksum stands in the prefix; it is over all bytes before and behind it.
const CHECKSUM_AT: usize = 24;
/// The version whose engines made the bytes: another one's may mean something else by the same bytes.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What stands before the engine's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    engine: String,
    version: String,
    /// When it was taken, in nanoseconds since 1970.
    pub(super) taken_ns: u64,
    pub(super) cursor: Cursor,
}

impl Header {
    pub(super) fn new(engine: EngineName, taken_ns: u64, cursor: Cursor) -> Self {
        Self { engine: engine.as_str().to_owned(), version: VERSION.to_owned(), taken_ns, cursor }
    }
}

/// Why a file is no checkpoint to begin with.
#[derive(Debug, thiserror::Error)]
pub(in crate::shell) enum Refused {
    #[error("it cannot be read ({0})")]
    Unreadable(std::io::Error),
    #[error("it does not begin like a checkpoint")]
    Magic,
    #[error("its format is {0}, this build reads {FORMAT}")]
    Format(u32),
    #[error("it has {have} bytes where {announced} are announced")]
    Length { have: u64, announced: u64 },
    #[error("its checksum does not fit its bytes")]
    Checksum,
    #[error("its header does not decode")]
    Header,
    #[error("it is one of {0}")]
    Engine(String),
    #[error("version {0} made it, this is {VERSION}")]
    Version(String),
    #[error("{0}")]
    State(String),
}

/// Prefix and header of a file with these contents.
fn encode(header: &Header, state: &[u8]) -> std::io::Result<Vec<u8>> {
    let header = postcard::to_allocvec(header).map_err(std::io::Error::other)?;
    let header_len = u32::try_from(header.len()).map_err(std::io::Error::other)?;
    let mut bytes = Vec::with_capacity(PREFIX_LEN + header.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&header_len.to_le_bytes());
    bytes.extend_from_slice(&(state.len() as u64).to_le_bytes());
    let checksum = checksum(&[&bytes, &header, state]);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.extend_from_slice(&header);
    Ok(bytes)
}

fn checksum(parts: &[&[u8]]) -> u64 {
    let mut hash = Xxh3Default::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.digest()
}

/// Header and engine's bytes of a file that is right in every respect and of this engine.
pub(super) fn decode(bytes: &[u8], engine: EngineName) -> Result<(Header, &[u8]), Refused> {
    if !bytes.starts_with(&MAGIC) {
        return Err(Refused::Magic);
    }
    let have = bytes.len() as u64;
    let too_short = Refused::Length { have, announced: PREFIX_LEN as u64 };
    let (prefix, rest) = bytes.split_at_checked(PREFIX_LEN).ok_or(too_short)?;
    let half = |at: usize| u32::from_le_bytes(prefix[at..at + 4].try_into().expect("four bytes"));
    let word = |at: usize| u64::from_le_bytes(prefix[at..at + 8].try_into().expect("eight bytes"));
    let (format, header_len, state_len) = (half(8), half(12), word(16));
    if format != FORMAT {
        return Err(Refused::Format(format));
    }
    let announced = (PREFIX_LEN as u64).saturating_add(u64::from(header_len)).saturating_add(state_len);
    if announced != have {
        return Err(Refused::Length { have, announced });
    }
    let (header, state) = rest.split_at(header_len as usize);
    if checksum(&[&prefix[..CHECKSUM_AT], header, state]) != word(CHECKSUM_AT) {
        return Err(Refused::Checksum);
    }
    let Ok((header, [])) = postcard::take_from_bytes::<Header>(header) else {
        return Err(Refused::Header);
    };
    if header.engine != engine.as_str() {
        return Err(Refused::Engine(header.engine));
    }
    Ok((header, state))
}

/// Whether this version made it.
pub(super) fn check_version(header: &Header) -> Result<(), Refused> {
    if header.version == VERSION { Ok(()) } else { Err(Refused::Version(header.version.clone())) }
}

/// Puts a checkpoint in the place of the former one and returns its length. After a crash at any moment there is
/// either the one or the other.
pub(super) fn write(file: &Path, header: &Header, state: &[u8]) -> std::io::Result<u64> {
    let head = encode(header, state)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let temporary = beside(file, "tmp");
    let put = || {
        let mut written = File::create(&temporary)?;
        written.write_all(&head)?;
        written.write_all(state)?;
        written.sync_all()?;
        std::fs::rename(&temporary, file)
    };
    put().inspect_err(|_| {
        // Half a checkpoint is of no use and may be what fills the disk.
        let _ = std::fs::remove_file(&temporary);
    })?;
    // Elsewhere a folder cannot be opened, and has nothing to flush.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok((head.len() + state.len()) as u64)
}

/// Where a file is kept that was refused.
pub(super) fn refused(file: &Path) -> PathBuf {
    beside(file, "refused")
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::super::StarCursor;
    use super::*;
    use crate::shell::resync::SavedResync;

    const STATE: &[u8] = b"an engine's bytes, whatever they mean";

    fn header() -> Header {
        let resync = SavedResync { handed: vec![(1, 2, 3)], missed_before: 4, wanted: vec![5] };
        let star = Some(StarCursor { epoch: 6, position: 7, resync });
        let journal = 11;
        Header::new(EngineName::Vpin, 8, Cursor { steps: 9, last_frame_ns: 10, star, journal })
    }

    fn whole(header: &Header) -> Vec<u8> {
        [&encode(header, STATE).unwrap()[..], STATE].concat()
    }

    fn reason(bytes: &[u8]) -> String {
        decode(bytes, EngineName::Vpin).unwrap_err().to_string()
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let bytes = whole(&header());
        let (decoded, state) = decode(&bytes, EngineName::Vpin).unwrap();
        assert_eq!((decoded, state), (header(), STATE));
        let empty = Header::new(EngineName::Marketdata, 0, Cursor::default());
        let bytes = encode(&empty, &[]).unwrap();
        assert_eq!(decode(&bytes, EngineName::Marketdata).unwrap(), (empty, &[][..]));
    }

    #[test]
    fn the_layout_is_fixed() {
        let version = [&[VERSION.len() as u8], VERSION.as_bytes()].concat();
        let expected = [b"\x04vpin", &version[..], &[8, 9, 10, 1, 6, 7, 1, 1, 2, 3, 4, 1, 5, 11]].concat();
        let bytes = whole(&header());
        assert_eq!(bytes[..12], *b"NAUTILCP\x02\0\0\0");
        assert_eq!(bytes[12..16], (expected.len() as u32).to_le_bytes());
        assert_eq!(bytes[16..24], (STATE.len() as u64).to_le_bytes());
        assert_eq!(bytes[32..], [&expected, STATE].concat());
    }

    #[test]
    fn every_bit_counts() {
        let good = whole(&header());
        for bit in 0..8 * good.len() {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad, EngineName::Vpin).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_length_counts() {
        let good = whole(&header());
        for length in 0..good.len() {
            assert!(decode(&good[..length], EngineName::Vpin).is_err(), "{length} bytes");
        }
        assert!(decode(&[&good[..], &[0]].concat(), EngineName::Vpin).is_err());
    }

    #[test]
    fn the_reason_is_said() {
        let good = whole(&header());
        assert_eq!(reason(b"something else"), "it does not begin like a checkpoint");
        assert_eq!(reason(&good[..20]), "it has 20 bytes where 32 are announced");
        let short = &good[..good.len() - 1];
        assert_eq!(reason(short), format!("it has {} bytes where {} are announced", short.len(), good.len()));
        let changed = |at: usize, value: u8| {
            let mut bad = good.clone();
            bad[at] = value;
            reason(&bad)
        };
        assert_eq!(changed(8, 1), "its format is 1, this build reads 2");
        assert_eq!(changed(good.len() - 1, 0), "its checksum does not fit its bytes");
        let other = Header { version: "0.0.9".to_owned(), ..header() };
        let bytes = whole(&other);
        let (other, _) = decode(&bytes, EngineName::Vpin).unwrap();
        let reason = check_version(&other).unwrap_err().to_string();
        assert_eq!(reason, format!("version 0.0.9 made it, this is {VERSION}"));
        assert!(check_version(&header()).is_ok());
        let error = decode(&good, EngineName::Marketdata).unwrap_err();
        assert_eq!(error.to_string(), "it is one of vpin");
    }

    #[test]
    fn a_checkpoint_replaces_the_former_one_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("made/vpin.checkpoint");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(beside(&file, "tmp"), "left by a crash").unwrap();
        for state in [STATE, b"another"] {
            let length = write(&file, &header(), state).unwrap();
            let bytes = std::fs::read(&file).unwrap();
            assert_eq!(bytes.len() as u64, length);
            assert_eq!(decode(&bytes, EngineName::Vpin).unwrap(), (header(), state));
        }
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_written_is_an_error_and_leaves_the_former_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("vpin.checkpoint");
        write(&file, &header(), STATE).unwrap();
        // Whoever runs the tests may write anywhere: but not a file where there is a folder.
        std::fs::create_dir(beside(&file, "tmp")).unwrap();
        assert!(write(&file, &header(), b"another").is_err());
        assert_eq!(decode(&std::fs::read(&file).unwrap(), EngineName::Vpin).unwrap().1, STATE);
    }
}
