//! Configuration: one TOML file, environment variables above it, defaults below, unknown keys refused.
//!
//! `NAUTILUS__STORE__URL=…` overrides `store.url`: a double underscore separates the parts of a key. Values are
//! read as TOML where they parse as such, as text otherwise. Nothing is read from anywhere else.

mod checkpoint;
mod journal;
mod pinning;
mod source;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use checkpoint::Checkpoint;
pub use journal::Journal;
use nautilus_hardware::SwitchError;
use nautilus_messages::EngineName;
pub use nautilus_store::mask_url;
pub use pinning::Pinning;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::access::Access;
use crate::hardware::Settings as Hardware;
use source::Source;

/// Prefix of the environment variables that override settings.
pub const ENV_PREFIX: &str = "NAUTILUS__";
/// Names the configuration file when no `--config` is given.
pub const ENV_FILE: &str = "NAUTILUS_CONFIG";
/// Exit status for bad configuration: EX_USAGE of sysexits.h.
pub const EXIT_USAGE: u8 = 64;

/// Frames in a star's ring, at most: 2 GiB.
const STAR_MAX: usize = 1 << 24;
/// Connections per listener, at most.
const CONNECTIONS_MAX: usize = 1 << 20;
/// Messages that wait per queue of the mesh, at most.
const MESH_MAX: usize = 1 << 20;

/// Every setting that is common to all services. Engines' own settings stay raw until the engine reads them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Logging.
    pub log: Log,
    /// HTTP limits.
    pub http: Http,
    /// Keys and certificates.
    pub access: Access,
    /// The two buses.
    pub bus: Bus,
    /// The database.
    pub store: Store,
    /// Measuring the machine, and what jobs may use of it.
    pub hardware: Hardware,
    /// Cores and priorities of the engines' threads.
    pub pinning: Pinning,
    /// Where engines keep their state over a restart.
    pub checkpoint: Checkpoint,
    /// Where engines keep what they accepted.
    pub journal: Journal,
    /// Where each service listens.
    pub services: Services,
    /// Each engine's own settings, by engine.
    pub engines: BTreeMap<EngineName, Table>,
    /// Where all of it was written.
    #[serde(skip)]
    source: Source,
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,nautilus_bus=debug`.
    pub level: String,
    /// Lines for people or objects for machines.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum LogFormat {
    Text,
    Json,
}

/// HTTP limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// The largest request body, in bytes. Routes that carry data sets state their own, larger bound.
    pub body_limit_bytes: usize,
    /// A request that takes longer is answered 504.
    pub timeout_ms: u64,
    /// How long a client may take for the head of a request, and sit idle between two.
    pub head_timeout_ms: u64,
    /// Connections at the same time, WebSockets included; further ones are answered 503.
    pub connections_max: usize,
    /// How long a stop waits for requests under way and for queues to empty.
    pub drain_timeout_ms: u64,
}

/// The two buses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bus {
    /// The star: market data.
    pub market_data: MarketDataBus,
    /// The mesh: engine logic.
    pub engine_logic: EngineLogicBus,
}

/// What carries a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Inside one process.
    Local,
    /// Redis Streams.
    Redis,
}

/// The star.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MarketDataBus {
    /// What carries it.
    pub transport: Transport,
    /// Redis, when it is the transport.
    pub url: String,
    /// Frames kept in memory for readers that fall behind; a power of two.
    pub capacity: usize,
    /// Entries kept in the Redis stream; one entry holds up to 256 frames.
    pub stream_limit: usize,
}

/// The mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineLogicBus {
    /// What carries it.
    pub transport: Transport,
    /// Redis, when it is the transport.
    pub url: String,
    /// Messages waiting per queue before the producer is held back.
    pub capacity: usize,
    /// Messages kept per Redis stream.
    pub stream_limit: usize,
}

/// The database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// `sqlite://path` or `postgres://user:password@host/database`.
    pub url: String,
    /// Rows waiting while the database is away, before the oldest are dropped.
    pub queue_limit: usize,
}

