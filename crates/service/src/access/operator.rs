//! Who asks, where that is part of what is asked: changes that need a second person.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::Principal;
use crate::problem::Problem;

/// Names are no longer than this.
const LEN_MAX: usize = 64;
const HEADER: &str = "x-operator";

/// The name of the key that the request showed. Where no keys are asked for, whoever is on the machine is trusted to say
/// who they are: the header `x-operator`, or `local` without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator(pub String);

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if let Some(principal) = parts.extensions.get::<Principal>() {
            return Ok(Self(principal.name().to_owned()));
        }
        let Some(header) = parts.headers.get(HEADER) else { return Ok(Self("local".to_owned())) };
        let legal = |name: &&str| (1..=LEN_MAX).contains(&name.len());
        match header.to_str().ok().map(str::trim).filter(legal) {
            Some(name) => Ok(Self(name.to_owned())),
            None => Err(Problem::bad_request(
                "invalid_operator",
                format!("{HEADER}: give a name of 1 to {LEN_MAX} visible ASCII characters"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn operator(header: Option<&str>) -> Result<Operator, Problem> {
        let mut request = axum::http::Request::builder();
        if let Some(header) = header {
            request = request.header(HEADER, header);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        Operator::from_request_parts(&mut parts, &()).await
    }

    #[tokio::test]
    async fn whoever_shows_no_key_says_who_they_are() {
        assert_eq!(operator(None).await, Ok(Operator("local".to_owned())));
        assert_eq!(operator(Some(" alice ")).await, Ok(Operator("alice".to_owned())));
        for bad in ["", " ", &"x".repeat(65)] {
            assert_eq!(operator(Some(bad)).await.unwrap_err().code(), "invalid_operator", "{bad:?}");
        }
    }
}
