//! Whom the router chooses: before and after calibration, when told to, and after it has learned.

use std::sync::atomic::Ordering::Relaxed;

use nautilus_hardware::router::Workload;
use nautilus_hardware::{BackendId, Calibration, CalibrationError, Hardware, Options, Spec, Switches};

use crate::fakes::{Bed, gemm};

/// Runs a job like `spec` and answers who did it.
fn run(hardware: &Hardware, spec: &Spec) -> BackendId {
    hardware.run(Workload::new(spec).unwrap().job().unwrap()).unwrap()
}

#[test]
fn before_calibration_the_order_of_preference_stands_and_no_time_is_made_up() {
    let bed = Bed::usual();
    let hardware = bed.hardware(bed.options());
    assert_eq!(hardware.status().calibration, Calibration::Absent { reason: None });
    let route = hardware.route(&gemm(600, 600, 600));
    assert_eq!(route.chosen, BackendId::Avx512, "never the GPU unmeasured");
    assert!(route.candidates.iter().all(|candidate| candidate.predicted_ns.is_none()));
    let order: Vec<_> = route.candidates.iter().map(|candidate| candidate.backend).collect();
    assert_eq!(order, [BackendId::Avx512, BackendId::Portable, BackendId::Gpu]);
    assert_eq!(run(&hardware, &gemm(8, 8, 8)), BackendId::Avx512);
}

#[test]
fn choices_on_shapes_that_were_not_measured_are_near_the_best() {
    let bed = Bed::usual();
    let hardware = bed.calibrated();
    assert!(matches!(hardware.status().calibration, Calibration::Measured { .. }));
    let mut regrets = Vec::new();
    let mut chosen = Vec::new();
    for m in [1, 2, 3, 5, 7, 9, 13, 21, 34, 55, 90, 150, 230, 390, 610] {
        for n in [2, 3, 5, 9, 17, 33, 65, 130, 260, 520] {
            for k in [1, 4, 9, 15, 31, 66, 127, 257, 500] {
                let spec = gemm(m, n, k);
                let route = hardware.route(&spec);
                regrets.push(bed.cost(route.chosen, &spec) / bed.best(&spec) - 1.0);
                chosen.push(route.chosen);
            }
        }
    }
    regrets.sort_by(f64::total_cmp);
    let (median, p95) = (regrets[regrets.len() / 2], regrets[regrets.len() * 95 / 100]);
    assert!(median <= 0.03 && p95 <= 0.15, "median {median}, p95 {p95}");
    for id in [BackendId::Portable, BackendId::Avx512, BackendId::Gpu] {
        assert!(chosen.contains(&id), "{id} is the best somewhere");
    }
}

#[test]
fn routes_are_explained_by_prediction_and_by_the_newest_measurement() {
    let bed = Bed::usual();
    let hardware = bed.calibrated();
    let spec = gemm(40, 40, 40);
    run(&hardware, &spec);
    let route = hardware.route(&spec);
    let first = &route.candidates[0];
    assert_eq!((first.backend, route.chosen), (BackendId::Avx512, BackendId::Avx512));
    let cost = bed.cost(BackendId::Avx512, &spec);
    assert_eq!(first.last_measured_ns, Some(cost.round() as u64));
    assert!((first.predicted_ns.unwrap() / cost - 1.0).abs() < 0.1);
    let times: Vec<f64> = route.candidates.iter().map(|candidate| candidate.predicted_ns.unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    let json = serde_json::to_value(&route).unwrap();
    assert_eq!(json["candidates"][0]["backend"], "avx512");
}

#[test]
fn a_choice_moves_when_its_backend_becomes_slow_and_stays_when_it_does_not() {
    let bed = Bed::usual();
    let hardware = bed.calibrated();
    let spec = gemm(8, 8, 8);
    assert_eq!(hardware.route(&spec).chosen, BackendId::Avx512);
    for _ in 0..20_000 {
        run(&hardware, &spec);
    }
    assert_eq!(hardware.route(&spec).chosen, BackendId::Avx512);
    assert_eq!(
        bed.fake(BackendId::Gpu).calls.load(Relaxed),
        calls_of_calibration(&bed),
        "hopeless, never tried"
    );
    // Somebody else uses the vector units: 60 times slower than measured.
    bed.fake(BackendId::Avx512).slower.store(6_000, Relaxed);
    for _ in 0..10_000 {
        run(&hardware, &spec);
    }
    assert_eq!(hardware.route(&spec).chosen, BackendId::Portable);
}

/// How often the GPU of a bed like this runs in a calibration.
fn calls_of_calibration(like: &Bed) -> usize {
    assert_eq!(like.fakes.len(), 3);
    let bed = Bed::usual();
    bed.calibrated();
    bed.fake(BackendId::Gpu).calls.load(Relaxed)
}

#[test]
fn a_pinned_backend_does_everything_on_one_core_and_nothing_is_learned() {
    let bed = Bed::usual();
    let options = Options { pin: Some(BackendId::Gpu), workers_max: 8, ..bed.options() };
    let hardware = bed.hardware(options);
    assert!(matches!(hardware.calibrate(|_, _| ()), Err(CalibrationError::Pinned)));
    for spec in [gemm(2, 2, 2), gemm(16, 16, 16)] {
        for _ in 0..300 {
            assert_eq!(run(&hardware, &spec), BackendId::Gpu);
        }
    }
    let status = hardware.status();
    assert_eq!((status.pinned, status.workers_max), (Some(BackendId::Gpu), 1));
    let reasons: Vec<_> = status.backends.iter().filter_map(|backend| backend.reason.as_deref()).collect();
    assert_eq!(reasons, ["another backend is pinned"; 2]);
}

#[test]
fn switches_leave_backends_out_and_say_so() {
    let bed = Bed::usual();
    let switches = Switches { forbid: vec![BackendId::Avx512], ..Switches::default() };
    let hardware = bed.switched(switches, bed.options());
    assert_eq!(run(&hardware, &gemm(4, 4, 4)), BackendId::Portable);
    let off: Vec<_> = hardware.status().backends.into_iter().filter(|backend| !backend.on).collect();
    assert_eq!(
        (off.len(), off[0].backend, off[0].reason.as_deref()),
        (1, BackendId::Avx512, Some("switched off"))
    );
    let switches = Switches { force: Some(BackendId::Gpu), ..Switches::default() };
    let hardware = bed.switched(switches, bed.options());
    assert_eq!(run(&hardware, &gemm(4, 4, 4)), BackendId::Gpu);
    bed.calibrate(&hardware).unwrap();
    assert_eq!(run(&hardware, &gemm(5, 4, 4)), BackendId::Gpu, "forced, however slow");
}

#[test]
fn every_call_is_counted_and_small_ones_are_timed_now_and_then() {
    let bed = Bed::usual();
    let hardware = bed.calibrated();
    let spec = gemm(4, 4, 4);
    for _ in 0..1_000 {
        run(&hardware, &spec);
    }
    let rows = hardware.monitor().snapshot();
    assert_eq!(rows.iter().map(|row| row.calls).sum::<u64>(), 1_000);
    let sampled: u64 = rows.iter().map(|row| row.sampled).sum();
    assert!((1..100).contains(&sampled), "{sampled} of 1000 were timed");
    assert!(rows.iter().any(|row| row.gflops.is_some_and(|rate| rate > 0.0)));
}
