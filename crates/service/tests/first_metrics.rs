//! The metrics of the first platform of a process, which is the only one a real process has. Alone in this binary: the
//! recorder is installed once per process.

use nautilus_messages::EngineName;
use nautilus_service::{Config, Platform};

#[tokio::test]
async fn the_shared_buses_of_the_first_platform_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.store.url = format!("sqlite://{}", folder.path().join("test.db").display());
    let connections = Platform::new(config).connect(EngineName::Marketdata).await.unwrap();
    connections.star.record_metrics();
    let text = connections.exporter.render("marketdata");
    for name in ["nautilus_star_published_total", "nautilus_star_lag", "nautilus_star_lost_total"] {
        assert!(text.contains(&format!("{name}{{service=\"marketdata\"}} 0")), "{name} is missing:\n{text}");
    }
}
