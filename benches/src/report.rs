//! Rows of measurements: printed for people, and appended to the file that `NAUTILUS_BENCH_RESULTS` names.
//!
//! It writes down losses as it does gains and never rewrites what stands in the file.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use crate::percentile;

/// The environment variable that names the results file; a relative path counts from the workspace's root.
const RESULTS: &str = "NAUTILUS_BENCH_RESULTS";

/// One figure per round.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures(Vec<f64>);

impl Figures {
    /// Adds a round's figure.
    pub fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// Each figure changed alike, for instance a time into a rate.
    #[must_use]
    pub fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        Self(self.0.iter().copied().map(change).collect())
    }

    /// The median round.
    #[must_use]
    pub fn median(&self) -> f64 {
        percentile(&mut self.0.clone(), 0.5)
    }

    /// The median over rounds of `self ÷ other`.
    #[must_use]
    pub fn ratio(&self, other: &Self) -> f64 {
        let mut ratios: Vec<f64> = self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect();
        percentile(&mut ratios, 0.5)
    }

    fn text(&self, unit: Unit) -> String {
        let at = |share| unit.text(percentile(&mut self.0.clone(), share));
        format!("**{}** ({}–{}) {}", at(0.5), at(0.0), at(1.0), unit.name())
    }
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Nanoseconds,
    /// Microseconds.
    Microseconds,
    /// Seconds.
    Seconds,
    /// Millions a second: the only unit of which more is better.
    MillionsPerSecond,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Microseconds => "µs",
            Self::Seconds => "s",
            Self::MillionsPerSecond => "million/s",
        }
    }

    fn text(self, figure: f64) -> String {
        let decimals = match figure {
            _ if figure >= 100.0 => 0,
            _ if figure >= 10.0 => 1,
            _ if figure >= 1.0 => 2,
            _ => 4,
        };
        format!("{figure:.decimals$}")
    }

    fn less_is_better(self) -> bool {
        self != Self::MillionsPerSecond
    }
}

/// What ours is measured beside.
#[derive(Debug, Clone, Copy)]
pub enum Peer<'a> {
    /// Nothing comparable.
    None,
    /// Measured in the same rounds.
    Here(&'a str, &'a Figures),
    /// Published, on another machine.
    Published(&'a str, f64),
}

/// What is to be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// Nothing in particular.
    None,
    /// This figure or less.
    AtMost(f64),
    /// This figure or more.
    AtLeast(f64),
    /// No more than so many times the peer's time.
    Within(f64),
    /// At least so many times better than the peer.
    Times(f64),
}

/// One bench's part of the results.
#[derive(Debug)]
pub struct Report {
    file: Option<File>,
    /// Whether the table has its head, which comes with the first row.
    headed: bool,
}

impl Report {
    /// Begins the part of `bench`, with the instant and the load. None when cargo only checks that benches build
    /// (`cargo test --benches`).
    ///
    /// # Panics
    /// When the results file cannot be written.
    #[must_use]
    pub fn begin(bench: &str) -> Option<Self> {
        if !std::env::args().any(|argument| argument == "--bench") {
            println!("{bench}: nothing is measured without --bench; run `cargo bench`");
            return None;
        }
        let file = std::env::var_os(RESULTS).map(|name| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
            let new = !path.exists();
            let mut file =
                OpenOptions::new().create(true).append(true).open(&path).expect("the results file opens");
            if new {
                file.write_all(machine().as_bytes()).expect("the results file takes a row");
            }
            file
        });
        let mut report = Self { file, headed: false };
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("unknown");
        let (now, commit) = (answer("date", &["-u", "+%Y-%m-%d %H:%M UTC"]), commit());
        report.write(&format!("\n## {bench}\n\n{now}, {commit}, load average {load} at the start.\n\n"));
        Some(report)
    }

    /// Writes one row.
    pub fn row(&mut self, measured: &str, unit: Unit, ours: &Figures, peer: Peer<'_>, goal: Goal) {
        let (name, figure, times) = match peer {
            Peer::None => ("–", "–".to_owned(), None),
            Peer::Here(name, peer) => {
                let times = if unit.less_is_better() { peer.ratio(ours) } else { ours.ratio(peer) };
                (name, peer.text(unit), Some(times))
            }
            Peer::Published(name, peer) => {
                let times = if unit.less_is_better() { peer / ours.median() } else { ours.median() / peer };
                (name, format!("{} {}", unit.text(peer), unit.name()), Some(times))
            }
        };
        let standing = times.map_or("–".to_owned(), standing);
        let goal = verdict(goal, ours.median(), times, unit);
        if !std::mem::replace(&mut self.headed, true) {
            self.write("| measured | ours | peer | peer's | ours is | goal |\n|---|---|---|---|---|---|\n");
        }
        self.write(&format!(
            "| {measured} | {} | {name} | {figure} | {standing} | {goal} |\n",
            ours.text(unit)
        ));
    }

    /// Writes a sentence below the table.
    pub fn note(&mut self, sentence: &str) {
        self.write(&format!("\n{sentence}\n"));
    }

    fn write(&mut self, text: &str) {
        print!("{text}");
        if let Some(file) = &mut self.file {
            file.write_all(text.as_bytes()).expect("the results file takes a row");
        }
    }
}

