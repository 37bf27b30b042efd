//! The mesh over Redis: one stream per message type, one consumer group per consuming engine, one stream of dead
//! letters per engine.
//!
//! The names of the streams and what holds for the server as a whole stand here; publishing is in
//! [`crate::mesh_outbox`], consuming in [`crate::mesh_inlet`].

use std::sync::Arc;

use nautilus_messages::EngineName;
use nautilus_messages::mesh::MessageType;
use redis::Value;

use crate::config::RedisMesh;
use crate::health::{BusError, Health};
use crate::link::{Link, StreamEntry, entries};
use crate::mesh::DeadLetter;
use crate::mesh_inlet::RedisInlet;
use crate::mesh_outbox::Outbox;

pub(crate) fn stream_key(message_type: MessageType) -> String {
    format!("nautilus:mesh:{}", message_type.as_str())
}

pub(crate) fn dead_key(engine: EngineName) -> String {
    format!("nautilus:dead:{engine}")
}

#[derive(Debug)]
pub(crate) struct RedisTransport {
    config: RedisMesh,
    link: Link,
    pub(crate) warning: Option<String>,
}

impl RedisTransport {
    pub(crate) async fn connect(config: RedisMesh, service: &'static str) -> Result<Self, BusError> {
        let link = Link::new(&config.url, config.response_timeout, service)?;
        let mut connection = link.check().await?;
        let persistence = redis::cmd("INFO").arg("persistence").query_async::<String>(&mut connection).await;
        let warning = match persistence {
            Ok(info) if info.contains("aof_enabled:1") => None,
            Ok(_) => Some(format!(
                "Redis at {} keeps no append-only file: a crash loses every message; set appendonly yes",
                link.url()
            )),
            Err(error) => Some(format!(
                "Redis at {} does not say whether it keeps an append-only file ({error}); allow INFO",
                link.url()
            )),
        };
        if let Some(warning) = &warning {
            tracing::warn!("{warning}");
        }
        Ok(Self { config, link, warning })
    }

    pub(crate) fn outbox(&self, health: &Arc<Health>, service: &'static str) -> Outbox {
        Outbox::open(&self.link, &self.config, health, service)
    }

    pub(crate) fn inlet(
        &self,
        engine: EngineName,
        types: &[MessageType],
        health: &Arc<Health>,
        service: &'static str,
    ) -> RedisInlet {
        RedisInlet::open(&self.link, &self.config, engine, types, health, service)
    }

    pub(crate) async fn dead_letters(
        &self,
        engine: EngineName,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, BusError> {
        let mut connection = self.link.check().await?;
        let mut query = redis::cmd("XREVRANGE");
        query.arg(dead_key(engine)).arg("+").arg("-").arg("COUNT").arg(limit);
        let reply = query.query_async::<Value>(&mut connection).await.map_err(|e| self.link.error(e))?;
        Ok(entries(reply).iter().rev().filter_map(dead_letter).collect())
    }
}

fn dead_letter(entry: &StreamEntry) -> Option<DeadLetter> {
    let of = |name| entry.field(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let name = of("type")?;
    Some(DeadLetter {
        message_type: MessageType::ALL.into_iter().find(|kind| kind.as_str() == name)?,
        original_id: of("id")?,
        attempts: u32::try_from(entry.number("attempts")?).ok()?,
        reason: of("reason")?,
        bytes: entry.field("m")?.to_vec(),
    })
}
