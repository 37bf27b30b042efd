//! A process that appends and commits is killed at random moments, again and again: everything it had acknowledged is
//! there, once and as it was.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nautilus_journal::{Folder, Journal, Settings, prune, verify};

const KILLS: u64 = 200;
const SEGMENT_LEN: u64 = 160 * 1024;
/// Set for the process that is killed.
const FOLDER: &str = "NAUTILUS_JOURNAL_KILL_FOLDER";
const FROM: &str = "NAUTILUS_JOURNAL_KILL_FROM";

fn mix(number: u64) -> u64 {
    let z = (number ^ (number >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z ^ (z >> 29)
}

/// What stands in a record, by its number.
fn payload(position: u64) -> Vec<u8> {
    let length = mix(position) % 400;
    (0..length).map(|byte| mix(position.wrapping_mul(1_000) + byte) as u8).collect()
}

fn check(position: u64, at: u64, found: &[u8]) {
    assert!(at == mix(position) && found == payload(position), "record {position} is not what it was");
}

/// The process that is killed; by itself it does nothing.
#[test]
fn the_process_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let from = std::env::var(FROM).unwrap().parse().unwrap();
    let settings = Settings { owner: "toy".into(), segment_len: SEGMENT_LEN, salt: from };
    let storage = Folder::owned(Path::new(&folder)).unwrap();
    let mut journal = Journal::open(storage, settings, from, |position, at, found| {
        check(position, at, found);
        Ok(())
    })
    .unwrap();
    let mut out = std::io::stdout();
    loop {
        for _ in 0..=mix(journal.position()) % 12 {
            let position = journal.position() + 1;
            assert_eq!(journal.append(mix(position), &payload(position)).unwrap(), position);
        }
        journal.commit().unwrap();
        out.write_all(format!("acknowledged {}\n", journal.committed()).as_bytes()).unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn what_a_killed_process_had_acknowledged_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, mut last) = (1, 0);
    let mut worked = 0;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["the_process_that_is_killed", "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(FROM, first.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut acknowledged = last;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let note = |line: std::io::Result<String>| line.unwrap().strip_prefix("acknowledged ")?.parse().ok();
        // Some while it starts, most while it works.
        let commits = if kill % 8 == 0 { 0 } else { mix(kill) as usize % 40 };
        for position in lines.by_ref().filter_map(note).take(commits) {
            (acknowledged, worked) = (position, worked + 1);
        }
        std::thread::sleep(Duration::from_micros(mix(kill + KILLS) % 3_000));
        child.kill().unwrap();
        acknowledged = lines.filter_map(note).last().unwrap_or(acknowledged);
        child.wait().unwrap();
        let mut next = first;
        let report = verify(&Folder::shared(folder.path()), |position, at, found| {
            assert_eq!(position, next, "none is missing and none comes twice");
            next += 1;
            check(position, at, found);
        })
        .unwrap();
        assert_eq!(report.damage, None);
        last = next - 1;
        assert!(last >= acknowledged, "kill {kill}: {acknowledged} were acknowledged, {last} are there");
        prune(&Folder::shared(folder.path()), last, 3 * SEGMENT_LEN).unwrap();
        let report = verify(&Folder::shared(folder.path()), |_, _, _| ()).unwrap();
        first = report.first.map_or(1, |(position, _)| position);
    }
    assert!(worked > KILLS && first > 1, "{worked} commits, the first record is {first}");
}
