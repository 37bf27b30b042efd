//! How long a commit waits for the disk at different batch sizes, and what the same disk asks for a bare write and flush.
//!
//! The folder is made where the bench is started, for a temporary one may be memory: `TMPDIR` is not asked.

use std::fs::File;
use std::hint::black_box;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput};
use nautilus_benches::percentile;
use nautilus_journal::{Folder, Journal, Settings, verify};

const PAYLOAD: [u8; 128] = [7; 128];
const BATCHES: [usize; 3] = [1, 128, 1_024];
/// Commits whose percentiles are told.
const COMMITS: usize = 1_000;

fn open(path: &Path) -> Journal {
    let settings = Settings { owner: "bench".into(), segment_len: 64 << 20, salt: 1 };
    let storage = Folder::owned(path).expect("a folder");
    Journal::open(storage, settings, 1, |_, _, _| Ok(())).expect("a journal")
}

fn commit(journal: &mut Journal, batch: usize) {
    for at in 0..batch {
        journal.append(at as u64, black_box(&PAYLOAD)).expect("room");
    }
    journal.commit().expect("a disk");
}

/// Milliseconds of each call, as percentiles.
fn tell(what: &str, records: usize, mut act: impl FnMut()) {
    let start = Instant::now();
    let timed = |_| {
        let start = Instant::now();
        act();
        start.elapsed().as_secs_f64() * 1e3
    };
    let mut times: Vec<f64> = (0..COMMITS).map(timed).collect();
    let rate = (COMMITS * records) as f64 / start.elapsed().as_secs_f64();
    let [p50, p99, worst] = [0.5, 0.99, 1.0].map(|share| percentile(&mut times, share));
    println!("{what}: p50 {p50:.3} ms, p99 {p99:.3} ms, worst {worst:.3} ms, {rate:.0} records/s");
}

/// What the journal cannot be faster than: a short write into reserved room, and a flush.
fn bare(path: &Path) {
    let mut file = File::create(path.join("bare")).expect("a file");
    file.write_all(&vec![0; 1 << 20]).and_then(|()| file.sync_all()).expect("a disk");
    tell("bare write and flush", 1, || {
        file.seek(SeekFrom::Start(4_096)).and_then(|_| file.write_all(&PAYLOAD)).expect("a write");
        file.sync_data().expect("a disk");
    });
}

fn main() {
    let folder = tempfile::tempdir_in(".").expect("a folder here");
    bare(folder.path());
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("journal");
    for batch in BATCHES {
        let path = folder.path().join(batch.to_string());
        let mut journal = open(&path);
        tell(&format!("commit of {batch}"), batch, || commit(&mut journal, batch));
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new("commit", batch), |bencher| {
            bencher.iter(|| commit(&mut journal, batch));
        });
        drop(journal);
        let start = Instant::now();
        let report = verify(&Folder::shared(&path), |_, _, payload| {
            black_box(payload);
        });
        let records = report.expect("it reads").records;
        println!("verify: {:.0} records/s", records as f64 / start.elapsed().as_secs_f64());
    }
    group.finish();
    criterion.final_summary();
}
