//! What the processes say, as one stream: whole lines, each with the name of who said it, none of them endless.
//!
//! It understands a line no further than that: an object stays an object, text stays text.

use std::io::{BufRead, BufReader, IsTerminal as _, PipeReader, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nautilus_service::config::{Log, LogFormat};
use tokio::sync::oneshot;

/// Bytes of a line that are shown; the rest is left out, and said so.
const LINE_MAX: usize = 16 * 1024;
const CUT: &str = " … (cut)";
/// What begins the sentence with which a process that cannot run ends.
const ERROR: &str = "error: ";
/// Colours of names on a terminal; none that a log level has.
const COLOURS: [u8; 6] = [36, 35, 34, 96, 95, 94];

/// How names are put before lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Labels {
    format: LogFormat,
    colour: bool,
    width: usize,
}

impl Labels {
    /// As the log's format wants it, with room for the longest of these names.
    pub(super) fn new<'a>(log: &Log, names: impl Iterator<Item = &'a str>) -> Self {
        let width = names.map(str::len).max().unwrap_or(0);
        Self { format: log.format, colour: std::io::stderr().is_terminal(), width }
    }

    /// A line with its name, ready to be written.
    fn label(self, name: &str, line: &str) -> String {
        if self.format == LogFormat::Json {
            return label_object(name, line);
        }
        let width = self.width;
        if self.colour {
            let colour = COLOURS[name.bytes().map(usize::from).sum::<usize>() % COLOURS.len()];
            format!("\u{1b}[{colour}m{name:<width$} |\u{1b}[0m {line}\n")
        } else {
            format!("{name:<width$} | {line}\n")
        }
    }
}

/// An object gets one more member; what is none becomes the message of one.
fn label_object(name: &str, line: &str) -> String {
    let name = serde_json::Value::from(name);
    match line.trim().strip_prefix('{') {
        Some(rest) if rest.ends_with('}') && rest.len() > 1 => format!("{{\"service\":{name},{rest}\n"),
        _ => format!(
            "{}\n",
            serde_json::json!({"service": name, "level": "INFO", "fields": {"message": line}})
        ),
    }
}

/// What one process says, until it says nothing more.
pub(super) struct Said {
    /// The sentence with which it ended, if it said one.
    error: Arc<Mutex<Option<String>>>,
    ended: oneshot::Receiver<()>,
}

impl Said {
    /// Passes on everything that comes through the pipe, on a thread of its own: a terminal that is held up holds up
    /// nothing but this.
    pub(super) fn forward(pipe: PipeReader, name: &'static str, labels: Labels) -> std::io::Result<Self> {
        let error = Arc::new(Mutex::new(None));
        let (open, ended) = oneshot::channel();
        let found = Arc::clone(&error);
        std::thread::Builder::new().name(format!("log of {name}")).spawn(move || {
            let mut pipe = BufReader::new(pipe);
            while let Some(line) = next_line(&mut pipe) {
                if let Some(sentence) = line.strip_prefix(ERROR) {
                    *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(sentence.to_owned());
                }
                // Nobody may be there to read it.
                let _ = std::io::stderr().lock().write_all(labels.label(name, &line).as_bytes());
            }
            drop(open);
        })?;
        Ok(Self { error, ended })
    }

    /// Waits until everything has been passed on, but not for ever: a child of the process may hold the pipe. Returns
    /// the sentence with which the process ended.
    pub(super) async fn all(self, patience: Duration) -> Option<String> {
        // An error means that the thread is done.
        let _ = tokio::time::timeout(patience, self.ended).await;
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The next line without its end, cut where it is too long.
fn next_line(pipe: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    let (mut cut, mut any) = (false, false);
    loop {
        let part = match pipe.fill_buf() {
            Ok([]) => break,
            Ok(part) => part,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        any = true;
        let end = part.iter().position(|byte| *byte == b'\n');
        let text = &part[..end.unwrap_or(part.len())];
        let room = LINE_MAX - line.len();
        cut |= text.len() > room;
        line.extend_from_slice(&text[..text.len().min(room)]);
        let used = end.map_or(part.len(), |end| end + 1);
        pipe.consume(used);
        if end.is_some() {
            break;
        }
    }
    let mut line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
    if cut {
        line.push_str(CUT);
    }
    any.then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_carry_the_name_of_who_said_them() {
        let labels = |format, colour| Labels { format, colour, width: 6 };
        for (labels, line, shown) in [
            (labels(LogFormat::Text, false), "up", "vpin   | up\n"),
            (labels(LogFormat::Text, false), "", "vpin   | \n"),
            (labels(LogFormat::Text, true), "up", "\u{1b}[35mvpin   |\u{1b}[0m up\n"),
            (
                labels(LogFormat::Json, true),
                r#"{"level":"INFO"}"#,
                "{\"service\":\"vpin\",\"level\":\"INFO\"}\n",
            ),
        ] {
            assert_eq!(labels.label("vpin", line), shown);
        }
        for line in ["panicked at \"x\"", "{}", "{", "{half", "", "\u{1}"] {
            let shown = labels(LogFormat::Json, false).label("vpin", line);
            let object: serde_json::Value = serde_json::from_str(&shown).expect(line);
            assert_eq!((&object["service"], &object["fields"]["message"]), (&"vpin".into(), &line.into()));
        }
    }

    #[test]
    fn lines_are_whole_and_none_is_endless() {
        let long = "x".repeat(LINE_MAX * 3);
        let text = [b"one\r\n\n".as_slice(), long.as_bytes(), b"\nt\xFFwo\nlast"].concat();
        for room in [1, 7, 1 << 20] {
            let mut pipe = BufReader::with_capacity(room, text.as_slice());
            let lines: Vec<_> = std::iter::from_fn(|| next_line(&mut pipe)).collect();
            assert_eq!(lines, ["one", "", &format!("{}{CUT}", &long[..LINE_MAX]), "t\u{FFFD}wo", "last"]);
        }
    }
}
