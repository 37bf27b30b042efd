//! The calibration file: read back by the next process, and never trusted when it could not have been measured here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nautilus_hardware::router::Workload;
use nautilus_hardware::{BackendId, Calibration, Gemm, Hardware, Matrix, MatrixMut, Options, Spec, Task};
use serde_json::{Value, json};

use crate::fakes::{Bed, gemm};

fn options(bed: &Bed, folder: &Path) -> Options {
    Options { cache_folder: Some(folder.to_owned()), ..bed.options() }
}

/// The calibration file of a folder.
fn file(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.into_iter().find(|path| path.extension().is_some_and(|end| end == "json")).unwrap()
}

fn reason(hardware: &Hardware) -> Option<String> {
    match hardware.status().calibration {
        Calibration::Absent { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_next_process_reads_what_one_measured() {
    let place = tempfile::tempdir().unwrap();
    let bed = Bed::usual();
    let first = bed.hardware(options(&bed, place.path()));
    let mut heard = Vec::new();
    first.calibrate(|done, total| heard.push((done, total))).unwrap();
    assert!(heard.is_sorted() && heard.last().is_some_and(|(done, total)| done == total), "{heard:?}");
    let second = bed.hardware(options(&bed, place.path()));
    assert!(matches!(second.status().calibration, Calibration::Measured { .. }));
    for spec in [gemm(3, 3, 3), gemm(50, 60, 70), gemm(500, 500, 500)] {
        assert_eq!(first.route(&spec), second.route(&spec));
    }
}

#[test]
fn a_running_process_goes_by_what_another_one_measures_later() {
    let place = tempfile::tempdir().unwrap();
    let bed = Bed::usual();
    let running = bed.hardware(options(&bed, place.path()));
    assert_eq!(running.status().calibration, Calibration::Absent { reason: None });
    let other = bed.hardware(options(&bed, place.path()));
    bed.calibrate(&other).unwrap();
    assert!(matches!(running.status().calibration, Calibration::Measured { .. }));
    assert_eq!(running.route(&gemm(50, 60, 70)), other.route(&gemm(50, 60, 70)));
}

#[test]
fn a_damaged_or_foreign_file_is_said_and_measured_anew() {
    let place = tempfile::tempdir().unwrap();
    let bed = Bed::usual();
    bed.calibrate(&bed.hardware(options(&bed, place.path()))).unwrap();
    let path = file(place.path());
    let good: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let edited = |pointer: &str, value: Value| {
        let mut edited = good.clone();
        *edited.pointer_mut(pointer).unwrap() = value;
        edited.to_string()
    };
    for (text, part) in [
        (String::new(), "damaged"),
        (good.to_string()[..1_000].to_owned(), "damaged"),
        (edited("/version", json!(99)), "another version"),
        (edited("/build", json!("nautilus-hardware 0.0.0 of other kernels")), "another version"),
        (edited("/cpu", json!("z80")), "another processor"),
        (edited("/backends", json!(["portable"])), "was not there"),
        (edited("/at_unix_s", json!(u64::MAX)), "future"),
        (edited("/series/0/points/0/ns", json!(-1.0)), "cannot be"),
        (edited("/series/0/points/0/ns", json!(1e300)), "cannot be"),
        (edited("/series/0/points/0/sizes/0", json!(u64::MAX)), "cannot be"),
        (edited("/thread_ns", json!(0.0)), "cannot be"),
    ] {
        std::fs::write(&path, &text).unwrap();
        let hardware = bed.hardware(options(&bed, place.path()));
        let reason = reason(&hardware).unwrap_or_default();
        assert!(reason.contains(part), "{part}: {reason}");
        assert_eq!(hardware.route(&gemm(600, 600, 600)).chosen, BackendId::Avx512, "by preference");
    }
    let hardware = bed.hardware(options(&bed, place.path()));
    bed.calibrate(&hardware).unwrap();
    let next = bed.hardware(options(&bed, place.path()));
    assert!(matches!(next.status().calibration, Calibration::Measured { .. }));
}

#[test]
fn a_folder_that_cannot_be_written_costs_the_file_and_not_the_calibration() {
    let place = tempfile::tempdir().unwrap();
    let blocked = place.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    let bed = Bed::usual();
    let hardware = bed.hardware(options(&bed, &blocked));
    let error = bed.calibrate(&hardware).unwrap_err().to_string();
    assert!(error.contains("cannot be kept"), "{error}");
    assert!(matches!(hardware.status().calibration, Calibration::Measured { .. }));
}

/// Hardware whose calibration says what a thread costs, on two cores.
fn with_threads(bed: &Bed, thread_ns: f64, folder: &Path) -> Hardware {
    bed.calibrate(&bed.hardware(options(bed, folder))).unwrap();
    let path = file(folder);
    let mut stored: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    stored["thread_ns"] = json!(thread_ns);
    stored["shares"] = json!([[2, 0.95]]);
    std::fs::write(&path, stored.to_string()).unwrap();
    bed.hardware(Options { workers_max: 2, ..options(bed, folder) })
}

#[test]
fn small_work_never_pays_for_a_thread_and_large_work_is_cut() {
    let place = tempfile::tempdir().unwrap();
    let bed = Bed::new().with(BackendId::Portable, |spec| 10.0 + spec.flops());
    let hardware = with_threads(&bed, 20_000.0, place.path());
    for (spec, workers) in [
        (gemm(4, 4, 4), 1),
        (gemm(20, 20, 20), 1),
        (gemm(200, 200, 200), 2),
        (gemm(400, 2, 400), 2),
        (gemm(2, 2, 100_000), 2),
    ] {
        assert_eq!(hardware.route(&spec).workers, workers, "{spec:?}");
    }
}

#[test]
fn a_part_that_breaks_is_done_by_another_backend_and_the_others_stand() {
    let place = tempfile::tempdir().unwrap();
    let bed = Bed::new()
        .with(BackendId::Portable, |spec| 10.0 + 9.0 * spec.flops())
        .with(BackendId::Avx2, |spec| 10.0 + spec.flops());
    let hardware = with_threads(&bed, 500.0, place.path());
    let spec = gemm(20, 20, 20);
    assert_eq!(hardware.route(&spec).workers, 2);
    let value = |i: usize| (i % 7) as f64;
    let (a, b): (Vec<f64>, Vec<f64>) = ((0..400).map(value).collect(), (3..403).map(value).collect());
    let mut c = vec![1.0; 400];
    bed.fake(BackendId::Avx2).broken.store(1, std::sync::atomic::Ordering::Relaxed);
    let view = |data| Matrix::row_major(data, 20, 20).unwrap();
    let product = Gemm::new(1.0, view(&a), view(&b), 2.0, MatrixMut::row_major(&mut c, 20, 20).unwrap());
    let job = nautilus_hardware::Job::F64(Task::Gemm(product.unwrap()));
    assert_eq!(hardware.run(job), Ok(BackendId::Avx2));
    for i in 0..20 {
        for j in 0..20 {
            let sum: f64 = (0..20).map(|p| a[i * 20 + p] * b[p * 20 + j]).sum();
            assert_eq!(c[i * 20 + j], sum + 2.0, "({i}, {j})");
        }
    }
    let rows = hardware.monitor().snapshot();
    assert_eq!(rows.iter().map(|row| row.fallbacks).sum::<u64>(), 1);
}

#[test]
fn threads_that_share_the_front_count_every_call() {
    let bed = Bed::usual();
    let hardware = Arc::new(bed.calibrated());
    let spec: Spec = gemm(6, 6, 6);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut workload = Workload::new(&spec).unwrap();
                for _ in 0..2_000 {
                    hardware.run(workload.job().unwrap()).unwrap();
                }
            });
        }
    });
    assert_eq!(hardware.monitor().snapshot().iter().map(|row| row.calls).sum::<u64>(), 8_000);
}
