//! Measurements that outlive the process: where their files are, what they are named by, and how one is replaced.
//!
//! It decides nothing about what is in a file: whoever reads one checks every value, and measures again what it would
//! not have written itself.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cpu::Cpu;
use super::files::Root;

/// Names the folder, where it is not to be the user's cache folder.
pub const ENV_FOLDER: &str = "NAUTILUS_CACHE_DIR";
/// Longer files were not written by this program.
const FILE_MAX: u64 = 16 << 20;

/// Why a cached measurement cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// No folder is known.
    #[error("there is no folder for measurements: set {ENV_FOLDER} to one that can be written")]
    NoFolder,
    /// The file cannot be read.
    #[error("the cached measurement {path} cannot be read: {cause}; delete it, or set {ENV_FOLDER}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file does not hold what was written.
    #[error("the cached measurement {path} is damaged or of another version, so it is taken anew: {cause}")]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The file cannot be written.
    #[error(
        "the measurement cannot be kept in {path}: {cause}; set {ENV_FOLDER} to a folder that can be written"
    )]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

/// The folder of cached measurements: `$NAUTILUS_CACHE_DIR`, else `nautilus` in the user's cache folder. It may not
/// exist yet.
///
/// # Errors
/// Neither that variable nor a home folder is set.
pub fn folder() -> Result<PathBuf, CacheError> {
    folder_from(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
        .ok_or(CacheError::NoFolder)
}

fn folder_from(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let home = || {
        let caches = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
        variable("HOME").map(|home| home.join(caches))
    };
    // The XDG Base Directory Specification: a relative path is to be ignored.
    let user = || variable("XDG_CACHE_HOME").filter(|path| path.is_absolute()).or_else(home);
    variable(ENV_FOLDER).or_else(|| user().map(|caches| caches.join("nautilus")))
}

/// What a measurement of this machine is named by: it is worth nothing on another processor, with another microcode or
/// another number of CPUs. Letters, digits and hyphens: it can be part of a file's name.
#[must_use]
pub fn cpu_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| id_of(&Cpu::detect(&Root::system()), online_cpus()))
}

fn online_cpus() -> usize {
    let known = Root::system().list("sys/devices/system/cpu/online").map(|list| list.len());
    known.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

fn id_of(cpu: &Cpu, cpus: usize) -> String {
    let number = |number: Option<u32>| number.map_or_else(|| "x".to_owned(), |number| number.to_string());
    // An emulator shows the host's processor to programs of another architecture.
    let (architecture, brand) = (std::env::consts::ARCH, &cpu.brand);
    let [family, model, stepping] = [cpu.family, cpu.model, cpu.stepping].map(number);
    let microcode = cpu.microcode.as_deref().unwrap_or("x");
    slug(&format!("{architecture} {brand} {family} {model} {stepping} {microcode} {cpus}cpu"))
}

/// Lower-case letters and digits, a hyphen in the place of everything else, not too long for a file's name.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars().take(128) {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_matches('-').to_owned()
}

/// What a file holds, or nothing where there is none. That it parses does not make its values true: check them.
///
/// # Errors
/// The file cannot be read, is not JSON or not of this shape.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, CacheError> {
    let unreadable = |cause| CacheError::Unreadable { path: path.to_owned(), cause };
    let corrupt = |cause: String| CacheError::Corrupt { path: path.to_owned(), cause };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(corrupt(format!("it is longer than {FILE_MAX} bytes")));
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| corrupt(error.to_string()))
}

/// Replaces a file as a whole: whoever reads it meanwhile, or after a crash, sees the old one or the new one. Makes
/// its folder where there is none.
///
/// # Errors
/// The folder or the file cannot be written.
pub fn write_json_atomically<T: Serialize>(path: &Path, value: &T) -> Result<(), CacheError> {
    let unwritable = |cause| CacheError::Unwritable { path: path.to_owned(), cause };
    let mut text = serde_json::to_vec(value).map_err(|error| unwritable(error.into()))?;
    text.push(b'\n');
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(unwritable)?;
    let draft = draft_of(path);
    let written = File::create(&draft).and_then(|mut file| {
        file.write_all(&text)?;
        file.sync_all()
    });
    let replaced = written.and_then(|()| std::fs::rename(&draft, path));
    replaced.map_err(|cause| {
        // A draft that cannot be deleted either harms nobody.
        let _ = std::fs::remove_file(&draft);
        unwritable(cause)
    })
}

/// A name beside `path` that no other writer has.
fn draft_of(path: &Path) -> PathBuf {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{number}.new", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_follows_the_environment() {
        let home =
            if cfg!(target_os = "macos") { "/h/Library/Caches/nautilus" } else { "/h/.cache/nautilus" };
        for (variables, folder) in [
            (&[("NAUTILUS_CACHE_DIR", "/n"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")][..], Some("/n")),
            (&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")], Some("/x/nautilus")),
            (&[("XDG_CACHE_HOME", "x"), ("HOME", "/h")], Some(home)),
            (&[("HOME", "/h")], Some(home)),
            (&[], None),
        ] {
            let find =
                |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            assert_eq!(folder_from(find), folder.map(PathBuf::from), "{variables:?}");
        }
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_read_back() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("not/there/yet").join("a.json");
        assert_eq!(read_json::<Vec<u32>>(&path).unwrap(), None);
        write_json_atomically(&path, &vec![1_u32, 2]).unwrap();
        write_json_atomically(&path, &vec![3_u32]).unwrap();
        assert_eq!(read_json::<Vec<u32>>(&path).unwrap(), Some(vec![3]));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn damaged_and_unwritable_files_are_said() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.json");
        for damage in ["", "{", "[1, -2]", "\u{0}"] {
            std::fs::write(&path, damage).unwrap();
            let error = read_json::<Vec<u32>>(&path).unwrap_err();
            assert!(matches!(error, CacheError::Corrupt { .. }), "{damage:?}: {error}");
        }
        let below_a_file = path.join("b.json");
        let error = write_json_atomically(&below_a_file, &1).unwrap_err();
        assert!(error.to_string().contains("NAUTILUS_CACHE_DIR"), "{error}");
        assert!(matches!(read_json::<u32>(place.path()), Err(CacheError::Unreadable { .. })));
    }

    #[test]
    fn ids_name_files_and_tell_machines_apart() {
        let cpu = Cpu { brand: "Intel(R) Xeon(R) @ 2.5GHz".into(), family: Some(6), ..Cpu::default() };
        let architecture = std::env::consts::ARCH.replace('_', "-");
        assert_eq!(id_of(&cpu, 2), format!("{architecture}-intel-r-xeon-r-2-5ghz-6-x-x-x-2cpu"));
        assert_ne!(id_of(&cpu, 4), id_of(&cpu, 2));
        assert!(slug("../../etc/passwd").chars().all(|c| c.is_ascii_alphanumeric() || c == '-'));
        assert_eq!(cpu_id(), cpu_id());
    }
}
