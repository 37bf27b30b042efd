//! `/openapi.json`: the API documents of all engines as one, under the gateway's paths.
//!
//! It knows no route by name. An engine that is away keeps its last known part and is named in `x-unreachable`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use axum::body::Bytes;
use nautilus_messages::EngineName;
use serde_json::{Map, Value, json};

/// Where references within a document begin.
const COMPONENTS: &str = "#/components/";
/// The operations of a path item.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// The engines' documents and the one they make together.
pub(crate) struct Documents {
    own: Value,
    parts: Mutex<Parts>,
    merged: ArcSwap<Bytes>,
}

/// What is known of the engines' documents.
#[derive(Default)]
struct Parts {
    documents: BTreeMap<EngineName, Value>,
    reachable: BTreeMap<EngineName, bool>,
}

impl Documents {
    /// Begins with the gateway's own document.
    pub(crate) fn new(own: Value) -> Self {
        let documents = Self { own, parts: Mutex::default(), merged: ArcSwap::from_pointee(Bytes::new()) };
        documents.merge(&documents.parts());
        documents
    }

    /// The newest document as JSON.
    pub(crate) fn json(&self) -> Bytes {
        Bytes::clone(&self.merged.load())
    }

    /// An engine's document has come.
    pub(crate) fn replace(&self, engine: EngineName, mut document: Value) {
        make_own(engine, &mut document);
        let mut parts = self.parts();
        parts.documents.insert(engine, document);
        parts.reachable.insert(engine, true);
        self.merge(&parts);
    }

    /// An engine whose document is known answers.
    pub(crate) fn found(&self, engine: EngineName) {
        self.set_reachable(engine, true);
    }

    /// An engine does not answer.
    pub(crate) fn lost(&self, engine: EngineName) {
        self.set_reachable(engine, false);
    }

