//! Opens a recording: finds its format by its first bytes and hands it to the reader of that format.
//!
//! It decides which reader and counts the bytes read; it never looks at a record.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::csv::CsvFeed;
use crate::dbn::DbnFeed;
use crate::{Feed, FeedError, Registry};

const BUFFER_BYTES: usize = 64 * 1024;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];

/// Recorded market data on disk.
#[derive(Debug)]
pub struct FileFeed;

impl FileFeed {
    /// Opens a recording, whatever its name: DBN (versions 1 to 3, plain or zstd) or CSV (plain or gzip).
    ///
    /// # Errors
    /// When the file cannot be opened, is of no known format, has a damaged header or holds a symbol that
    /// another live feed owns.
    pub fn open(path: &Path, registry: &Registry) -> Result<Box<dyn Feed>, FeedError> {
        let fail = |error| FeedError::io(path, "open", &error);
        let file = File::open(path).map_err(fail)?;
        let size = file.metadata().map_err(fail)?;
        if size.is_dir() {
            return Err(fail(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        open_bytes(Origin::new(path, size.len()), file, registry)
    }
}

/// Where bytes come from, and how many of them were read.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) path: Arc<Path>,
    pub(crate) total_bytes: u64,
    done_bytes: Arc<AtomicU64>,
}

impl Origin {
    pub(crate) fn new(path: &Path, total_bytes: u64) -> Self {
        Self { path: path.into(), total_bytes, done_bytes: Arc::default() }
    }

    pub(crate) fn done_bytes(&self) -> u64 {
        self.done_bytes.load(Ordering::Relaxed)
    }

    /// The file's own name, for people.
    pub(crate) fn name(&self) -> String {
        self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    fn foreign(&self, reason: impl Into<String>) -> FeedError {
        FeedError::Foreign { path: self.path.to_path_buf(), reason: reason.into() }
    }
}

/// Counts what passes, so that progress is in bytes of the file and not of what they unpack to.
struct Counted<R> {
    inner: R,
    done_bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.done_bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Opens any stream of bytes as a recording.
pub(crate) fn open_bytes(
    origin: Origin,
    bytes: impl Read + Send + 'static,
    registry: &Registry,
) -> Result<Box<dyn Feed>, FeedError> {
    let counted = Counted { inner: bytes, done_bytes: Arc::clone(&origin.done_bytes) };
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, counted);
    let head = reader.fill_buf().map_err(|error| FeedError::io(&origin.path, "read", &error))?;
    match *head {
        [] => Err(FeedError::Empty { path: origin.path.to_path_buf() }),
        [b'D', b'B', b'N', ..] => Ok(Box::new(DbnFeed::open(origin, Box::new(reader), registry)?)),
        _ if head.starts_with(&ZSTD_MAGIC) => {
            let reader = dbn::decode::DynReader::with_buffer(reader, dbn::Compression::Zstd)
                .map_err(|error| origin.foreign(error.to_string()))?;
            Ok(Box::new(DbnFeed::open(origin, Box::new(reader), registry)?))
        }
        [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => {
            Err(origin
                .foreign("it is DBZ, the forerunner of DBN; convert it with `dbn FILE.dbz -o FILE.dbn`"))
        }
        _ if head.starts_with(&GZIP_MAGIC) => {
            let unpacked = BufReader::new(flate2::bufread::MultiGzDecoder::new(reader));
            Ok(Box::new(CsvFeed::open(origin, Box::new(unpacked), registry)?))
        }
        _ if looks_like_text(head) => Ok(Box::new(CsvFeed::open(origin, Box::new(reader), registry)?)),
        _ => {
            let start: Vec<String> = head.iter().take(4).map(|byte| format!("{byte:02X}")).collect();
            Err(origin.foreign(format!(
                "it begins with the bytes {}; give a .dbn, .dbn.zst, .csv or .csv.gz file",
                start.join(" ")
            )))
        }
    }
}

/// Whether the first line could be a header row: printable, with at least one comma or nothing but a word.
fn looks_like_text(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    !line.is_empty()
        && line.iter().all(|&byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t' | b'\r'))
}
