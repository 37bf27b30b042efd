//! What crosses the gateway: methods, paths, headers and bodies of both directions.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use futures_util::StreamExt as _;
use nautilus_messages::EngineName;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::{Door, Server, ask, send, serve};

/// Tells what it was asked.
async fn echo(request: Request) -> Response {
    let headers: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))))
        .collect();
    let told = json!({
        "method": request.method().as_str(),
        "uri": request.uri().to_string(),
        "headers": Value::Object(headers.into_iter().collect()),
    });
    let mut answer = axum::Json(told).into_response();
    for (name, value) in
        [("connection", "x-hop"), ("x-hop", "1"), ("keep-alive", "timeout=5"), ("x-end", "2")]
    {
        answer.headers_mut().insert(name, value.parse().unwrap());
    }
    answer
}

async fn behind() -> (Server, Door) {
    let length = post(async |body: Bytes| body.len().to_string()).layer(DefaultBodyLimit::disable());
    let engine = serve(Router::new().route("/length", length).fallback(any(echo))).await;
    let door = Door::before(&[(EngineName::Vpin, engine.address)]).await;
    (engine, door)
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_arrive_as_they_were_sent() {
    let (engine, door) = behind().await;
    let headers = [
        ("authorization", "Bearer nk_x_y"),
        ("x-request-id", "abc-7"),
        ("connection", "close, x-private"),
        ("x-private", "1"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-proto", "https"),
        ("accept", "a/b"),
    ];
    let path = "/a%2Fb//c/../d?x=1&y=%20&x=2";
    for method in ["GET", "PUT", "POST", "PATCH", "DELETE"] {
        let answer = ask(door.running.address, method, &format!("/api/vpin{path}"), &headers, None).await;
        let told = answer.json();
        assert_eq!((&told["method"], &told["uri"]), (&json!(method), &json!(path)));
        let arrived = &told["headers"];
        for (name, value) in [
            ("authorization", "Bearer nk_x_y"),
            ("x-request-id", "abc-7"),
            ("accept", "a/b"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("host", &engine.address.to_string()),
        ] {
            assert_eq!(arrived[name], value, "{arrived:#}");
        }
        for name in ["connection", "x-private", "te", "upgrade"] {
            assert!(arrived[name].is_null(), "{name}: {arrived:#}");
        }
        assert_eq!(answer.header("x-request-id"), "abc-7");
        assert_eq!(
            (answer.header("x-hop"), answer.header("keep-alive"), answer.header("x-end")),
            ("", "", "2")
        );
    }
    let own = door.get("/api/vpin/x").await;
    let id = own.header("x-request-id").to_owned();
    assert!(!id.is_empty() && own.json()["headers"]["x-request-id"] == id.as_str(), "{own:?}");
    for (path, status, code) in [
        ("/api/sonar/v1/x", 404, "unknown_engine"),
        ("/api/%76pin/v1/x", 404, "unknown_engine"),
        ("/api/vpin", 404, "no_such_route"),
        ("/api/", 404, "no_such_route"),
    ] {
        let answer = door.get(path).await;
        assert_eq!(answer.problem(), (status, code.to_owned()), "{path}");
    }
    assert!(
        door.get("/api/sonar/x").await.body.contains("there are marketdata, vpin, websocket, features, risk")
    );
    let wrong = ask(door.running.address, "OPTIONS", "/api/vpin/x", &[], None).await;
    assert_eq!(wrong.problem(), (405, "method_not_allowed".to_owned()));
    let head = ask(door.running.address, "HEAD", "/api/vpin/x", &[], None).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    door.running.stop().await;
}

/// Sends a chunked body of so many megabytes.
async fn upload(door: &Door, megabytes: usize) -> String {
    let chunk = [&b"100000\r\n"[..], &vec![b'x'; 1 << 20], b"\r\n"].concat();
    let body = [chunk.repeat(megabytes), b"0\r\n\r\n".to_vec()].concat();
    send(door.running.address, "/api/vpin/length", "transfer-encoding: chunked", body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_unknown_length_are_passed_on_and_bounded() {
    let (_engine, door) = behind().await;
    let whole = upload(&door, 12).await;
    assert!(whole.starts_with("HTTP/1.1 200") && whole.contains(&(12 << 20).to_string()), "{whole}");
    let refused = upload(&door, 40).await;
    assert!(refused.starts_with("HTTP/1.1 413") && refused.contains("body_too_large"), "{refused}");
    door.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_passed_on_while_they_come() {
    let (more, chunks) = mpsc::unbounded_channel::<&'static str>();
    let chunks = std::sync::Arc::new(std::sync::Mutex::new(Some(chunks)));
    let stream = move || {
        let chunks = chunks.lock().unwrap().take().unwrap();
        let next = |mut chunks: mpsc::UnboundedReceiver<&'static str>| async move {
            chunks.recv().await.map(|chunk| (Ok::<_, std::io::Error>(chunk), chunks))
        };
        std::future::ready(Body::from_stream(futures_util::stream::unfold(chunks, next)))
    };
    let engine = serve(Router::new().route("/stream", any(stream))).await;
    let door = Door::before(&[(EngineName::Vpin, engine.address)]).await;
    more.send("first").unwrap();
    let client: hyper_util::client::legacy::Client<_, Body> =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let uri = format!("{}/api/vpin/stream", door.running.url()).parse().unwrap();
    let mut body = Body::new(client.get(uri).await.unwrap().into_body()).into_data_stream();
    assert_eq!(body.next().await.unwrap().unwrap(), "first");
    more.send("second").unwrap();
    assert_eq!(body.next().await.unwrap().unwrap(), "second");
    drop(more);
    assert!(body.next().await.is_none(), "it ends when the engine's answer ends");
    door.running.stop().await;
}
