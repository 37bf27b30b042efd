//! Who may import whom: reads `cargo metadata` and fails on an edge that the design does not have.
//!
//! Only normal and build dependencies count: a test may import what it likes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Each room of the house and the rooms it may import. A room is a crate, or all crates of one folder.
const ROOMS: &[(&str, &[&str])] = &[
    ("crates/types", &[]),
    ("crates/messages", &["crates/types"]),
    ("crates/engine", &["crates/types", "crates/messages"]),
    // Batches for the GPU are of frames.
    ("crates/hardware", &["crates/types", "crates/messages"]),
    ("crates/numerics", &["crates/types", "crates/hardware"]),
    ("crates/book", &["crates/types", "crates/messages"]),
    ("crates/feeds", &["crates/types", "crates/messages"]),
    ("crates/bus", &["crates/types", "crates/messages"]),
    ("crates/store", &["crates/types", "crates/messages"]),
    ("crates/journal", &[]),
    (
        "crates/service",
        &[
            "crates/types",
            "crates/messages",
            "crates/engine",
            "crates/hardware",
            "crates/feeds",
            "crates/bus",
            "crates/store",
            "crates/journal",
        ],
    ),
    (
        "crates/engines/*",
        &[
            "crates/types",
            "crates/messages",
            "crates/engine",
            "crates/hardware",
            "crates/numerics",
            "crates/book",
        ],
    ),
    ("crates/testkit", &[]),
    (
        "services/*",
        &[
            "crates/types",
            "crates/messages",
            "crates/engine",
            "crates/hardware",
            "crates/engines/*",
            "crates/feeds",
            "crates/bus",
            "crates/store",
            "crates/service",
        ],
    ),
    // The launcher puts everything together.
    (
        "services/nautilus",
        &[
            "crates/types",
            "crates/messages",
            "crates/engine",
            "crates/hardware",
            "crates/engines/*",
            "crates/hardware",
            "crates/feeds",
            "crates/bus",
            "crates/store",
            "crates/journal",
            "crates/service",
            "services/*",
        ],
    ),
    ("benches", &[]),
    ("tests", &[]),
    ("xtask", &["crates/testkit"]),
];

/// Crates from outside that only some rooms may name, and what the others do instead.
const OUTSIDE: &[(&str, &[&str], &str)] = &[
    ("redis", &["crates/bus"], "reach Redis through nautilus-bus"),
    ("sqlx", &["crates/store"], "reach the database through nautilus-store"),
    ("dbn", &["crates/feeds"], "read DBN through nautilus-feeds"),
    (
        "axum",
        &["crates/service", "services/*"],
        "serve HTTP from services/*, on the chassis of nautilus-service",
    ),
    ("arrow-array", &["services/*"], ARROW),
    ("arrow-ipc", &["services/*"], ARROW),
    ("arrow-schema", &["services/*"], ARROW),
    ("tokio-rustls", &["crates/service"], "listen through nautilus-service, which decides where TLS is"),
    ("metrics-exporter-prometheus", &["crates/service"], "record with `metrics`; nautilus-service exports"),
    ("tracing-subscriber", &["crates/service"], "log with `tracing`; nautilus-service decides where it goes"),
    (
        "ndarray",
        &["crates/numerics", "crates/engines/*", "services/*"],
        "pass slices or nautilus_hardware views",
    ),
    ("faer", &["crates/hardware", "benches"], PRODUCTS),
    ("gemm", &["crates/hardware", "benches"], PRODUCTS),
    ("gemm-f32", &["crates/hardware", "benches"], PRODUCTS),
    ("gemm-f64", &["crates/hardware", "benches"], PRODUCTS),
    ("matrixmultiply", &["crates/hardware", "benches"], PRODUCTS),
    ("nano-gemm", &["crates/hardware", "benches"], PRODUCTS),
    ("nalgebra", &["benches"], PRODUCTS),
    ("ndarray-linalg", &["benches"], PRODUCTS),
    ("wgpu", &["crates/hardware"], "run on the GPU through nautilus-hardware, which decides when that pays"),
    (
        "tokio",
        &["crates/bus", "crates/store", "crates/service", "services/*", "services/nautilus", "xtask"],
        "stay synchronous: engines, numerics and messages know no runtime; the shell in nautilus-service does",
    ),
];

const ARROW: &str = "Arrow is a form of answers: write it in the service that answers";
const PRODUCTS: &str =
    "multiply matrices through nautilus-hardware, which knows what is fastest on this machine";

/// A package of this workspace.
struct Package {
    name: String,
    /// Its folder, from the root.
    folder: String,
    /// What its products are built from.
    imports: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests stands in the workspace").to_owned()
}

fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    metadata["packages"].as_array().expect("packages").iter().map(package).collect()
}

