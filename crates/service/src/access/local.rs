//! Who may use a listener that asks for no key: programs of this machine, and its browser on this machine's own pages.
//!
//! A browser sends a page's origin along, and shows the page what a WebSocket says. Without this check any page on the
//! web could use the services of the machine it is opened on, either openly or under a name of its own that it lets
//! point here (DNS rebinding). Where keys are asked for it is not needed: a page cannot send a key that it does not
//! have.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;

/// Lets a request in that names this machine, from no page or one of this machine.
pub(crate) async fn only_local(request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !texts(headers, &header::HOST).all(|host| host.is_some_and(is_local)) {
        return refuse(
            "host_not_local",
            "this service is open to its own machine only: ask it as localhost, 127.0.0.1 or [::1]",
        );
    }
    if !texts(headers, &header::ORIGIN).all(|origin| origin.is_some_and(is_local_origin)) {
        return refuse(
            "origin_not_local",
            "web pages of other machines may not use this service; access keys (`nautilus keys new`) open it to others",
        );
    }
    next.run(request).await
}

fn refuse(code: &'static str, detail: &str) -> Response {
    Problem::new(StatusCode::FORBIDDEN, code, detail).into_response()
}

/// Every header of that name; none where it is not text.
fn texts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Option<&'a str>> + use<'a> {
    headers.get_all(name).into_iter().map(|value| value.to_str().ok())
}

fn is_local_origin(origin: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, authority)| is_local(authority))
}

fn is_local(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for (authority, expected) in [
            ("127.0.0.1:8001", true),
            ("127.0.0.2", true),
            ("localhost", true),
            ("LOCALHOST:8001", true),
            ("[::1]:5173", true),
            ("[::1]", true),
            ("trading.example", false),
            ("trading.example:8001", false),
            ("192.168.0.7:8001", false),
            ("127.0.0.1.evil.example", false),
            ("evil.example:80@127.0.0.1", false),
            ("localhost.evil.example:8001", false),
            ("localhost:8001.evil.example", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(is_local(authority), expected, "{authority}");
        }
    }

    #[test]
    fn an_origin_is_a_scheme_and_a_name() {
        for (origin, expected) in [
            ("http://127.0.0.1:8001", true),
            ("https://[::1]:5173", true),
            ("https://evil.example", false),
            ("127.0.0.1", false),
            ("null", false),
        ] {
            assert_eq!(is_local_origin(origin), expected, "{origin}");
        }
    }
}
