//! The file of keys: TOML with ids, names, scopes, dates and the SHA-256 of each secret.
//!
//! A change replaces the whole file at once, so that a reader sees the old one or the new one. Who may do what with a key
//! is not decided here.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use nautilus_types::{NANOS_PER_DAY, NANOS_PER_SECOND, UnixNanos, days_from_civil};
use serde::{Deserialize, Serialize};
use toml::value::Datetime;

use super::key::{Digest, Key, hex, is_id, unhex};
use super::scope::{Scope, Scopes};

/// The longest life of a key.
pub const DAYS_MAX: u16 = 365;
/// Keys in a file, revoked ones not counted: those are gone.
const KEYS_MAX: usize = 1_024;
/// What so many keys take, and more.
const BYTES_MAX: u64 = 512 * 1_024;
const NAME_LENGTH_MAX: usize = 64;
const HEADER: &str =
    "# Written by `nautilus keys`. It holds no secret: each key was shown once, when it was made.\n\n";

/// Why a file of keys cannot be used. One sentence each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// There is no such file.
    #[error("the keys file {0} does not exist; make a key with `nautilus keys new --name NAME --scope read`")]
    Missing(PathBuf),
    /// It cannot be opened, read or replaced.
    #[error("the keys file {path} cannot be {task}: {cause}")]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What was to be done.
        task: &'static str,
        /// Why it was not.
        cause: String,
    },
    /// It says something that is no key.
    #[error("the keys file {path} is refused: {message}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A new key is refused.
    #[error("{0}")]
    Refused(String),
}

/// One key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// What it is found by.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub scopes: Scopes,
    /// When it was made.
    pub created: UnixNanos,
    /// When it ends.
    pub expires: UnixNanos,
    pub(super) digest: Digest,
}

/// A key as the file writes it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    name: String,
    sha256: String,
    scopes: Vec<Scope>,
    created: Datetime,
    expires: Datetime,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    #[serde(default)]
    keys: Vec<Row>,
}

impl KeyEntry {
    /// Whether the key's time is over.
    #[must_use]
    pub fn is_expired(&self, now: UnixNanos) -> bool {
        now >= self.expires
    }

    fn read(row: Row) -> Result<Self, String> {
        let Row { id, name, sha256, scopes, created, expires } = row;
        if !is_id(&id) {
            return Err(format!("'{}' is not a key's id", id.chars().take(32).collect::<String>()));
        }
        check_name(&name).map_err(|error| format!("key {id}: {error}"))?;
        let digest =
            unhex(&sha256).ok_or_else(|| format!("key {id}: sha256 is not 64 hexadecimal digits"))?;
        if scopes.is_empty() {
            return Err(format!("key {id}: it has no scope"));
        }
        let instant = |name: &str, at: &Datetime| {
            instant(at).ok_or_else(|| format!("key {id}: {name} is not a date and time in UTC"))
        };
        let (created, expires) = (instant("created", &created)?, instant("expires", &expires)?);
        Ok(Self { name, scopes: scopes.into_iter().collect(), created, expires, digest, id })
    }

    fn row(&self) -> Row {
        Row {
            id: self.id.clone(),
            name: self.name.clone(),
            sha256: hex(&self.digest),
            scopes: self.scopes.iter().collect(),
            created: datetime(self.created),
            expires: datetime(self.expires),
        }
    }
}

/// The keys of one file, to be shown or changed.
#[derive(Debug)]
pub struct KeysFile {
    path: PathBuf,
    keys: Vec<KeyEntry>,
    /// Held until the change is written: two at once would lose one of their keys.
    _lock: Option<File>,
}

