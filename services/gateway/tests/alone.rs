//! The gateway as a process of its own: it serves without any engine and without a bus, and stops when it is told to.

use nautilus_testkit::{ServiceProcess, free_port};

#[test]
fn it_serves_and_stops_by_itself() {
    let nowhere: Vec<_> = ["MARKETDATA", "VPIN", "WEBSOCKET", "FEATURES"]
        .map(|engine| (format!("NAUTILUS__SERVICES__{engine}__LISTEN"), format!("127.0.0.1:{}", free_port())))
        .into();
    let mut settings: Vec<(&str, &str)> =
        nowhere.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    settings.push(("NAUTILUS__SERVICES__GATEWAY__LISTEN", "127.0.0.1:0"));
    let mut service = ServiceProcess::start(env!("CARGO_BIN_EXE_nautilus-gateway"), &settings);
    let paths = [
        "/health/live",
        "/health/ready",
        "/v1/status",
        "/v1/topology",
        "/openapi.json",
        "/metrics",
        "/",
        "/reference",
    ];
    for path in paths {
        let answer = ureq::get(format!("{}{path}", service.url())).call().expect(path);
        assert_eq!(answer.status().as_u16(), 200, "{path}");
    }
    assert_eq!(service.interrupt(), Some(0));
}
