//! One contract for both transports: what the design promises of the star and of the mesh, run against the local
//! bus and a real redis-server, and what only Redis can do wrong.

mod faults;
mod fixture;
mod mesh;
mod resume;
mod star;

/// Runs the same scenarios over both transports.
macro_rules! both_transports {
    ($($name:ident($capacity:expr, $limits:expr)),* $(,)?) => {
        mod local {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(&crate::fixture::Local::new($capacity, $limits)).await;
            })*
        }
        mod redis {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(&crate::fixture::OverRedis::new($capacity, $limits)).await;
            })*
        }
    };
}
pub(crate) use both_transports;
