//! Who gets in: every route of every service against every kind of caller, the keys' command line, and the start that
//! is refused.
//!
//! What a route needs is read from its own service's OpenAPI document; what it answers beyond that is tested elsewhere.

use std::path::Path;

use nautilus_service::access::{Key, KeysFile, Scope};
use nautilus_service::{ServiceName, wall_clock};
use nautilus_types::{NANOS_PER_DAY, UnixNanos};
use serde_json::Value;

use crate::support::{Ended, Place, ask_with, eventually, list, send_raw};

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// Somebody who asks.
struct Caller {
    name: String,
    authorization: Option<String>,
    /// What the key allows; none where there is no good key.
    scopes: Option<Vec<Scope>>,
}

impl Caller {
    fn stranger(name: &str, authorization: Option<String>) -> Self {
        Self { name: name.to_owned(), authorization, scopes: None }
    }

    /// Whether a route that declares these scopes lets this caller in, and the status if not.
    fn refusal(&self, declared: &[Scope]) -> Option<u16> {
        if declared.is_empty() {
            return None;
        }
        let Some(scopes) = &self.scopes else { return Some(401) };
        (!declared.iter().all(|scope| scopes.contains(scope))).then_some(403)
    }
}

fn add(file: &mut KeysFile, name: &str, scopes: &[Scope], made: UnixNanos) -> Key {
    let key = Key::new().expect("the system has randomness");
    file.add(&key, name, scopes.iter().copied().collect(), 1, made).expect("a legal key");
    key
}

fn bearer(key: &Key) -> String {
    format!("Bearer {}", key.reveal())
}

/// Every kind of caller; the last may do everything.
fn callers(keys: &Path) -> Vec<Caller> {
    let now = wall_clock();
    let mut file = KeysFile::open(keys).expect("the folder can be written");
    // Within the last day, or the next key would sweep it out.
    let expired = add(&mut file, "expired", &Scope::ALL, UnixNanos(now.0 - NANOS_PER_DAY - 60_000_000_000));
    let mut callers = vec![
        Caller::stranger("none", None),
        Caller::stranger("malformed", Some("Bearer nk_or_so".to_owned())),
        Caller::stranger("another scheme", Some("Basic dXNlcjpwYXNzd29yZA==".to_owned())),
        Caller::stranger("unknown", Some(bearer(&Key::new().expect("randomness")))),
        Caller::stranger("expired", Some(bearer(&expired))),
    ];
    let each = Scope::ALL.into_iter().map(|scope| vec![scope]);
    for scopes in each.chain([Scope::ALL.to_vec()]) {
        let key = add(&mut file, "somebody", &scopes, now);
        let name = format!("a key for {scopes:?}");
        callers.push(Caller { name, authorization: Some(bearer(&key)), scopes: Some(scopes) });
    }
    file.write().expect("the folder can be written");
    callers
}

/// What a route declares: nothing for a public one. A route that declares nothing at all fails here.
fn declared(route: &str, operation: &Value) -> Vec<Scope> {
    let requirements =
        operation["security"].as_array().unwrap_or_else(|| panic!("{route} declares no scope"));
    assert_eq!(requirements.len(), 1, "{route} declares alternatives");
    let requirement = requirements[0].as_object().expect("an object");
    let scopes: Vec<Scope> = requirement
        .values()
        .flat_map(list)
        .map(|scope| {
            scope.as_str().expect("a text").parse().unwrap_or_else(|error| panic!("{route}: {error}"))
        })
        .collect();
    assert!(
        requirement.is_empty() || (requirement.len() == 1 && !scopes.is_empty()),
        "{route}: {requirement:?}"
    );
    scopes
}

fn ask(caller: &Caller, method: &str, url: &str, path: &str) -> crate::support::Answer {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(caller.authorization.as_deref().map(|value| ("authorization", value)));
    ask_with(&method.to_uppercase(), url, path, &headers, if method == "get" { "" } else { "{}" })
}

