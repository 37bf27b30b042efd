//! What one core reaches, measured now or earlier.

use std::io::IsTerminal as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressStyle};
use nautilus_hardware::probe::Machine;
use nautilus_hardware::probe::peaks::{self, Bandwidth, Level, Peaks, Rate, Source};
use serde::Serialize;

use super::machine::size;
use super::{Finding, Verdict};

/// Peaks and where they come from.
#[derive(Debug, Serialize)]
pub(super) struct Taken {
    source: Source,
    measured: Peaks,
}

/// Reads what was kept, or measures. What is wrong with the file is a finding; it stops nothing.
pub(super) fn take(machine: &Machine, anew: bool) -> (Taken, Vec<Finding>) {
    let mut complaints = Vec::new();
    let mut complain = |error: peaks::CacheError| {
        // The sentence says itself what to do.
        let (what, found) = ("kept measurements".to_owned(), error.to_string());
        complaints.push(Finding { what, verdict: Verdict::Optional, found, advice: None });
    };
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("measuring the processor {bar:40} {pos}/{len}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let progress = |done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let (measured, source) = if anew {
        let measured = peaks::measure(machine, progress);
        if let Err(error) = peaks::store(&measured) {
            complain(error);
        }
        (measured, Source::Measured)
    } else {
        peaks::cached_or_measured(machine, progress, &mut complain)
    };
    bar.finish_and_clear();
    (Taken { source, measured }, complaints)
}

impl Taken {
    pub(super) fn print(&self) {
        let Peaks { arithmetic, bandwidth, thread_spawn_ns, thread_wake_ns, .. } = &self.measured;
        say!("\nOne core reaches ({})", self.when());
        for rate in arithmetic {
            let name = format!("{} {}", name_of(&rate.instructions), rate.element);
            say!("  {name:<18} {}", in_billions(rate.per_second, "Gop/s"));
        }
        for Bandwidth { level, buffer_bytes, per_second } in bandwidth {
            let level = match level {
                Level::L1 => "L1",
                Level::L2 => "L2",
                Level::L3 => "L3",
                Level::Memory => "memory",
            };
            let buffer = size(*buffer_bytes);
            say!(
                "  {:<18} {} over {buffer}",
                format!("read from {level}"),
                in_billions(*per_second, "GB/s ")
            );
        }
        say!("  {:<18} {:>8.1} µs", "start a thread", thread_spawn_ns / 1e3);
        say!("  {:<18} {:>8.1} µs", "wake a thread", thread_wake_ns / 1e3);
    }

    fn when(&self) -> String {
        if self.source == Source::Measured {
            return "measured now".to_owned();
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = now.saturating_sub(Duration::from_secs(self.measured.taken_at)).as_secs();
        let age = match age {
            0..120 => format!("{age} s"),
            120..7_200 => format!("{} minutes", age / 60),
            7_200..172_800 => format!("{} hours", age / 3_600),
            _ => format!("{} days", age / 86_400),
        };
        format!("measured {age} ago; --measure does it again")
    }
}

fn in_billions(rate: Rate, unit: &str) -> String {
    format!("{:>8.1} {unit} (median {:.1})", rate.best / 1e9, rate.median / 1e9)
}

fn name_of(instructions: &peaks::Instructions) -> &'static str {
    match instructions {
        peaks::Instructions::Avx2 => "AVX2",
        peaks::Instructions::Avx512 => "AVX-512",
        peaks::Instructions::Avx512Vnni => "AVX-512 VNNI",
        peaks::Instructions::Neon => "NEON",
        peaks::Instructions::NeonDotProd => "NEON DotProd",
    }
}
