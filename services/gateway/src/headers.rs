//! Which headers cross the gateway: all but those that belong to one hop, and what it says about the caller.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, header};

/// Headers of RFC 9110 §7.6.1 that concern one connection only, and `expect`, which this hop has answered.
const ONE_HOP: [HeaderName; 8] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Drops what belongs to the hop that a message came over.
pub(crate) fn drop_one_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    for name in &ONE_HOP {
        headers.remove(name);
    }
}

/// What the gateway knows about callers' connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Front {
    /// A proxy stands before this gateway: what it says about the caller is believed and continued.
    pub(crate) behind_proxy: bool,
    pub(crate) tls: bool,
}

impl Front {
    /// Tells the engine who asks and how. What a caller says about itself is not passed on.
    pub(crate) fn introduce(self, headers: &mut HeaderMap, about: &Extensions) {
        let mut chain = Vec::new();
        if self.behind_proxy {
            // Some proxies add a line of their own instead of continuing the caller's.
            let before = headers.get_all(FORWARDED_FOR).iter();
            chain.extend(before.map(|line| line.to_str().unwrap_or("unknown").to_owned()));
        } else {
            headers.remove(header::FORWARDED);
        }
        chain.extend(about.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_string()));
        match HeaderValue::try_from(chain.join(", ")) {
            Ok(value) if !chain.is_empty() => drop(headers.insert(FORWARDED_FOR, value)),
            _ => drop(headers.remove(FORWARDED_FOR)),
        }
        if !(self.behind_proxy && headers.contains_key(FORWARDED_PROTO)) {
            let proto = HeaderValue::from_static(if self.tls { "https" } else { "http" });
            headers.insert(FORWARDED_PROTO, proto);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn what_belongs_to_one_hop_is_dropped() {
        let mut map = headers(&[
            ("connection", "close, X-Private"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("x-private", "1"),
            ("authorization", "Bearer x"),
            ("x-request-id", "7"),
        ]);
        drop_one_hop(&mut map);
        assert_eq!(map, headers(&[("authorization", "Bearer x"), ("x-request-id", "7")]));
    }

    #[test]
    fn callers_are_introduced_and_do_not_introduce_themselves() {
        let mut about = Extensions::new();
        about.insert(ConnectInfo::<SocketAddr>("10.0.0.9:5".parse().unwrap()));
        let claimed = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https")];
        for (behind_proxy, tls, given, chain, proto) in [
            (false, false, &claimed[..0], "10.0.0.9", "http"),
            (false, true, &claimed[..0], "10.0.0.9", "https"),
            (false, false, &claimed[..], "10.0.0.9", "http"),
            (true, false, &claimed[..], "1.2.3.4, 10.0.0.9", "https"),
            (true, false, &claimed[..0], "10.0.0.9", "http"),
        ] {
            let mut map = headers(given);
            Front { behind_proxy, tls }.introduce(&mut map, &about);
            assert!(map[FORWARDED_FOR] == chain && map[FORWARDED_PROTO] == proto, "{given:?}: {map:?}");
        }
        let mut map = headers(&[("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=1.2.3.4")]);
        map.append(FORWARDED_FOR, HeaderValue::from_static("5.6.7.8"));
        let mut behind = map.clone();
        Front { behind_proxy: true, tls: false }.introduce(&mut behind, &about);
        assert_eq!(behind[FORWARDED_FOR], "1.2.3.4, 5.6.7.8, 10.0.0.9");
        assert!(behind.contains_key("forwarded"));
        Front { behind_proxy: false, tls: false }.introduce(&mut map, &about);
        assert!(map[FORWARDED_FOR] == "10.0.0.9" && !map.contains_key("forwarded"), "{map:?}");
        let mut map = headers(&claimed);
        Front { behind_proxy: false, tls: false }.introduce(&mut map, &Extensions::new());
        assert!(!map.contains_key(FORWARDED_FOR), "nobody knows who asks");
    }
}
