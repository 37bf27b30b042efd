//! Which web pages may connect. A browser sends a page's origin along and shows the page what the service answers, so
//! without this check any page on the web could read the streams of the machine it is opened on. Programs send none.

use axum::http::{HeaderMap, header};

/// Names of the machine itself, as they stand in an origin.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Whether a request comes from no page, from one of this machine, or from one of `allowed`.
pub(crate) fn may_connect(headers: &HeaderMap, allowed: &[String]) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    origins.next().is_none() && (is_loopback(origin) || allowed.iter().any(|allowed| allowed == origin))
}

fn is_loopback(origin: &str) -> bool {
    let Some((_, authority)) = origin.split_once("://") else { return false };
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    LOOPBACK.contains(&host)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_pages_of_this_machine_and_those_named_may_connect() {
        let allowed = ["https://desk.example.com".to_owned()];
        for (origin, expected) in [
            (None, true),
            (Some("http://127.0.0.1:8001"), true),
            (Some("http://localhost"), true),
            (Some("https://[::1]:5173"), true),
            (Some("https://desk.example.com"), true),
            (Some("https://desk.example.com:444"), false),
            (Some("http://desk.example.com"), false),
            (Some("https://evil.example"), false),
            (Some("http://127.0.0.1.evil.example"), false),
            (Some("http://evil.example:80@127.0.0.1"), false),
            (Some("http://localhost.evil.example:8001"), false),
            (Some("null"), false),
            (Some("127.0.0.1"), false),
            (Some(""), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(may_connect(&headers, &allowed), expected, "{origin:?}");
        }
        let mut twice = HeaderMap::new();
        twice.append(header::ORIGIN, HeaderValue::from_static("http://localhost"));
        twice.append(header::ORIGIN, HeaderValue::from_static("https://evil.example"));
        assert!(!may_connect(&twice, &allowed));
    }
}
