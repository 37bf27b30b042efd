//! Structured tracing to standard error: lines for people, or JSON objects for machines.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{ConfigError, Log, LogFormat};

/// Installs the process's subscriber. Calling it again changes nothing.
///
/// # Errors
/// When the level is not a filter.
pub fn install(log: &Log) -> Result<(), ConfigError> {
    let filter = EnvFilter::try_new(&log.level).map_err(|error| ConfigError::Setting {
        key: "log.level".into(),
        message: format!("'{}' is not a log filter ({error}); use for example info", log.level),
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A log that nobody reads any more is no reason to panic, which is what its complaint would do.
    let builder = builder.log_internal_errors(false);
    // A second installation in one process (tests) fails harmlessly.
    let _ = match log.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}
