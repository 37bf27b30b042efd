//! The check in front of every handler: which scope the route asks for, whose key is shown, whether it may.
//!
//! It fails closed: what is not declared is refused. It never looks at a body and never waits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::audit::{Audit, Refused};
use super::key::{Presented, presented};
use super::ring::{Bad, KeyRing, Principal};
use super::scope::{Demand, ScopeTable, Scopes};
use crate::config::ServiceName;
use crate::http::{request_id_of, wrong_method};
use crate::problem::Problem;
use crate::shell::wall_clock;

/// What the check knows.
#[derive(Debug)]
pub(crate) struct Guard {
    ring: Arc<KeyRing>,
    table: ScopeTable,
    audit: Audit,
}

/// Why a request is not let in.
enum Refusal {
    Missing,
    Unknown,
    Expired,
    ScopeMissing(Scopes),
    Undeclared,
    RateLimited(Duration),
}

impl Guard {
    pub(crate) fn new(service: ServiceName, ring: Arc<KeyRing>, table: ScopeTable) -> Arc<Self> {
        Arc::new(Self { ring, table, audit: Audit::new(service) })
    }

    /// Who asks, where the key is good and holds what is needed.
    fn admit(&self, request: &Request, needed: Scopes) -> Result<Principal, Refusal> {
        let text = presented(request.headers()).ok_or(Refusal::Missing)?;
        let shown = Presented::parse(text).ok_or(Refusal::Unknown)?;
        let live = self.ring.find(shown, wall_clock()).map_err(|bad| match bad {
            Bad::Unknown => Refusal::Unknown,
            Bad::Expired => Refusal::Expired,
        })?;
        live.spend().map_err(Refusal::RateLimited)?;
        if !live.entry.scopes.contains(needed) {
            return Err(Refusal::ScopeMissing(needed));
        }
        Ok(Principal::new(live, Arc::clone(&self.ring)))
    }

    fn refuse(&self, request: &Request, route: &str, refusal: &Refusal) -> Response {
        let shown = presented(request.headers()).and_then(Presented::parse);
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        self.audit.refused(&Refused {
            code: refusal.code(),
            request_id: request_id_of(request),
            method: request.method().as_str(),
            route,
            key: shown.map(|key| key.id),
            address: peer.map(|peer| peer.0),
        });
        refusal.answer()
    }
}

impl Refusal {
    const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "key_missing",
            Self::Unknown => "key_unknown",
            Self::Expired => "key_expired",
            Self::ScopeMissing(_) => "scope_missing",
            Self::Undeclared => "scope_undeclared",
            Self::RateLimited(_) => "rate_limited",
        }
    }

    fn answer(&self) -> Response {
        let (status, detail) = match self {
            Self::Missing => (
                StatusCode::UNAUTHORIZED,
                "this service asks for a key: send Authorization: Bearer nk_…, made with `nautilus keys new`"
                    .to_owned(),
            ),
            Self::Unknown => (
                StatusCode::UNAUTHORIZED,
                "the key is not known here, or not whole; it may have been revoked".to_owned(),
            ),
            Self::Expired => (
                StatusCode::UNAUTHORIZED,
                "the key has expired; make a new one with `nautilus keys new`".to_owned(),
            ),
            Self::ScopeMissing(needed) => {
                (StatusCode::FORBIDDEN, format!("the key lacks the scope that this route asks for: {needed}"))
            }
            Self::Undeclared => {
                (StatusCode::FORBIDDEN, "this route declares no scope, so nobody may ask it here".to_owned())
            }
            Self::RateLimited(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "the key has made too many requests; wait and ask less often".to_owned(),
            ),
        };
        let mut response = Problem::new(status, self.code(), detail).into_response();
        let headers = response.headers_mut();
        if let Self::RateLimited(wait) = self {
            headers.insert(header::RETRY_AFTER, (wait.as_secs() + 1).into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Lets a request in, with its [`Principal`], or answers why not.
pub(crate) async fn guard(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    // What no route matches is answered 404, with or without a key.
    let Some(route) = request.extensions().get::<MatchedPath>().cloned() else {
        return next.run(request).await;
    };
    let route = route.as_str();
    let admitted = match guard.table.demand(request.method(), route) {
        Demand::Public => return next.run(request).await,
        // Answered here: a handler that the document does not know must not be reached.
        Demand::WrongMethod => return wrong_method(request).await.into_response(),
        Demand::Undeclared => Err(Refusal::Undeclared),
        Demand::Scopes(needed) => guard.admit(&request, needed),
    };
    match admitted {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(refusal) => guard.refuse(&request, route, &refusal),
    }
}
