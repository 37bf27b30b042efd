//! `nautilus simulate`: writes simulated markets to a recording.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::ProgressBar;
use nautilus_feeds::{
    Feed, FeedDescription, FeedError, Progress, Read, Registry, Simulator, SimulatorConfig, write_dbn,
};
use nautilus_service::{ConfigError, StartError};
use nautilus_types::{NANOS_PER_SECOND, UnixNanos};

/// Arguments of `nautilus simulate`.
#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// The file to write, for example session.mbo.dbn.zst; it must not exist.
    file: PathBuf,
    /// Equal seeds give equal markets.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many instruments.
    #[arg(long, default_value_t = 3)]
    instruments: usize,
    /// How long the session lasts, in minutes.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
}

impl Simulate {
    /// Writes the file.
    ///
    /// # Errors
    /// When the file exists, cannot be written or the arguments are out of range.
    pub(crate) fn run(&self) -> Result<ExitCode, StartError> {
        if self.file.exists() {
            return Err(StartError::File(format!(
                "{} exists already; choose another name",
                self.file.display()
            )));
        }
        let lasts = self
            .minutes
            .checked_mul(60 * NANOS_PER_SECOND)
            .filter(|lasts| (1..=MINUTES_MAX_NS).contains(lasts));
        let lasts = lasts.ok_or_else(|| setting("--minutes", "it must be between 1 and 1440"))?;
        // A fixed start, so that equal arguments give equal files.
        let start = SimulatorConfig::default().start;
        let config = SimulatorConfig {
            seed: self.seed,
            instruments: self.instruments,
            until: Some(UnixNanos(start.0 + lasts)),
            ..SimulatorConfig::default()
        };
        let simulator = Simulator::new(config, &Registry::new())
            .map_err(|error| setting("simulate", &error.to_string()))?;
        let bar = ProgressBar::new(lasts / NANOS_PER_SECOND);
        let mut feed = WithProgress { feed: simulator, start, bar: bar.clone() };
        let written =
            write_dbn(&self.file, &mut feed).map_err(|error| StartError::File(error.to_string()))?;
        bar.finish_and_clear();
        say!("{}: {} records of SIMULATED markets", self.file.display(), written.records);
        Ok(ExitCode::SUCCESS)
    }
}

/// A day.
const MINUTES_MAX_NS: u64 = 86_400 * NANOS_PER_SECOND;

fn setting(key: &str, message: &str) -> StartError {
    StartError::Config(ConfigError::Setting { key: key.to_owned(), message: message.to_owned() })
}

/// A feed whose progress is drawn in seconds of simulated time.
struct WithProgress {
    feed: Simulator,
    start: UnixNanos,
    bar: ProgressBar,
}

impl Feed for WithProgress {
    fn read(&mut self, max: usize, out: &mut Vec<u8>) -> Result<Read, FeedError> {
        let read = self.feed.read(max, out);
        let reached = self.feed.progress().ts_event.0.saturating_sub(self.start.0);
        self.bar.set_position(reached / NANOS_PER_SECOND);
        read
    }

    fn progress(&self) -> Progress {
        self.feed.progress()
    }

    fn description(&self) -> &FeedDescription {
        self.feed.description()
    }
}