/// A service: an engine's, or the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceName {
    /// The service of an engine.
    Engine(EngineName),
    /// The one door for users.
    Gateway,
}

impl ServiceName {
    /// Every service.
    pub fn all() -> impl Iterator<Item = Self> {
        EngineName::ALL.into_iter().map(Self::Engine).chain([Self::Gateway])
    }

    /// The service's name in metrics and configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Engine(engine) => engine.as_str(),
            Self::Gateway => "gateway",
        }
    }

    /// The port it listens on unless configured otherwise.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Engine(engine) => engine.default_port(),
            Self::Gateway => 8001,
        }
    }
}

impl From<EngineName> for ServiceName {
    fn from(engine: EngineName) -> Self {
        Self::Engine(engine)
    }
}

impl std::fmt::Display for ServiceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for ServiceName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Where each service listens, by service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, Service>")]
pub struct Services(BTreeMap<ServiceName, Service>);

/// Where a service listens, and where others find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// An address and a port; port 0 takes any free one. Without it the service's own port on loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// `http://host:port` where that is not the address it listens on: in a container, or behind a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Read by text, so that a mistake is reported with the service's name in its key.
impl TryFrom<BTreeMap<String, Service>> for Services {
    type Error = String;

    fn try_from(named: BTreeMap<String, Service>) -> Result<Self, String> {
        let known = |(name, service): (String, Service)| {
            let names = ServiceName::all().map(ServiceName::as_str).collect::<Vec<_>>().join(", ");
            ServiceName::all()
                .find(|known| known.as_str() == name)
                .map(|known| (known, service))
                .ok_or_else(|| format!("unknown service `{name}`, there are {names}"))
        };
        named.into_iter().map(known).collect::<Result<_, _>>().map(Self)
    }
}

impl Services {
    /// Where a service listens.
    #[must_use]
    pub fn listen(&self, name: impl Into<ServiceName>) -> SocketAddr {
        let name = name.into();
        self.0.get(&name).and_then(|service| service.listen).unwrap_or_else(|| loopback(name))
    }

    /// Says where a service listens.
    pub fn set_listen(&mut self, name: impl Into<ServiceName>, listen: SocketAddr) {
        self.0.entry(name.into()).or_insert(Service { listen: None, url: None }).listen = Some(listen);
    }

    /// Where other services reach a service, as a URL without a path.
    #[must_use]
    pub fn url(&self, name: impl Into<ServiceName>) -> String {
        let name = name.into();
        if let Some(url) = self.0.get(&name).and_then(|service| service.url.as_deref()) {
            return url.trim_end_matches('/').to_owned();
        }
        let mut address = self.listen(name);
        if address.ip().is_unspecified() {
            address.set_ip(loopback(name).ip());
        }
        format!("http://{address}")
    }
}

fn loopback(name: ServiceName) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], name.default_port()))
}

impl Default for Services {
    fn default() -> Self {
        let service = |name| Service { listen: Some(loopback(name)), url: None };
        Self(ServiceName::all().map(|name| (name, service(name))).collect())
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            body_limit_bytes: 64 * 1024,
            timeout_ms: 10_000,
            head_timeout_ms: 10_000,
            connections_max: 4_096,
            drain_timeout_ms: 10_000,
        }
    }
}

impl Default for MarketDataBus {
    fn default() -> Self {
        let url = "redis://127.0.0.1:6380".into();
        Self { transport: Transport::Local, url, capacity: 65_536, stream_limit: 10_000 }
    }
}

impl Default for EngineLogicBus {
    fn default() -> Self {
        let url = "redis://127.0.0.1:6381".into();
        Self { transport: Transport::Local, url, capacity: 8_192, stream_limit: 100_000 }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { url: "sqlite://data/nautilus.db".into(), queue_limit: 200_000 }
    }
}

