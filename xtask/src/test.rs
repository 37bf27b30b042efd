//! `cargo xtask test`: runs every test of the workspace with a PostgreSQL server of its own. Tests start their
//! redis servers themselves. After them come the hardware crate's tests under emulation. Nothing that this did not start
//! is stopped or touched.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result};
use nautilus_testkit::PostgresServer;
use tokio::signal::unix::{SignalKind, signal};

use crate::{arm, cargo, code_of, gpu, install, root};

/// Runs the tests and returns their exit code.
pub(crate) fn run(arguments: &[String]) -> Result<u8> {
    install::programs()?;
    let emulated = arm::plan(arguments);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        // From here on a signal ends the tests and not this process, so that the server is stopped on drop.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let postgres = PostgresServer::start();
        eprintln!("PostgreSQL for the tests: {}", postgres.url());
        // Tests that a signal ends leave their temporary files behind: all of them lie in here.
        let folder = tempfile::Builder::new().prefix("nautilus-test-").tempdir()?;
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        // The workspace as it is shipped, then what is tested in builds of its own.
        let others = gpu::tests(arguments).into_iter().chain(emulated.commands);
        for mut command in std::iter::once(workspace(arguments)).chain(others) {
            command.env(PostgresServer::URL_VARIABLE, postgres.url()).env("TMPDIR", folder.path());
            let mut tests = command.spawn().context("cargo does not run")?;
            let code = tokio::select! {
                code = finished(&mut tests) => code?,
                // The terminal sends it to the tests as well.
                _ = interrupt.recv() => finished(&mut tests).await.map(|_| 130)?,
                _ = terminate.recv() => {
                    tests.kill()?;
                    finished(&mut tests).await.map(|_| 143)?
                }
            };
            if code != 0 {
                return Ok(code);
            }
        }
        anyhow::Ok(0)
    });
    if let Some(untested) = emulated.untested {
        eprintln!("!!! NOT TESTED: {untested}");
    }
    code
}

fn workspace(arguments: &[String]) -> Command {
    let mut command = Command::new(cargo());
    command.current_dir(root()).args(["test", "--locked"]).args(selection(arguments)).args(arguments);
    command
}

async fn finished(tests: &mut Child) -> Result<u8> {
    loop {
        if let Some(status) = tests.try_wait()? {
            return Ok(code_of(status));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Everything, unless the arguments name packages.
pub(crate) fn selection(arguments: &[String]) -> Option<&'static str> {
    let mut before_dashes = arguments.iter().take_while(|argument| *argument != "--");
    let names = before_dashes.any(|argument| argument == "-p" || argument.starts_with("--package"));
    (!names).then_some("--workspace")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_workspace_is_tested_unless_packages_are_named() {
        for (line, expected) in [
            ("", Some("--workspace")),
            ("bars", Some("--workspace")),
            ("-p nautilus-store", None),
            ("--package=nautilus-store", None),
            ("-- -p", Some("--workspace")),
        ] {
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(selection(&arguments), expected, "{line}");
        }
    }
}