fn package(package: &Value) -> Package {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let manifest = PathBuf::from(text(&package["manifest_path"]));
    let folder = manifest.parent().expect("a folder").strip_prefix(root()).expect("below the root");
    let shipped = |dependency: &&Value| dependency["kind"] != "dev";
    let dependencies = package["dependencies"].as_array().expect("dependencies").iter();
    Package {
        name: text(&package["name"]),
        folder: folder.to_str().expect("UTF-8").replace('\\', "/"),
        imports: dependencies.filter(shipped).map(|dependency| text(&dependency["name"])).collect(),
    }
}

/// The room of a folder: one of its own, or that of its parent.
fn room(folder: &str) -> Option<(&'static str, &'static [&'static str])> {
    let shared = folder.rsplit_once('/').map(|(parent, _)| format!("{parent}/*"));
    let find = |name: &str| ROOMS.iter().find(|(room, _)| *room == name).copied();
    find(folder).or_else(|| find(&shared?))
}

/// What is wrong with the imports of `packages`, one sentence each.
fn violations(packages: &[Package]) -> Vec<String> {
    let folders: BTreeMap<&str, &str> =
        packages.iter().map(|p| (p.name.as_str(), p.folder.as_str())).collect();
    let mut found = Vec::new();
    for package in packages {
        let Package { name, folder, imports } = package;
        let Some((own, may)) = room(folder) else {
            found.push(format!("{name} stands in {folder}, which ROOMS does not name: add a line that says what it may import"));
            continue;
        };
        for import in imports {
            match folders.get(import.as_str()) {
                Some(target) => found.extend(inside(name, folder, may, import, target)),
                None => found.extend(outside(name, own, import)),
            }
        }
    }
    found
}

fn inside(name: &str, folder: &str, may: &[&str], import: &str, target: &str) -> Option<String> {
    let target_room = room(target).map_or("", |(room, _)| room);
    if !may.contains(&target_room) {
        return Some(format!(
            "{name} imports {import}, but {folder} may import only [{}]: send a message instead, or move what both \
             need to a crate below both",
            may.join(", ")
        ));
    }
    let own_engine = folder.replace("services/", "crates/engines/");
    if room(folder).is_some_and(|(own, _)| own == "services/*")
        && target_room == "crates/engines/*"
        && target != own_engine
    {
        return Some(format!(
            "{name} imports {import}: a service knows its own engine only; talk over the mesh"
        ));
    }
    None
}

fn outside(name: &str, own: &str, import: &str) -> Option<String> {
    let (_, rooms, instead) = OUTSIDE.iter().find(|(outsider, ..)| *outsider == import)?;
    (!rooms.contains(&own))
        .then(|| format!("{name} imports {import}, which only {} may: {instead}", rooms.join(", ")))
}

#[test]
fn every_import_is_one_that_the_design_has() {
    let found = violations(&packages());
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn broken_rules_are_found_and_named() {
    let package = |name: &str, folder: &str, imports: &[&str]| Package {
        name: name.into(),
        folder: folder.into(),
        imports: imports.iter().map(|import| (*import).to_owned()).collect(),
    };
    let house = |broken: Package| {
        let mut all = vec![
            package("types", "crates/types", &[]),
            package("bus", "crates/bus", &["types", "redis"]),
            package("testkit", "crates/testkit", &[]),
            package("engine-a", "crates/engines/a", &["types"]),
            package("engine-b", "crates/engines/b", &["types"]),
            package("a", "services/a", &["engine-a", "axum"]),
        ];
        all.retain(|p| p.name != broken.name);
        all.push(broken);
        violations(&all)
    };
    assert_eq!(house(package("engine-b", "crates/engines/b", &["types"])), [""; 0]);
    for (broken, part) in [
        (package("engine-b", "crates/engines/b", &["engine-a"]), "engine-b imports engine-a"),
        (package("engine-b", "crates/engines/b", &["tokio"]), "stay synchronous"),
        (package("engine-b", "crates/engines/b", &["bus"]), "send a message"),
        (package("types", "crates/types", &["bus"]), "types imports bus"),
        (package("bus", "crates/bus", &["a"]), "bus imports a"),
        (package("bus", "crates/bus", &["sqlx"]), "through nautilus-store"),
        (package("bus", "crates/bus", &["testkit"]), "bus imports testkit"),
        (package("a", "services/a", &["engine-b"]), "its own engine"),
        (package("a", "services/a", &["metrics-exporter-prometheus"]), "nautilus-service exports"),
        (package("engine-b", "crates/engines/b", &["faer"]), "through nautilus-hardware"),
        (package("types", "crates/types", &["matrixmultiply"]), "which only crates/hardware, benches may"),
        (package("new", "crates/new", &[]), "add a line"),
    ] {
        let found = house(broken);
        assert!(found.len() == 1 && found[0].contains(part), "{part}: {found:?}");
    }
}
