//! Development tasks: `cargo xtask help`. Decides what a task is called and what it exits with; the work is in
//! the module of its name.

mod arm;
mod compose;
mod fuzz;
mod gpu;
mod install;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
Tasks:
  cargo xtask test [arguments of cargo test]   run every test; installs the servers they start where needed
                                               (with none, or with -p nautilus-hardware, also the aarch64 kernels under QEMU)
  cargo xtask fuzz [target] [--seconds N]      fuzz the decoders (all of them for 60 seconds each by default)
  cargo xtask compose-test [--debug|--from-source]   bring docker-compose.yml up, replay through it, take it down
  cargo xtask help                             this text
";

/// What to do.
#[derive(Debug, PartialEq, Eq)]
enum Task {
    Help,
    Test(Vec<String>),
    Fuzz { target: Option<String>, seconds: u64 },
    ComposeTest(compose::Programs),
}

fn main() -> ExitCode {
    let task = match parse(std::env::args().skip(1).collect()) {
        Ok(task) => task,
        Err(reason) => {
            eprintln!("{reason}\n\n{HELP}");
            return ExitCode::from(64);
        }
    };
    let result = match task {
        Task::Help => {
            print!("{HELP}");
            Ok(0)
        }
        Task::Test(arguments) => test::run(&arguments),
        Task::Fuzz { target, seconds } => fuzz::run(target.as_deref(), seconds),
        Task::ComposeTest(programs) => compose::run(programs),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            let missing = error.is::<install::Missing>();
            ExitCode::from(if missing { 69 } else { 1 })
        }
    }
}

fn parse(arguments: Vec<String>) -> Result<Task, String> {
    let mut arguments = arguments.into_iter();
    match arguments.next().as_deref() {
        None | Some("help" | "--help" | "-h") => Ok(Task::Help),
        Some("test") => Ok(Task::Test(arguments.collect())),
        Some("fuzz") => parse_fuzz(arguments),
        Some("compose-test") => parse_compose_test(&arguments.collect::<Vec<_>>()),
        Some(other) => Err(format!("there is no task '{other}'")),
    }
}

fn parse_compose_test(arguments: &[String]) -> Result<Task, String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let programs = match words[..] {
        [] => compose::Programs::Copied { release: true },
        ["--debug"] => compose::Programs::Copied { release: false },
        ["--from-source"] => compose::Programs::Compiled,
        _ => return Err("compose-test takes --debug or --from-source".to_owned()),
    };
    Ok(Task::ComposeTest(programs))
}

fn parse_fuzz(mut arguments: impl Iterator<Item = String>) -> Result<Task, String> {
    let (mut target, mut seconds) = (None, 60);
    while let Some(argument) = arguments.next() {
        if argument == "--seconds" {
            let number = arguments.next().and_then(|text| text.parse().ok());
            seconds = number.filter(|&n| n > 0).ok_or("--seconds takes a whole number above zero")?;
        } else if argument.starts_with('-') || target.is_some() {
            return Err(format!("'{argument}' is not an argument of fuzz"));
        } else {
            target = Some(argument);
        }
    }
    Ok(Task::Fuzz { target, seconds })
}

/// The workspace's folder.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask stands in the workspace").to_owned()
}

/// The cargo that runs this program.
fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// The exit code of a child; one that a signal ended counts as failed.
fn code_of(status: std::process::ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_name_a_task() {
        let fuzz = |target: Option<&str>, seconds| Task::Fuzz { target: target.map(str::to_owned), seconds };
        for (line, task) in [
            ("", Ok(Task::Help)),
            ("help", Ok(Task::Help)),
            ("test", Ok(Task::Test(vec![]))),
            (
                "test -p nautilus-store bars",
                Ok(Task::Test(vec!["-p".into(), "nautilus-store".into(), "bars".into()])),
            ),
            ("fuzz", Ok(fuzz(None, 60))),
            ("fuzz frames --seconds 5", Ok(fuzz(Some("frames"), 5))),
            ("fuzz --seconds 5 frames", Ok(fuzz(Some("frames"), 5))),
            ("fuzz --seconds", Err("--seconds takes a whole number above zero".to_owned())),
            ("fuzz --seconds 0", Err("--seconds takes a whole number above zero".to_owned())),
            ("fuzz a b", Err("'b' is not an argument of fuzz".to_owned())),
            ("compose-test", Ok(Task::ComposeTest(compose::Programs::Copied { release: true }))),
            ("compose-test --from-source", Ok(Task::ComposeTest(compose::Programs::Compiled))),
            ("compose-test x", Err("compose-test takes --debug or --from-source".to_owned())),
            ("deploy", Err("there is no task 'deploy'".to_owned())),
        ] {
            assert_eq!(parse(line.split_whitespace().map(str::to_owned).collect()), task, "{line}");
        }
    }
}
