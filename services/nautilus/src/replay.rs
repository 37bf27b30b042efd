//! `nautilus replay`: one recording through all engines, with a progress bar and a summary.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use nautilus_engine::Engine;
use nautilus_features::Features;
use nautilus_marketdata::{FeedState, Job, Marketdata, Pace};
use nautilus_service::alone::EXIT_SOFTWARE;
use nautilus_service::config::Journal;
use nautilus_service::server::{Interrupts, end_at_next_interrupt, until_stopped};
use nautilus_service::shell::Progress;
use nautilus_service::{Config, EngineHandle, StartError};
use nautilus_vpin::Vpin;

use crate::platform::Engines;
use crate::summary;

/// How long readers may take to catch up with the hub once the file is at its end.
const CATCH_UP: Duration = Duration::from_secs(60);
const EXIT_DATA: u8 = 65;

/// Replays `file`; with `keep` the engines stay up until Ctrl-C.
pub(crate) async fn run(
    mut config: Config,
    file: &Path,
    pace: Pace,
    keep: bool,
) -> Result<ExitCode, StartError> {
    // The same recording gives the same states whatever ran before, and leaves those alone.
    config.checkpoint.folder.clear();
    let journals = tempfile::tempdir()?;
    config.journal = Journal { folder: journals.path().to_owned(), segment_mib: 4, keep_mib: 0 };
    let mut engines = Engines::start(config).await?;
    if keep {
        engines.print_urls();
    }
    let start = Instant::now();
    let job = match engines.marketdata.feeds.replay(file.to_owned(), pace).await {
        Ok(job) => job,
        Err(problem) => {
            engines.stop().await;
            return Err(StartError::File(problem.detail().to_owned()));
        }
    };
    let mut state = follow(&job, &mut engines.interrupts).await;
    let complete = {
        let Engines { platform, marketdata, vpin, features, interrupts, .. } = &mut engines;
        tokio::select! {
            complete = caught_up(marketdata, vpin, features) => complete,
            // Nobody waits for what cannot come, nor after a Ctrl-C.
            _ = until_stopped(platform, interrupts) => {
                if state == FeedState::Finished {
                    state = FeedState::Cancelled;
                }
                false
            }
        }
    };
    summary::print(&engines, &job, start.elapsed()).await;
    let code = report(&job, state, complete);
    if keep && state == FeedState::Finished {
        say!("\nThe engines stay up; Ctrl-C stops.");
        return Ok(engines.serve().await);
    }
    let broken = *engines.platform.failed().borrow();
    engines.stop().await;
    Ok(if broken { ExitCode::from(EXIT_SOFTWARE) } else { code })
}

/// Draws the progress until the feed ends. Ctrl-C ends the feed early, a second one the process.
async fn follow(job: &Arc<Job>, interrupts: &mut Interrupts) -> FeedState {
    let bar = progress_bar(job);
    let mut asked = false;
    loop {
        let (state, progress, _) = job.status();
        bar.set_position(progress.done_bytes);
        bar.set_message(format!("{} records  {}", progress.records, progress.ts_event));
        if state != FeedState::Running {
            bar.finish();
            return state;
        }
        tokio::select! {
            () = interrupts.next(), if !asked => {
                asked = true;
                job.cancel();
                end_at_next_interrupt();
            }
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    }
}

fn progress_bar(job: &Job) -> ProgressBar {
    let total = job.status().1.total_bytes.unwrap_or(0);
    let style = "{spinner} {bar:40} {percent:>3}%  {msg}  {elapsed}";
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style)
}

/// Waits until the readers have read everything that marketdata published and the store has it all.
async fn caught_up(marketdata: &Marketdata, vpin: &Vpin, features: &Features) -> bool {
    let hub = marketdata.engine.progress();
    let read = tokio::join!(everything_read(hub, &vpin.engine), everything_read(hub, &features.engine));
    let flushed = tokio::join!(
        marketdata.store.flush(CATCH_UP),
        vpin.store.flush(CATCH_UP),
        features.store.flush(CATCH_UP)
    );
    read == (true, true) && flushed.0.is_ok() && flushed.1.is_ok() && flushed.2.is_ok()
}

async fn everything_read<E: Engine>(hub: &Progress, engine: &EngineHandle<E>) -> bool {
    let deadline = Instant::now() + CATCH_UP;
    loop {
        if engine.progress().star_read.load(Relaxed) >= hub.star_published.load(Relaxed) {
            // What was read is stepped and shown once a request behind it is answered.
            return engine.inspect(|_| ()).await.is_ok();
        }
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn report(job: &Job, state: FeedState, complete: bool) -> ExitCode {
    match (state, job.status().2) {
        (FeedState::Failed, reason) => {
            complain!("error: the replay ended early: {}", reason.unwrap_or_default());
            ExitCode::from(EXIT_DATA)
        }
        (FeedState::Cancelled, _) => {
            say!("The replay was stopped before its end.");
            ExitCode::SUCCESS
        }
        _ if !complete => {
            complain!("error: the engines or the store did not catch up within {} s", CATCH_UP.as_secs());
            ExitCode::from(75)
        }
        _ => ExitCode::SUCCESS,
    }
}
