//! A journal in a real folder: what is read back, what is refused, what is removed.

use std::path::Path;

use nautilus_journal::{Error, Folder, Journal, PAYLOAD_MAX, Settings, prune, verify};

const SEGMENT_LEN: u64 = 2 << 20;

type Records = Vec<(u64, u64, Vec<u8>)>;

fn settings() -> Settings {
    Settings { owner: "toy".into(), segment_len: SEGMENT_LEN, salt: 7 }
}

fn open(path: &Path, from: u64) -> Result<(Journal, Records), Error> {
    let mut found = Vec::new();
    let journal = Journal::open(Folder::owned(path)?, settings(), from, |position, at, payload| {
        found.push((position, at, payload.to_vec()));
        Ok(())
    })?;
    Ok((journal, found))
}

/// Appends long records until there are `segments`, and commits.
fn fill(journal: &mut Journal, path: &Path, segments: usize) {
    while verify(&Folder::shared(path), |_, _, _| ()).unwrap().segments < segments {
        journal.append(0, &vec![1; PAYLOAD_MAX / 2]).unwrap();
        journal.commit().unwrap();
    }
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_was_committed_is_read_back_and_what_was_not_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = &folder.path().join("made");
    let (mut journal, found) = open(path, 1).unwrap();
    assert!(found.is_empty() && journal.position() == 0 && journal.has_room());
    journal.commit().unwrap();
    let longest = vec![9; PAYLOAD_MAX];
    for (position, payload) in (1..).zip([&b"one"[..], b"", &longest]) {
        assert_eq!(journal.append(10 * position, payload).unwrap(), position);
    }
    assert_eq!((journal.position(), journal.committed()), (3, 0));
    journal.commit().unwrap();
    assert_eq!(journal.committed(), 3);
    journal.append(40, b"never committed").unwrap();
    drop(journal);
    let expected = [(1, 10, b"one".to_vec()), (2, 20, Vec::new()), (3, 30, longest)];
    for from in 1..=4 {
        assert_eq!(open(path, from).unwrap().1, expected[from as usize - 1..]);
    }
    let report = verify(&Folder::shared(path), |_, _, _| ()).unwrap();
    assert_eq!((report.records, report.bytes, report.torn), (3, 3 + PAYLOAD_MAX as u64, 0));
    assert_eq!((report.first, report.last, report.damage), (Some((1, 10)), Some((3, 30)), None));
    assert_eq!(names(path), ["00000000000000000001.segment", "lock", "spare"]);
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (mut journal, _) = open(path, 1).unwrap();
    let locked = open(path, 1).unwrap_err();
    assert!(locked.to_string().ends_with("is open in another process"), "{locked}");
    let long = journal.append(1, &vec![0; PAYLOAD_MAX + 1]).unwrap_err();
    assert_eq!(long.to_string(), "a record of 1048577 bytes is longer than 1048576");
    assert_eq!(journal.append(1, b"it is not dead").unwrap(), 1);
    journal.commit().unwrap();
    drop(journal);
    let short = open(path, 3).unwrap_err();
    assert_eq!(short.to_string(), "the journal ends with record 1, and is known to have had record 2");
    let refused = Journal::open(Folder::owned(path).unwrap(), settings(), 1, |_, _, _| Err("no".into()));
    assert_eq!(refused.unwrap_err().to_string(), "record 1 of the journal cannot be applied: no");
    let other = Settings { owner: "other".into(), ..settings() };
    let other = Journal::open(Folder::owned(path).unwrap(), other, 1, |_, _, _| Ok(())).unwrap_err();
    assert!(other.to_string().contains("it is another engine's"), "{other}");
}

#[test]
fn segments_that_a_snapshot_contains_are_removed_from_the_oldest_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (mut journal, _) = open(path, 1).unwrap();
    fill(&mut journal, path, 4);
    let last = journal.committed();
    let prune =
        |covered, segments: u64| prune(&Folder::shared(path), covered, segments * SEGMENT_LEN).unwrap();
    assert_eq!(prune(0, 0), 4 * SEGMENT_LEN);
    assert_eq!(prune(2, 0), 4 * SEGMENT_LEN, "record 3 is in the first segment");
    assert_eq!(prune(3, 4), 4 * SEGMENT_LEN, "so much is to be kept");
    assert_eq!(prune(3, 0), 3 * SEGMENT_LEN);
    assert_eq!(prune(last, 2), 2 * SEGMENT_LEN);
    assert_eq!(prune(last, 0), SEGMENT_LEN, "the last one is in use");
    assert_eq!(journal.append(5, b"goes on").unwrap(), last + 1);
    journal.commit().unwrap();
    drop(journal);
    let pruned = open(path, 1).unwrap_err();
    assert_eq!(pruned.to_string(), format!("the journal begins with record {last}, and record 1 is needed"));
    assert_eq!(open(path, last + 1).unwrap().1, [(last + 1, 5, b"goes on".to_vec())]);
}

#[test]
fn a_segment_that_is_missing_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (mut journal, _) = open(path, 1).unwrap();
    fill(&mut journal, path, 3);
    drop(journal);
    let second = names(path)[1].clone();
    std::fs::remove_file(path.join(second)).unwrap();
    let damaged = open(path, 1).unwrap_err().to_string();
    assert!(damaged.starts_with("00000000000000000001.segment is damaged at byte"), "{damaged}");
    let damage = verify(&Folder::shared(path), |_, _, _| ()).unwrap().damage.unwrap();
    assert_eq!(damage.position, 4);
}

#[test]
fn the_next_segments_room_is_sought_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    drop(open(path, 1).unwrap());
    std::fs::remove_file(path.join("spare")).unwrap();
    std::fs::create_dir(path.join("spare")).unwrap();
    let (mut journal, _) = open(path, 1).unwrap();
    assert!(!journal.has_room() && !journal.make_room());
    journal.append(1, b"what is left of the segment can be used").unwrap();
    journal.commit().unwrap();
    std::fs::remove_dir(path.join("spare")).unwrap();
    assert!(journal.make_room() && journal.has_room());
    // One of another length is of no use.
    drop(journal);
    let longer = Settings { segment_len: 2 * SEGMENT_LEN, ..settings() };
    let mut journal = Journal::open(Folder::owned(path).unwrap(), longer, 1, |_, _, _| Ok(())).unwrap();
    assert_eq!(std::fs::metadata(path.join("spare")).unwrap().len(), 2 * SEGMENT_LEN);
    fill(&mut journal, path, 3);
    drop(journal);
    assert!(open(path, 1).is_ok());
}
