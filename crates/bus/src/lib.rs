//! The two buses behind one small API: the star carries market data from one hub to many readers, the mesh
//! carries engine messages from anyone to anyone.
//!
//! Both have two transports, local (in process) and Redis Streams, and both transports pass one contract suite.
//! Engines sit on plain threads, so publishing and reading are synchronous; everything that talks to Redis runs
//! in tasks of the tokio runtime in which the bus was opened and ends with the handle it serves. Nothing here
//! looks inside a message beyond what is needed to route it, and nothing here grows without a bound.

mod config;
mod dedup;
mod doorbell;
mod health;
mod link;
mod mesh;
mod mesh_inlet;
mod mesh_local;
mod mesh_outbox;
mod mesh_redis;
mod ring;
mod snapshots;
mod star;
mod star_redis;

pub use config::{MeshConfig, MeshLimits, RedisMesh, RedisStar, RedisUrl, StarConfig};
pub use doorbell::Doorbell;
pub use health::{BusError, BusHealth};
pub use mesh::{DeadLetter, Delivery, Mesh, MeshConsumer, MeshPublisher, PublishError};
pub use snapshots::StarSnapshot;
pub use star::{Next, Star, StarPlace, StarPublisher, StarReader};
