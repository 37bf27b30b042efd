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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_where_they_stand_unless_the_environment_gave_them() {
        let text =
            "[a]\nb = 1\n\n[[a.list]]\nname = 'x'\n[[a.list]]\nname = 'y'\n[c]\nlist = [\n 1,\n 2,\n]\n";
        let mut source = Source { file: Some((PathBuf::from("f"), text.into())), overridden: Vec::new() };
        let lines = |source: &Source| {
            ["a.b", "a.list[0].name", "a.list[1].name", "c.list[1]", "a.none", "a.list[2]", "a.b.c"]
                .map(|key| source.line(key).map(|(_, line)| line))
        };
        assert_eq!(lines(&source), [Some(2), Some(5), Some(7), Some(11), None, None, None]);
        source.overridden = vec!["a.list".to_owned(), "c.l".to_owned()];
        assert_eq!(lines(&source), [Some(2), None, None, Some(11), None, None, None]);
        assert_eq!(Source::default().line("a.b"), None);
    }
}
