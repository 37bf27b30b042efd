//! Which database: parses the URL, and shows it without its password.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use crate::StoreError;

/// Where rows are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// `sqlite://data/nautilus.db` (relative to the working folder), `sqlite:///absolute/path.db` or
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// Rows that may wait before the oldest are dropped.
    pub queue_limit: usize,
    /// The `service` label of the metrics.
    pub service: &'static str,
}

impl StoreConfig {
    /// The default bound of the queue, in rows.
    pub const QUEUE_LIMIT: usize = 200_000;

    /// A configuration with the default bound.
    #[must_use]
    pub fn new(url: impl Into<String>, service: &'static str) -> Self {
        Self { url: url.into(), queue_limit: Self::QUEUE_LIMIT, service }
    }

    /// The URL with any password replaced by `***`.
    #[must_use]
    pub fn masked_url(&self) -> String {
        mask_url(&self.url)
    }
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreConfig")
            .field("url", &self.masked_url())
            .field("queue_limit", &self.queue_limit)
            .field("service", &self.service)
            .finish()
    }
}

/// A URL with its password replaced by `***`: from the first ':' of the authority to the last '@', so that an unescaped
/// password never shows, or the `password` (`pass` of Redis) among its parameters.
#[must_use]
pub fn mask_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let rest = match (rest.find(':'), rest.rfind('@')) {
        (Some(colon), Some(at)) if colon < at => format!("{}:***{}", &rest[..colon], &rest[at..]),
        _ => rest.to_owned(),
    };
    let found = ["password=", "pass="].iter().find_map(|name| Some(rest.find(name)? + name.len()));
    let Some(start) = found else { return format!("{scheme}://{rest}") };
    let end = rest[start..].find('&').map_or(rest.len(), |length| start + length);
    format!("{scheme}://{}***{}", &rest[..start], &rest[end..])
}

/// A parsed URL.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, StoreError> {
        let refuse = |reason: &str| StoreError::Url { url: mask_url(url), reason: reason.to_owned() };
        if let Some(path) = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")) {
            return match path {
                "" => Err(refuse("it names no file")),
                // Each connection would see a database of its own.
                ":memory:" => Err(refuse("a database in memory would be lost; name a file")),
                path if path.contains(['?', '#', '\0']) => Err(refuse("a SQLite URL takes no parameters")),
                path => Ok(Self::Sqlite(PathBuf::from(path))),
            };
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            // The parser's own text could quote the password, so it is not passed on.
            let options = PgConnectOptions::from_str(url)
                .map_err(|_| refuse("it is not of the form postgres://user:password@host:port/database"))?;
            return Ok(Self::Postgres(Box::new(options)));
        }
        Err(refuse("it begins with neither sqlite:// nor postgres://"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_never_show() {
        for (url, masked) in [
            ("sqlite://data/nautilus.db", "sqlite://data/nautilus.db"),
            ("postgres://host/db", "postgres://host/db"),
            ("postgres://host:5432/db", "postgres://host:5432/db"),
            ("postgres://user@host/db", "postgres://user@host/db"),
            ("postgres://user:secret@host:5432/db", "postgres://user:***@host:5432/db"),
            ("postgres://user:se@cr:e/t@host/db", "postgres://user:***@host/db"),
            ("postgres://host/db?password=secret&user=me", "postgres://host/db?password=***&user=me"),
            ("redis+unix:///run/redis.sock?pass=secret&db=1", "redis+unix:///run/redis.sock?pass=***&db=1"),
        ] {
            let config = StoreConfig::new(url, "test");
            assert_eq!(config.masked_url(), masked);
            assert!(!format!("{config:?}").contains("secret"));
        }
    }

    #[test]
    fn urls_are_refused_with_the_reason() {
        for (url, part) in [
            ("", "neither"),
            ("mysql://host/db", "neither"),
            ("sqlite://", "no file"),
            ("sqlite://:memory:", "in memory"),
            ("sqlite://x.db?mode=ro", "no parameters"),
            ("postgres://user:secret@host:port/db", "of the form"),
        ] {
            let error = Target::parse(url).expect_err(url).to_string();
            assert!(error.contains(part) && !error.contains("secret"), "{error}");
        }
        assert!(
            matches!(Target::parse("sqlite://a b/ü.db"), Ok(Target::Sqlite(p)) if p.to_str() == Some("a b/ü.db"))
        );
        assert!(matches!(Target::parse("postgresql://u:p@h/d"), Ok(Target::Postgres(_))));
    }
}
