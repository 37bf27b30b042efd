//! What a journal asks of the disk, and the real one. What the bytes mean is not decided here.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::Error;

/// A folder of files of fixed lengths.
///
/// [`Self::allocate`], [`Self::rename`] and [`Self::remove`] are on the disk when they return, and whole or not at all
/// after a crash. What was written to a file is there after [`Self::sync`]; before it, a crash may leave any part.
pub trait Storage {
    /// An open file.
    type File;

    /// The names of all files.
    ///
    /// # Errors
    /// When the system refuses.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// When there is none, or the system refuses.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Makes a file of so many zeros, with all its room taken from the disk. Where that fails nothing is left.
    ///
    /// # Errors
    /// When there is no room, or the system refuses.
    fn allocate(&self, name: &str, length: u64) -> io::Result<()>;

    /// Gives a file another name.
    ///
    /// # Errors
    /// When the system refuses.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// When the system refuses.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// A file's length in bytes.
    ///
    /// # Errors
    /// When the system refuses.
    fn length(&self, file: &Self::File) -> io::Result<u64>;

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// When the file is shorter, or the system refuses.
    fn read(&self, file: &Self::File, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Replaces the bytes from `offset` on.
    ///
    /// # Errors
    /// When the system refuses.
    fn write(&self, file: &Self::File, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns when the disk has all that was written to the file.
    ///
    /// # Errors
    /// When it is not known to have it.
    fn sync(&self, file: &Self::File) -> io::Result<()>;
}

/// A folder of the file system.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Held as long as this lives.
    _lock: Option<File>,
}

impl Folder {
    /// The folder, made where there is none, for one owner at a time.
    ///
    /// # Errors
    /// When somebody else has it, or the system refuses.
    pub fn owned(path: &Path) -> Result<Self, Error> {
        let shown = path.display().to_string();
        std::fs::create_dir_all(path).map_err(Error::io("making the folder", &shown))?;
        let lock = File::options().write(true).create(true).truncate(false).open(path.join("lock"));
        let lock = lock.map_err(Error::io("making a lock in", &shown))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: Some(lock) }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked(shown)),
            Err(TryLockError::Error(cause)) => Err(Error::io("locking", &shown)(cause)),
        }
    }

    /// The folder as it is, whoever owns it: for [`crate::verify`] and [`crate::prune`] only.
    #[must_use]
    pub fn shared(path: &Path) -> Self {
        Self { path: path.to_owned(), _lock: None }
    }

    fn sync_names(&self) -> io::Result<()> {
        // Elsewhere a folder cannot be opened, and has nothing to flush.
        #[cfg(unix)]
        File::open(&self.path)?.sync_all()?;
        Ok(())
    }
}

impl Storage for Folder {
    type File = File;

    fn names(&self) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<std::fs::DirEntry>| Ok(entry?.file_name().into_string().ok());
        std::fs::read_dir(&self.path)?.filter_map(|entry| name(entry).transpose()).collect()
    }

    fn open(&self, name: &str) -> io::Result<File> {
        File::options().read(true).write(true).open(self.path.join(name))
    }

    fn allocate(&self, name: &str, length: u64) -> io::Result<()> {
        let path = self.path.join(name);
        let make = || {
            let file = File::create(&path)?;
            reserve(&file, length)?;
            file.sync_all()
        };
        make().inspect_err(|_| {
            // Half a file may be what fills the disk.
            let _ = std::fs::remove_file(&path);
        })?;
        self.sync_names()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))?;
        self.sync_names()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))?;
        self.sync_names()
    }

    fn length(&self, file: &File) -> io::Result<u64> {
        Ok(file.metadata()?.len())
    }

    fn read(&self, mut file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }

    fn write(&self, mut file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// Takes a file's room from the disk.
fn reserve(file: &File, length: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, length) {
        // A file system that cannot reserve is written to.
        Err(rustix::io::Errno::OPNOTSUPP) => {}
        done => return done.map_err(Into::into),
    }
    io::copy(&mut io::repeat(0).take(length), &mut { file }).map(drop)
}
