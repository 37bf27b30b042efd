//! The console example of docs/risk.md, typed line by line: what it shows is what comes.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nautilus_testkit::shared_data;

use crate::support::{Engines, Place};

const RISK: &str = include_str!("../../../../docs/risk.md");
/// What the example types are, and how its answers are made.
const TOOLS: [&str; 4] = ["bash", "curl", "jq", "python3"];

/// Commands of the console that stands under a heading, and what each of them shows.
fn console(document: &str, heading: &str) -> Vec<(String, String)> {
    let (_, section) = document.split_once(&format!("\n## {heading}\n")).expect("the section is there");
    let (_, block) = section.split_once("```console\n").expect("it has a console");
    let (block, _) = block.split_once("```").expect("the console ends");
    let mut steps: Vec<(String, String)> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), line.strip_prefix("> "), steps.last_mut()) {
            (Some(command), _, _) => steps.push((command.to_owned(), String::new())),
            (_, Some(more), Some((command, _))) => *command += &format!("\n{more}"),
            (_, _, Some((_, shown))) => *shown += &format!("{line}\n"),
            (_, _, None) => panic!("the console begins with a command, not {line}"),
        }
    }
    steps
}

/// Types a command in the folder; services listen elsewhere than they do by default.
fn typed(place: &Place, engines: &Engines, variables: &str, command: &str) -> String {
    let script = format!("{variables}\n{command}")
        .replace("http://127.0.0.1:8200", &engines.risk)
        .replace("http://127.0.0.1:8800", &engines.marketdata);
    let output = Command::new("bash").args(["-c", &script]).current_dir(place.path("")).output();
    let output = output.expect("bash runs");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_example_of_twenty_stocks_gives_what_it_shows() {
    let Some(prices) = shared_data("prices_skfolio/sp500_dataset.csv.gz") else { return };
    if let Some(tool) = TOOLS.iter().find(|tool| Command::new(tool).arg("--version").output().is_err()) {
        eprintln!("\n!!! SKIPPED: {tool} is absent, so the example of docs/risk.md was not typed\n");
        return;
    }
    let place = Place::new();
    let engines = place.start(&["up", "--no-simulator"]);
    fs::copy(prices, place.path("sp500_dataset.csv.gz")).expect("the prices are copied");
    let mut variables = String::new();
    let steps = console(RISK, "An example: twenty stocks");
    assert!(steps.len() >= 8, "{steps:?}");
    for (command, shown) in steps {
        if command.starts_with("R=") {
            variables = command;
            continue;
        }
        let changes = ["-d", "-X", "python3"].iter().any(|word| command.contains(word));
        let deadline = Instant::now() + Duration::from_secs(if changes { 0 } else { 60 });
        let mut found = typed(&place, &engines, &variables, &command);
        while found != shown && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
            found = typed(&place, &engines, &variables, &command);
        }
        println!("$ {command}\n{found}");
        assert_eq!(found, shown, "{command}");
    }
    engines.stop();
}