impl KeysFile {
    /// Reads a file that exists.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub fn read(path: &Path) -> Result<Self, KeysError> {
        let keys = parse(path, &load(path)?)?;
        Ok(Self { path: path.to_owned(), keys, _lock: None })
    }

    /// Reads a file to change it, and keeps others from doing so meanwhile. It need not exist yet.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub fn open(path: &Path) -> Result<Self, KeysError> {
        let failed = |cause| unusable(path, "locked", &cause);
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let lock = private().create(true).truncate(false).open(beside(path, "lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let keys = match load(path) {
            Ok(text) => parse(path, &text)?,
            Err(KeysError::Missing(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { path: path.to_owned(), keys, _lock: Some(lock) })
    }

    /// The keys, oldest first.
    #[must_use]
    pub fn keys(&self) -> &[KeyEntry] {
        &self.keys
    }

    /// Adds a key and forgets those that expired a day ago and longer.
    ///
    /// # Errors
    /// When the name, the scopes or the days are not allowed, or there are too many keys.
    pub fn add(
        &mut self,
        key: &Key,
        name: &str,
        scopes: Scopes,
        days: u16,
        now: UnixNanos,
    ) -> Result<&KeyEntry, KeysError> {
        check_name(name).map_err(KeysError::Refused)?;
        if scopes == Scopes::default() {
            return Err(KeysError::Refused("a key needs at least one scope".to_owned()));
        }
        if !(1..=DAYS_MAX).contains(&days) {
            return Err(KeysError::Refused(format!("a key lives from 1 to {DAYS_MAX} days, not {days}")));
        }
        self.keys.retain(|key| key.expires.0.saturating_add(NANOS_PER_DAY) > now.0);
        if self.keys.len() >= KEYS_MAX {
            return Err(KeysError::Refused(format!("there are {KEYS_MAX} keys already: revoke some first")));
        }
        let created = now.floor(NANOS_PER_SECOND);
        let expires = UnixNanos(created.0 + u64::from(days) * NANOS_PER_DAY);
        let (id, name, digest) = (key.id().to_owned(), name.to_owned(), key.digest());
        self.keys.push(KeyEntry { id, name, scopes, created, expires, digest });
        Ok(&self.keys[self.keys.len() - 1])
    }

    /// Takes a key out; says whether it was there.
    pub fn revoke(&mut self, id: &str) -> bool {
        let before = self.keys.len();
        self.keys.retain(|key| key.id != id);
        self.keys.len() < before
    }

    /// Replaces the file by what is here, readable by its owner only.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub fn write(&self) -> Result<(), KeysError> {
        let rows = Rows { keys: self.keys.iter().map(KeyEntry::row).collect() };
        let body = toml::to_string(&rows).map_err(|error| malformed(&self.path, &error.to_string()))?;
        let new = beside(&self.path, "new");
        let replaced = (|| {
            // What an interrupted change left behind.
            let _ = std::fs::remove_file(&new);
            let mut file = private().create_new(true).open(&new)?;
            file.write_all(format!("{HEADER}{body}").as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&new, &self.path)
        })();
        replaced.map_err(|cause| unusable(&self.path, "replaced", &cause))
    }
}

/// Options for a file that only its owner may read.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// `keys.toml.new` for `keys.toml`: in the same folder, so that a rename replaces at once.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn unusable(path: &Path, task: &'static str, cause: &std::io::Error) -> KeysError {
    KeysError::Unusable { path: path.to_owned(), task, cause: cause.to_string() }
}

fn malformed(path: &Path, message: &str) -> KeysError {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    KeysError::Malformed { path: path.to_owned(), message }
}

