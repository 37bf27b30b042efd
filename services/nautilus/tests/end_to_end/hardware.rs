//! The machine as services and the command line show it: backends, switches, routes, measurements.
//!
//! Whether a backend computes what it should is tested beside it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Engines, Place, ask, eventually, get, list};

/// Every service with its name.
fn services(engines: &Engines) -> [(&'static str, &str); 6] {
    [
        ("marketdata", &engines.marketdata),
        ("vpin", &engines.vpin),
        ("websocket", &engines.websocket),
        ("features", &engines.features),
        ("risk", &engines.risk),
        ("gateway", &engines.gateway),
    ]
}

fn backend<'a>(report: &'a Value, name: &str) -> &'a Value {
    let found = list(&report["backends"]).iter().find(|backend| backend["backend"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {report}"))
}

/// The value of one series.
fn series(metrics: &str, name: &str, label: &str) -> Option<f64> {
    let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{")) && line.contains(label))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[test]
fn every_service_shows_the_machine_and_answers_where_a_job_goes() {
    let engines = Place::new().start(&["up", "--no-simulator"]);
    for (service, url) in services(&engines) {
        let report = get(url, "/v1/hardware");
        assert!(report["machine"]["threads"].as_u64() >= report["machine"]["cores"].as_u64(), "{service}");
        assert_eq!(report["machine"]["architecture"], std::env::consts::ARCH);
        assert_eq!(backend(&report, "portable")["on"], true);
        assert_eq!(backend(&report, "jit")["on"] == true, report["generated"].is_object());
        assert_eq!((&report["pinned"], &report["switches"]["force"]), (&Value::Null, &Value::Null));
        assert_eq!(report["calibration"]["state"], "absent", "nobody measured in this folder");
        for found in list(&report["backends"]) {
            assert!(found["on"] == true || found["reason"].is_string(), "{found}");
        }
        let route = get(url, "/v1/hardware/route?op=gemm&m=64&n=32&k=16&element=f32");
        let shape = ["op", "element", "m", "n", "k", "batch"].map(|name| route[name].clone());
        assert_eq!(json!(shape), json!(["gemm", "f32", 64, 32, 16, 1]));
        let candidates = list(&route["candidates"]);
        let chosen = candidates.iter().find(|candidate| candidate["backend"] == route["chosen"]);
        assert_eq!(chosen.expect("the chosen one is a candidate")["refused"], Value::Null);
        assert!(candidates.iter().all(|candidate| candidate["predicted_ns"].is_null()), "nothing is made up");
        let metrics = ask("GET", url, "/metrics", None).text;
        let on = series(&metrics, "nautilus_hardware_backend_on", "backend=\"portable\"");
        assert_eq!((on, series(&metrics, "nautilus_hardware_calibrated", service)), (Some(1.0), Some(0.0)));
    }
    // The gateway's document names every service's routes.
    eventually("the gateway knows the routes", || {
        let paths = get(&engines.gateway, "/openapi.json")["paths"].clone();
        let route = |prefix: &str| paths[format!("{prefix}/v1/hardware/route")]["get"].is_object();
        ["", "/api/marketdata", "/api/vpin", "/api/websocket", "/api/features", "/api/risk"]
            .into_iter()
            .all(route)
            .then_some(())
    });
    engines.stop();
}

#[test]
fn questions_without_an_answer_are_refused_in_one_sentence() {
    let engines = Place::new().start(&["up", "--no-simulator"]);
    for (query, part) in [
        ("", "op"),
        ("?op=gem&m=1&n=1&k=1", "gem"),
        ("?op=gemm&m=1&n=1", "gemm needs m, n, k: k is missing"),
        ("?op=gemm&m=0&n=1&k=1", "m is 0; it must be between 1 and 1048576"),
        ("?op=gemm&m=1048577&n=1&k=1", "1048577"),
        ("?op=gemm&m=99999999999999999999999&n=1&k=1", "m"),
        ("?op=gemm&m=-1&n=1&k=1", "m"),
        ("?op=gemm&m=1.5&n=1&k=1", "m"),
        ("?op=gemm&m=1&m=2&n=1&k=1", "duplicate"),
        ("?op=dot&m=5", "dot has no m"),
        ("?op=gemm&m=1&n=1&k=1&element=f16", "f16"),
        ("?op=gemm&m=1&n=1&k=1&element=i8", "ask for gemm_i8"),
        ("?op=gemm&m=1&n=1&k=1&batch=3", "ask for batched_gemm"),
        ("?op=gemm&m=1&n=1&k=1&size=3", "size"),
    ] {
        let answer = ask("GET", &engines.vpin, &format!("/v1/hardware/route{query}"), None);
        assert_eq!((answer.status, &answer.body["code"]), (400, &json!("invalid_query")), "{query}");
        let detail = answer.body["detail"].as_str().expect("a sentence");
        assert!(detail.contains(part) && !detail.contains('\n') && detail.len() < 300, "{query}: {detail}");
    }
    for op in [
        "gemm&m=1048576&n=1048576&k=1048576",
        "batched_gemm&m=1&n=1&k=1&batch=1048576",
        "gemm_i8&m=1&n=2&k=3",
    ] {
        assert!(get(&engines.vpin, &format!("/v1/hardware/route?op={op}"))["chosen"].is_string(), "{op}");
    }
    engines.stop();
}

#[test]
fn a_family_that_is_switched_off_is_seen_to_be_off() {
    let engines = Place::new().with("KERNEL_OPTIMIZATIONS", "off").start(&["up", "--no-simulator"]);
    let report = get(&engines.gateway, "/v1/hardware");
    let families = list(&report["switches"]["families"]);
    let built =
        |backend: &&Value| !backend["reason"].as_str().is_some_and(|reason| reason.contains("this build"));
    let of = |backend: &Value| backend["family"].as_str().map(str::to_owned);
    let listed: Vec<_> = families.iter().map(|switch| switch["family"].as_str().expect("a name")).collect();
    let existing: BTreeSet<_> = list(&report["backends"]).iter().filter(built).filter_map(of).collect();
    assert_eq!(BTreeSet::from_iter(listed), existing.iter().map(String::as_str).collect(), "what there is");
    assert!(families.iter().all(|switch| switch["on"] == (switch["family"] != "kernel")), "{families:?}");
    let metrics = ask("GET", &engines.gateway, "/metrics", None).text;
    let kernels: Vec<_> =
        list(&report["backends"]).iter().filter(|backend| backend["family"] == "kernel").collect();
    assert!(!kernels.is_empty(), "this build has kernels");
    for kernel in kernels {
        assert!(kernel["on"] == false && kernel["reason"].is_string(), "{kernel}");
        let label = format!("backend=\"{}\"", kernel["backend"].as_str().expect("a name"));
        assert_eq!(series(&metrics, "nautilus_hardware_backend_on", &label), Some(0.0), "{label}");
    }
    let route = get(&engines.gateway, "/v1/hardware/route?op=gemm&m=8&n=8&k=8");
    assert_eq!(route["chosen"], "portable");
    engines.stop();
}

#[test]
fn a_switch_that_means_nothing_is_one_sentence_and_64() {
    let elsewhere = if cfg!(target_os = "macos") { "avx512" } else { "accelerate" };
    for (variable, value, part) in [
        ("KERNEL_OPTIMIZATIONS", "maybe", "KERNEL_OPTIMIZATIONS=maybe: use true or false"),
        ("BREAKTHROUGH_OPTIMIZATIONS", "2", "BREAKTHROUGH_OPTIMIZATIONS=2: use true or false"),
        ("NAUTILUS_BACKEND_FORCE", "cuda", "there is no backend 'cuda': use one of portable, avx2"),
        (
            "NAUTILUS__HARDWARE__PIN_BACKEND",
            "fast",
            "setting hardware.pin_backend: there is no backend 'fast'",
        ),
        ("NAUTILUS__HARDWARE__PIN_BACKEND", elsewhere, "cannot run here (needs "),
        (
            "NAUTILUS__HARDWARE__WORKERS_MAX",
            "5000",
            "setting hardware.workers_max: it must be from 0 to 1024",
        ),
        ("NAUTILUS__HARDWARE__CALIBRATE", "soon", "setting hardware.calibrate: invalid type"),
    ] {
        let place = Place::new().with(variable, value);
        for arguments in [&["up"][..], &["up", "--processes"], &["service", "vpin"], &["hardware"]] {
            let ended = place.run(arguments);
            assert_eq!(ended.code, Some(64), "{arguments:?}: {}", ended.stderr);
            let said: Vec<_> = ended.stderr.lines().collect();
            assert!(said.len() == 1 && said[0].starts_with("error: "), "{arguments:?}: {}", ended.stderr);
            assert!(said[0].contains(part), "{arguments:?}: {}", ended.stderr);
        }
    }
}

#[test]
fn the_command_line_shows_and_explains() {
    let place = Place::new();
    let table = place.run(&["hardware"]);
    assert_eq!((table.code, table.stderr.as_str()), (Some(0), ""));
    for part in ["machine ", "caches ", "calibration  not measured yet", "portable    -        on"] {
        assert!(table.stdout.contains(part), "{part}: {}", table.stdout);
    }
    let json = place.run(&["hardware", "--json"]).stdout;
    let report: Value = serde_json::from_str(&json).expect("JSON");
    for backend in list(&report["backends"]) {
        assert!(table.stdout.contains(backend["backend"].as_str().expect("a name")), "{}", table.stdout);
    }
    let route = place.run(&["hardware", "route", "gemm", "64", "32", "16", "--element", "f32"]);
    assert_eq!(route.code, Some(0), "{}", route.stderr);
    assert!(route.stdout.starts_with("gemm of f32, m 64, n 32, k 16: "), "{}", route.stdout);
    let json = place.run(&["hardware", "route", "solve", "100", "3", "--json"]).stdout;
    let route: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&route["op"], &route["m"], &route["n"]), (&json!("solve"), &json!(100), &json!(3)));
    for (arguments, code, part) in [
        (&["gemm", "1", "2"][..], 64, "the sizes of gemm are m n k"),
        (&["dot", "0"], 64, "k is 0; it must be between 1 and"),
        (&["gemm", "1", "2", "3", "--element", "i8"], 64, "ask for gemm_i8"),
        (&["gem", "1"], 2, "there is no operation 'gem'"),
        (&["gemm", "one"], 2, "invalid"),
        (&["gemm", "1", "-1", "1"], 2, "invalid value '-1'"),
        (&["gemm"], 2, "SIZES"),
        (&["gemm", "1", "2", "3", "--element", "f16"], 2, "there are f32, f64 and i8"),
    ] {
        let ended = place.run(&[&["hardware", "route"], arguments].concat());
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.starts_with("error: ") && ended.stderr.contains(part), "{}", ended.stderr);
    }
    assert!(!place.path("cache").exists(), "nothing was measured");
}

