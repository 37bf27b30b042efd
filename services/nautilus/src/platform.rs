//! All engines in one process: start in order, stop in reverse.

use std::process::ExitCode;

use nautilus_marketdata::Marketdata;
use nautilus_messages::EngineName;
use nautilus_service::server::{Interrupts, until_stopped};
use nautilus_service::wall_clock;
use nautilus_service::{Config, Platform, StartError};
use nautilus_vpin::Vpin;

/// Exit status when an engine's invariant broke: EX_SOFTWARE of sysexits.h.
pub(crate) const EXIT_SOFTWARE: u8 = 70;

/// Every engine, up.
pub(crate) struct Engines {
    pub(crate) platform: Platform,
    pub(crate) marketdata: Marketdata,
    pub(crate) vpin: Vpin,
    /// Caught from before anybody is told that the engines are up.
    pub(crate) interrupts: Interrupts,
}

impl Engines {
    /// Takes every port before anything is built, then starts readers of the star before its hub.
    pub(crate) async fn start(config: Config) -> Result<Self, StartError> {
        let platform = Platform::new(config).with_own_hub();
        let marketdata = platform.listen(EngineName::Marketdata).await?;
        let vpin = platform.listen(EngineName::Vpin).await?;
        let vpin = nautilus_vpin::start(platform.connect(EngineName::Vpin).await?, vpin).await?;
        let marketdata = platform
            .connect(EngineName::Marketdata)
            .await
            .map(|connections| nautilus_marketdata::start(connections, marketdata))?
            .await?;
        Ok(Self { platform, marketdata, vpin, interrupts: Interrupts::catch()? })
    }

    /// The engines with their URLs.
    pub(crate) fn print_urls(&self) {
        for running in [&self.marketdata.running, &self.vpin.running] {
            println!("  {:<12} {}", running.service, running.url());
        }
    }

    /// Waits for the end of the process, then drains.
    pub(crate) async fn serve(mut self) -> ExitCode {
        let broken = until_stopped(&self.platform, &mut self.interrupts).await;
        eprintln!("stopping (Ctrl-C again ends at once)");
        self.stop().await;
        if broken { ExitCode::from(EXIT_SOFTWARE) } else { ExitCode::SUCCESS }
    }

    /// Feeds first, then the hub, then those who read from it.
    pub(crate) async fn stop(self) {
        self.marketdata.stop().await;
        self.vpin.running.stop().await;
    }
}

/// `nautilus up`.
pub(crate) async fn up(config: Config, simulator: bool) -> Result<ExitCode, StartError> {
    let engines = Engines::start(config).await?;
    println!("nautilus {} is up:", env!("CARGO_PKG_VERSION"));
    engines.print_urls();
    let marketdata = engines.marketdata.running.url();
    if simulator {
        let symbols = engines.marketdata.simulate(wall_clock())?;
        println!("\nSIMULATED markets are streaming: {symbols}");
        let first = symbols.split(' ').next().unwrap_or_default();
        println!("  curl {marketdata}/v1/books/{first}?depth=5");
        println!("  curl {}/v1/vpin/{first}", engines.vpin.running.url());
    } else {
        println!("\nNo market data yet: POST {marketdata}/v1/replays {{\"path\":\"session.dbn.zst\"}}");
    }
    println!("\nEvery service answers /openapi.json, /metrics and /health/ready. Ctrl-C stops.");
    Ok(engines.serve().await)
}
