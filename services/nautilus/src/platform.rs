//! All services in one process: start in order, stop in order.

use std::process::ExitCode;

use nautilus_features::Features;
use nautilus_marketdata::Marketdata;
use nautilus_service::alone::EXIT_SOFTWARE;
use nautilus_service::server::{Interrupts, until_stopped};
use nautilus_service::{Config, Platform, Running, ServiceName, StartError};
use nautilus_service::{hardware, pinning, wall_clock};
use nautilus_vpin::Vpin;

use crate::services::{self, Started};

/// Every service, up.
pub(crate) struct Engines {
    pub(crate) platform: Platform,
    pub(crate) marketdata: Box<Marketdata>,
    pub(crate) vpin: Box<Vpin>,
    pub(crate) features: Box<Features>,
    /// In start order.
    others: Vec<Running>,
    /// Puts the engines' threads back when it is dropped.
    _pinned: Option<pinning::Applied>,
    /// Caught from before anybody is told that the services are up.
    pub(crate) interrupts: Interrupts,
}

impl Engines {
    /// Takes every port before anything is built, then starts in order.
    pub(crate) async fn start(config: Config) -> Result<Self, StartError> {
        hardware::start(&config.hardware)?;
        let plan = pinning::plan(&config)?;
        let mut platform = Platform::new(config).with_own_hub();
        let mut listeners = Vec::new();
        for service in services::in_start_order() {
            listeners.push((service, platform.listen(service).await?));
        }
        let (mut marketdata, mut vpin, mut features, mut others) = (None, None, None, Vec::new());
        for (service, listener) in listeners {
            match services::start(service, &platform, listener).await? {
                Started::Marketdata(started) => marketdata = Some(started),
                Started::Vpin(started) => vpin = Some(started),
                Started::Features(started) => features = Some(started),
                Started::Other(running) => others.push(running),
            }
        }
        let all = marketdata.zip(vpin).zip(features);
        let ((marketdata, vpin), features) = all.expect("all three are among all services");
        let _pinned = pinning::apply(plan)?;
        let interrupts = Interrupts::catch()?;
        Ok(Self { platform, marketdata, vpin, features, others, _pinned, interrupts })
    }

    fn running(&self) -> impl Iterator<Item = &Running> {
        let known = [&self.marketdata.running, &self.vpin.running, &self.features.running];
        known.into_iter().chain(&self.others)
    }

    /// The services with their URLs.
    pub(crate) fn print_urls(&self) {
        print_urls(self.running().map(|running| (running.service, running.url())).collect());
    }

    /// Waits for the end of the process, then drains.
    pub(crate) async fn serve(mut self) -> ExitCode {
        let broken = until_stopped(&self.platform, &mut self.interrupts).await;
        complain!("stopping (Ctrl-C again ends at once)");
        self.stop().await;
        if broken { ExitCode::from(EXIT_SOFTWARE) } else { ExitCode::SUCCESS }
    }

    /// Feeds first, then the hub, then those who read from it, at last the door.
    pub(crate) async fn stop(self) {
        self.marketdata.stop().await;
        self.vpin.running.stop().await;
        self.features.running.stop().await;
        for running in self.others {
            running.stop().await;
        }
    }
}

/// The page first, then every service with its URL.
pub(crate) fn print_urls(mut urls: Vec<(ServiceName, String)>) {
    urls.sort_by_key(|(service, _)| (*service != ServiceName::Gateway, *service));
    for (service, url) in urls {
        let slash = if service == ServiceName::Gateway { "/" } else { "" };
        say!("  {service:<12} {url}{slash}");
    }
}

/// `nautilus up`.
pub(crate) async fn up(config: Config, simulator: bool) -> Result<ExitCode, StartError> {
    let engines = Engines::start(config).await?;
    say!("nautilus {} is up:", env!("CARGO_PKG_VERSION"));
    engines.print_urls();
    let marketdata = engines.marketdata.running.url();
    if simulator {
        let symbols = engines.marketdata.simulate(wall_clock())?;
        say!("\nSIMULATED markets are streaming: {symbols}");
        let first = symbols.split(' ').next().unwrap_or_default();
        say!("  curl {marketdata}/v1/books/{first}?depth=5");
        say!("  curl {}/v1/vpin/{first}", engines.vpin.running.url());
    } else {
        print_how_to_replay(&marketdata);
    }
    print_ending();
    Ok(engines.serve().await)
}

/// How data comes in where none does by itself.
pub(crate) fn print_how_to_replay(marketdata: &str) {
    say!("\nNo market data yet: POST {marketdata}/v1/replays {{\"path\":\"session.dbn.zst\"}}");
}

/// What there is besides, and how to end it.
pub(crate) fn print_ending() {
    say!("\nEvery service answers /openapi.json, /metrics and /health/ready. Ctrl-C stops.");
}
