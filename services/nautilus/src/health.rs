//! `nautilus health URL`: asks a service's health route once and says by its exit status whether it is well. For health
//! checks of containers, which hold no other program.
//!
//! It speaks plain HTTP and follows nothing.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

/// For each step: reaching it, asking, and every piece of the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// More of an answer is not read.
const ANSWER_MAX: u64 = 16 * 1_024;

#[derive(Debug, Args)]
pub(crate) struct Health {
    /// http://host:port/path, for example http://127.0.0.1:8800/health/ready
    url: String,
}

impl Health {
    /// 0 where the answer is 2xx, otherwise 1 and the reason.
    pub(crate) fn run(&self) -> ExitCode {
        match ask(&self.url) {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                complain!("{}: {reason}", self.url);
                ExitCode::FAILURE
            }
        }
    }
}

fn ask(url: &str) -> Result<(), String> {
    let (host, path) = parts(url)?;
    let text = |error: std::io::Error| error.to_string();
    let address = host.to_socket_addrs().map_err(text)?.next().ok_or("the name has no address")?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(text)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(text)?;
    let request = format!("GET {path} HTTP/1.0\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(text)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).map_err(text)?;
    judge(&String::from_utf8_lossy(&answer))
}

/// `host:port` and the path of a URL.
fn parts(url: &str) -> Result<(&str, &str), String> {
    let refused = || "give http://host:port/path".to_owned();
    let rest = url.strip_prefix("http://").ok_or_else(refused)?;
    let slash = rest.find('/').unwrap_or(rest.len());
    let (host, path) = rest.split_at(slash);
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !host.contains(':') || !plain(url) {
        return Err(refused());
    }
    Ok((host, if path.is_empty() { "/" } else { path }))
}

fn judge(answer: &str) -> Result<(), String> {
    let status = answer.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    let status: u16 = status.and_then(|status| status.parse().ok()).ok_or("the answer is not HTTP")?;
    if (200..300).contains(&status) {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Err(format!("status {status} {}", body.lines().next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_a_host_a_port_and_a_path() {
        assert_eq!(parts("http://127.0.0.1:8800/health/ready"), Ok(("127.0.0.1:8800", "/health/ready")));
        assert_eq!(parts("http://[::1]:1"), Ok(("[::1]:1", "/")));
        for url in ["", "https://a:1/", "http://a/", "http://a:1/ b", "http://a:1/\r\nx"] {
            assert!(parts(url).unwrap_err().contains("http://host:port/path"), "{url}");
        }
    }

    #[test]
    fn only_an_answer_of_2xx_is_well() {
        assert_eq!(judge("HTTP/1.0 200 OK\r\n\r\n"), Ok(()));
        assert_eq!(judge("HTTP/1.1 204 No Content\r\n\r\n"), Ok(()));
        let down = judge("HTTP/1.1 503 Service Unavailable\r\nx: y\r\n\r\n{\"ready\":false}");
        assert_eq!(down, Err("status 503 {\"ready\":false}".to_owned()));
        for answer in ["", "SSH-2.0", "HTTP/1.1", "HTTP/1.1 two"] {
            assert_eq!(judge(answer), Err("the answer is not HTTP".to_owned()));
        }
    }
}
