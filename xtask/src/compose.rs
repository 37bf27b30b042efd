//! `cargo xtask compose-test`: brings the whole of `docker-compose.yml` up for real, replays the recorded ES session
//! through it over HTTP, checks the figures, kills an engine, and leaves nothing behind.
//!
//! Linux only. With `DOCKER_HOST` set it uses that daemon, otherwise, as root, one of its own. Images that no registry
//! gives are replaced by stand-ins made from Debian, which it says.

mod daemon;
mod images;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::install::Missing;
use crate::{cargo, root};

const PATIENCE: Duration = Duration::from_secs(300);
/// What the ES session of 25 December 2023 holds.
const TRADES: u64 = 2_973;
const VWAP: &str = "4808.722705216";

/// How the image is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Programs {
    /// Compiled here by cargo, for release or debugging, and copied in.
    Copied { release: bool },
    /// Compiled in the image's own builder stage.
    Compiled,
}

/// What every step needs.
struct Scene {
    docker: Docker,
    compose: Vec<String>,
    recordings: PathBuf,
    port: u16,
    /// Services that have no image here.
    missing: Vec<String>,
    interrupted: Arc<AtomicBool>,
}

/// The client program and how it is to build.
#[derive(Clone)]
struct Docker {
    host: String,
    buildkit: bool,
}

impl Docker {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(words).env("DOCKER_HOST", &self.host);
        command.env("DOCKER_BUILDKIT", if self.buildkit { "1" } else { "0" });
        command
    }

    fn text(&self, words: &[&str]) -> Result<String> {
        text_of(self.command(words))
    }
}

/// Runs the test.
pub(crate) fn run(programs: Programs) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let interrupted = Arc::new(AtomicBool::new(false));
        // A signal ends the steps and not this process, so that what was started is cleaned up.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let flag = Arc::clone(&interrupted);
        let mut work = tokio::task::spawn_blocking(move || whole(programs, flag));
        loop {
            tokio::select! {
                done = &mut work => return done?.map(|()| 0),
                _ = interrupt.recv() => interrupted.store(true, Relaxed),
                _ = terminate.recv() => interrupted.store(true, Relaxed),
            }
        }
    })
}

fn whole(programs: Programs, interrupted: Arc<AtomicBool>) -> Result<()> {
    let session = nautilus_testkit::es_session().ok_or_else(|| {
        Missing::new("the recorded ES session is absent; NAUTILUS_SHARED_DATA names its folder")
    })?;
    let session = session.canonicalize()?;
    let compose = compose_program()?;
    let daemon = daemon::Daemon::find_or_start()?;
    let docker = Docker { host: daemon.host().to_owned(), buildkit: has_buildkit(programs) };
    let missing = images::prepare(&docker, programs)?;
    let scene = Scene {
        docker,
        compose,
        recordings: session.parent().context("a folder")?.to_owned(),
        port: nautilus_testkit::free_port(),
        missing,
        interrupted,
    };
    let up = Up::start(&scene)?;
    scene.play(&session)?;
    up.down()?;
    println!("\ncompose-test: passed");
    Ok(())
}

/// The legacy builder cannot compile in the image, and newer clients have BuildKit in a plugin.
fn has_buildkit(programs: Programs) -> bool {
    let plugin = Command::new("docker").args(["buildx", "version"]).output();
    programs == Programs::Compiled || plugin.is_ok_and(|output| output.status.success())
}

/// `docker-compose`, or `docker compose` where that is what there is.
fn compose_program() -> Result<Vec<String>> {
    for words in [&["docker-compose"][..], &["docker", "compose"]] {
        let output = Command::new(words[0]).args(&words[1..]).arg("version").output();
        if output.is_ok_and(|output| output.status.success()) {
            return Ok(words.iter().map(|word| (*word).to_owned()).collect());
        }
    }
    let advice =
        "docker-compose is not installed; on Debian: apt-get install docker.io docker-compose debootstrap";
    Err(Missing::new(advice).into())
}

/// The stack, taken down when dropped.
struct Up<'a>(Option<&'a Scene>);

impl<'a> Up<'a> {
    fn start(scene: &'a Scene) -> Result<Self> {
        let services = scene.compose_text(&["config", "--services"])?;
        let mut words = vec!["up", "-d", "--no-build"];
        words.extend(services.lines().filter(|service| !scene.missing.iter().any(|other| other == service)));
        let up = Self(Some(scene));
        scene.show(&words)?;
        Ok(up)
    }

    fn down(mut self) -> Result<()> {
        self.0.take().map_or(Ok(()), |scene| scene.show(&["down", "--volumes"]))
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        let Some(scene) = self.0.take() else { return };
        // It did not go well: what they said last is what one wants to know.
        let _ = scene.show(&["ps"]);
        let _ = scene.show(&["logs", "--no-color", "--tail=15"]);
        let _ = scene.show(&["down", "--volumes"]);
    }
}