fn standing(times: f64) -> String {
    if times >= 1.0 { format!("{times:.2}× better") } else { format!("{:.2}× worse", 1.0 / times) }
}

fn verdict(goal: Goal, ours: f64, times: Option<f64>, unit: Unit) -> String {
    let (text, met) = match goal {
        Goal::None => return "–".to_owned(),
        Goal::AtMost(most) => (format!("≤ {} {}", unit.text(most), unit.name()), ours <= most),
        Goal::AtLeast(least) => (format!("≥ {} {}", unit.text(least), unit.name()), ours >= least),
        Goal::Within(most) => (format!("within {most}×"), times.is_some_and(|times| times >= 1.0 / most)),
        Goal::Times(least) => (format!("≥ {least}× better"), times.is_some_and(|times| times >= least)),
    };
    format!("{text}: {}", if met { "met" } else { "**missed**" })
}

/// The head of a results file.
fn machine() -> String {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")).map_or_else(
        || answer("sysctl", &["-n", "machdep.cpu.brand_string"]),
        |rest| rest.trim_start_matches([' ', '\t', ':']).to_owned(),
    );
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut head = String::from("# Measurements\n\n");
    let _ = writeln!(head, "- machine: {model}, {cores} cores, {}", answer("uname", &["-srm"]));
    let _ = writeln!(head, "- compiler: {}, profile `bench`", answer("rustc", &["--version"]));
    let _ = writeln!(head, "- command: `cargo bench -p nautilus-benches`, `{RESULTS}` naming this file");
    head.push_str(
        "- figures: **median round** (best–worst round); `README.md` here says how rounds are made\n",
    );
    head
}

fn commit() -> String {
    let changed = !answer("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
    let commit = answer("git", &["rev-parse", "--short", "HEAD"]);
    format!("commit {commit}{}", if changed { " with changes" } else { "" })
}

/// The first line that a program prints, or nothing.
fn answer(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gains_and_losses_are_told_alike() {
        let figures = |values: &[f64]| Figures(values.to_vec());
        let (fast, slow) = (figures(&[10.0, 11.0, 12.0]), figures(&[20.0, 44.0, 24.0]));
        assert_eq!(standing(slow.ratio(&fast)), "2.00× better");
        assert_eq!(standing(fast.ratio(&slow)), "2.00× worse");
        assert_eq!(fast.text(Unit::Nanoseconds), "**11.0** (10.0–12.0) ns");
    }

    #[test]
    fn goals_are_met_or_missed() {
        for (goal, ours, times, expected) in [
            (Goal::None, 1.0, None, "–"),
            (Goal::AtMost(50.0), 50.0, None, "≤ 50.0 ns: met"),
            (Goal::AtMost(50.0), 51.0, None, "≤ 50.0 ns: **missed**"),
            (Goal::AtLeast(4.0), 3.9, None, "≥ 4.00 ns: **missed**"),
            (Goal::Within(2.0), 1.0, Some(0.5), "within 2×: met"),
            (Goal::Within(2.0), 1.0, Some(0.49), "within 2×: **missed**"),
            (Goal::Times(5.0), 1.0, Some(7.0), "≥ 5× better: met"),
        ] {
            assert_eq!(verdict(goal, ours, times, Unit::Nanoseconds), expected);
        }
    }
}
