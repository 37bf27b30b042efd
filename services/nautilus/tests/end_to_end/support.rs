//! Starts the binary in a folder of its own on free ports, talks to it and stops it.
//!
//! It asserts only that the process and the network behave; what an answer means is the tests' business.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nautilus_testkit::RedisServer;
use serde_json::Value;

/// How long anything may take before a test fails; debug builds share two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);

/// The sample of the repository's own making.
pub(crate) fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/simulated-session.mbo.dbn.zst")
}

/// Asks again and again until there is an answer.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(PAUSE);
    }
}

/// A folder to start processes in.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    settings: Vec<(String, String)>,
}

/// How a process ended and what it wrote.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = folder.path().join("cache").display().to_string();
        Self { folder, settings: Vec::new() }
            .with("NAUTILUS_CACHE_DIR", cache)
            .with("NAUTILUS__SERVICES__MARKETDATA__LISTEN", "127.0.0.1:0")
            .with("NAUTILUS__SERVICES__VPIN__LISTEN", "127.0.0.1:0")
            .with("NAUTILUS__SERVICES__WEBSOCKET__LISTEN", "127.0.0.1:0")
            .with("NAUTILUS__SERVICES__FEATURES__LISTEN", "127.0.0.1:0")
            .with("NAUTILUS__SERVICES__RISK__LISTEN", "127.0.0.1:0")
            .with("NAUTILUS__SERVICES__GATEWAY__LISTEN", "127.0.0.1:0")
            // The machine is other tests' as well.
            .with("NAUTILUS__HARDWARE__CALIBRATE", "false")
    }

    /// With an environment variable for every process started here.
    pub(crate) fn on_redis(self, market_data: &RedisServer, engine_logic: &RedisServer) -> Self {
        self.with("NAUTILUS__BUS__MARKET_DATA__TRANSPORT", "redis")
            .with("NAUTILUS__BUS__MARKET_DATA__URL", market_data.url())
            .with("NAUTILUS__BUS__ENGINE_LOGIC__TRANSPORT", "redis")
            .with("NAUTILUS__BUS__ENGINE_LOGIC__URL", engine_logic.url())
    }

    pub(crate) fn with(mut self, variable: &str, value: impl Into<String>) -> Self {
        self.settings.push((variable.to_owned(), value.into()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The SQLite file that processes started here use unless told otherwise.
    pub(crate) fn store_url(&self) -> String {
        format!("sqlite://{}", self.path("data/nautilus.db").display())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nautilus"));
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("NAUTILUS") {
                command.env_remove(variable);
            }
        }
        command
            .args(arguments)
            .envs(self.settings.clone())
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Starts the binary and waits for nothing.
    pub(crate) fn launch(&self, arguments: &[&str]) -> Process {
        let mut command = self.command(arguments);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let stdout = collect(child.stdout.take().expect("a pipe"));
        let stderr = collect(child.stderr.take().expect("a pipe"));
        Process { child, stdout, stderr }
    }

    /// Runs to the end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.launch(arguments).end()
    }

    /// Runs to the end with nobody at the other end of standard output; returns what standard error got.
    pub(crate) fn run_unread(&self, arguments: &[&str]) -> String {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = self.command(arguments).stdout(writer).stderr(Stdio::piped()).output();
        String::from_utf8_lossy(&output.expect("the binary starts").stderr).into_owned()
    }

    /// Starts engines that stay up, and waits until they are.
    pub(crate) fn start(&self, arguments: &[&str]) -> Engines {
        let mut process = self.launch(arguments);
        let urls: [String; 6] = eventually("the services print their URLs", || {
            process.must_run();
            let stdout = process.stdout.text();
            let url = |service: &str| {
                let line = stdout.lines().find(|line| line.trim_start().starts_with(service))?;
                Some(line[line.find("http://")?..].trim_end_matches('/').to_owned())
            };
            Some([
                url("marketdata")?,
                url("vpin")?,
                url("websocket")?,
                url("features")?,
                url("risk")?,
                url("gateway")?,
            ])
        });
        let [marketdata, vpin, websocket, features, risk, gateway] = urls;
        Engines { process, marketdata, vpin, websocket, features, risk, gateway }
    }

    /// Replays a recording at full speed and waits until the engines show all of it.
    pub(crate) fn start_after_replay(&self, recording: &Path) -> Engines {
        let mut engines = self.start(&["replay", recording.to_str().expect("a plain path"), "--keep"]);
        engines.wait_for_line("The engines stay up");
        engines
    }
}

/// What a pipe has carried so far.
struct Collected {
    text: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Collected {
    fn text(&self) -> String {
        self.text.lock().expect("the reader does not panic").clone()
    }

    fn all(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
        self.text()
    }
}

fn collect(pipe: impl Read + Send + 'static) -> Collected {
    let text = Arc::new(Mutex::new(String::new()));
    let (mut pipe, kept) = (BufReader::new(pipe), Arc::clone(&text));
    let reader = std::thread::spawn(move || {
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            kept.lock().expect("nobody panics here").push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    Collected { text, reader: Some(reader) }
}

/// A process, killed when dropped.
pub(crate) struct Process {
    child: Child,
    stdout: Collected,
    stderr: Collected,
}

impl Process {
    fn must_run(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
            panic!("the process ended with {status}: {}{}", self.stdout.text(), self.stderr.text());
        }
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let status =
            eventually("the process ends", || self.child.try_wait().expect("a child can be waited for"));
        Ended { code: status.code(), stdout: self.stdout.all(), stderr: self.stderr.all() }
    }

    pub(crate) fn wait_for_line(&mut self, part: &str) {
        eventually(&format!("'{part}' is printed"), || {
            self.must_run();
            self.stdout.text().contains(part).then_some(())
        });
    }

    /// Waits until something is logged or said on standard error.
    pub(crate) fn wait_for_notice(&mut self, part: &str) {
        eventually(&format!("'{part}' is said"), || {
            self.must_run();
            self.stderr.text().contains(part).then_some(())
        });
    }

    /// Waits until a service that logs as JSON listens, and says where.
    pub(crate) fn url(&mut self) -> String {
        eventually("the service listens", || {
            self.must_run();
            let said = self.stderr.text();
            let (_, address) = said.split_once("\"address\":\"")?;
            Some(format!("http://{}", address.split('"').next()?))
        })
    }

    pub(crate) fn interrupt(&self) {
        self.signal("-INT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {signal} failed");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let status = self.child.try_wait();
            println!("the process ({status:?}) said: {}{}", self.stdout.text(), self.stderr.text());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All engines, up in one process.
pub(crate) struct Engines {
    process: Process,
    pub(crate) marketdata: String,
    pub(crate) vpin: String,
    pub(crate) websocket: String,
    pub(crate) features: String,
    pub(crate) risk: String,
    pub(crate) gateway: String,
}

impl Engines {
    pub(crate) fn wait_for_line(&mut self, part: &str) {
        self.process.wait_for_line(part);
    }

    /// Waits until something is logged or said on standard error.
    pub(crate) fn wait_for_notice(&mut self, part: &str) {
        self.process.wait_for_notice(part);
    }

    pub(crate) fn interrupt(&self) {
        self.process.interrupt();
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(self) -> Ended {
        self.process.end()
    }

    /// Every process under this one by its name, the newest where one was started again.
    pub(crate) fn processes(&self) -> BTreeMap<String, u32> {
        let said = self.process.stderr.text();
        let parts = said.lines().filter_map(|line| line.split_once(" runs as process "));
        let process = |(before, number): (&str, &str)| {
            let name = before.rsplit_once("::child: ").or_else(|| before.rsplit_once("\"message\":\""))?.1;
            Some((name.to_owned(), number.split('"').next()?.parse().ok()?))
        };
        parts.filter_map(process).collect()
    }

    /// How often something was logged or said on standard error.
    pub(crate) fn notices(&self, part: &str) -> usize {
        self.process.stderr.text().matches(part).count()
    }

    /// The process that keeps up the others.
    pub(crate) fn supervisor(&self) -> u32 {
        self.process.child.id()
    }

    /// Whether a service is ready, where it answers at all.
    pub(crate) fn try_readiness(url: &str) -> Option<bool> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        agent.get(format!("{url}/health/ready")).call().ok().map(|answer| answer.status() == 200)
    }

    /// Ctrl-C and the wait for an orderly end.
    pub(crate) fn stop(self) {
        self.interrupt();
        let ended = self.wait();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }

    /// The digests of the engines that compute.
    pub(crate) fn digests(&self) -> [String; 3] {
        [&self.marketdata, &self.vpin, &self.features].map(|url| {
            let answer = get(url, "/v1/engine/digest");
            answer["digest"].as_str().expect("a digest").to_owned()
        })
    }

    /// A request to vpin that is under way and whose body never comes.
    pub(crate) fn begin_request(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.vpin.trim_start_matches("http://")).expect("it listens");
        let request = "POST /v1/vpin/calculate HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\
                       expect: 100-continue\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).expect("it answers");
        assert!(line.starts_with("HTTP/1.1 100"), "the request is under way: {line}");
        stream
    }

    /// Readiness of one service with its reasons.
    pub(crate) fn readiness(url: &str) -> (bool, String) {
        let answer = ask("GET", url, "/health/ready", None);
        let ready = answer.body["ready"].as_bool().expect("ready is a bool");
        assert_eq!(answer.status, if ready { 200 } else { 503 });
        (ready, answer.body["reasons"].to_string())
    }
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) media: String,
    pub(crate) request_id: String,
    /// Null where the body is not JSON.
    pub(crate) body: Value,
    pub(crate) text: String,
}

/// Sends a request; a body goes as JSON.
pub(crate) fn ask(method: &str, url: &str, path: &str, body: Option<&str>) -> Answer {
    let media = body.map(|_| ("content-type", "application/json"));
    ask_with(method, url, path, media.as_slice(), body.unwrap_or_default())
}

/// Sends a request with these headers and this body.
pub(crate) fn ask_with(method: &str, url: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let answer = try_ask_with(method, url, path, headers, body);
    answer.unwrap_or_else(|error| panic!("{method} {path:.80}: {error}"))
}

/// The same where nobody may be there, or no longer when the answer is due.
pub(crate) fn try_ask_with(
    method: &str,
    url: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Answer, ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .timeout_global(Some(PATIENCE))
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(format!("{url}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    // A GET with a body, empty or not, is not what a client sends.
    let mut answer = if body.is_empty() && !matches!(method, "POST" | "PUT") {
        agent.run(request.body(()).expect("a legal request"))?
    } else {
        agent.run(request.body(body.to_owned()).expect("a legal request"))?
    };
    let header = |name: &str| {
        answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let (media, request_id) = (header("content-type"), header("x-request-id"));
    let status = answer.status().as_u16();
    let text = answer.body_mut().read_to_string()?;
    Ok(Answer { status, media, request_id, body: serde_json::from_str(&text).unwrap_or_default(), text })
}

/// A GET that is answered 200 with JSON.
pub(crate) fn get(url: &str, path: &str) -> Value {
    let answer = ask("GET", url, path, None);
    assert_eq!(
        (answer.status, answer.media.as_str()),
        (200, "application/json"),
        "GET {path}: {}",
        answer.text
    );
    answer.body
}

/// Sends bytes as they are and returns the status line, empty where the server just hangs up.
pub(crate) fn send_raw(url: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).expect("the service listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut line = String::new();
    let _ = BufReader::new(stream).read_line(&mut line);
    line.trim_end().to_owned()
}

/// A decimal string as a number.
pub(crate) fn number(value: &Value) -> f64 {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{value} is no decimal string"))
}

/// The elements of an array.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no array"))
}
