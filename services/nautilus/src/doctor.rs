//! `nautilus doctor`: what this machine offers, what is missing and how to get it.
//!
//! It starts nothing and changes nothing; it keeps what it measured, for the next time.

mod machine;
mod peaks;
mod pinning;

use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use nautilus_hardware::probe::{Machine, Root};
use nautilus_service::config::{Checkpoint, Transport};
use nautilus_service::{Config, ServiceName, hardware};
use serde::Serialize;

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// There and usable.
    Ok,
    /// Not there, and not needed by this configuration.
    Optional,
    /// Needed and not there.
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    verdict: Verdict,
    found: String,
    /// What to do, when something is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn ok(what: &str, found: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: Verdict::Ok, found: found.into(), advice: None }
    }

    fn lacking(what: &str, verdict: Verdict, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.into(), verdict, found: found.into(), advice: Some(advice.into()) }
    }
}

/// Prints everything; fails when something that this configuration needs is missing.
pub(crate) fn run(config: &Config, json: bool, measure: bool) -> ExitCode {
    let root = Root::system();
    let machine = Machine::read(&root);
    let pinning = pinning::Pinning::look(config, &root, &machine.topology);
    let (peaks, complaints) = peaks::take(&machine, measure);
    let mut findings = machine::findings(&machine);
    findings.push(backends(config));
    findings.extend(complaints);
    findings.extend(pinning.findings());
    findings.extend(ServiceName::all().map(|name| port(config, name)));
    findings.push(bus("market data bus", config.bus.market_data.transport, &config.bus.market_data.url));
    findings.push(bus("engine logic bus", config.bus.engine_logic.transport, &config.bus.engine_logic.url));
    findings.push(store(&config.store.url));
    findings.push(checkpoints(&config.checkpoint));
    findings.push(program(
        "redis-server",
        "--version",
        "needed only for Redis buses, `nautilus up --processes` and the tests",
        "redis-server",
    ));
    findings.push(program("psql", "--version", "needed only for PostgreSQL and for the tests", "postgresql"));
    if json {
        let all = serde_json::json!({
            "findings": findings, "machine": machine, "peaks": peaks, "pinning": pinning,
        });
        say!("{all}");
    } else {
        print_table(&findings);
        machine::print(&machine.features);
        peaks.print();
        pinning.print();
    }
    let missing = findings.iter().any(|finding| finding.verdict == Verdict::Missing);
    ExitCode::from(if missing { 69 } else { 0 })
}

fn print_table(findings: &[Finding]) {
    for Finding { what, verdict, found, advice } in findings {
        let mark = match verdict {
            Verdict::Ok => "ok      ",
            Verdict::Optional => "optional",
            Verdict::Missing => "MISSING ",
        };
        say!("{mark}  {what:<27} {found}");
        if let Some(advice) = advice {
            say!("{:38}{advice}", "");
        }
    }
}

/// What matrix work may go to. Bad switches and a pin that means nothing here keep services from starting.
fn backends(config: &Config) -> Finding {
    const WHAT: &str = "backends";
    let advice = "`nautilus hardware` says more";
    let status = match hardware::configure(&config.hardware) {
        Ok(hardware) => hardware.status(),
        Err(error) => {
            return Finding::lacking(
                WHAT,
                Verdict::Missing,
                error.to_string(),
                "no service starts: correct or unset it",
            );
        }
    };
    let on: Vec<_> =
        status.backends.iter().filter(|backend| backend.on).map(|backend| backend.backend.as_str()).collect();
    match status.switches.force.filter(|_| on.is_empty()) {
        Some(forced) => {
            let found = format!("NAUTILUS_BACKEND_FORCE names {forced}, which cannot run here");
            Finding::lacking(WHAT, Verdict::Optional, found, advice)
        }
        None => Finding::ok(WHAT, on.join(", ")),
    }
}

fn port(config: &Config, name: ServiceName) -> Finding {
    let address = config.services.listen(name);
    let what = format!("port of {name}");
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(&what, format!("{address} is free")),
        Err(error) => Finding::lacking(
            &what,
            Verdict::Missing,
            format!("{address}: {error}"),
            format!("stop what holds it, or set services.{name}.listen"),
        ),
    }
}

fn bus(what: &str, transport: Transport, url: &str) -> Finding {
    if transport == Transport::Local {
        return Finding::ok(what, "local, inside this process");
    }
    let shown = nautilus_service::config::mask_url(url);
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host).split('/').next().unwrap_or_default();
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:6379") };
    if answers(&host) {
        return Finding::ok(what, format!("{shown} answers"));
    }
    let advice = format!(
        "start one: redis-server --port {} --appendonly yes",
        host.rsplit(':').next().unwrap_or("6379")
    );
    Finding::lacking(what, Verdict::Missing, format!("{shown} does not answer"), advice)
}

fn answers(host: &str) -> bool {
    let Ok(mut addresses) = host.to_socket_addrs() else { return false };
    addresses.any(|address| TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok())
}

fn store(url: &str) -> Finding {
    let shown = nautilus_service::config::mask_url(url);
    let Some(file) = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")) else {
        return Finding::ok("store", format!("{shown} (connected when the platform starts)"));
    };
    let folder =
        Path::new(file).parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match unwritable(folder) {
        None => Finding::ok("store", format!("{shown} (embedded SQLite)")),
        Some(reason) => {
            Finding::lacking("store", Verdict::Missing, reason, "set store.url to a folder you may write to")
        }
    }
}

fn checkpoints(settings: &Checkpoint) -> Finding {
    const WHAT: &str = "checkpoints";
    let Checkpoint { folder, interval_s } = settings;
    if folder.as_os_str().is_empty() {
        return Finding::ok(WHAT, "none: checkpoint.folder is empty, engines start afresh");
    }
    match unwritable(folder) {
        None => Finding::ok(WHAT, format!("{}, every {interval_s} s", folder.display())),
        // Engines run on without.
        Some(reason) => {
            let advice = "set checkpoint.folder to one you may write to; without, engines start afresh";
            Finding::lacking(WHAT, Verdict::Optional, reason, advice)
        }
    }
}

/// Why nothing can be written in a folder, which may have to be made first.
fn unwritable(folder: &Path) -> Option<String> {
    let existing = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let writable =
        std::fs::metadata(existing).is_ok_and(|found| found.is_dir() && !found.permissions().readonly());
    (!writable).then(|| format!("{} cannot be written", existing.display()))
}

fn program(name: &str, version: &str, purpose: &str, package: &str) -> Finding {
    match Command::new(name).arg(version).output() {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            Finding::ok(name, text.lines().next().unwrap_or_default().trim().to_owned())
        }
        _ => {
            let get = format!("apt-get install {package} (Debian, Ubuntu) or brew install {package} (macOS)");
            Finding::lacking(name, Verdict::Optional, format!("not found; {purpose}"), get)
        }
    }
}