    fn set_reachable(&self, engine: EngineName, reachable: bool) {
        let mut parts = self.parts();
        if parts.reachable.insert(engine, reachable) != Some(reachable) {
            self.merge(&parts);
        }
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under the lock of the parts, so that of two changes the later is the one that stays.
    fn merge(&self, parts: &Parts) {
        let mut whole = self.own.clone();
        for document in parts.documents.values() {
            add(&mut whole, document);
        }
        let reachable = |engine: &EngineName| parts.reachable.get(engine).copied().unwrap_or(false);
        let missing: Vec<_> = EngineName::ALL
            .iter()
            .filter(|engine| !reachable(engine))
            .map(|engine| engine.as_str())
            .collect();
        whole["x-unreachable"] = json!(missing);
        self.merged.store(std::sync::Arc::new(whole.to_string().into()));
    }
}

/// Turns an engine's document into a part of the whole: its paths below `/api/{engine}`, its names its own.
fn make_own(engine: EngineName, document: &mut Value) {
    rename_references(engine, document);
    if let Some(Value::Object(components)) = document.get_mut("components") {
        for (kind, named) in components.iter_mut() {
            // All services know the same keys.
            if let Value::Object(named) = named
                && kind != "securitySchemes"
            {
                prefix_keys(named, &format!("{engine}."));
            }
        }
    }
    if let Some(Value::Object(paths)) = document.get_mut("paths") {
        for (_, operations) in paths.iter_mut() {
            for method in METHODS {
                if let Some(Value::Object(operation)) = operations.get_mut(method) {
                    name_operation(engine, operation);
                    ask_for_read(operation);
                }
            }
        }
        prefix_keys(paths, &format!("/api/{engine}"));
    }
}

/// Operations and tags of two engines may have the same names, `health` for example.
fn name_operation(engine: EngineName, operation: &mut Map<String, Value>) {
    if let Some(Value::String(id)) = operation.get_mut("operationId") {
        *id = format!("{engine}.{id}");
    }
    if let Some(Value::Array(tags)) = operation.get_mut("tags") {
        for tag in tags {
            if let Value::String(tag) = tag
                && tag != engine.as_str()
            {
                *tag = format!("{engine}: {tag}");
            }
        }
    }
}

/// Whatever an engine asks for, its routes under the gateway's paths ask for `read` as well.
fn ask_for_read(operation: &mut Map<String, Value>) {
    let read = json!("read");
    let mut scopes = vec![read.clone()];
    if let Some(declared) = operation.get("security").and_then(|security| security[0]["api_key"].as_array()) {
        scopes.extend(declared.iter().filter(|scope| **scope != read).cloned());
    }
    operation.insert("security".to_owned(), json!([{"api_key": scopes}]));
}

fn prefix_keys(map: &mut Map<String, Value>, prefix: &str) {
    *map = std::mem::take(map).into_iter().map(|(key, value)| (format!("{prefix}{key}"), value)).collect();
}

/// Every reference is a string of its own, also in a discriminator's mapping. The depth is bounded by the parser's.
fn rename_references(engine: EngineName, value: &mut Value) {
    match value {
        Value::String(text) => {
            let renamed = text.strip_prefix(COMPONENTS).and_then(|rest| rest.split_once('/'));
            if let Some((kind, name)) = renamed {
                *text = format!("{COMPONENTS}{kind}/{engine}.{name}");
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| rename_references(engine, value)),
        Value::Object(map) => map.values_mut().for_each(|value| rename_references(engine, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Adds paths and components.
fn add(whole: &mut Value, part: &Value) {
    if let Some(Value::Object(paths)) = part.get("paths") {
        object(whole, "paths").extend(paths.clone());
    }
    if let Some(Value::Object(components)) = part.get("components") {
        for (kind, named) in components {
            if let Value::Object(named) = named {
                let known = object(&mut whole["components"], kind);
                known.extend(named.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
        }
    }
}

/// The object under a key, put there when it is missing.
fn object<'a>(value: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let under = &mut value[key];
    if !under.is_object() {
        *under = Value::Object(Map::new());
    }
    under.as_object_mut().expect("it was made one")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine_document(title: &str) -> Value {
        json!({
            "openapi": "3.1.0", "info": {"title": title},
            "paths": {"/v1/things/{id}": {"get": {
                "operationId": "thing", "tags": ["vpin", "health"], "security": [{"api_key": ["operate"]}],
                "responses": {"404": {"content": {"x": {"schema": {"$ref": "#/components/schemas/Problem"}}}}},
            }}},
            "components": {
                "schemas": {"Problem": {"title": title, "allOf": [{"$ref": "#/components/schemas/Base"}]}, "Base": {}},
                "securitySchemes": {"api_key": {"type": "http"}},
            },
        })
    }

    fn merged(documents: &Documents) -> Value {
        serde_json::from_slice(&documents.json()).unwrap()
    }

    #[test]
    fn equal_names_of_two_engines_stay_apart() {
        let own = json!({"paths": {"/v1/status": {}}, "components": {"schemas": {"Problem": {}}}});
        let documents = Documents::new(own);
        assert_eq!(
            merged(&documents)["x-unreachable"],
            json!(["marketdata", "vpin", "websocket", "features", "risk"])
        );
        documents.replace(EngineName::Vpin, engine_document("one"));
        documents.replace(EngineName::Marketdata, engine_document("two"));
        let whole = merged(&documents);
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let paths = ["/api/marketdata/v1/things/{id}", "/api/vpin/v1/things/{id}", "/v1/status"];
        assert_eq!(keys(&whole["paths"]), paths);
        let schemas = &whole["components"]["schemas"];
        let names = ["Problem", "marketdata.Base", "marketdata.Problem", "vpin.Base", "vpin.Problem"];
        assert_eq!(keys(schemas), names);
        assert_eq!(schemas["vpin.Problem"]["title"], "one");
        assert_eq!(schemas["vpin.Problem"]["allOf"][0]["$ref"], "#/components/schemas/vpin.Base");
        assert_eq!(keys(&whole["components"]["securitySchemes"]), ["api_key"]);
        let operation = &whole["paths"]["/api/vpin/v1/things/{id}"]["get"];
        assert_eq!(operation["operationId"], "vpin.thing");
        assert_eq!(operation["tags"], json!(["vpin", "vpin: health"]));
        assert_eq!(operation["security"], json!([{"api_key": ["read", "operate"]}]));
        assert_eq!(whole["x-unreachable"], json!(["websocket", "features", "risk"]));
    }

    #[test]
    fn an_engine_that_is_away_keeps_its_part_and_is_named() {
        let documents = Documents::new(json!({"paths": {}}));
        documents.replace(EngineName::Vpin, engine_document("one"));
        documents.lost(EngineName::Vpin);
        let whole = merged(&documents);
        assert_eq!(whole["paths"].as_object().unwrap().len(), 1);
        assert_eq!(whole["x-unreachable"], json!(["marketdata", "vpin", "websocket", "features", "risk"]));
        documents.found(EngineName::Vpin);
        assert_eq!(
            merged(&documents)["x-unreachable"],
            json!(["marketdata", "websocket", "features", "risk"])
        );
    }

    #[test]
    fn what_is_no_document_adds_nothing_and_harms_nothing() {
        for garbage in
            [json!(null), json!([1]), json!("x"), json!({"paths": 5, "components": {"schemas": []}})]
        {
            let documents = Documents::new(json!({"paths": {"/v1/status": {}}}));
            documents.replace(EngineName::Vpin, garbage);
            assert_eq!(merged(&documents)["paths"], json!({"/v1/status": {}}));
        }
    }
}
