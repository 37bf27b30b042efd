//! Scopes, and which of them each route asks for: read from the service's own OpenAPI document.
//!
//! A route whose document names no scope, an unknown one or alternatives is not in the table as anything but refused.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use axum::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

/// What annotations call the way of presenting a key: `security(("api_key" = ["read"]))`.
pub(crate) const SECURITY_SCHEME: &str = "api_key";

/// What a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// Ask for anything that changes nothing.
    #[serde(rename = "read")]
    Read,
    /// Place and cancel orders.
    #[serde(rename = "trade")]
    Trade,
    /// Change limits.
    #[serde(rename = "risk:admin")]
    RiskAdmin,
    /// Change what the platform runs: replays, bars, configurations.
    #[serde(rename = "operate")]
    Operate,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Read, Self::Trade, Self::RiskAdmin, Self::Operate];

    /// As in annotations, keys files and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Trade => "trade",
            Self::RiskAdmin => "risk:admin",
            Self::Operate => "operate",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// There is no such scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no scope '{0}'; there are read, trade, risk:admin and operate")]
pub struct UnknownScope(String);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let unknown = || UnknownScope(text.chars().take(32).collect());
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(unknown)
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Whether all of `wanted` are among these.
    #[must_use]
    pub const fn contains(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    /// The scopes in their order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains((*scope).into()))
    }
}

impl From<Scope> for Scopes {
    fn from(scope: Scope) -> Self {
        Self(1 << scope as u8)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |all, scope| all | Self::from(scope).0))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Scope::as_str).collect();
        f.write_str(&names.join(" "))
    }
}

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Nothing: said explicitly.
    Public,
    /// A key that holds all of these.
    Scopes(Scopes),
    /// The document does not say, or not clearly: nobody may.
    Undeclared,
    /// The path is known, but not with this method.
    WrongMethod,
}

/// What each route of a service asks for.
#[derive(Debug, Default)]
pub(crate) struct ScopeTable(HashMap<String, Vec<(String, Demand)>>);

impl ScopeTable {
    /// Reads what the annotations declare.
    pub(crate) fn of(document: &OpenApi) -> Self {
        // As JSON, because the document's own types keep the scopes to themselves.
        let document = serde_json::to_value(document).unwrap_or_default();
        let routes = |item: &Value| {
            let operations = item.as_object().into_iter().flatten();
            let operations = operations.filter(|(_, operation)| operation["responses"].is_object());
            operations.map(|(method, operation)| (method.to_ascii_uppercase(), declared(operation))).collect()
        };
        let paths = document["paths"].as_object().into_iter().flatten();
        Self(paths.map(|(path, item)| (path.clone(), routes(item))).collect())
    }

    /// What a route asks for, by the method and the path's template.
    pub(crate) fn demand(&self, method: &Method, path: &str) -> Demand {
        let Some(methods) = self.0.get(path) else { return Demand::Undeclared };
        let find =
            |wanted: &str| methods.iter().find(|(method, _)| method == wanted).map(|(_, demand)| *demand);
        // The router answers HEAD with what answers GET.
        let head = || (*method == Method::HEAD).then(|| find("GET")).flatten();
        find(method.as_str()).or_else(head).unwrap_or(Demand::WrongMethod)
    }
}

fn declared(operation: &Value) -> Demand {
    let Some([requirement]) = operation["security"].as_array().map(Vec::as_slice) else {
        return Demand::Undeclared;
    };
    let Some(requirement) = requirement.as_object() else { return Demand::Undeclared };
    if requirement.is_empty() {
        return Demand::Public;
    }
    let names = requirement.get(SECURITY_SCHEME).and_then(Value::as_array).filter(|_| requirement.len() == 1);
    let parse = |name: &Value| name.as_str().and_then(|name| name.parse::<Scope>().ok());
    let scopes = names.and_then(|names| names.iter().map(parse).collect::<Option<Vec<_>>>());
    match scopes {
        Some(scopes) if !scopes.is_empty() => Demand::Scopes(scopes.into_iter().collect()),
        _ => Demand::Undeclared,
    }
}

/// How a key is presented, for the document.
pub(crate) fn security_scheme() -> SecurityScheme {
    let text = "`Authorization: Bearer nk_<id>_<secret>`, where the service asks for keys at all; over WebSocket also the \
                subprotocols `nautilus, key.nk_<id>_<secret>`. A route's scope is listed with its security.";
    let http = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("nk_<id>_<secret>");
    SecurityScheme::Http(http.description(Some(text)).build())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn demand(security: &Value, method: &Method, path: &str) -> Demand {
        let document = json!({"openapi": "3.1.0", "info": {"title": "t", "version": "1"},
            "paths": {"/a/{b}": {"get": {"responses": {}, "security": security}}}});
        ScopeTable::of(&serde_json::from_value(document).unwrap()).demand(method, path)
    }

    #[test]
    fn only_a_clear_declaration_opens_a_route() {
        let read = Demand::Scopes(Scope::Read.into());
        for (security, expected) in [
            (json!([{"api_key": ["read"]}]), read),
            (
                json!([{"api_key": ["read", "operate"]}]),
                Demand::Scopes([Scope::Read, Scope::Operate].into_iter().collect()),
            ),
            (json!([{}]), Demand::Public),
            (json!(null), Demand::Undeclared),
            (json!([]), Demand::Undeclared),
            (json!([{"api_key": []}]), Demand::Undeclared),
            (json!([{"api_key": ["root"]}]), Demand::Undeclared),
            (json!([{"other": ["read"]}]), Demand::Undeclared),
            (json!([{"api_key": ["read"], "other": []}]), Demand::Undeclared),
            (json!([{}, {"api_key": ["read"]}]), Demand::Undeclared),
        ] {
            assert_eq!(demand(&security, &Method::GET, "/a/{b}"), expected, "{security}");
        }
        let security = json!([{"api_key": ["read"]}]);
        assert_eq!(demand(&security, &Method::HEAD, "/a/{b}"), read);
        assert_eq!(demand(&security, &Method::POST, "/a/{b}"), Demand::WrongMethod);
        assert_eq!(demand(&security, &Method::GET, "/a/c"), Demand::Undeclared);
    }

    #[test]
    fn scopes_are_a_set() {
        let both: Scopes = [Scope::Read, Scope::RiskAdmin].into_iter().collect();
        assert_eq!(both.to_string(), "read risk:admin");
        assert!(both.contains(Scope::Read.into()) && !both.contains(Scope::Trade.into()));
        assert!("admin".parse::<Scope>().unwrap_err().to_string().contains("there is no scope 'admin'"));
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
        }
    }
}