/// A path of the template's form; whether what it names exists does not matter.
fn fill(template: &str) -> String {
    let parts = template.split('/').map(|part| match part {
        "{instrument}" => "SIM01",
        "{engine}" => "vpin",
        "{*path}" => "v1/engine",
        part if part.starts_with('{') => "1",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Asks every route of a service as every caller; returns how many routes there were.
fn walk(service: &str, url: &str, callers: &[Caller]) -> usize {
    let openapi = ask(&callers[callers.len() - 1], "get", url, "/openapi.json");
    assert_eq!(openapi.status, 200, "{service}: {}", openapi.text);
    let mut routes = 0;
    for (path, methods) in openapi.body["paths"].as_object().expect("paths") {
        for method in METHODS.into_iter().filter(|method| methods[*method].is_object()) {
            let route = format!("{service}: {method} {path}");
            let declared = declared(&route, &methods[method]);
            for caller in callers {
                let answer = ask(caller, method, url, &fill(path));
                let name = &caller.name;
                let refused = [401, 403].contains(&answer.status).then_some(answer.status);
                assert_eq!(refused, caller.refusal(&declared), "{route} as {name}: {}", answer.text);
            }
            routes += 1;
        }
    }
    routes
}

#[test]
fn every_route_of_every_service_asks_every_caller_for_its_scope() {
    let place = Place::new()
        .with("NAUTILUS__ACCESS__REQUIRED", "true")
        .with("NAUTILUS__ACCESS__REQUESTS_PER_MINUTE", "1000000")
        .with("NAUTILUS__ACCESS__OWN_KEY_FILE", "own.key");
    let callers = callers(&place.path("data/keys.toml"));
    let all = &callers[callers.len() - 1];
    let key = all.authorization.as_deref().and_then(|text| text.split_once(' ')).expect("a bearer").1;
    std::fs::write(place.path("own.key"), key).expect("a file");
    let engines = place.start(&["up", "--no-simulator"]);
    let status = eventually("the gateway has reached every engine", || {
        let status = ask(all, "get", &engines.gateway, "/v1/status");
        assert_eq!(status.status, 200, "{}", status.text);
        let up = |engine: &Value| engine["state"] == "up";
        list(&status.body["engines"]).iter().all(up).then_some(status.body)
    });
    let mut services = vec![("gateway".to_owned(), engines.gateway.clone())];
    services.extend(list(&status["engines"]).iter().map(|engine| {
        let text = |name: &str| engine[name].as_str().expect("a text").to_owned();
        (text("engine"), text("url"))
    }));
    for service in ServiceName::all() {
        let (_, url) =
            services.iter().find(|(name, _)| name == service.as_str()).expect("every service is there");
        let routes = walk(service.as_str(), url, &callers);
        assert!(routes >= 6, "{service} documents {routes} routes only");
        println!("{service}: {routes} routes, {} callers each", callers.len());
    }
    websockets_show_their_key(&engines.gateway, &services, key);
    engines.interrupt();
    let ended = engines.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("nautilus_audit") && ended.stderr.contains("scope_missing"));
    for caller in &callers {
        let secret = caller.authorization.as_deref().filter(|_| caller.scopes.is_some());
        assert!(
            secret.is_none_or(|text| !ended.stderr.contains(&text[23..])),
            "{} is in the log",
            caller.name
        );
    }
}

/// A browser can set no header on a WebSocket but the subprotocols.
fn websockets_show_their_key(gateway: &str, services: &[(String, String)], key: &str) {
    let websocket = &services.iter().find(|(name, _)| name == "websocket").expect("it is there").1;
    for url in [gateway, websocket] {
        let open = |protocols: &str| {
            let head = format!(
                "GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                 sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: {protocols}\r\n\r\n"
            );
            send_raw(url, head.as_bytes())
        };
        assert!(open("nautilus").starts_with("HTTP/1.1 401"), "{url}");
        assert!(open("nautilus, key.nk_or_so").starts_with("HTTP/1.1 401"), "{url}");
        assert_eq!(open(&format!("nautilus, key.{key}")), "HTTP/1.1 101 Switching Protocols", "{url}");
    }
}

fn said(ended: &Ended, code: i32, part: &str) {
    assert_eq!(ended.code, Some(code), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains(part), "'{part}' is not in: {}", ended.stderr);
}

#[test]
fn keys_are_made_listed_and_revoked() {
    let place = Place::new();
    said(&place.run(&["keys", "list"]), 66, "nautilus keys new");
    let made = place
        .run(&["keys", "new", "--name", "desk", "--scope", "read", "--scope", "operate", "--days", "30"]);
    said(&made, 0, "Authorization: Bearer $KEY");
    let key = made.stdout.trim();
    assert!(key.starts_with("nk_") && made.stdout.lines().count() == 1, "{}", made.stdout);
    assert!(!made.stderr.contains(key), "the key is shown once");
    let stored = std::fs::read_to_string(place.path("data/keys.toml")).expect("the keys file");
    assert!(!stored.contains(&key[16..]) && stored.contains("desk"), "{stored}");
    said(
        &place.run(&["keys", "new", "--name", "gateway", "--scope", "read", "--secret-file", "own.key"]),
        0,
        "own.key",
    );
    said(
        &place.run(&["keys", "new", "--name", "gateway", "--scope", "read", "--secret-file", "own.key"]),
        66,
        "exists",
    );
    let listed = place.run(&["keys", "list"]).stdout;
    let id = &key[3..15];
    assert!(
        listed.lines().count() == 3 && listed.contains("read operate") && listed.contains(id),
        "{listed}"
    );
    said(&place.run(&["keys", "revoke", id]), 0, "is revoked");
    said(&place.run(&["keys", "revoke", id]), 66, "there is no key");
    assert!(!place.run(&["keys", "list"]).stdout.contains(id));
    for (wrong, part) in [
        (&["--name", "a"][..], "--scope"),
        (&["--name", "a", "--scope", "root"], "there is no scope 'root'"),
        (&["--name", "a\u{7}", "--scope", "read"], "a key's name has"),
        (&["--name", "a", "--scope", "read", "--days", "0"], "1..=365"),
        (&["--name", "a", "--scope", "read", "--days", "366"], "1..=365"),
    ] {
        said(&place.run(&[&["keys", "new"], wrong].concat()), 2, part);
    }
}

#[test]
fn what_others_can_reach_does_not_start_unprotected() {
    let place = Place::new().with("NAUTILUS__SERVICES__GATEWAY__LISTEN", "0.0.0.0:0");
    let refused = |place: &Place, part: &str| {
        let ended = place.run(&["up", "--no-simulator"]);
        said(&ended, 64, part);
        let errors = ended.stderr.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!((errors, ended.stdout.as_str()), (1, ""), "{}", ended.stderr);
    };
    refused(&place, "set access.tls.certificate and access.tls.key, or access.behind_proxy = true");
    let place = place.with("NAUTILUS__ACCESS__BEHIND_PROXY", "true");
    refused(&place, "nautilus keys new");
    said(&place.run(&["keys", "new", "--name", "desk", "--scope", "read"]), 0, "desk");
    let place = place.with("NAUTILUS__ACCESS__TLS__CERTIFICATE", "cert.pem");
    refused(&place, "certificate and key belong together");
    refused(&place.with("NAUTILUS__ACCESS__TLS__KEY", "key.pem"), "cert.pem cannot be read");
}