/// The file's text, where it is small and nobody but its owner can have written it.
pub(super) fn load(path: &Path) -> Result<String, KeysError> {
    let file = File::open(path).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => KeysError::Missing(path.to_owned()),
        _ => unusable(path, "read", &cause),
    })?;
    #[cfg(unix)]
    {
        let metadata = file.metadata().map_err(|cause| unusable(path, "read", &cause))?;
        if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o022 != 0 {
            return Err(malformed(path, "others may write to it: set its mode to 600"));
        }
    }
    let mut text = String::new();
    let read = file.take(BYTES_MAX + 1).read_to_string(&mut text);
    let read = read.map_err(|cause| unusable(path, "read", &cause))?;
    if read as u64 > BYTES_MAX {
        return Err(malformed(path, &format!("it is longer than {BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// The keys that a file's text holds: all of them, or an error.
pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<KeyEntry>, KeysError> {
    // The parser's own rendering quotes the line; its message alone does not.
    let rows: Rows =
        toml::from_str(text).map_err(|error: toml::de::Error| malformed(path, error.message()))?;
    if rows.keys.len() > KEYS_MAX {
        return Err(malformed(path, &format!("it has more than {KEYS_MAX} keys")));
    }
    let mut keys: Vec<KeyEntry> = Vec::with_capacity(rows.keys.len());
    for row in rows.keys {
        let key = KeyEntry::read(row).map_err(|message| malformed(path, &message))?;
        if keys.iter().any(|other| other.id == key.id) {
            return Err(malformed(path, &format!("there are two keys {}", key.id)));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Checks what people call a key: it goes into logs.
///
/// # Errors
/// When it is not short and plain; one sentence.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b" ._-".contains(&b);
    if (1..=NAME_LENGTH_MAX).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(format!(
        "a key's name has 1 to {NAME_LENGTH_MAX} letters, digits, blanks, dots, dashes or underscores"
    ))
}

/// Whole seconds, for a file that people read.
fn datetime(at: UnixNanos) -> Datetime {
    let text = at.floor(NANOS_PER_SECOND).to_string().replace(".000000000", "");
    text.parse().expect("an instant prints as RFC 3339")
}

fn instant(at: &Datetime) -> Option<UnixNanos> {
    let (date, time) = (at.date?, at.time?);
    if !matches!(at.offset?, toml::value::Offset::Z) {
        return None;
    }
    let day = days_from_civil(date.year.into(), date.month.into(), date.day.into())?;
    let second =
        u64::from(time.hour) * 3600 + u64::from(time.minute) * 60 + u64::from(time.second.unwrap_or(0));
    let nanos = day.checked_mul(NANOS_PER_DAY)?.checked_add(second * NANOS_PER_SECOND)?;
    nanos.checked_add(time.nanosecond.unwrap_or(0).into()).map(UnixNanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixNanos = UnixNanos(1_763_675_000_123_456_789);

    fn file_with(name: &str, scopes: &[Scope]) -> (tempfile::TempDir, PathBuf, Key) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/keys.toml");
        let key = Key::new().unwrap();
        let mut file = KeysFile::open(&path).unwrap();
        file.add(&key, name, scopes.iter().copied().collect(), 90, NOW).unwrap();
        file.write().unwrap();
        (folder, path, key)
    }

    #[test]
    fn what_is_written_is_read_again_without_any_secret() {
        let (_folder, path, key) = file_with("desk", &[Scope::Read, Scope::RiskAdmin]);
        let file = KeysFile::read(&path).unwrap();
        let [entry] = file.keys() else { panic!("one key") };
        assert_eq!((entry.id.as_str(), entry.name.as_str()), (key.id(), "desk"));
        assert_eq!(entry.scopes.to_string(), "read risk:admin");
        assert_eq!(entry.created, NOW.floor(NANOS_PER_SECOND));
        assert_eq!(entry.expires.0 - entry.created.0, 90 * NANOS_PER_DAY);
        assert!(!entry.is_expired(NOW) && entry.is_expired(entry.expires));
        let text = std::fs::read_to_string(&path).unwrap();
        let secret = &key.reveal()[16..];
        assert!(!text.contains(secret) && text.contains("created = 2025-11-20T21:43:20Z"), "{text}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn keys_are_revoked_and_forgotten_when_long_expired() {
        let (_folder, path, key) = file_with("desk", &[Scope::Read]);
        let mut file = KeysFile::open(&path).unwrap();
        assert!(!file.revoke("000000000000") && file.revoke(key.id()));
        file.write().unwrap();
        drop(file);
        assert_eq!(KeysFile::read(&path).unwrap().keys(), []);
        let mut file = KeysFile::open(&path).unwrap();
        file.add(&key, "old", Scope::Read.into(), 1, NOW).unwrap();
        let later = UnixNanos(NOW.0 + 3 * NANOS_PER_DAY);
        file.add(&Key::new().unwrap(), "new", Scope::Read.into(), 1, later).unwrap();
        assert_eq!(file.keys().iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["new"]);
    }

    #[test]
    fn a_new_key_outside_of_the_bounds_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = KeysFile::open(&folder.path().join("keys.toml")).unwrap();
        let (key, long) = (Key::new().unwrap(), "x".repeat(65));
        let read = Scopes::from(Scope::Read);
        for (name, scopes, days, part) in [
            ("", read, 1, "name"),
            ("a\nb", read, 1, "name"),
            (&long, read, 1, "name"),
            ("a", Scopes::default(), 1, "at least one scope"),
            ("a", read, 0, "1 to 365 days"),
            ("a", read, 366, "1 to 365 days"),
        ] {
            let error = file.add(&key, name, scopes, days, NOW).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        for _ in 0..KEYS_MAX {
            file.add(&Key::new().unwrap(), "a", read, 1, NOW).unwrap();
        }
        assert!(file.add(&key, "a", read, 1, NOW).unwrap_err().to_string().contains("revoke some"));
        file.write().unwrap();
        drop(file);
        let full = KeysFile::read(&folder.path().join("keys.toml")).expect("a full file stays readable");
        assert_eq!(full.keys().len(), KEYS_MAX);
    }

    #[test]
    fn a_file_that_is_no_file_of_keys_is_refused_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        assert!(KeysFile::read(&path).unwrap_err().to_string().contains("nautilus keys new"));
        let digest = "ab".repeat(32);
        let row = |change: (&str, &str)| {
            let good = format!(
                "[[keys]]\nid = '0123456789ab'\nname = 'desk'\nsha256 = '{digest}'\nscopes = ['read']\n\
                 created = 2026-01-01T00:00:00Z\nexpires = 2026-02-01T00:00:00Z\n"
            );
            assert!(parse(&path, &good).is_ok() && good.contains(change.0));
            good.replace(change.0, change.1)
        };
        for (text, part) in [
            ("keys = 5".to_owned(), "invalid type"),
            ("[[key]]".to_owned(), "unknown field"),
            ("[[keys]]".to_owned(), "missing field"),
            (row(("0123456789ab", "xyz")), "not a key's id"),
            (row(("desk", "de\tsk")), "name"),
            (row((&digest, "ab")), "64 hexadecimal"),
            (row(("['read']", "['root']")), "unknown variant `root`"),
            (row(("['read']", "[]")), "no scope"),
            (row(("2026-02-01T00:00:00Z", "2026-02-01")), "expires is not a date and time"),
            (row(("2026-02-01T00:00:00Z", "2026-02-01T00:00:00+01:00")), "in UTC"),
            (row(("2026-02-01T00:00:00Z", "0000-01-01T00:00:00Z")), "expires is not"),
            (row(("2026-02-01T00:00:00Z", "9999-01-01T00:00:00Z")), "expires is not"),
            (row(("", "")).repeat(2), "two keys"),
            (format!("#{}", "x".repeat(600_000)), "longer than"),
            ("\u{0}".to_owned(), "refused"),
        ] {
            std::fs::write(&path, &text).unwrap();
            let error = KeysFile::read(&path).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains('\n'), "{part}: {error}");
        }
        std::fs::write(&path, b"\xff").unwrap();
        assert!(KeysFile::read(&path).unwrap_err().to_string().contains("cannot be read"));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_folder, path, _) = file_with("desk", &[Scope::Read]);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o620)).unwrap();
        assert!(KeysFile::read(&path).unwrap_err().to_string().contains("others may write"));
    }

    #[test]
    fn dates_survive_both_ways() {
        for second in [0, 951_782_399, 951_782_400, 1_709_164_800, 1_763_675_000, 4_102_444_800] {
            let at = UnixNanos(second * NANOS_PER_SECOND);
            assert_eq!(instant(&datetime(at)), Some(at), "{at}");
        }
    }
}
