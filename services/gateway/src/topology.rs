//! `GET /v1/topology`: who is connected to whom, from the routing table of messages and the configuration.

use nautilus_messages::EngineName;
use nautilus_messages::mesh::MessageType;
use serde_json::Value;

use crate::shapes::{Edge, EdgeKind, Node, NodeKind, Topology};

const MARKET_DATA: &str = "market_data";
const ENGINE_LOGIC: &str = "engine_logic";
const STORE: &str = "store";
const GATEWAY: &str = "gateway";
const CLIENT: &str = "client";

/// Who publishes a type on the mesh. Whoever has a question may ask it, so requests have no standing producer.
fn produces(engine: EngineName, kind: MessageType) -> bool {
    match kind {
        MessageType::VpinUpdate | MessageType::ToxicityAlert | MessageType::VpinResponse => {
            engine == EngineName::Vpin
        }
        MessageType::EngineHealth => true,
        MessageType::FeatureVector => engine == EngineName::Features,
        MessageType::OrderDecision | MessageType::RiskMetric | MessageType::RiskAlert => {
            engine == EngineName::Risk
        }
        MessageType::VpinRequest | MessageType::OrderRequest | MessageType::PositionChange => false,
    }
}

/// Whether an engine stores what it came to, or was told to keep.
const fn stores(engine: EngineName) -> bool {
    match engine {
        EngineName::Marketdata | EngineName::Vpin | EngineName::Features => true,
        EngineName::Websocket | EngineName::Risk => false,
    }
}

/// Everything that is there, with the feeds that run now.
pub(crate) fn topology(feeds: &[Value]) -> Topology {
    let node = |id: &str, kind| Node { id: id.to_owned(), kind };
    let mut nodes: Vec<_> =
        EngineName::ALL.iter().map(|engine| node(engine.as_str(), NodeKind::Engine)).collect();
    nodes.extend([
        node(MARKET_DATA, NodeKind::Bus),
        node(ENGINE_LOGIC, NodeKind::Bus),
        node(STORE, NodeKind::Store),
        node(GATEWAY, NodeKind::Gateway),
        node(CLIENT, NodeKind::Client),
    ]);
    let mut edges: Vec<_> = EngineName::ALL.into_iter().flat_map(around).collect();
    edges.push(edge(CLIENT, GATEWAY, EdgeKind::Reads, Vec::new()));
    for feed in feeds.iter().filter_map(|feed| feed["name"].as_str()) {
        let id = format!("feed {feed}");
        edges.push(edge(&id, EngineName::Marketdata.as_str(), EdgeKind::Publishes, Vec::new()));
        nodes.push(Node { id, kind: NodeKind::Feed });
    }
    Topology { nodes, edges }
}

/// The edges of one engine.
fn around(engine: EngineName) -> Vec<Edge> {
    let name = engine.as_str();
    // One hub; everybody else reads it.
    let mut edges = vec![match engine {
        EngineName::Marketdata => edge(name, MARKET_DATA, EdgeKind::Publishes, Vec::new()),
        _ => edge(MARKET_DATA, name, EdgeKind::Reads, Vec::new()),
    }];
    let produced: Vec<_> = MessageType::ALL.into_iter().filter(|kind| produces(engine, *kind)).collect();
    let consumed: Vec<_> = MessageType::consumed_by(engine).collect();
    for (from, to, kind, types) in [
        (name, ENGINE_LOGIC, EdgeKind::Publishes, produced),
        (ENGINE_LOGIC, name, EdgeKind::Consumes, consumed),
    ] {
        if !types.is_empty() {
            edges.push(edge(from, to, kind, types.into_iter().map(MessageType::as_str).collect()));
        }
    }
    if stores(engine) {
        edges.push(edge(name, STORE, EdgeKind::Writes, Vec::new()));
    }
    edges.push(edge(GATEWAY, name, EdgeKind::Proxies, Vec::new()));
    edges
}

fn edge(from: &str, to: &str, kind: EdgeKind, types: Vec<&'static str>) -> Edge {
    Edge { from: from.to_owned(), to: to.to_owned(), kind, types }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn every_edge_has_two_ends_and_every_message_its_way() {
        let topology = topology(&[json!({"name": "session"})]);
        let nodes: BTreeSet<_> = topology.nodes.iter().map(|node| node.id.as_str()).collect();
        assert_eq!(nodes.len(), topology.nodes.len(), "ids are unique");
        for edge in &topology.edges {
            assert!(nodes.contains(edge.from.as_str()) && nodes.contains(edge.to.as_str()), "{edge:?}");
        }
        assert!(topology.edges.contains(&edge("feed session", "marketdata", EdgeKind::Publishes, vec![])));
        assert!(topology.edges.contains(&edge("vpin", "store", EdgeKind::Writes, vec![])));
        let consumed: Vec<_> = topology
            .edges
            .iter()
            .filter(|edge| edge.kind == EdgeKind::Consumes)
            .flat_map(|edge| edge.types.iter().map(|kind| (*kind, edge.to.as_str())))
            .collect();
        for kind in MessageType::ALL {
            for engine in kind.consumers() {
                assert!(consumed.contains(&(kind.as_str(), engine.as_str())), "{kind:?} to {engine}");
            }
        }
    }
}
