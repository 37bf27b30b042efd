//! From a listening socket to requests: accepting, TLS, HTTP/1.1 and upgrades, with a bound on everything a stranger
//! holds: connections, the time for a handshake and for a head, the time a write may stand still.
//!
//! What a request means is not looked at here.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::header;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use crate::config::ServiceName;

/// What one connection may keep of a request's head and body in memory; the longest head is shorter.
const BUFFER_MAX: usize = 128 * 1_024;
/// A client that takes nothing of its answer for this long is cut off.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// Connections beyond the limit that are told so at the same time; further ones are just closed.
const TURNED_AWAY_MAX: usize = 64;
const TURN_AWAY_PATIENCE: Duration = Duration::from_secs(1);
/// How long to wait when the system has no descriptor for one more connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
    content-type: application/problem+json\r\ncontent-length: 160\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"code\":\"too_many_connections\",\
    \"detail\":\"the service has all the connections it may; try later\"}";

/// What a listener does with those who come.
#[derive(Clone)]
pub(crate) struct Reception {
    pub(crate) service: ServiceName,
    /// None for plain HTTP.
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) connections_max: usize,
    /// For the TLS handshake, and for each request's head.
    pub(crate) head_timeout: Duration,
}

impl Reception {
    fn count_refused(&self, reason: &'static str) {
        let service = self.service.as_str();
        metrics::counter!("nautilus_http_connections_refused_total", "service" => service, "reason" => reason)
            .increment(1);
    }
}

/// Tells a connection that outlives its request when the service stops: in the extensions of every request for an
/// upgrade. The stop waits for such connections, so whoever has one must end it.
#[derive(Debug, Clone)]
pub struct StopSignal(pub(crate) watch::Receiver<bool>);

impl StopSignal {
    /// Waits until the service stops.
    pub async fn wait(&mut self) {
        // An error means that the service is gone already.
        let _ = self.0.wait_for(|shut| *shut).await;
    }
}

/// Serves until it is time to stop, then lets every connection end, upgraded ones included.
pub(crate) async fn serve(listener: TcpListener, app: Router, reception: Reception, mut stop: StopSignal) {
    let places = Arc::new(Semaphore::new(reception.connections_max));
    let turning_away = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.wait() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(service = %reception.service, %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Answers are whole messages; waiting for more to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let (app, reception, stop) = (app.clone(), reception.clone(), stop.clone());
            tokio::spawn(async move { receive(stream, peer, app, &reception, place, stop).await });
        } else {
            reception.count_refused("limit");
            turn_away(stream, reception.tls.is_none(), &turning_away);
        }
    }
    drop(listener);
    // Every connection holds its place until its socket is closed, whoever has the socket by then.
    let all = u32::try_from(reception.connections_max).unwrap_or(u32::MAX);
    let _ = places.acquire_many(all).await;
}

/// Tells a client that there is no place, where that costs little.
fn turn_away(mut stream: TcpStream, plain: bool, turning_away: &Arc<Semaphore>) {
    let Some(place) = Arc::clone(turning_away).try_acquire_owned().ok().filter(|_| plain) else { return };
    let tell = async move {
        let _place = place;
        stream.write_all(FULL).await?;
        stream.shutdown().await?;
        // Closing with the request unread would take the answer back.
        let mut unread = [0; 4_096];
        while stream.read(&mut unread).await? > 0 {}
        io::Result::Ok(())
    };
    tokio::spawn(tokio::time::timeout(TURN_AWAY_PATIENCE, tell));
}

/// One connection, from the handshake to its last answer or its upgrade.
async fn receive(
    stream: TcpStream,
    peer: SocketAddr,
    app: Router,
    reception: &Reception,
    place: OwnedSemaphorePermit,
    mut stop: StopSignal,
) {
    let place = Place::new(reception.service, place);
    let Some(tls) = &reception.tls else {
        return converse(Watched::new(stream, place), peer, app, reception, stop).await;
    };
    let accepted = tokio::select! {
        accepted = tokio::time::timeout(reception.head_timeout, tls.accept(stream)) => accepted,
        // Nothing was asked yet, so a stop waits for nothing.
        () = stop.wait() => return,
    };
    match accepted {
        Ok(Ok(stream)) => converse(Watched::new(stream, place), peer, app, reception, stop).await,
        Ok(Err(error)) => {
            tracing::debug!(service = %reception.service, %peer, %error, "a TLS handshake failed");
            reception.count_refused("handshake");
        }
        Err(_) => reception.count_refused("handshake_timeout"),
    }
}

async fn converse<S>(
    stream: Watched<S>,
    peer: SocketAddr,
    app: Router,
    reception: &Reception,
    mut stop: StopSignal,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let signal = stop.clone();
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        if request.headers().contains_key(header::UPGRADE) {
            request.extensions_mut().insert(signal.clone());
        }
        // A router is always ready.
        let answer = app.clone().call(request.map(Body::new));
        async move { Ok::<Response, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(reception.head_timeout).max_buf_size(BUFFER_MAX);
    let mut conversation =
        std::pin::pin!(http.serve_connection(TokioIo::new(stream), answer).with_upgrades());
    let ended = tokio::select! {
        ended = conversation.as_mut() => ended,
        () = stop.wait() => {
            conversation.as_mut().graceful_shutdown();
            conversation.await
        }
    };
    if let Err(error) = ended {
        if error.is_timeout() {
            reception.count_refused("head_timeout");
        }
        tracing::debug!(service = %reception.service, %peer, %error, "a connection ended early");
    }
}

/// A connection's place among those that there may be; also counted where operators see it.
struct Place {
    service: ServiceName,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn new(service: ServiceName, permit: OwnedSemaphorePermit) -> Self {
        metrics::gauge!("nautilus_http_connections", "service" => service.as_str()).increment(1.0);
        Self { service, _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::gauge!("nautilus_http_connections", "service" => self.service.as_str()).decrement(1.0);
    }
}

/// A stream that keeps its place until it is closed, and whose writes do not stand still for ever.
struct Watched<S> {
    stream: S,
    patience: Duration,
    standstill: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    const fn new(stream: S, place: Place) -> Self {
        Self { stream, patience: WRITE_PATIENCE, standstill: None, _place: place }
    }

    /// Passes a write's outcome on, unless it has been pending for too long.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.standstill = None;
            return written;
        }
        let patience = self.patience;
        let standstill = self.standstill.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(standstill.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.watch(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, parts);
        this.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.watch(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.watch(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_that_stands_still_ends_and_one_that_moves_does_not() {
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let (stream, mut client) = tokio::io::duplex(64);
        let mut watched = Watched::new(stream, Place::new(ServiceName::Gateway, permit));
        watched.patience = Duration::from_secs(60);
        let slow = tokio::spawn(async move {
            let mut taken = vec![0; 10_000];
            client.read_exact(&mut taken).await.unwrap();
            client
        });
        watched.write_all(&[0; 10_000]).await.unwrap();
        let _client = slow.await.unwrap();
        watched.patience = Duration::from_millis(20);
        let error = watched.write_all(&[0; 10_000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn the_answer_to_one_too_many_is_whole() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["code"], "too_many_connections");
    }
}
