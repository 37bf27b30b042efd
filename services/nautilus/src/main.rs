//! The launcher: starts every engine in one process, with nothing to install.
//!
//! `nautilus` streams the built-in exchange simulator, `nautilus replay FILE` a recorded session. What an engine does
//! is not decided here.

mod doctor;
mod platform;
mod replay;
mod simulate;
mod summary;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use nautilus_marketdata::Pace;
use nautilus_messages::EngineName;
use nautilus_service::{Config, StartError, telemetry};

/// Trading platform backend: market data, order books and flow toxicity over HTTP.
#[derive(Debug, Parser)]
#[command(name = "nautilus", version, after_help = EXAMPLES)]
struct Arguments {
    /// Configuration file; `NAUTILUS_CONFIG` and ./nautilus.toml are tried next.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    task: Option<Task>,
}

const EXAMPLES: &str = "Examples:
  nautilus                                       start all engines on simulated markets
  nautilus replay session.mbo.dbn.zst            replay a recording at full speed, print a summary, end
  nautilus replay trades.csv --speed 60 --keep   replay 60 times as fast as recorded, then keep serving
  NAUTILUS__SERVICES__VPIN__LISTEN=127.0.0.1:0 nautilus up    override any setting";

#[derive(Debug, Subcommand)]
enum Task {
    /// Start all engines in this process on simulated markets (the default).
    Up(Up),
    /// Replay a recorded session through all engines, with a summary at the end.
    Replay(Replay),
    /// Write simulated markets to a recording (.dbn.zst) that `replay` reads.
    Simulate(simulate::Simulate),
    /// Say what this machine offers, what is missing and how to get it.
    Doctor {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the effective configuration, with secrets masked.
    Config,
}

#[derive(Debug, Args, Default)]
struct Up {
    /// Start without the simulator: replays come over POST /v1/replays.
    #[arg(long)]
    no_simulator: bool,
}

#[derive(Debug, Args)]
struct Replay {
    /// .dbn, .dbn.zst, .csv or .csv.gz
    file: PathBuf,
    /// `max`, or how many times as fast as recorded.
    #[arg(long, default_value = "max", value_name = "max|N")]
    speed: Pace,
    /// Keep the engines up afterwards, until Ctrl-C.
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode, StartError> {
    let mut config = Config::load(arguments.config.as_deref())?;
    config.complete_engine::<nautilus_marketdata::Settings>(EngineName::Marketdata)?;
    config.complete_engine::<nautilus_vpin::Configuration>(EngineName::Vpin)?;
    match arguments.task.unwrap_or_else(|| Task::Up(Up::default())) {
        Task::Config => {
            print!("{}", config.to_masked_toml());
            Ok(ExitCode::SUCCESS)
        }
        Task::Doctor { json } => Ok(doctor::run(&config, json)),
        Task::Simulate(task) => task.run(),
        Task::Up(up) => {
            telemetry::install(&config.log)?;
            runtime()?.block_on(platform::up(config, !up.no_simulator))
        }
        Task::Replay(task) => {
            // The progress bar and the table are what is to be seen; problems still are.
            if config.log == nautilus_service::config::Log::default() {
                config.log.level = "warn".into();
            }
            telemetry::install(&config.log)?;
            runtime()?.block_on(replay::run(config, &task.file, task.speed, task.keep))
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