/// The state of the calibration in `nautilus hardware --json`.
fn calibration(place: &Place) -> Value {
    let json = place.run(&["hardware", "--json"]).stdout;
    serde_json::from_str::<Value>(&json).expect("JSON")["calibration"].clone()
}

#[test]
fn a_machine_is_measured_once_and_a_damaged_measurement_is_not_used() {
    let place = Place::new().with("NAUTILUS__HARDWARE__CACHE_FOLDER", "measured");
    let ended = place.run(&["hardware", "calibrate", "--json"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(report["calibration"]["state"], "measured");
    // Only what has loops of its own is measured.
    let has_peaks = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
    assert!(!has_peaks || report["machine"]["peaks"]["gflops_f64"].as_f64() > Some(0.0), "{report}");
    assert_eq!(calibration(&place)["state"], "measured", "another process knows it");
    let json = place.run(&["hardware", "route", "gemm", "64", "64", "64", "--json"]).stdout;
    let route: Value = serde_json::from_str(&json).expect("JSON");
    let times: Vec<_> = list(&route["candidates"])
        .iter()
        .filter_map(|candidate| candidate["predicted_ns"].as_f64())
        .collect();
    assert!(!times.is_empty() && times.is_sorted() && times[0] > 0.0, "{route}");
    for file in std::fs::read_dir(place.path("measured")).expect("a folder").flatten() {
        if file.path().extension().is_some_and(|extension| extension == "json") {
            std::fs::write(file.path(), "{\"version\": \"of somebody else\"}").expect("a file");
        }
    }
    let damaged = calibration(&place);
    assert!(damaged["state"] == "absent" && damaged["reason"].is_string(), "{damaged}");
    let pinned = place.with("NAUTILUS__HARDWARE__PIN_BACKEND", "portable");
    let ended = pinned.run(&["hardware", "calibrate"]);
    assert!(ended.code == Some(64) && ended.stderr.contains("a backend is pinned"), "{}", ended.stderr);
}

#[test]
fn the_first_start_measures_in_the_background() {
    let place = Place::new().with("NAUTILUS__HARDWARE__CALIBRATE", "true");
    let engines = place.start(&["up", "--no-simulator"]);
    let at = eventually("the machine is measured", || {
        let report = get(&engines.vpin, "/v1/hardware");
        report["calibration"]["at_unix_s"].as_u64()
    });
    let metrics = ask("GET", &engines.vpin, "/metrics", None).text;
    assert_eq!(series(&metrics, "nautilus_hardware_calibrated", "vpin"), Some(1.0));
    engines.stop();
    let again = place.start(&["up", "--no-simulator"]);
    let report = get(&again.vpin, "/v1/hardware");
    assert_eq!(report["calibration"]["at_unix_s"].as_u64(), Some(at), "it is not measured again");
    again.stop();
}
