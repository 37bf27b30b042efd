//! The service as a process of its own.

use nautilus_testkit::{RedisServer, ServiceProcess};

const ANY_PORT: (&str, &str) = ("NAUTILUS__SERVICES__RISK__LISTEN", "127.0.0.1:0");

#[test]
fn it_serves_and_drains_by_itself_over_real_servers() {
    let (market_data, engine_logic) = (RedisServer::start(), RedisServer::start());
    let mut service = ServiceProcess::start(
        env!("CARGO_BIN_EXE_nautilus-risk"),
        &[
            ANY_PORT,
            ("NAUTILUS__BUS__MARKET_DATA__TRANSPORT", "redis"),
            ("NAUTILUS__BUS__MARKET_DATA__URL", &market_data.url()),
            ("NAUTILUS__BUS__ENGINE_LOGIC__TRANSPORT", "redis"),
            ("NAUTILUS__BUS__ENGINE_LOGIC__URL", &engine_logic.url()),
        ],
    );
    for path in ["/health/live", "/health/ready", "/v1/portfolios", "/openapi.json", "/metrics"] {
        let answer = ureq::get(format!("{}{path}", service.url())).call().expect(path);
        assert_eq!(answer.status().as_u16(), 200, "{path}");
    }
    assert_eq!(service.interrupt(), Some(0));
}
