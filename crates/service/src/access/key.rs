//! A key's text, `nk_<id>_<secret>`: how it is made, read and compared.
//!
//! Where keys are kept is decided elsewhere; here a secret exists only for as long as it takes to show or to hash it.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::path::Path;

use axum::http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::keys_file::private;

const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;
const PREFIX: &str = "nk_";
/// Marks the key among the subprotocols that a browser's WebSocket offers; it can set no other header.
const SUBPROTOCOL_PREFIX: &str = "key.";

/// SHA-256 of a secret. The secret has 256 random bits, so that neither salt nor a slow hash adds anything.
pub(super) type Digest = [u8; 32];

/// A new key. Its secret cannot be seen but through [`Key::reveal`].
pub struct Key {
    id: String,
    secret: String,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Key {
    /// Makes a key from the system's randomness.
    ///
    /// # Errors
    /// When the system has none.
    pub fn new() -> std::io::Result<Self> {
        let mut random = [0; ID_BYTES + SECRET_BYTES];
        getrandom::fill(&mut random).map_err(|error| std::io::Error::other(error.to_string()))?;
        let (id, secret) = random.split_at(ID_BYTES);
        Ok(Self { id: hex(id), secret: hex(secret) })
    }

    /// What the key is found and named by; no secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The whole key, to be shown once to whoever will use it.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }

    /// Writes the whole key to a new file that only its owner may read.
    ///
    /// # Errors
    /// When the file exists or cannot be made.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        writeln!(private().create_new(true).open(path)?, "{}", self.reveal())
    }

    /// What is kept of the secret.
    pub(super) fn digest(&self) -> Digest {
        Sha256::digest(self.secret.as_bytes()).into()
    }
}

/// A key that somebody shows.
#[derive(Clone, Copy)]
pub(super) struct Presented<'a> {
    pub(super) id: &'a str,
    secret: &'a str,
}

impl<'a> Presented<'a> {
    /// Reads a key's text; anything else is no key.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        (is_hex(id, ID_BYTES) && is_hex(secret, SECRET_BYTES)).then_some(Self { id, secret })
    }

    /// Whether this is the secret that was hashed, in a time that does not tell how much of it is right.
    pub(super) fn matches(&self, digest: &Digest) -> bool {
        let own: Digest = Sha256::digest(self.secret.as_bytes()).into();
        own.ct_eq(digest).into()
    }
}

/// What a request shows as its key, if anything: the bearer's token or, where it opens a WebSocket, a subprotocol.
pub(super) fn presented(headers: &HeaderMap) -> Option<&str> {
    if let Some(authorization) = headers.get(header::AUTHORIZATION) {
        // A key that is not even text is shown all the same, and refused.
        let text = authorization.to_str().unwrap_or_default();
        let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
        return Some(if scheme.eq_ignore_ascii_case("bearer") { token.trim() } else { "" });
    }
    let websocket = headers.get(header::UPGRADE)?.as_bytes().eq_ignore_ascii_case(b"websocket");
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter(|_| websocket);
    let mut names = offered.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    names.find_map(|name| name.trim().strip_prefix(SUBPROTOCOL_PREFIX))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads a digest's lower-case hexadecimal.
pub(super) fn unhex(text: &str) -> Option<Digest> {
    if !is_hex(text, 32) {
        return None;
    }
    let mut digest = Digest::default();
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

pub(super) fn is_id(text: &str) -> bool {
    is_hex(text, ID_BYTES)
}

fn is_hex(text: &str, bytes: usize) -> bool {
    text.len() == 2 * bytes && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_read_again_and_no_two_are_equal() {
        let (one, two) = (Key::new().unwrap(), Key::new().unwrap());
        let text = one.reveal();
        let shown = Presented::parse(&text).unwrap();
        assert_eq!(shown.id, one.id());
        assert!(shown.matches(&one.digest()) && !shown.matches(&two.digest()));
        assert!(one.id() != two.id() && text != two.reveal());
        assert_eq!(unhex(&hex(&one.digest())), Some(one.digest()));
        assert!(!format!("{one:?}").contains(&one.secret));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let good = Key::new().unwrap().reveal();
        let upper = good.to_uppercase();
        let long = format!("{good}0");
        for text in
            ["", "nk_", "nk__", "nk_00_00", &good[1..], &good[..good.len() - 1], &upper, &long, "nk_é_é"]
        {
            assert!(Presented::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_request_shows_its_key_in_one_of_two_places() {
        for (headers, expected) in [
            (&[("authorization", "Bearer abc")][..], Some("abc")),
            (&[("authorization", "bearer  abc ")], Some("abc")),
            (&[("authorization", "Basic abc")], Some("")),
            (&[("authorization", "Bearer")], Some("")),
            (&[("upgrade", "websocket"), ("sec-websocket-protocol", "nautilus, key.abc")], Some("abc")),
            (
                &[
                    ("upgrade", "WebSocket"),
                    ("sec-websocket-protocol", "nautilus"),
                    ("sec-websocket-protocol", "key.abc"),
                ],
                Some("abc"),
            ),
            (&[("upgrade", "websocket"), ("sec-websocket-protocol", "nautilus")], None),
            // Only a WebSocket may: elsewhere nobody would expect a secret in that header.
            (&[("sec-websocket-protocol", "nautilus, key.abc")], None),
            (
                &[
                    ("authorization", "Bearer abc"),
                    ("upgrade", "websocket"),
                    ("sec-websocket-protocol", "key.def"),
                ],
                Some("abc"),
            ),
            (&[], None),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, value.parse().unwrap());
            }
            assert_eq!(presented(&map), expected, "{headers:?}");
        }
    }
}
