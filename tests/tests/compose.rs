//! The container files: reads them and refuses whatever takes a fence down. Each finding names the service and what to
//! write instead.
//!
//! It starts no container: that is `cargo xtask compose-test`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nautilus_messages::EngineName;
use serde_json::{Map, Value};

const BASE: &str = "docker-compose.yml";
const OVERLAYS: [&str; 2] = ["docker-compose.sme.yml", "docker-compose.ui.yml"];
const GATEWAY: (&str, u16) = ("gateway", 8001);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests stands in the workspace").to_owned()
}

fn text(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("YAML")
}

/// What compose makes of a file and its overlay: maps merge, lists grow, the rest is replaced.
fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(base), Value::Array(over)) => base.extend(over),
        (base, over) => *base = over,
    }
}

/// A text with the default of every `${NAME:-default}` in its place.
fn with_defaults(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (inside, after) = after.split_once('}').unwrap_or((after, ""));
        out.push_str(before);
        out.push_str(inside.split_once(":-").map_or("", |(_, default)| default));
        rest = after;
    }
    out + rest
}

fn texts(value: &Value) -> Vec<String> {
    let one = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    value.as_array().map_or_else(Vec::new, |list| list.iter().map(one).collect())
}

/// Whether the image can only ever be one: a digest, a whole version or a dated build.
fn is_pinned(image: &str) -> bool {
    if let Some((_, digest)) = image.split_once("@sha256:") {
        return digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    }
    let name = image.rsplit('/').next().unwrap_or_default();
    let Some((name, tag)) = name.split_once(':') else { return false };
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let version = tag.trim_start_matches('v').split('-').next().unwrap_or_default();
    let parts = version.split('.').count();
    // PostgreSQL's versions have two parts.
    let whole = version.split('.').all(number) && (parts >= 3 || parts == 2 && name == "postgres");
    whole || tag.split('-').any(|part| part.len() == 8 && number(part))
}

/// What is wrong with a file, one sentence each.
fn findings(file: &Value) -> Vec<String> {
    let empty = Map::new();
    let open: BTreeSet<&str> = file["networks"]
        .as_object()
        .unwrap_or(&empty)
        .iter()
        .filter_map(|(name, network)| (network["internal"] != true).then_some(name.as_str()))
        .collect();
    let services = file["services"].as_object().expect("services");
    let mut found = Vec::new();
    for (name, service) in services {
        let mut complain = |what: &str| found.push(format!("{name}: {what}"));
        forbidden(service, &mut complain);
        missing(service, &mut complain);
        mounts(service, &mut complain);
        doors(service, &open, &mut complain);
    }
    found
}

/// What no container may have.
fn forbidden(service: &Value, complain: &mut impl FnMut(&str)) {
    if !matches!(&service["privileged"], Value::Null | Value::Bool(false)) {
        complain("privileged takes every fence down: name the one thing it needs");
    }
    for space in ["network_mode", "pid", "ipc", "userns_mode", "uts", "cgroup"] {
        if !matches!(service[space].as_str(), None | Some("none")) {
            complain(&format!("{space} shares a namespace: leave it out"));
        }
    }
    for key in ["cap_add", "devices", "device_cgroup_rules"] {
        if !service[key].is_null() {
            complain(&format!("{key} gives what no service needs: leave it out"));
        }
    }
    if texts(&service["security_opt"]).iter().any(|option| option.contains("unconfined")) {
        complain("security_opt unconfined turns a filter off: leave it out");
    }
    if let Some(variables) = service["environment"].as_object() {
        let secret = |name: &&String| name.ends_with("PASSWORD") || name.ends_with("SECRET");
        for name in variables.keys().filter(secret) {
            complain(&format!("{name} in the environment shows to everybody: use a file and {name}_FILE"));
        }
    }
}