/// Why there is no configuration to start with. One sentence each.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {path} cannot be read: {cause}; give an existing file with --config")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path} line {line} is not TOML: {message}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A value that only an engine could judge.
    #[error("{path} line {line}: {message}")]
    Value {
        /// Which file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A key is unknown or a value of the wrong kind.
    #[error("setting {key}: {message}; `nautilus config` lists every setting")]
    Setting {
        /// The key, with dots.
        key: String,
        /// What is wrong.
        message: String,
    },
    /// A switch of the hardware has a value that means nothing.
    #[error(transparent)]
    Switch(#[from] SwitchError),
}

impl Config {
    /// Reads `file`, or the file that `NAUTILUS_CONFIG` names, or `nautilus.toml` here if there is one, and puts
    /// the environment's overrides on top.
    ///
    /// # Errors
    /// One sentence that names the file and line, or the key.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let named = file.map(Path::to_path_buf).or_else(|| std::env::var_os(ENV_FILE).map(PathBuf::from));
        let here = PathBuf::from("nautilus.toml");
        let (mut table, mut source) = (Table::new(), Source::default());
        if let Some(path) = named.or_else(|| here.exists().then_some(here)) {
            let text;
            (table, text) = read_table(&path)?;
            source.file = Some((path, text));
        }
        // Not `vars`, which panics at the first variable that is not text, be it anybody's.
        for (key, value) in std::env::vars_os() {
            if let Some(key) = key.to_str().and_then(|key| key.strip_prefix(ENV_PREFIX)) {
                source.overridden.push(override_setting(&mut table, key, &value.to_string_lossy())?);
            }
        }
        Ok(Self { source, ..Self::from_table(table)? })
    }

    /// Reads a table, refusing unknown keys and values out of range.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn from_table(table: Table) -> Result<Self, ConfigError> {
        let config: Self = read_section("", table)?;
        config.check()?;
        Ok(config)
    }

    /// An engine's own settings.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn engine<T: for<'de> Deserialize<'de>>(&self, name: EngineName) -> Result<T, ConfigError> {
        read_section(&format!("engines.{name}."), self.engines.get(&name).cloned().unwrap_or_default())
    }

    /// An error about a value that only an engine can judge: with its line where the value of `key`, such as
    /// `engines.a.list[2].name`, stands in the file, and with the key where it does not.
    #[must_use]
    pub fn refuse(&self, key: &str, message: impl Into<String>) -> ConfigError {
        let message = message.into();
        match self.source.line(key) {
            Some((path, line)) => ConfigError::Value { path: path.to_owned(), line, message },
            None => ConfigError::Setting { key: key.to_owned(), message },
        }
    }

    /// Checks an engine's own settings and fills in their defaults, so that [`Self::to_masked_toml`] shows them all.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn complete_engine<T>(&mut self, name: EngineName) -> Result<(), ConfigError>
    where
        T: Serialize + for<'de> Deserialize<'de>,
    {
        let refuse = |error: toml::ser::Error| ConfigError::Setting {
            key: format!("engines.{name}"),
            message: one_line(&error.to_string()),
        };
        let complete = Table::try_from(self.engine::<T>(name)?).map_err(refuse)?;
        self.engines.insert(name, complete);
        Ok(())
    }

    /// Whether services ask for keys. One that others can reach asks its neighbours on loopback in its callers' names,
    /// so then all of them do.
    #[must_use]
    pub fn asks_for_keys(&self) -> bool {
        let exposed = |name| !self.services.listen(name).ip().is_loopback();
        self.access.required || self.access.behind_proxy || ServiceName::all().any(exposed)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |key: &str, message: &str| {
            Err(ConfigError::Setting { key: key.to_owned(), message: message.to_owned() })
        };
        self.access.check()?;
        self.hardware.check()?;
        self.pinning.check()?;
        self.checkpoint.check()?;
        self.journal.check()?;
        let plain =
            |url: &str| url.strip_prefix("http://").is_some_and(|h| h.contains(':') && !h.contains('/'));
        if let Some(name) = ServiceName::all().find(|name| !plain(&self.services.url(*name))) {
            return refuse(&format!("services.{name}.url"), "it must be of the form http://host:port");
        }
        let Bus { market_data, engine_logic } = &self.bus;
        if !market_data.capacity.is_power_of_two() || !(1024..=STAR_MAX).contains(&market_data.capacity) {
            return refuse("bus.market_data.capacity", "it must be a power of two from 1024 to 16777216");
        }
        if !(1..=MESH_MAX).contains(&engine_logic.capacity) {
            return refuse("bus.engine_logic.capacity", "it must be from 1 to 1048576");
        }
        if market_data.stream_limit == 0 || engine_logic.stream_limit == 0 {
            return refuse(
                "bus",
                "stream_limit must be at least 1: a stream of no entries loses every message",
            );
        }
        if self.http.timeout_ms == 0 || self.http.drain_timeout_ms == 0 || self.http.head_timeout_ms == 0 {
            return refuse("http", "timeouts must be at least 1 ms");
        }
        if !(1..=CONNECTIONS_MAX).contains(&self.http.connections_max) {
            return refuse("http.connections_max", "it must be from 1 to 1048576");
        }
        Ok(())
    }

    /// The effective configuration as TOML, with passwords in URLs replaced by stars.
    ///
    /// # Panics
    /// Never: every setting has a TOML form.
    #[must_use]
    pub fn to_masked_toml(&self) -> String {
        let mut masked = self.clone();
        for url in [&mut masked.bus.market_data.url, &mut masked.bus.engine_logic.url, &mut masked.store.url]
        {
            *url = mask_url(url);
        }
        let mut text = String::new();
        let body = toml::to_string_pretty(&masked).expect("every setting has a TOML form");
        let _ = write!(
            text,
            "# Effective configuration; override any key with {ENV_PREFIX}SECTION__KEY=value.\n{body}"
        );
        text
    }
}

