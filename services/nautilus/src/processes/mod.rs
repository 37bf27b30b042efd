//! `nautilus up --processes`: one process per service, kept up.
//!
//! It decides where the processes find each other, in which order they end and when the whole ends. What a service
//! does is not its business, nor does it carry a message.

mod buses;
mod child;
mod guard;
mod logs;

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use nautilus_messages::EngineName;
use nautilus_service::config::ENV_PREFIX;
use nautilus_service::server::Interrupts;
use nautilus_service::{Config, ServiceName, StartError, hardware, pinning, wall_clock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::platform::{print_ending, print_how_to_replay, print_urls};
use crate::services;
use child::{Child, Final, Program};
pub(crate) use guard::Guard;
use logs::Labels;

/// A stop has a handful of parts with this timeout each; then the process is killed.
const PARTS_OF_A_STOP: u32 = 5;
/// How long killed processes may take to be gone.
const KILLED: Duration = Duration::from_secs(10);
/// How often a service that comes up is asked whether it is there.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(1);

/// `nautilus up --processes`. `file` is the configuration file that was given.
pub(crate) async fn up(config: Config, file: Option<&Path>, simulator: bool) -> Result<ExitCode, StartError> {
    // What no process could start with is refused before any is started.
    hardware::check(&config.hardware)?;
    pinning::plan(&config)?;
    let mut interrupts = Interrupts::catch()?;
    let mut supervisor = Supervisor::start(&config, file, simulator)?;
    let tls = config.access.tls.is_set();
    let url = |address: &SocketAddr| {
        let scheme = if tls && !address.ip().is_loopback() { "https" } else { "http" };
        format!("{scheme}://{address}")
    };
    let urls: Vec<_> =
        supervisor.addresses.iter().map(|(service, address)| (*service, url(address))).collect();
    let ended = tokio::select! {
        () = all_answer(&supervisor.addresses) => None,
        ended = supervisor.finals.recv() => ended,
        () = interrupts.next() => return Ok(supervisor.stop(&mut interrupts).await),
    };
    if let Some(ended) = ended {
        return Ok(supervisor.give_up(&mut interrupts, &ended).await);
    }
    say!("nautilus {} is up in {} processes:", env!("CARGO_PKG_VERSION"), supervisor.len());
    let hub = ServiceName::Engine(EngineName::Marketdata);
    let marketdata = urls.iter().find(|(service, _)| *service == hub).map_or("", |(_, url)| url).to_owned();
    print_urls(urls);
    if simulator {
        say!("\nSIMULATED markets are streaming; GET {marketdata}/v1/feeds names them");
    } else {
        print_how_to_replay(&marketdata);
    }
    print_ending();
    tokio::select! {
        () = interrupts.next() => Ok(supervisor.stop(&mut interrupts).await),
        Some(ended) = supervisor.finals.recv() => Ok(supervisor.give_up(&mut interrupts, &ended).await),
    }
}

/// The processes, up or to be up again soon.
struct Supervisor {
    /// In the order in which they are stopped, stage by stage.
    stages: Vec<Vec<Child>>,
    addresses: Vec<(ServiceName, SocketAddr)>,
    /// Services that ended for a reason that another start does not change.
    finals: mpsc::Receiver<Final>,
    /// Held as long as the platform's own Redis servers are.
    _buses: buses::Buses,
}

impl Supervisor {
    /// Takes what can be checked beforehand, then starts everything at once: each waits for what it needs.
    fn start(config: &Config, file: Option<&Path>, simulator: bool) -> Result<Self, StartError> {
        let addresses = free_addresses(config)?;
        let (mut buses, own_servers) = buses::prepare(config)?;
        let mut settings = std::mem::take(&mut buses.settings);
        settings.extend(addresses.iter().map(|(service, address)| {
            (
                format!("{ENV_PREFIX}SERVICES__{}__LISTEN", service.as_str().to_uppercase()),
                address.to_string(),
            )
        }));
        let (report, finals) = mpsc::channel(1);
        let drain = Duration::from_millis(config.http.drain_timeout_ms);
        let kill_after = drain.saturating_mul(PARTS_OF_A_STOP);
        let names = addresses.iter().map(|(service, _)| service.as_str());
        let labels = Labels::new(&config.log, names.chain(own_servers.iter().map(|server| server.name)));
        // Asked once: later its file may have been replaced.
        let binary = Arc::from(std::env::current_exe()?);
        let start = |program| Child::start(program, &binary, labels, report.clone());
        let since = wall_clock().0;
        let service = |service| {
            let program = service_program(service, file, since, simulator, &settings);
            start(Program { kill_after: Some(kill_after), ..program })
        };
        // Redis first, so that services seldom have to wait for it; it is the last to go.
        let servers = own_servers.into_iter().map(start).collect();
        let mut stages: Vec<Vec<_>> =
            services::in_stop_order().map(|stage| stage.into_iter().map(service).collect()).into();
        stages.push(servers);
        Ok(Self { stages, addresses, finals, _buses: buses })
    }

    fn len(&self) -> usize {
        self.stages.iter().map(Vec::len).sum()
    }

    /// Ends because a service cannot run, with its sentence and its status.
    async fn give_up(self, interrupts: &mut Interrupts, ended: &Final) -> ExitCode {
        self.stop(interrupts).await;
        complain!("error: {}: {}", ended.service, ended.sentence);
        ExitCode::from(ended.code)
    }

    /// Drains every process, stage by stage. A second interrupt ends them at once.
    async fn stop(self, interrupts: &mut Interrupts) -> ExitCode {
        complain!("stopping (Ctrl-C again ends at once)");
        let in_order = async {
            for stage in &self.stages {
                stage.iter().for_each(Child::drain);
                for child in stage {
                    child.ended().await;
                }
            }
        };
        tokio::select! {
            () = in_order => return ExitCode::SUCCESS,
            () = interrupts.next() => {}
        }
        complain!("stopped at once; what was still queued is lost");
        let children = || self.stages.iter().flatten();
        children().for_each(Child::kill);
        let gone = async {
            for child in children() {
                child.ended().await;
            }
        };
        // Nothing is left to do for one that is not gone by then.
        let _ = tokio::time::timeout(KILLED, gone).await;
        ExitCode::from(130)
    }
}

/// How one service is started: this program again, with where everything is in its environment.
fn service_program(
    service: ServiceName,
    file: Option<&Path>,
    since: u64,
    simulator: bool,
    settings: &[(String, String)],
) -> Program {
    let mut arguments: Vec<OsString> = Vec::new();
    if let Some(file) = file {
        arguments.extend(["--config".into(), file.into()]);
    }
    arguments.extend(["service", service.as_str(), "--supervised", "--hubs-since"].map(Into::into));
    arguments.push(since.to_string().into());
    if simulator && service == ServiceName::Engine(EngineName::Marketdata) {
        arguments.push("--simulate".into());
    }
    Program { name: service.as_str(), arguments, settings: settings.to_vec(), kill_after: None }
}

/// The addresses the services are to listen on, with a port where any is allowed. They are free, or were a moment ago:
/// that is told here and not by a process that is started again and again.
fn free_addresses(config: &Config) -> Result<Vec<(ServiceName, SocketAddr)>, StartError> {
    // All are held until the last is found, so that no two are the same.
    let mut held = Vec::new();
    for service in services::in_start_order() {
        let address = config.services.listen(service);
        let taken = |cause| StartError::Listen { service, address, cause };
        held.push((service, TcpListener::bind(address).map_err(taken)?));
    }
    held.iter().map(|(service, listener)| Ok((*service, listener.local_addr()?))).collect()
}

async fn all_answer(addresses: &[(ServiceName, SocketAddr)]) {
    for (_, address) in addresses {
        while !answers(*address).await {
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

/// Whether somebody serves: a port is taken before the service is ready to answer. What is answered is not looked
/// at, since it may be encrypted.
async fn answers(mut address: SocketAddr) -> bool {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await?;
        stream.read(&mut [0; 64]).await
    };
    tokio::time::timeout(ANSWER, ask).await.is_ok_and(|answer| answer.is_ok())
}