impl Scene {
    fn play(&self, session: &Path) -> Result<()> {
        self.until("every container is healthy", || self.all_healthy())?;
        self.show(&["ps"])?;
        self.fences()?;
        let key = self.new_key()?;
        self.replay(session, &key)?;
        self.scraped()?;
        self.kill_and_wait("vpin", &key)?;
        self.restart_features(&key)
    }

    fn compose_command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.compose[0]);
        command.args(&self.compose[1..]).args(["-p", "nautilus-test"]).args(words).current_dir(root());
        command.env("DOCKER_HOST", &self.docker.host).env("NAUTILUS_PORT", self.port.to_string());
        command.env("NAUTILUS_RECORDINGS", &self.recordings).env("COMPOSE_HTTP_TIMEOUT", "600");
        command
    }

    /// Runs compose and shows what it says.
    fn show(&self, words: &[&str]) -> Result<()> {
        println!("\n$ docker-compose {}", words.join(" "));
        let status = self.compose_command(words).stdin(Stdio::null()).status()?;
        ensure!(status.success(), "docker-compose {} failed ({status})", words[0]);
        Ok(())
    }

    fn compose_text(&self, words: &[&str]) -> Result<String> {
        text_of(self.compose_command(words))
    }

    /// Waits for a condition, and says how long that took.
    fn until(&self, what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
        let started = Instant::now();
        while !condition()? {
            ensure!(!self.interrupted.load(Relaxed), "interrupted");
            ensure!(started.elapsed() < PATIENCE, "not within {} s: {what}", PATIENCE.as_secs());
            std::thread::park_timeout(Duration::from_millis(200));
        }
        println!("{what}: after {:.1} s", started.elapsed().as_secs_f64());
        Ok(())
    }

    fn containers(&self) -> Result<Vec<Value>> {
        let ids = self.compose_text(&["ps", "-q"])?;
        let mut words = vec!["inspect"];
        words.extend(ids.lines());
        Ok(serde_json::from_str(&self.docker.text(&words)?)?)
    }

    fn all_healthy(&self) -> Result<bool> {
        let mut healthy = true;
        for container in self.containers()? {
            let (state, name) = (&container["State"], &container["Name"]);
            if state["Health"].is_null() {
                let done = state["Status"] == "exited";
                ensure!(!done || state["ExitCode"] == 0, "{name} failed");
                healthy &= done;
            } else {
                healthy &= state["Health"]["Status"] == "healthy";
            }
        }
        Ok(healthy)
    }

    /// What the daemon made of the file, container by container.
    fn fences(&self) -> Result<()> {
        let mut published = Vec::new();
        let containers = self.containers()?;
        for container in &containers {
            let (host, name) = (&container["HostConfig"], &container["Name"]);
            ensure!(
                host["Privileged"] == false && host["ReadonlyRootfs"] == true,
                "{name} may change itself"
            );
            ensure!(host["CapDrop"] == json!(["ALL"]) && host["CapAdd"].is_null(), "{name} has capabilities");
            ensure!(host["SecurityOpt"] == json!(["no-new-privileges:true"]), "{name} may gain privileges");
            ensure!(host["Memory"].as_u64().is_some_and(|bytes| bytes > 0), "{name} has no memory limit");
            for (port, open) in host["PortBindings"].as_object().into_iter().flatten() {
                published.push(format!("{name} {port} on {}", open[0]["HostIp"]));
            }
        }
        ensure!(published.len() == 1 && published[0].contains("127.0.0.1"), "published: {published:?}");
        println!(
            "{} containers: root file system read-only, no capabilities, no new privileges, memory bounded; published: {}",
            containers.len(),
            published[0].replace(['"', '/'], "")
        );
        Ok(())
    }

    fn new_key(&self) -> Result<String> {
        let words = ["run", "--rm", "-T", "keys", "keys", "new", "--name", "compose-test", "--scope", "read"];
        let said = self.compose_text(&[&words[..], &["--scope", "operate", "--days", "1"]].concat())?;
        let key = said.lines().rev().find(|line| line.starts_with("nk_")).context("keys new shows no key")?;
        let instruments = "/api/marketdata/v1/instruments";
        let refused = self.status(instruments, "")?;
        println!("\nGET {instruments} without a key: {refused}");
        ensure!(refused == 401, "a key is not asked for");
        // Each service reads the keys again when the file changes.
        self.until("with the new key it is 200", || Ok(self.status(instruments, key)? == 200))?;
        Ok(key.to_owned())
    }

    fn status(&self, path: &str, key: &str) -> Result<u16> {
        let request = ureq::get(self.url(path)).config().http_status_as_error(false).build();
        Ok(request.header("authorization", format!("Bearer {key}")).call()?.status().as_u16())
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn get(&self, path: &str, key: &str) -> Result<Value> {
        let answer = ureq::get(self.url(path)).header("authorization", format!("Bearer {key}")).call();
        Ok(answer.with_context(|| format!("GET {path}"))?.body_mut().read_json()?)
    }

    fn replay(&self, session: &Path, key: &str) -> Result<()> {
        let name = session.file_name().and_then(|name| name.to_str()).context("a name")?;
        let body = json!({"path": format!("/recordings/{name}"), "speed": "max"});
        println!("\nPOST /api/marketdata/v1/replays {body}");
        let job: Value = ureq::post(self.url("/api/marketdata/v1/replays"))
            .header("authorization", format!("Bearer {key}"))
            .send_json(&body)
            .context("POST replays")?
            .body_mut()
            .read_json()?;
        let job = format!("/api/marketdata/v1/replays/{}", job["id"]);
        self.until("the replay is finished", || {
            let state = self.get(&job, key)?["state"].clone();
            ensure!(state == "running" || state == "finished", "the replay is {state}");
            Ok(state == "finished")
        })?;
        let statistics = self.get("/api/marketdata/v1/stats/ESH4", key)?;
        println!("GET /api/marketdata/v1/stats/ESH4: {statistics}");
        ensure!(statistics["trades"] == TRADES && statistics["vwap"] == VWAP, "other figures were expected");
        self.until("vpin has read all of it", || {
            let [hub, reader] = ["marketdata", "vpin"].map(|engine| format!("/api/{engine}/v1/engine"));
            let (hub, reader) = (self.get(&hub, key)?, self.get(&reader, key)?);
            ensure!(reader["star_missed"] == 0, "vpin missed frames");
            Ok(reader["star_read"].as_u64().is_some_and(|read| {
                read > 0 && read + 1 >= hub["star_published"].as_u64().unwrap_or(u64::MAX)
            }))
        })
    }

    /// Prometheus sees every target.
    fn scraped(&self) -> Result<()> {
        let query =
            ["exec", "-T", "prometheus", "promtool", "query", "instant", "http://127.0.0.1:9090", "up"];
        self.until("Prometheus scrapes every target", || {
            let said = self.compose_text(&query)?;
            let (all, up) = (said.lines().count(), said.matches("=> 1 @").count());
            Ok(all >= 5 && all == up)
        })
    }

    fn engine_state(&self, engine: &str, key: &str) -> Result<String> {
        let status = self.get("/v1/status", key)?;
        let engines = status["engines"].as_array().context("engines")?;
        let known = engines.iter().find(|known| known["engine"] == engine).context("the engine")?;
        Ok(known["state"].as_str().unwrap_or_default().to_owned())
    }

    fn kill_and_wait(&self, service: &str, key: &str) -> Result<()> {
        let id = self.compose_text(&["ps", "-q", service])?;
        let inspect =
            || -> Result<Value> { Ok(serde_json::from_str(&self.docker.text(&["inspect", id.trim()])?)?) };
        let process = inspect()?[0]["State"]["Pid"].to_string();
        // Not `docker kill`, which counts as stopped by hand and is not restarted.
        println!("\n$ kill -9 {process}   # {service}");
        let killed = Command::new("kill").args(["-9", &process]).status()?;
        if !killed.success() {
            bail!("{service} runs on another machine: there is no process {process} here");
        }
        // Not by the gateway's word: it asks once a second, and the process may be back before.
        self.until("Docker has restarted it", || Ok(inspect()?[0]["RestartCount"] == 1))?;
        self.until("it is up again", || Ok(self.engine_state(service, key)? == "up"))?;
        self.until("its container is healthy", || {
            Ok(inspect()?[0]["State"]["Health"]["Status"] == "healthy")
        })?;
        ensure!(inspect()?[0]["RestartCount"] == 1, "it was restarted more than once");
        self.show(&["ps", service])
    }

    /// It begins with its checkpoint, which lies in a volume.
    fn restart_features(&self, key: &str) -> Result<()> {
        let vector = || self.get("/api/features/v1/vectors/ESH4", key);
        let before = vector()?;
        ensure!(before["values"].as_object().is_some_and(|values| !values.is_empty()), "it knows nothing");
        self.show(&["restart", "features"])?;
        self.until("features shows the same vector again", || {
            let up = self.engine_state("features", key)? == "up";
            if !up {
                return Ok(false);
            }
            ensure!(vector()? == before, "it shows another vector than before");
            Ok(true)
        })?;
        let said = self.compose_text(&["logs", "--no-color", "features"])?;
        ensure!(said.contains("the engine begins with its checkpoint"), "features found no checkpoint");
        Ok(())
    }
}

/// What a command says, or what it complained of.
fn text_of(mut command: Command) -> Result<String> {
    let shown = format!("{command:?}");
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().context(shown.clone())?;
    ensure!(status.success(), "{shown} failed ({status}): {}", String::from_utf8_lossy(&stderr).trim());
    Ok(String::from_utf8(stdout)?)
}

/// Runs a command whose output is of interest when it fails only.
fn quietly(command: Command) -> Result<()> {
    text_of(command).map(|_| ())
}

/// Compiles the programs here and returns their folder.
fn compile(release: bool) -> Result<PathBuf> {
    let mut command = Command::new(cargo());
    command.args(["build", "--locked", "--workspace", "--bins", "--exclude", "xtask"]);
    command.args(["--exclude", "nautilus-benches"]).args(release.then_some("--release")).current_dir(root());
    ensure!(command.status()?.success(), "the programs do not compile");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(target.join(if release { "release" } else { "debug" }))
}
