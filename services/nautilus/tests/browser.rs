//! The page in a real Chromium, against a process per service: `web/e2e` works it as a reader would, and an engine is
//! killed and started again under its eyes.
//!
//! What the page must show stands in `web/e2e/run.ts`; here is only the platform for it. Screenshots go to
//! `NAUTILUS_SCREENSHOTS` when it is set (`docs/screenshots` keeps a set).

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nautilus_service::ServiceName;
use nautilus_testkit::{RedisServer, ServiceProcess};

const NAUTILUS: &str = env!("CARGO_BIN_EXE_nautilus");
const ENGINE: &str = "vpin";
/// The whole walk, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_mins(5);
const PAUSE: Duration = Duration::from_millis(20);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn variable(service: ServiceName, key: &str) -> String {
    format!("NAUTILUS__SERVICES__{}__{key}", service.as_str().to_ascii_uppercase())
}

/// Every service in a process of its own, without the simulator: the page starts a replay.
struct Platform {
    services: Vec<(ServiceName, ServiceProcess)>,
    settings: Vec<(String, String)>,
    _redis: [RedisServer; 2],
}

impl Platform {
    fn start() -> Self {
        let redis = [RedisServer::start(), RedisServer::start()];
        let buses = [
            ("BUS__MARKET_DATA__TRANSPORT", "redis".to_owned()),
            ("BUS__MARKET_DATA__URL", redis[0].url()),
            ("BUS__ENGINE_LOGIC__TRANSPORT", "redis".to_owned()),
            ("BUS__ENGINE_LOGIC__URL", redis[1].url()),
        ];
        let mut settings = Vec::from(buses.map(|(key, value)| (format!("NAUTILUS__{key}"), value)));
        settings.extend(ServiceName::all().map(|name| (variable(name, "LISTEN"), "127.0.0.1:0".to_owned())));
        let mut platform = Self { services: Vec::new(), settings, _redis: redis };
        // The gateway comes last, when it can be told where the others are.
        for name in ServiceName::all() {
            let process = platform.launch(name);
            let address = process.url().trim_start_matches("http://").to_owned();
            platform.set(variable(name, "URL"), process.url().to_owned());
            // Started again, it is where it was.
            platform.set(variable(name, "LISTEN"), address);
            platform.services.push((name, process));
        }
        platform
    }

    fn set(&mut self, key: String, value: String) {
        self.settings.retain(|(known, _)| *known != key);
        self.settings.push((key, value));
    }

    fn launch(&self, name: ServiceName) -> ServiceProcess {
        let settings: Vec<(&str, &str)> =
            self.settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        ServiceProcess::start_with(NAUTILUS, &["service", name.as_str()], &settings)
    }

    fn service(&mut self, wanted: &str) -> &mut (ServiceName, ServiceProcess) {
        self.services.iter_mut().find(|(name, _)| name.as_str() == wanted).expect("every service runs")
    }

    fn kill(&mut self, engine: &str) {
        self.service(engine).1.kill();
    }

    fn start_again(&mut self, engine: &str) {
        let name = self.service(engine).0;
        let process = self.launch(name);
        self.service(engine).1 = process;
    }
}

/// A wish of the walk, which runs beside this process: it makes one file and waits for the other.
struct Wish {
    asked: PathBuf,
    done: PathBuf,
}

impl Wish {
    fn new(folder: &Path, name: &str) -> Self {
        Self { asked: folder.join(format!("{name}.asked")), done: folder.join(format!("{name}.done")) }
    }

    fn command(&self) -> String {
        let (asked, done) = (self.asked.display(), self.done.display());
        format!("touch '{asked}'; until [ -e '{done}' ]; do sleep 0.05; done")
    }

    fn fulfil(&self, mut act: impl FnMut()) {
        if self.asked.exists() && !self.done.exists() {
            act();
            std::fs::write(&self.done, "").expect("the folder takes files");
        }
    }
}

/// The walk, killed when dropped.
struct Walk(Child);

impl Drop for Walk {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What this machine lacks for the test.
fn lacking(gateway: &str) -> Option<&'static str> {
    let runs = |program: &str| {
        let mut command = Command::new(program);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !runs("node") || !runs("npm") {
        return Some("node with npm is not on the PATH");
    }
    let browser = std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
    if !runs(&browser) {
        return Some("there is no Chromium: install Debian's `chromium` or set CHROMIUM");
    }
    if !root().join("web/node_modules/playwright-core").exists() {
        return Some("web/ is not installed: run `npm ci` there");
    }
    let page = ureq::get(gateway).call().and_then(|mut answer| answer.body_mut().read_to_string());
    let full = page.expect("the gateway serves a page").contains("id=\"ladder\"");
    (!full).then_some("the gateway was built without the page")
}

#[test]
fn the_page_works_in_a_real_browser() {
    let mut platform = Platform::start();
    let gateway = platform.service("gateway").1.url().to_owned();
    if let Some(reason) = lacking(&gateway) {
        // Written past the test harness's capture, so that a skipped check is always seen.
        let notice = format!("\n!!! SKIPPED: the page was not tried in a browser: {reason}\n");
        let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), notice.as_bytes());
        return;
    }
    let folder = tempfile::Builder::new().prefix("nautilus-").tempdir().expect("a temporary folder");
    let (kill, start) = (Wish::new(folder.path(), "kill"), Wish::new(folder.path(), "start"));
    // Fast, so that pictures show half an hour of market; otherwise slow enough that a slow machine still sees it move.
    let (pictures, speed) = std::env::var_os("NAUTILUS_SCREENSHOTS")
        .map_or_else(|| (folder.path().join("screenshots"), "60"), |path| (root().join(path), "600"));
    // Where the path in the screenshots says nothing of the machine.
    let recording = folder.path().join("session.mbo.dbn.zst");
    std::fs::copy(root().join("samples/simulated-session.mbo.dbn.zst"), &recording)
        .expect("the sample is there");
    let mut command = Command::new("npm");
    command.args(["run", "--silent", "e2e"]).current_dir(root().join("web")).stdin(Stdio::null());
    command
        .env("BASE_URL", &gateway)
        .env("REPLAY_FILE", recording)
        .env("REPLAY_SPEED", speed)
        .env("SCREENSHOTS", pictures)
        .env("KILLED", ENGINE)
        .env("KILL_CMD", kill.command())
        .env("START_CMD", start.command());
    let mut walk = Walk(command.spawn().expect("npm runs"));
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        kill.fulfil(|| platform.kill(ENGINE));
        start.fulfil(|| platform.start_again(ENGINE));
        if let Some(status) = walk.0.try_wait().expect("a child can be waited for") {
            break status;
        }
        assert!(Instant::now() < deadline, "the walk through the page took longer than {PATIENCE:?}");
        std::thread::sleep(PAUSE);
    };
    assert!(status.success(), "the page has faults: what `npm run e2e` said stands above ({status})");
}
