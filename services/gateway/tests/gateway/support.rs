//! A gateway in this process, in front of whatever a test puts there, and somebody who asks it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use nautilus_messages::EngineName;
use nautilus_service::{Config, Platform, Running, ServiceName};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How long anything may take before a test fails; debug builds share two cores.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// An address where nobody listens: the port is kept from others for the test's time, without a listener.
pub(crate) fn nobody() -> (SocketAddr, tokio::net::TcpSocket) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    (socket.local_addr().unwrap(), socket)
}

/// A gateway whose engines are at these addresses; the others are nowhere.
pub(crate) struct Door {
    pub(crate) running: Running,
    _held: Vec<tokio::net::TcpSocket>,
}

impl Door {
    pub(crate) async fn before(engines: &[(EngineName, SocketAddr)]) -> Self {
        Self::with(Config::default(), engines).await
    }

    pub(crate) async fn with(mut config: Config, engines: &[(EngineName, SocketAddr)]) -> Self {
        let mut held = Vec::new();
        for engine in EngineName::ALL {
            let address = engines.iter().find(|(name, _)| *name == engine).map_or_else(
                || {
                    let (address, socket) = nobody();
                    held.push(socket);
                    address
                },
                |(_, address)| *address,
            );
            config.services.set_listen(engine, address);
        }
        config.services.set_listen(ServiceName::Gateway, "127.0.0.1:0".parse().unwrap());
        let mut platform = Platform::new(config);
        let listener = platform.listen(ServiceName::Gateway).await.unwrap();
        let running = nautilus_gateway::start(platform.base(ServiceName::Gateway), listener).unwrap();
        Self { running, _held: held }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        ask(self.running.address, "GET", path, &[], None).await
    }

    /// Asks for the status until it is as wanted.
    pub(crate) async fn status_once(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.get("/v1/status").await.json();
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "waited in vain until {what}: {status:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// One engine's row of a status.
pub(crate) fn row(status: &Value, engine: EngineName) -> &Value {
    let rows = status["engines"].as_array().unwrap();
    rows.iter().find(|row| row["engine"] == engine.as_str()).unwrap()
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and stable code of a problem.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        (self.status, self.json()["code"].as_str().unwrap().to_owned())
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// One request on a connection of its own.
pub(crate) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Vec<u8>>,
) -> Answer {
    let mut request = ureq::http::Request::builder().method(method).uri(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let ask = move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        let mut answer = match body {
            None => agent.run(request.body(()).unwrap()).unwrap(),
            Some(body) => agent.run(request.body(body).unwrap()).unwrap(),
        };
        Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.body_mut().with_config().limit(64 << 20).read_to_string().unwrap(),
        }
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

/// Posts a body while it listens for an answer, which may come before the body's end; the whole answer as text.
pub(crate) async fn send(address: SocketAddr, path: &str, framing: &str, body: Vec<u8>) -> String {
    let (mut from, mut to) = TcpStream::connect(address).await.unwrap().into_split();
    let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{framing}\r\n\r\n");
    // Refused before the end: the answer says why.
    let sender = tokio::spawn(async move {
        let _ = to.write_all(head.as_bytes()).await;
        let _ = to.write_all(&body).await;
        to
    });
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        answer.extend_from_slice(&piece[..read]);
    }
    sender.abort();
    String::from_utf8(answer).unwrap()
}

/// A server that ends with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An engine with these routes instead of its own.
pub(crate) async fn serve(router: Router) -> Server {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    Server { address, task }
}

/// A server that answers every request with these bytes, whatever they are, and closes.
pub(crate) async fn serve_bytes(bytes: &'static [u8]) -> Server {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(bytes).await;
            });
        }
    });
    Server { address, task }
}
