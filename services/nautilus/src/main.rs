//! The launcher: starts every service, in one process with nothing to install, or each in a process of its own.
//!
//! `nautilus` streams the built-in exchange simulator, `nautilus replay FILE` a recorded session. What an engine does
//! is not decided here.

#[macro_use]
mod output;

mod doctor;
mod hardware;
mod health;
mod journal;
mod keys;
mod platform;
mod processes;
mod provision;
mod replay;
mod services;
mod simulate;
mod summary;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use nautilus_marketdata::Pace;
use nautilus_service::config::Log;
use nautilus_service::{Alone, Config, ServiceName, StartError, telemetry};

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
  nautilus up --processes                        the same with one process per service, kept up
  nautilus replay trades.csv --speed 60 --keep   replay 60 times as fast as recorded, then keep serving
  NAUTILUS__SERVICES__VPIN__LISTEN=127.0.0.1:0 nautilus up    override any setting";

#[derive(Debug, Subcommand)]
enum Task {
    /// Start all engines on simulated markets (the default).
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
        /// Measure what the processor reaches, even where an earlier measurement is kept.
        #[arg(long)]
        measure: bool,
    },
    /// Say what this machine's backends for matrix work are, measure them, or explain a choice.
    Hardware(hardware::Arguments),
    /// Print the effective configuration, with secrets masked.
    Config,
    /// Make, list and revoke access keys.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Say what an engine's journal holds, and whether it is damaged.
    #[command(subcommand)]
    Journal(journal::Journal),
    /// Ask a service's health route; the exit status is the answer.
    Health(health::Health),
    /// Make the secrets that containers share, where they are missing.
    #[command(hide = true)]
    Provision(provision::Provision),
    /// Run one service in this process.
    #[command(hide = true)]
    Service(Service),
    /// Run one of the platform's own Redis servers until standard input ends.
    #[command(hide = true)]
    Guard(processes::Guard),
}

#[derive(Debug, Args)]
struct Service {
    #[arg(value_parser = service_of)]
    service: ServiceName,
    /// Stream simulated markets, where the service is the one that makes them.
    #[arg(long)]
    simulate: bool,
    /// End when standard input does.
    #[arg(long)]
    supervised: bool,
    /// Pass over what hubs left in Redis that started before; nanoseconds since 1970.
    #[arg(long, default_value_t = 0)]
    hubs_since: u64,
}

fn service_of(name: &str) -> Result<ServiceName, String> {
    let names = || ServiceName::all().map(ServiceName::as_str).collect::<Vec<_>>().join(", ");
    let known = ServiceName::all().find(|service| service.as_str() == name);
    known.ok_or_else(|| format!("there is no such service; there are {}", names()))
}

#[derive(Debug, Args, Default)]
struct Up {
    /// One process per service, each started again when it crashes, with Redis between them.
    #[arg(long)]
    processes: bool,
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
            complain!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode, StartError> {
    let file = arguments.config.as_deref();
    let mut config = Config::load(file)?;
    services::complete(&mut config)?;
    match arguments.task.unwrap_or_else(|| Task::Up(Up::default())) {
        Task::Config => {
            say!("{}", config.to_masked_toml().trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Task::Keys(keys) => keys.run(&config),
        Task::Journal(task) => task.run(),
        Task::Provision(task) => task.run(&config.access.keys_file).map(|()| ExitCode::SUCCESS),
        Task::Health(health) => Ok(health.run()),
        Task::Hardware(task) => {
            telemetry::install(&quiet(config.log.clone()))?;
            task.run(&config)
        }
        Task::Doctor { json, measure } => Ok(doctor::run(&config, json, measure)),
        Task::Simulate(task) => task.run(),
        Task::Up(up) => {
            telemetry::install(&config.log)?;
            runtime()?.block_on(up.run(config, file))
        }
        Task::Service(task) => {
            telemetry::install(&config.log)?;
            runtime()?.block_on(task.run(config))
        }
        Task::Guard(task) => runtime()?.block_on(task.run()),
        Task::Replay(task) => {
            telemetry::install(&quiet(config.log.clone()))?;
            // It is over before a measurement would pay, and must not share its cores with one.
            config.hardware.calibrate = false;
            runtime()?.block_on(replay::run(config, &task.file, task.speed, task.keep))
        }
    }
}

impl Up {
    async fn run(&self, config: Config, file: Option<&Path>) -> Result<ExitCode, StartError> {
        if self.processes {
            processes::up(config, file, !self.no_simulator).await
        } else {
            platform::up(config, !self.no_simulator).await
        }
    }
}

impl Service {
    async fn run(&self, config: Config) -> Result<ExitCode, StartError> {
        let Self { service, simulate, supervised, hubs_since } = *self;
        let alone = Alone { service, hubs_since, supervised };
        let start = async |platform: &_, listener| {
            services::start(service, platform, listener).await?.into_running(simulate)
        };
        alone.serve(config, start).await
    }
}

/// The progress bar and the table are what is to be seen; problems still are.
fn quiet(log: Log) -> Log {
    if log == Log::default() { Log { level: "warn".into(), ..log } } else { log }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
