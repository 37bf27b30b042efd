//! Questions that carry their own data: parsed and answered on a bounded pool, away from the threads that serve.
//!
//! At most one question per core is worked on; a few more wait; beyond that the answer is 503.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::problem::{Problem, RawBody};

/// Questions that may wait per one that is worked on.
const WAITING_PER_CORE: usize = 4;

/// A bounded pool for heavy questions.
#[derive(Debug, Clone)]
pub struct ComputePool {
    working: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

impl Default for ComputePool {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            working: Arc::new(Semaphore::new(cores)),
            admitted: Arc::new(Semaphore::new(cores * (1 + WAITING_PER_CORE))),
        }
    }
}

impl ComputePool {
    /// Reads a JSON body and answers it, off the serving threads.
    ///
    /// # Errors
    /// 400 for a body that does not read, naming the field; 503 when too many questions wait; and the answer's own.
    pub async fn answer<Q, A>(
        &self,
        RawBody(body): RawBody,
        answer: impl FnOnce(Q) -> Result<A, Problem> + Send + 'static,
    ) -> Result<A, Problem>
    where
        Q: DeserializeOwned,
        A: Send + 'static,
    {
        self.run(move || parse(&body).and_then(answer)).await
    }

    /// Does other work that takes long, off the serving threads.
    ///
    /// # Errors
    /// 503 when too many questions wait; and the work's own.
    pub async fn run<A>(
        &self,
        work: impl FnOnce() -> Result<A, Problem> + Send + 'static,
    ) -> Result<A, Problem>
    where
        A: Send + 'static,
    {
        let busy =
            |_| Problem::unavailable("compute_busy", "too many questions are waiting; try again in a second");
        let _admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(busy)?;
        let closed = |_| Problem::unavailable("stopping", "the service is stopping");
        let permit = Arc::clone(&self.working).acquire_owned().await.map_err(closed)?;
        let worked = tokio::task::spawn_blocking(move || {
            // The permit ends with the work, also when the asker has gone away.
            let _permit = permit;
            work()
        });
        worked.await.unwrap_or_else(|_| {
            let detail = "the question failed inside the service; its id stands in the log";
            Err(Problem::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "internal", detail))
        })
    }
}

fn parse<Q: DeserializeOwned>(body: &[u8]) -> Result<Q, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let question = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { String::new() } else { format!("{path}: ") };
        Problem::bad_request("invalid_body", format!("{place}{}", error.inner()))
    })?;
    reader.end().map_err(|error| Problem::bad_request("invalid_body", error.to_string()))?;
    Ok(question)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_are_read_strictly() {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Question {
            values: Vec<f64>,
        }
        let pool = ComputePool::default();
        let ask = |body: &'static str| {
            pool.answer(RawBody(body.into()), |q: Question| Ok(q.values.iter().sum::<f64>()))
        };
        assert_eq!(ask(r#"{"values":[1,2.5]}"#).await.unwrap(), 3.5);
        for (body, place) in [
            (r#"{"values":[1,NaN]}"#, "values[1]"),
            (r#"{"values":[1,"x"]}"#, "values[1]: invalid type"),
            (r#"{"values":[],"more":1}"#, "unknown field `more`"),
            (r#"{"values":[1e999]}"#, "out of range"),
            (r#"{"values":[]} x"#, "trailing"),
            ("", "EOF"),
        ] {
            let problem = ask(body).await.unwrap_err();
            assert_eq!(problem.code(), "invalid_body");
            assert!(problem.detail().contains(place), "{body}: {}", problem.detail());
        }
    }
}