/// What every container must have.
fn missing(service: &Value, complain: &mut impl FnMut(&str)) {
    let has = |key: &str, wanted: &str| texts(&service[key]).iter().any(|text| text == wanted);
    if !has("cap_drop", "ALL") {
        complain("capabilities are left: cap_drop: [ALL]");
    }
    if !has("security_opt", "no-new-privileges:true") {
        complain("it may gain privileges: security_opt: [\"no-new-privileges:true\"]");
    }
    if service["read_only"] != true {
        complain("its root file system can be written: read_only: true");
    }
    let user = service["user"].as_str().unwrap_or_default().split(':').next().unwrap_or_default();
    if user.parse::<u32>().unwrap_or(0) == 0 {
        complain("it may run as root: user: \"65532:65532\" or another number above zero");
    }
    if service["mem_limit"].is_null() {
        complain("its memory has no bound: mem_limit");
    }
    if service["pids_limit"].as_i64().unwrap_or(0) <= 0 {
        complain("its processes have no bound: pids_limit");
    }
    if service["cpus"].as_f64().unwrap_or(0.0) <= 0.0 && service["cpuset"].is_null() {
        complain("its processors have no bound: cpus or cpuset");
    }
    let one_shot = service["restart"] == "no";
    if !one_shot && (service["healthcheck"]["test"].is_null() || service["healthcheck"]["disable"] == true) {
        complain("nobody sees when it is ill: healthcheck");
    }
    let images = service["build"]["args"].as_object().into_iter().flatten();
    let bases = images.filter(|(name, _)| name.ends_with("_IMAGE")).map(|(_, image)| image);
    for image in bases.chain([&service["image"]]) {
        let image = with_defaults(image.as_str().unwrap_or_default());
        if !is_pinned(&image) {
            complain(&format!("image '{image}' can change: give its whole version or its digest"));
        }
    }
}

/// What of the host it sees.
fn mounts(service: &Value, complain: &mut impl FnMut(&str)) {
    for mount in texts(&service["volumes"]) {
        let mount = with_defaults(&mount);
        if mount.contains("docker.sock") {
            complain("the Docker socket is root on the host: leave it out");
        }
        let source = mount.split(':').next().unwrap_or_default();
        let of_host = source.starts_with(['.', '/', '~']) || mount.starts_with('{');
        if of_host && (!source.starts_with("./") || source.contains("..") || !mount.ends_with(":ro")) {
            complain(&format!("'{mount}' reaches into the host: mount ./folder:/path:ro or a volume"));
        }
    }
}

/// Who reaches it from outside.
fn doors(service: &Value, open: &BTreeSet<&str>, complain: &mut impl FnMut(&str)) {
    let ports: Vec<String> = texts(&service["ports"]).iter().map(|port| with_defaults(port)).collect();
    for port in ports.iter().filter(|port| !port.starts_with("127.0.0.1:") || port.split(':').count() != 3) {
        complain(&format!("port {port} is open beyond this machine: 127.0.0.1:port:port"));
    }
    let networks = texts(&service["networks"]);
    if networks.is_empty() && service["network_mode"] != "none" {
        complain("it is on the default network, which reaches outside: name an internal one");
    }
    if ports.is_empty()
        && let Some(network) = networks.iter().find(|network| open.contains(network.as_str()))
    {
        complain(&format!("network {network} reaches outside and it publishes nothing: take it off"));
    }
}

fn base() -> Value {
    yaml(&text(BASE))
}

