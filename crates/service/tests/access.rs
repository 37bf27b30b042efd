//! Keys, TLS and the listener around a toy service: who gets in, who does not, and what a stranger can hold.
//!
//! That every route of every real service declares its scope is checked in `services/nautilus`.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use nautilus_service::access::{Key, KeysFile, Principal, Scope};
use nautilus_service::{Config, Platform, Running, ServiceName, StartError, StopSignal, wall_clock};
use nautilus_types::{NANOS_PER_DAY, UnixNanos};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

const PATIENCE: Duration = Duration::from_secs(60);

#[utoipa::path(get, path = "/read", security(("api_key" = ["read"])), responses((status = 200)))]
async fn read(request: Request) -> String {
    let principal = request.extensions().get::<Principal>();
    principal.map_or_else(|| "nobody".to_owned(), |who| format!("{} {}", who.name(), who.is_valid()))
}

#[utoipa::path(post, path = "/read", security(("api_key" = ["operate"])), responses((status = 200)))]
async fn operate() {}

#[utoipa::path(get, path = "/public", security(()), responses((status = 200)))]
async fn public() {}

#[utoipa::path(get, path = "/silent", responses((status = 200)))]
async fn silent() {}

/// Switches protocols and echoes until the client or the service ends it.
#[utoipa::path(get, path = "/upgrade", security(("api_key" = ["read"])), responses((status = 101)))]
async fn upgrade(mut request: Request) -> Response {
    let mut stop = request.extensions().get::<StopSignal>().cloned().expect("an upgrade knows of the stop");
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut stream = hyper_util::rt::TokioIo::new(upgraded.await.expect("the upgrade happens"));
        let mut buffer = [0; 64];
        loop {
            tokio::select! {
                read = stream.read(&mut buffer) => match read {
                    Ok(read) if read > 0 => stream.write_all(&buffer[..read]).await.expect("an echo"),
                    _ => return,
                },
                () = stop.wait() => return,
            }
        }
    });
    (StatusCode::SWITCHING_PROTOCOLS, [(header::CONNECTION, "upgrade"), (header::UPGRADE, "websocket")])
        .into_response()
}

struct Toy {
    folder: TempDir,
    config: Config,
}

