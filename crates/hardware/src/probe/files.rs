//! Reads the kernel's files under `/proc` and `/sys`, or a tree that looks like them. Never writes.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

/// Nothing that is read here is longer; what is, is cut.
const FILE_MAX: u64 = 1 << 20;
/// CPUs, nodes and devices counted at most, whatever a file claims.
const LIST_MAX: usize = 1 << 16;

/// Where the kernel's files are: `/`, or a tree of fixtures in tests.
#[derive(Debug, Clone)]
pub struct Root(PathBuf);

impl Root {
    /// This system's.
    #[must_use]
    pub fn system() -> Self {
        Self("/".into())
    }

    /// A tree whose `proc` and `sys` stand in the place of the system's.
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// A path from the root, such as `sys/devices/system/cpu`.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// A file's text without the space around it; nothing where there is no such file, or it is empty.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let mut bytes = Vec::new();
        File::open(self.path(path)).ok()?.take(FILE_MAX).read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// A file that holds a number.
    pub(crate) fn number<T: std::str::FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// A file that holds a list such as `0-3,8`.
    pub(crate) fn list(&self, path: &str) -> Option<Vec<usize>> {
        parse_list(&self.text(path)?)
    }

    /// The value of the first line `name : value` of a file.
    pub(crate) fn field(&self, path: &str, name: &str) -> Option<String> {
        let text = self.text(path)?;
        let value = text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        });
        value.filter(|value| !value.is_empty())
    }

    /// The names in a folder, in order.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<_> = names.take(LIST_MAX).collect();
        names.sort_unstable();
        names
    }

    /// The numbers of the entries `prefix0`, `prefix1`, … of a folder, in order.
    pub(crate) fn numbered(&self, folder: &str, prefix: &str) -> Vec<usize> {
        let number = |name: String| name.strip_prefix(prefix)?.parse().ok();
        let mut numbers: Vec<usize> = self.names(folder).into_iter().filter_map(number).collect();
        numbers.sort_unstable();
        numbers
    }
}

/// `0-3,8` → 0, 1, 2, 3, 8, in order and each once; nothing where the text means something else.
pub(crate) fn parse_list(text: &str) -> Option<Vec<usize>> {
    let mut list = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last < first || last - first >= LIST_MAX || list.len() >= LIST_MAX {
            return None;
        }
        list.extend(first..=last);
    }
    list.sort_unstable();
    list.dedup();
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_kernel_are_read() {
        for (text, list) in [
            ("0-3,8", Some(vec![0, 1, 2, 3, 8])),
            ("1", Some(vec![1])),
            ("3,1-2,2", Some(vec![1, 2, 3])),
            ("", Some(vec![])),
            ("0-", None),
            ("2-1", None),
            ("x", None),
            ("0-18446744073709551615", None),
        ] {
            assert_eq!(parse_list(text), list, "{text}");
        }
    }
}
