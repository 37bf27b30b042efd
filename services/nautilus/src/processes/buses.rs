//! The buses of a platform in several processes: the configured Redis servers, or two of its own.
//!
//! Its own are reached by sockets in the file system, which no other user may open and no other program has taken. It
//! decides where they are; keeping them up is the guard's and the supervisor's business.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::process::{Command, Stdio};

use nautilus_service::config::{ENV_PREFIX, Transport};
use nautilus_service::{Config, StartError};

use super::child::Program;

/// Where the platform's own servers keep their data.
const FOLDER: &str = "data/bus";
/// Names the file in a folder that says, by being locked, that the folder is in use.
pub(super) const LOCK: &str = "lock";
/// Names the socket in a server's folder.
pub(super) const SOCKET: &str = "redis.sock";
/// The longest path of a socket that every system takes.
const SOCKET_MAX: usize = 100;
/// The server, to be found on the `PATH`.
pub(super) const SERVER: &str = "redis-server";

/// Where every process finds the buses.
pub(super) struct Buses {
    /// Environment variables for the services.
    pub(super) settings: Vec<(String, String)>,
    /// Held while the platform's own servers are in use.
    _lock: Option<File>,
}

/// A bus that is local to a process cannot join several: such a one gets a server of its own, beside what runs it.
pub(super) fn prepare(config: &Config) -> Result<(Buses, Vec<Program>), StartError> {
    let bus = &config.bus;
    let local: Vec<_> = [
        ("market data bus", "market_data", bus.market_data.transport),
        ("engine logic bus", "engine_logic", bus.engine_logic.transport),
    ]
    .into_iter()
    .filter(|(.., transport)| *transport == Transport::Local)
    .collect();
    if local.is_empty() {
        return Ok((Buses { settings: Vec::new(), _lock: None }, Vec::new()));
    }
    server_is_there()?;
    let lock = lock(Path::new(FOLDER))?;
    let (mut settings, mut programs) = (Vec::new(), Vec::new());
    for (name, key, _) in local {
        let folder = std::path::absolute(Path::new(FOLDER).join(key))?;
        let section = format!("{ENV_PREFIX}BUS__{}__", key.to_uppercase());
        settings.push((format!("{section}TRANSPORT"), "redis".to_owned()));
        settings.push((format!("{section}URL"), socket_url(&folder.join(SOCKET))?));
        let arguments = vec!["guard".into(), folder.into()];
        programs.push(Program { name, arguments, settings: Vec::new(), kill_after: None });
    }
    Ok((Buses { settings, _lock: Some(lock) }, programs))
}

fn server_is_there() -> Result<(), StartError> {
    let found = Command::new(SERVER).arg("--version").stdin(Stdio::null()).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    Err(StartError::Unavailable(format!(
        "several processes need Redis between them and {SERVER} was not found on the PATH; install it (apt-get install \
         redis-server, brew install redis), or set bus.market_data and bus.engine_logic to servers that run"
    )))
}

/// Two platforms on the data of one server would ruin them.
fn lock(folder: &Path) -> Result<File, StartError> {
    let unusable = |error: std::io::Error| {
        let folder = folder.display();
        StartError::Unavailable(format!("{folder} cannot be used: {error}; start where you may write"))
    };
    std::fs::create_dir_all(folder).map_err(unusable)?;
    let file = File::create(folder.join(LOCK)).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
        Err(TryLockError::WouldBlock) => Err(StartError::Unavailable(format!(
            "another `nautilus up --processes` uses {}; stop it, or start in another folder",
            folder.display()
        ))),
    }
}

fn socket_url(socket: &Path) -> Result<String, StartError> {
    let path = socket.as_os_str().as_encoded_bytes();
    if path.len() > SOCKET_MAX {
        return Err(StartError::Unavailable(format!(
            "{} is too long a path for a socket; start in a folder with a path of fewer letters",
            socket.display()
        )));
    }
    let mut url = "redis+unix://".to_owned();
    for byte in path {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                url.push(char::from(*byte));
            }
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_becomes_a_url() {
        let url = |path: &str| socket_url(Path::new(path));
        assert_eq!(url("/a/b-c_d.1/redis.sock").unwrap(), "redis+unix:///a/b-c_d.1/redis.sock");
        assert_eq!(url("/a b/ü?#%@:").unwrap(), "redis+unix:///a%20b/%C3%BC%3F%23%25%40%3A");
        assert!(url(&"/a".repeat(60)).unwrap_err().to_string().contains("too long"));
    }
}