#[test]
fn no_fence_is_down() {
    let mut found: Vec<String> = findings(&base()).into_iter().map(|f| format!("{BASE}: {f}")).collect();
    for overlay in OVERLAYS {
        let mut merged = base();
        merge(&mut merged, yaml(&text(overlay)));
        found.extend(findings(&merged).into_iter().map(|finding| format!("{overlay}: {finding}")));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn only_the_gateway_is_published() {
    let base = base();
    let services = base["services"].as_object().unwrap();
    let published: Vec<&str> =
        services.iter().filter(|(_, s)| !s["ports"].is_null()).map(|(name, _)| name.as_str()).collect();
    assert_eq!(published, ["gateway"]);
}

#[test]
fn every_service_is_there_listens_on_its_port_and_is_scraped() {
    let (base, prometheus) = (base(), yaml(&text("deploy/prometheus/prometheus.yml")));
    let engines = EngineName::ALL.map(|engine| (engine.as_str(), engine.default_port()));
    for (name, port) in engines.into_iter().chain([GATEWAY]) {
        let service = &base["services"][name];
        assert_eq!(texts(&service["command"]), ["service", name], "{BASE}: {name} is missing");
        let setting = |key: &str| {
            let variable = format!("NAUTILUS__SERVICES__{}__{key}", name.to_ascii_uppercase());
            service["environment"][variable].as_str().unwrap_or_default().to_owned()
        };
        assert_eq!(setting("LISTEN"), format!("0.0.0.0:{port}"), "{name}");
        assert_eq!(setting("URL"), format!("http://{name}:{port}"), "{name}");
        let asked = texts(&service["healthcheck"]["test"]);
        assert_eq!(asked.last().unwrap(), &format!("http://127.0.0.1:{port}/health/ready"), "{name}");
        let target = format!("{name}:{port}");
        let scraped = prometheus["scrape_configs"].as_array().unwrap().iter().any(|job| {
            let groups = job["static_configs"].as_array().unwrap();
            groups.iter().any(|group| group["targets"][0] == *target && group["labels"]["service"] == name)
        });
        assert!(scraped, "deploy/prometheus/prometheus.yml does not scrape {target}");
    }
}

/// What an engine keeps could not be written in a container's own file system, and would be gone with the container.
#[test]
fn whatever_keeps_checkpoints_or_a_journal_has_a_volume_of_its_own_for_them() {
    let (base, dockerfile) = (base(), text("Dockerfile"));
    let mut volumes = BTreeSet::new();
    for engine in EngineName::ALL.map(EngineName::as_str) {
        let service = &base["services"][engine];
        let setting = |name: &str| service["environment"][format!("NAUTILUS__{name}__FOLDER")].as_str();
        let source = text(&format!("services/{engine}/src/lib.rs"));
        let folder = if source.contains(".journal(&") {
            setting("JOURNAL")
        } else if source.contains(".checkpoint(&") {
            setting("CHECKPOINT")
        } else {
            assert_eq!(setting("CHECKPOINT"), Some(""), "{engine} keeps none: an empty folder says so");
            continue;
        };
        let folder = folder.unwrap_or_default();
        let mounts = texts(&service["volumes"]);
        let volume = mounts.iter().find_map(|mount| mount.strip_suffix(&format!(":{folder}")));
        let volume = volume.unwrap_or_else(|| panic!("{engine}: '{folder}' is no writable volume"));
        assert!(base["volumes"][volume].is_object(), "{BASE}: volumes: {volume} is missing");
        assert!(volumes.insert(volume.to_owned()), "{volume} is of two engines");
        // A new volume takes its owner from the image.
        let made = format!(" /image{folder} ");
        assert!(folder.starts_with("/var/lib/nautilus/") && dockerfile.contains(&made), "{engine}: {folder}");
    }
    assert!(!volumes.is_empty() && dockerfile.contains("chown -R 65532:65532 /image/var/lib/nautilus "));
}

#[test]
fn the_image_is_built_from_pinned_images_and_does_not_run_as_root() {
    let text = text("Dockerfile");
    let lines: Vec<&str> = text.lines().collect();
    let defaults = lines.iter().filter_map(|line| line.strip_prefix("ARG ")?.split_once("_IMAGE="));
    let images: Vec<&str> = defaults.map(|(_, image)| image).collect();
    assert!(images.len() == 3 && images.iter().all(|image| is_pinned(image)), "{images:?}");
    let compose = text_of_build_args();
    assert!(
        images.iter().all(|image| compose.contains(&(*image).to_owned())),
        "{BASE} has other images: {compose:?}"
    );
    let mut stages = BTreeSet::from(["scratch"]);
    for line in lines.iter().filter_map(|line| line.strip_prefix("FROM ")) {
        let (from, stage) = line.split_once(" AS ").unwrap_or((line, ""));
        assert!(from.starts_with("${") || stages.contains(from), "Dockerfile: FROM {from} is not pinned");
        stages.insert(stage);
    }
    assert!(lines.contains(&"USER 65532:65532"));
    assert!(text.contains("cargo build --release --locked"));
    assert!(!lines.iter().any(|line| line.starts_with("ADD ")), "Dockerfile: COPY instead of ADD");
}

fn text_of_build_args() -> Vec<String> {
    let base = base();
    let args = base["services"]["gateway"]["build"]["args"].as_object().unwrap();
    args.values().map(|value| with_defaults(value.as_str().unwrap())).collect()
}

/// A service that nothing is wrong with.
const GOOD: &str = "
services:
  one:
    image: redis:7.2.5-bookworm
    user: '999:999'
    read_only: true
    cap_drop: [ALL]
    security_opt: ['no-new-privileges:true']
    pids_limit: 10
    mem_limit: 1g
    cpus: 1.0
    networks: [inside]
    volumes: ['data:/data']
    healthcheck: {test: [CMD, redis-cli, ping]}
networks:
  inside: {internal: true}
  outside: {}
";

#[test]
fn every_broken_fence_is_found() {
    assert_eq!(findings(&yaml(GOOD)), [""; 0]);
    for (good, broken, part) in [
        ("cpus: 1.0", "cpus: 1.0\n    privileged: true", "privileged"),
        ("cpus: 1.0", "cpus: 1.0\n    network_mode: host", "network_mode"),
        ("cpus: 1.0", "cpus: 1.0\n    pid: host", "pid shares"),
        ("cpus: 1.0", "cpus: 1.0\n    ipc: host", "ipc shares"),
        ("cpus: 1.0", "cpus: 1.0\n    cap_add: [SYS_ADMIN]", "cap_add"),
        ("cpus: 1.0", "cpus: 1.0\n    devices: ['/dev/mem']", "devices"),
        ("cpus: 1.0", "cpus: 1.0\n    environment: {DB_PASSWORD: x}", "DB_PASSWORD_FILE"),
        ("cpus: 1.0", "cpus: 1.0\n    ports: ['8001:8001']", "beyond this machine"),
        ("cpus: 1.0", "cpus: 1.0\n    ports: ['0.0.0.0:8001:8001']", "beyond this machine"),
        ("cpus: 1.0", "cpus: 1.0\n    ports: [8001]", "beyond this machine"),
        ("cpus: 1.0", "cpus: 0", "cpus or cpuset"),
        ("cap_drop: [ALL]", "cap_drop: [NET_RAW]", "cap_drop"),
        ("'no-new-privileges:true'", "'no-new-privileges:true', 'seccomp:unconfined'", "unconfined"),
        ("security_opt: ['no-new-privileges:true']", "", "no-new-privileges"),
        ("read_only: true", "", "read_only"),
        ("'999:999'", "'0:0'", "root"),
        ("'999:999'", "root", "root"),
        ("    user: '999:999'\n", "", "root"),
        ("mem_limit: 1g", "", "mem_limit"),
        ("pids_limit: 10", "", "pids_limit"),
        ("pids_limit: 10", "pids_limit: -1", "pids_limit"),
        ("{test: [CMD, redis-cli, ping]}", "{disable: true}", "healthcheck"),
        ("redis:7.2.5-bookworm", "redis", "'redis' can change"),
        ("redis:7.2.5-bookworm", "redis:latest", "can change"),
        ("redis:7.2.5-bookworm", "redis:7.2", "can change"),
        ("redis:7.2.5-bookworm", "${IMAGE:-redis:7}", "'redis:7' can change"),
        ("redis:7.2.5-bookworm", "redis@sha256:12", "can change"),
        ("cpus: 1.0", "cpus: 1.0\n    build: {args: {BASE_IMAGE: debian}}", "'debian' can change"),
        ("data:/data", "/var/run/docker.sock:/docker.sock:ro", "Docker socket"),
        ("data:/data", "/:/host:ro", "reaches into the host"),
        ("data:/data", "./deploy:/deploy", "reaches into the host"),
        ("data:/data", "./../..:/deploy:ro", "reaches into the host"),
        ("networks: [inside]", "networks: [inside, outside]", "publishes nothing"),
        ("    networks: [inside]\n", "", "default network"),
    ] {
        assert!(GOOD.contains(good), "{good}");
        let found = findings(&yaml(&GOOD.replacen(good, broken, 1)));
        assert!(found.iter().any(|finding| finding.contains(part)), "{broken}: {found:?}");
    }
}

#[test]
fn overlays_cannot_hide_what_they_add() {
    let mut merged = yaml(GOOD);
    merge(&mut merged, yaml("services: {one: {volumes: ['/var/run/docker.sock:/s'], cap_drop: []}}"));
    let found = findings(&merged);
    assert!(found.iter().any(|finding| finding.contains("Docker socket")), "{found:?}");
}
