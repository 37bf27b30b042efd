//! The page as it is served: the files that the build embedded, with their types and how long they may be kept.
//!
//! It decides nothing that a page shows.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

/// A file of the page.
struct File {
    /// From the root of the site.
    path: &'static str,
    media: &'static str,
    bytes: &'static [u8],
}

// `FILES`, sorted by path: made by the build script, empty when the page was not built.
include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// The plain page's own style.
const PLAIN: File =
    File { path: "/assets/plain.css", media: "text/css; charset=utf-8", bytes: include_bytes!("plain.css") };

/// Nothing from elsewhere, nothing inline, in nobody's frame. `data:` images stand in the API reference's style sheet.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";
/// A file below /assets/ has its content's hash in its name.
const FOREVER: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";

/// The embedded file at a path.
pub(crate) fn file(path: &str) -> Option<Response> {
    let found = FILES.binary_search_by(|file| file.path.cmp(path)).ok().map(|at| &FILES[at]);
    let file = found.or((path == PLAIN.path).then_some(&PLAIN))?;
    let hashed = path.starts_with("/assets/") && path != PLAIN.path;
    Some(respond(file.media, if hashed { FOREVER } else { ASK_AGAIN }, Body::from(file.bytes)))
}

/// A page made for this request.
pub(crate) fn html(text: String) -> Response {
    respond("text/html; charset=utf-8", "no-store", Body::from(text))
}

fn respond(media: &'static str, keep: &'static str, body: Body) -> Response {
    let headers: [(HeaderName, HeaderValue); 5] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media)),
        (header::CACHE_CONTROL, HeaderValue::from_static(keep)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_their_whole_path_only() {
        assert!(FILES.is_sorted_by(|one, other| one.path < other.path));
        for embedded in FILES {
            assert!(file(embedded.path).is_some(), "{}", embedded.path);
        }
        for path in ["", "/", "/assets/", "/assets/../index.html", "index.html"] {
            assert!(file(path).is_none(), "{path}");
        }
    }
}