impl Toy {
    fn new() -> Self {
        logs();
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.access.keys_file = folder.path().join("keys.toml");
        config.access.required = true;
        Self { folder, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a key and returns its text.
    fn key(&self, name: &str, scopes: &[Scope], made: UnixNanos) -> String {
        let key = Key::new().unwrap();
        let mut file = KeysFile::open(&self.config.access.keys_file).unwrap();
        file.add(&key, name, scopes.iter().copied().collect(), 1, made).unwrap();
        file.write().unwrap();
        key.reveal()
    }

    async fn serve_on(&self, address: &str) -> Result<Running, StartError> {
        let api = OpenApiRouter::new()
            .routes(routes!(read, operate))
            .routes(routes!(public))
            .routes(routes!(silent))
            .routes(routes!(upgrade))
            .route("/hidden", get(async || "hidden"));
        let listener = TcpListener::bind(address).await.unwrap();
        let base = Platform::new(self.config.clone()).base(ServiceName::Gateway);
        Running::without_engine(base, listener, "A toy.", api)
    }

    async fn serve(&self) -> Running {
        self.serve_on("127.0.0.1:0").await.unwrap()
    }
}

/// Everything that is logged in this process, at every level.
fn logs() -> &'static Mutex<Vec<u8>> {
    static LOGS: OnceLock<Mutex<Vec<u8>>> = OnceLock::new();
    struct Tap;
    impl Write for Tap {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            LOGS.get().unwrap().lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut first = false;
    let logs = LOGS.get_or_init(|| {
        first = true;
        Mutex::default()
    });
    if first {
        let everything = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
        everything.with_writer(|| Tap).init();
    }
    logs
}

fn logged() -> String {
    String::from_utf8_lossy(&logs().lock().unwrap()).into_owned()
}

struct Answer {
    status: u16,
    body: String,
    headers: ureq::http::HeaderMap,
}

impl Answer {
    fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }
}

async fn ask(url: &str, method: &str, path: &str, authorization: Option<&str>) -> Answer {
    let mut request = ureq::http::Request::builder().method(method).uri(format!("{url}{path}"));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let request = request.body(()).unwrap();
    let ask = move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        let mut answer = agent.run(request).unwrap();
        let body = answer.body_mut().read_to_string().unwrap();
        Answer { status: answer.status().as_u16(), body, headers: answer.headers().clone() }
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut is: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !is().await {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends these bytes and reads until the server closes.
async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("the server closes in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_caller_is_let_in_or_told_why_not() {
    let toy = Toy::new();
    let now = wall_clock();
    // The first, since a new key sweeps out those that expired a day ago.
    let expired = toy.key("old", &[Scope::Read], UnixNanos(now.0 - NANOS_PER_DAY - 1_000_000_000));
    let reader = toy.key("desk", &[Scope::Read], now);
    let operator = toy.key("operator", &[Scope::Operate, Scope::Trade], now);
    let running = toy.serve().await;
    let url = running.url();
    let forged = format!("{}{}", &reader[..16], "0".repeat(64));
    let none = "nk_000000000000_".to_owned() + &"0".repeat(64);
    for (method, path, key, status, code) in [
        ("GET", "/read", None, 401, "key_missing"),
        ("GET", "/read", Some("Bearer"), 401, "key_unknown"),
        ("GET", "/read", Some("Basic dXNlcjpwYXNz"), 401, "key_unknown"),
        ("GET", "/read", Some("Bearer nk_1_2"), 401, "key_unknown"),
        ("GET", "/read", Some(&*bearer(&none)), 401, "key_unknown"),
        ("GET", "/read", Some(&*bearer(&forged)), 401, "key_unknown"),
        ("GET", "/read", Some(&*bearer(&expired)), 401, "key_expired"),
        ("GET", "/read", Some(&*bearer(&reader)), 200, ""),
        ("HEAD", "/read", Some(&*bearer(&reader)), 200, ""),
        ("HEAD", "/read", None, 401, ""),
        ("GET", "/read", Some(&*bearer(&operator)), 403, "scope_missing"),
        ("POST", "/read", Some(&*bearer(&operator)), 200, ""),
        ("POST", "/read", Some(&*bearer(&reader)), 403, "scope_missing"),
        ("DELETE", "/read", Some(&*bearer(&operator)), 405, "method_not_allowed"),
        ("GET", "/public", None, 200, ""),
        ("GET", "/public", Some("Bearer nonsense"), 200, ""),
        ("GET", "/health/live", None, 200, ""),
        ("GET", "/silent", Some(&*bearer(&reader)), 403, "scope_undeclared"),
        ("GET", "/hidden", Some(&*bearer(&reader)), 403, "scope_undeclared"),
        ("GET", "/hidden", None, 403, "scope_undeclared"),
        ("GET", "/nothing", None, 404, "no_such_route"),
        ("GET", "/metrics", None, 401, "key_missing"),
        ("GET", "/metrics", Some(&*bearer(&reader)), 200, ""),
        ("GET", "/openapi.json", None, 401, "key_missing"),
        ("GET", "/openapi.json", Some(&*bearer(&reader)), 200, ""),
    ] {
        let answer = ask(&url, method, path, key).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (status, code),
            "{method} {path} {key:?}: {}",
            answer.body
        );
        assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401, "{method} {path}");
        assert!(answer.headers.contains_key("x-request-id"), "{method} {path}");
    }
    assert_eq!(ask(&url, "GET", "/read", Some(&bearer(&reader))).await.body, "desk true");
    let metrics = ask(&url, "GET", "/metrics", Some(&bearer(&reader))).await.body;
    let counted = "nautilus_access_refused_total{service=\"gateway\",code=\"key_expired\"}";
    assert!(metrics.contains(counted), "{metrics}");
    let log = logged();
    let line = |code: &str| log.lines().any(|line| line.contains("nautilus_audit") && line.contains(code));
    for code in ["key_missing", "key_unknown", "key_expired", "scope_missing", "scope_undeclared"] {
        assert!(line(code), "{code} is not in the audit log");
    }
    assert!(log.contains(&format!("key=\"{}\"", &expired[3..15])) && log.contains("address=\"127.0.0.1:"));
    for secret in [&reader[16..], &operator[16..], &expired[16..]] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_listener_answers_only_its_own_machine() {
    let mut toy = Toy::new();
    toy.config.access.required = false;
    let running = toy.serve().await;
    for (headers, status) in [
        ("Host: 127.0.0.1:8001", 200),
        ("Host: localhost\r\nOrigin: http://localhost:5173", 200),
        ("Host: rebound.example:8001", 403),
        ("Host: 127.0.0.1\r\nOrigin: https://evil.example", 403),
        ("Host: 127.0.0.1\r\nOrigin: null", 403),
    ] {
        let request = format!("GET /read HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n");
        let answer = converse(TcpStream::connect(running.address).await.unwrap(), request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{headers}: {answer}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_listener_asks_for_nothing() {
    let mut toy = Toy::new();
    toy.config.access.required = false;
    let running = toy.serve().await;
    for path in ["/read", "/silent", "/hidden", "/metrics"] {
        assert_eq!(ask(&running.url(), "GET", path, None).await.status, 200, "{path}");
    }
    assert_eq!(ask(&running.url(), "GET", "/read", Some("Bearer nonsense")).await.body, "nobody");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_change_while_the_service_runs() {
    let toy = Toy::new();
    let running = toy.serve().await;
    let url = &running.url();
    let ready = ask(url, "GET", "/health/ready", None).await;
    assert!(ready.status == 200 && ready.body.contains("nautilus keys new"), "{}", ready.body);
    let first = &bearer(&toy.key("first", &[Scope::Read], wall_clock()));
    let status = async |key: &str| ask(url, "GET", "/read", Some(key)).await.status;
    eventually("a new key is known", || async { status(first).await == 200 }).await;
    let second = &bearer(&toy.key("second", &[Scope::Read], wall_clock()));
    eventually("another key is known", || async { status(second).await == 200 }).await;
    assert_eq!(status(first).await, 200, "two keys hold at once, so that one can replace the other");

    let mut file = KeysFile::open(&toy.config.access.keys_file).unwrap();
    assert!(file.revoke(&first[10..22]));
    file.write().unwrap();
    eventually("a revoked key is refused", || async { status(first).await == 401 }).await;

    std::fs::write(&toy.config.access.keys_file, "no keys, but [a file").unwrap();
    let warned = || async { ask(url, "GET", "/health/ready", None).await.body.contains("still hold") };
    eventually("a broken file is warned of", warned).await;
    assert_eq!(status(second).await, 200, "what was good before goes on");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_asks_too_often_is_slowed_and_no_other() {
    let mut toy = Toy::new();
    toy.config.access.requests_per_minute = 1;
    let (greedy, modest) =
        (toy.key("greedy", &[Scope::Read], wall_clock()), toy.key("modest", &[Scope::Read], wall_clock()));
    let running = toy.serve().await;
    assert_eq!(ask(&running.url(), "GET", "/read", Some(&bearer(&greedy))).await.status, 200);
    let limited = ask(&running.url(), "GET", "/read", Some(&bearer(&greedy))).await;
    assert_eq!((limited.status, &*limited.code()), (429, "rate_limited"));
    let wait: u64 = limited.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
    assert_eq!(ask(&running.url(), "GET", "/read", Some(&bearer(&modest))).await.status, 200);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_can_reach_needs_tls_or_a_proxy_and_a_key() {
    let mut toy = Toy::new();
    toy.config.access.required = false;
    let refused = async |toy: &Toy| {
        let error = toy.serve_on("0.0.0.0:0").await.expect_err("it must not start");
        assert_eq!(error.exit_code(), 64, "{error}");
        error.to_string()
    };
    let error = refused(&toy).await;
    assert!(error.contains("services.gateway.listen") && error.contains("access.behind_proxy"), "{error}");
    toy.config.access.behind_proxy = true;
    assert!(refused(&toy).await.contains("nautilus keys new"));
    toy.key("old", &[Scope::Read], UnixNanos(wall_clock().0 - NANOS_PER_DAY - 1));
    assert!(refused(&toy).await.contains("no valid key"));
    let key = toy.key("new", &[Scope::Read], wall_clock());
    let running = toy.serve_on("0.0.0.0:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}", running.address.port());
    assert_eq!(ask(&url, "GET", "/read", None).await.status, 401);
    assert_eq!(ask(&url, "GET", "/read", Some(&bearer(&key))).await.status, 200);
    running.stop().await;
    // The proxy brings strangers to loopback; so does a neighbour that others can reach.
    let running = toy.serve().await;
    assert_eq!(ask(&running.url(), "GET", "/read", None).await.status, 401);
    running.stop().await;
    toy.config.access.behind_proxy = false;
    toy.config.services.set_listen(ServiceName::Gateway, "0.0.0.0:0".parse().unwrap());
    let running = toy.serve().await;
    assert_eq!(ask(&running.url(), "GET", "/read", None).await.status, 401);
    running.stop().await;
    let refusal = Platform::new(toy.config.clone()).listen(ServiceName::Gateway).await;
    assert_eq!(refusal.expect_err("no port is taken first").exit_code(), 64);
}

/// Writes a certificate for `localhost` and returns a connector that trusts it.
fn certify(toy: &mut Toy) -> tokio_rustls::TlsConnector {
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
    let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    for (name, text) in [("cert.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())] {
        std::fs::write(toy.path(name), text).unwrap();
    }
    toy.config.access.tls.certificate = toy.path("cert.pem");
    toy.config.access.tls.key = toy.path("key.pem");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    Arc::new(config.with_no_client_auth()).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_answers_over_tls_only() {
    let mut toy = Toy::new();
    // Enough for a handshake on a machine that has much to do.
    toy.config.http.head_timeout_ms = 3_000;
    let connector = certify(&mut toy);
    let key = toy.key("desk", &[Scope::Read], wall_clock());
    let running = toy.serve_on("0.0.0.0:0").await.unwrap();
    assert!(running.url().starts_with("https://"));
    let address = SocketAddr::from(([127, 0, 0, 1], running.address.port()));
    let request = format!(
        "GET /read HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n"
    );
    let secure = async || {
        let stream = TcpStream::connect(address).await.unwrap();
        connector.connect("localhost".try_into().unwrap(), stream).await.unwrap()
    };
    let answer = converse(secure().await, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("desk true"), "{answer}");
    let plain = converse(TcpStream::connect(address).await.unwrap(), request.as_bytes()).await;
    assert!(!plain.contains("HTTP/1.1"), "{plain}");
    // Nobody may sit on a handshake either.
    assert_eq!(converse(TcpStream::connect(address).await.unwrap(), b"").await, "");
    let metrics = request.replace("/read", "/metrics");
    eventually("the refused handshakes are counted", || async {
        let text = converse(secure().await, metrics.as_bytes()).await;
        ["reason=\"handshake\"", "reason=\"handshake_timeout\""].iter().all(|reason| text.contains(reason))
    })
    .await;
    running.stop().await;

    toy.config.http.head_timeout_ms = 600_000;
    toy.config.http.drain_timeout_ms = 600_000;
    let running = toy.serve_on("0.0.0.0:0").await.unwrap();
    let silent = TcpStream::connect(("127.0.0.1", running.address.port())).await.unwrap();
    let url = format!("http://127.0.0.1:{}", running.address.port());
    let _ = converse(TcpStream::connect(&url[7..]).await.unwrap(), b"not TLS\r\n\r\n").await;
    let stopped = tokio::time::timeout(PATIENCE, running.stop()).await;
    stopped.expect("a stop does not wait for a handshake that nobody makes");
    drop(silent);

    toy.config.access.tls.key = toy.path("nothing.pem");
    let error = toy.serve_on("0.0.0.0:0").await.expect_err("it must not start");
    assert!(error.exit_code() == 64 && error.to_string().contains("access.tls.key"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_comes_too_slowly_is_not_waited_for() {
    let mut toy = Toy::new();
    toy.config.access.required = false;
    toy.config.http.head_timeout_ms = 2_000;
    let running = toy.serve().await;
    let slow = async |head: &str| {
        let answer = converse(TcpStream::connect(running.address).await.unwrap(), head.as_bytes()).await;
        assert!(!answer.contains("200 OK"), "{head}: {answer}");
    };
    tokio::join!(slow(""), slow("GET"), slow("GET /read HTTP/1.1\r\nhost: localhost\r\nx-slow: "));
    let metrics = ask(&running.url(), "GET", "/metrics", None).await.body;
    assert!(
        metrics
            .contains("nautilus_http_connections_refused_total{service=\"gateway\",reason=\"head_timeout\"}")
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_told_so() {
    let mut toy = Toy::new();
    toy.config.access.required = false;
    toy.config.http.connections_max = 2;
    toy.config.http.head_timeout_ms = 600_000;
    let running = toy.serve().await;
    let request = b"GET /read HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let connect = async || TcpStream::connect(running.address).await.unwrap();
    let (mut first, second) = (connect().await, connect().await);
    for _ in 0..100 {
        let answer = converse(connect().await, request).await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("too_many_connections"), "{answer}");
    }
    // Those that have a place keep it.
    first.write_all(b"GET /read HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut status = [0; 12];
    first.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    drop(second);
    eventually("there is a place again", || async {
        converse(connect().await, request).await.starts_with("HTTP/1.1 200")
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_connection_shows_its_key_keeps_its_place_and_ends_with_the_service() {
    let mut toy = Toy::new();
    toy.config.http.connections_max = 2;
    toy.config.http.head_timeout_ms = 600_000;
    toy.config.http.drain_timeout_ms = 60_000;
    let key = toy.key("desk", &[Scope::Read], wall_clock());
    let running = toy.serve().await;
    let connect = async |protocol: &str| {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let head = format!(
            "GET /upgrade HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-protocol: \
             {protocol}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        (String::from_utf8(head).unwrap(), stream)
    };
    let (head, stranger) = connect("nautilus").await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    drop(stranger);
    let (head, mut stream) = connect(&format!("nautilus, key.{key}")).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"hello");
    let mut places = Vec::new();
    let mut answered = 0;
    for _ in 0..10 {
        let mut other = TcpStream::connect(running.address).await.unwrap();
        other.write_all(b"GET /public HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut status = [0; 12];
        other.read_exact(&mut status).await.unwrap();
        answered += usize::from(&status == b"HTTP/1.1 200");
        places.push(other);
    }
    assert!(answered <= 1, "{answered} of two places were free beside the upgraded connection");
    drop(places);
    let start = Instant::now();
    running.stop().await;
    assert!(start.elapsed() < Duration::from_secs(50), "the stop did not wait for the whole drain time");
    assert_eq!(stream.read(&mut echo).await.unwrap(), 0, "the connection has ended");
}
