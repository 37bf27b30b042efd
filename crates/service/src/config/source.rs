//! Where settings were written, so that a mistake which only an engine can see is reported with its line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

/// The text that a configuration was read from, and the keys that the environment put over it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Source {
    pub(super) file: Option<(PathBuf, Arc<str>)>,
    pub(super) overridden: Vec<String>,
}

impl Source {
    /// The file and the line, from 1, where the value of a key such as `a.b[2].c` stands.
    pub(super) fn line(&self, key: &str) -> Option<(&Path, usize)> {
        let (path, text) = self.file.as_ref()?;
        let over =
            |part: &String| key.strip_prefix(part.as_str()).is_some_and(|rest| !rest.starts_with(is_name));
        if self.overridden.iter().any(over) {
            return None;
        }
        let start = find(text, key)?;
        Some((path, 1 + text[..start].matches('\n').count()))
    }
}

fn is_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// Where the value of a key begins.
fn find(text: &str, key: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let steps = key.split(['.', '[', ']']).filter(|step| !step.is_empty());
    let mut start = document.span().start;
    let root = DeValue::Table(document.into_inner());
    let mut value = &root;
    for step in steps {
        let next = match value {
            DeValue::Table(table) => table.get(step)?,
            DeValue::Array(array) => array.get(step.parse::<usize>().ok()?)?,
            _ => return None,
        };
        (start, value) = (next.span().start, next.get_ref());
    }
    Some(start)
}
