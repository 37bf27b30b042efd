//! The tunnel to the websocket engine: messages of both directions, and every way that it can end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message as Spoken, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::{SinkExt as _, StreamExt as _};
use nautilus_messages::EngineName;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::{Error, Message, client::IntoClientRequest as _};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::{Door, ask, nobody, serve};

const PATIENCE: Duration = Duration::from_secs(30);
type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Says what it hears; falls over when told to.
async fn echo(mut socket: WebSocket, fall: Arc<Notify>) {
    loop {
        let heard = tokio::select! {
            heard = socket.recv() => heard,
            () = fall.notified() => return,
        };
        match heard {
            Some(Ok(message @ (Spoken::Text(_) | Spoken::Binary(_)))) => socket.send(message).await.unwrap(),
            Some(Ok(_)) => {}
            _ => return,
        }
    }
}

async fn engine() -> (crate::support::Server, Arc<Notify>) {
    let fall = Arc::new(Notify::new());
    let falls = Arc::clone(&fall);
    let upgrade = get(move |upgrade: WebSocketUpgrade, headers: HeaderMap| {
        let fall = Arc::clone(&falls);
        async move {
            if headers
                .get("sec-websocket-protocol")
                .is_some_and(|keys| keys.to_str().unwrap().contains("bad"))
            {
                return StatusCode::UNAUTHORIZED.into_response();
            }
            assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
            upgrade.protocols(["nautilus"]).on_upgrade(|socket| echo(socket, fall))
        }
    });
    (serve(Router::new().route("/ws", upgrade)).await, fall)
}

async fn connect(address: SocketAddr, protocols: &'static str) -> Result<Client, Error> {
    connect_to(format!("ws://{address}/ws"), protocols).await
}

async fn connect_to(url: String, protocols: &'static str) -> Result<Client, Error> {
    let mut request = url.into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
    let (client, answer) = connect_async(request).await?;
    assert_eq!(answer.headers()["sec-websocket-protocol"], "nautilus");
    Ok(client)
}

async fn next(client: &mut Client) -> Option<Result<Message, Error>> {
    tokio::time::timeout(PATIENCE, client.next()).await.expect("the connection is told something")
}

async fn says(client: &mut Client, message: Message) {
    client.send(message.clone()).await.unwrap();
    assert_eq!(next(client).await.unwrap().unwrap(), message);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_cross_and_connections_end_with_either_end() {
    let (engine, fall) = engine().await;
    let door = Door::before(&[(EngineName::Websocket, engine.address)]).await;
    let address = door.running.address;
    let mut clients = Vec::new();
    for number in 0..20 {
        let mut client = connect(address, "nautilus, key.nk_a_b").await.unwrap();
        says(&mut client, Message::text(format!("{number}"))).await;
        clients.push(client);
    }
    let mut one = clients.pop().unwrap();
    says(&mut one, Message::binary(vec![7; 3 << 20])).await;
    let metrics = door.get("/metrics").await.body;
    assert!(metrics.contains("nautilus_gateway_tunnels{service=\"gateway\"} 20"), "{metrics}");
    one.close(None).await.unwrap();
    while let Some(Ok(_)) = next(&mut one).await {}
    // The engine falls: its connections end at the callers' side too.
    fall.notify_waiters();
    for client in &mut clients {
        assert!(!matches!(next(client).await, Some(Ok(Message::Text(_) | Message::Binary(_)))));
    }
    // The path of the merged API document leads to the same place.
    let url = format!("ws://{address}/api/websocket/ws");
    let mut late = connect_to(url, "nautilus").await.unwrap();
    says(&mut late, Message::text("late")).await;
    let start = std::time::Instant::now();
    door.running.stop().await;
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "a stop does not wait for tunnels: {:?}",
        start.elapsed()
    );
    assert!(!matches!(next(&mut late).await, Some(Ok(Message::Text(_)))), "it ended with the gateway");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_websocket_is_answered_clearly() {
    let (engine, _) = engine().await;
    let door = Door::before(&[(EngineName::Websocket, engine.address)]).await;
    for path in ["/ws", "/api/websocket/ws"] {
        assert_eq!(door.get(path).await.problem(), (426, "upgrade_required".to_owned()), "{path}");
    }
    let refused = connect(door.running.address, "nautilus, key.bad").await;
    assert!(matches!(refused, Err(Error::Http(answer)) if answer.status() == 401), "the engine's own word");
    door.running.stop().await;
    let (nowhere, _held) = nobody();
    let door = Door::before(&[(EngineName::Websocket, nowhere)]).await;
    let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
    let answer = ask(door.running.address, "GET", "/ws", &upgrade, None).await;
    assert_eq!(answer.problem(), (502, "engine_unreachable".to_owned()));
    assert!(answer.body.contains("websocket does not take connections"), "{answer:?}");
    door.running.stop().await;
}