fn read_table(path: &Path) -> Result<(Table, Arc<str>), ConfigError> {
    let unreadable = |cause| ConfigError::Unreadable { path: path.to_owned(), cause };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1),
        message: one_line(error.message()),
    })?;
    Ok((table, text.into()))
}

fn read_section<T: for<'de> Deserialize<'de>>(prefix: &str, table: Table) -> Result<T, ConfigError> {
    serde_path_to_error::deserialize(table).map_err(|error| ConfigError::Setting {
        key: format!("{prefix}{}", error.path()),
        message: one_line(error.inner().message()),
    })
}

fn one_line(text: &str) -> String {
    text.trim().replace('\n', " ")
}

/// Sets `a.b.c` for `A__B__C`, and returns that key.
fn override_setting(table: &mut Table, key: &str, value: &str) -> Result<String, ConfigError> {
    let key = key.to_ascii_lowercase().replace("__", ".");
    let refuse = |message: &str| ConfigError::Setting { key: key.clone(), message: message.to_owned() };
    let mut parts = key.split('.').collect::<Vec<_>>();
    let last = parts.pop().filter(|last| !last.is_empty()).ok_or_else(|| refuse("the key is empty"))?;
    let mut section = table;
    for part in parts {
        let entry = section.entry(part.to_owned()).or_insert_with(|| Value::Table(Table::new()));
        section =
            entry.as_table_mut().ok_or_else(|| refuse("a part of the key is a value, not a section"))?;
    }
    let parsed = format!("value = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    section.insert(last.to_owned(), parsed.unwrap_or_else(|| Value::String(value.to_owned())));
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(toml: &str) -> String {
        Config::from_table(toml.parse().unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn defaults_stand_alone_and_survive_a_round_trip() {
        let config = Config::from_table(Table::new()).unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(Config::from_table(config.to_masked_toml().parse().unwrap()).unwrap(), config);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(refused("[stor]\nurl = 'x'").contains("unknown field `stor`"));
        assert!(refused("[store]\nurl = 5").starts_with("setting store.url: invalid type"));
        assert!(refused("[bus.market_data]\ntransport = 'kafka'").contains("bus.market_data.transport"));
        assert!(
            refused("[access.tls]\nkey = 'key.pem'").starts_with("setting access.tls: certificate and key")
        );
        assert!(refused("[access]\nrequests_per_minute = 0").contains("at least 1"));
        assert!(
            refused("[pinning]\nrealtime_priority = 100").starts_with("setting pinning.realtime_priority")
        );
        assert!(refused("[pinning]\ncores = [-1]").starts_with("setting pinning.cores"));
        for interval in [0, 86_401] {
            let reason = refused(&format!("[checkpoint]\ninterval_s = {interval}"));
            assert!(
                reason.starts_with("setting checkpoint.interval_s: it must be from 1 to 86400"),
                "{reason}"
            );
        }
        for (mistake, reason) in [
            ("folder = ''", "setting journal.folder: it must name a folder"),
            ("segment_mib = 1", "setting journal.segment_mib: it must be from 2 to 256"),
            ("segment_mib = 257", "setting journal.segment_mib: it must be from 2 to 256"),
            ("keep_mib = 1048577", "setting journal.keep_mib: it must be from 0 to 1048576"),
        ] {
            let found = refused(&format!("[journal]\n{mistake}"));
            assert!(found.starts_with(reason), "{found}");
        }
        assert!(refused("[http]\nconnections_max = 0").contains("http.connections_max"));
        assert!(
            refused("[hardware]\nworkers_max = 1025").contains("hardware.workers_max: it must be from 0 to")
        );
        let unknown = refused("[hardware]\npin_backend = 'cuda'");
        assert!(
            unknown
                .starts_with("setting hardware.pin_backend: there is no backend 'cuda': use one of portable")
        );
        assert!(refused("[services.nope]\nlisten = '127.0.0.1:1'").contains("unknown service `nope`"));
        assert!(refused("[services.vpin]\nlisten = 'here'").starts_with("setting services.vpin.listen"));
        for (bus, mistake, reason) in [
            ("market_data", "capacity = 1000", "power of two"),
            ("market_data", "capacity = 33554432", "power of two from 1024 to 16777216"),
            ("market_data", "stream_limit = 0", "stream_limit must be at least 1"),
            ("engine_logic", "stream_limit = 0", "stream_limit must be at least 1"),
            ("engine_logic", "capacity = 0", "from 1 to"),
        ] {
            assert!(refused(&format!("[bus.{bus}]\n{mistake}")).contains(reason), "{mistake}");
        }
        assert!(!refused("[store]\nurl = 5").contains('\n'));
    }

    #[test]
    fn services_are_found_where_they_listen_unless_a_url_is_given() {
        for (toml, url) in [
            ("", "http://127.0.0.1:10000"),
            ("[services.vpin]\nlisten = '127.0.0.1:7'", "http://127.0.0.1:7"),
            ("[services.vpin]\nurl = 'http://vpin:10000/'", "http://vpin:10000"),
        ] {
            let config = Config::from_table(toml.parse().unwrap()).unwrap();
            assert_eq!(config.services.url(EngineName::Vpin), url);
        }
        for url in ["vpin:10000", "http://vpin", "http://vpin:1/path", "https://vpin:1"] {
            let reason = refused(&format!("[services.vpin]\nurl = '{url}'"));
            assert!(reason.starts_with("setting services.vpin.url: it must be of the form"), "{reason}");
        }
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let mut table: Table = "[store]\nurl = 'sqlite://a'".parse().unwrap();
        for (key, value) in [("STORE__URL", "sqlite://b"), ("HTTP__TIMEOUT_MS", "7"), ("LOG__FORMAT", "json")]
        {
            override_setting(&mut table, key, value).unwrap();
        }
        let config = Config::from_table(table).unwrap();
        assert_eq!((config.store.url.as_str(), config.http.timeout_ms), ("sqlite://b", 7));
        assert_eq!(config.log.format, LogFormat::Json);
        assert!(override_setting(&mut "a = 1".parse().unwrap(), "A__B", "1").is_err());
    }

    #[test]
    fn passwords_are_masked() {
        let mut config = Config::default();
        config.store.url = "postgres://u:hunter2@h/d".into();
        assert!(!config.to_masked_toml().contains("hunter2"));
    }
}
