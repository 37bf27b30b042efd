//! `nautilus hardware`: what this machine is, how fast its backends are, and where a matrix job would go.
//!
//! It prints what the hardware crate says. Nothing here is measured or decided.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use nautilus_hardware::probe::{CacheKind, CpuCache};
use nautilus_hardware::{Calibration, CalibrationError, Candidate, ElementType, Hardware, Op, Peaks, Spec};
use nautilus_service::config::EXIT_USAGE;
use nautilus_service::hardware::{self, Machine, Question, Report, Route};
use nautilus_service::{Config, ConfigError, StartError};
use serde::Serialize;

/// Exit status when somebody else is measuring: EX_TEMPFAIL of sysexits.h.
const EXIT_AGAIN: u8 = 75;

/// Arguments of `nautilus hardware`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    task: Option<Task>,
    /// As JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measure every backend now, and keep the result for later starts.
    Calibrate,
    /// Say which backend would run a job, and what each is predicted and was measured to take.
    Route(Job),
}

#[derive(Debug, Args)]
struct Job {
    /// gemm, gemv, syrk, quadratic_form, batched_gemm, cholesky, solve, dot, axpy or gemm_i8.
    op: Op,
    /// Its sizes: m n k for a product; m k for gemv and syrk; m for quadratic_form and cholesky; m n for solve; k for
    /// dot and axpy.
    #[arg(required = true, allow_negative_numbers = true)]
    sizes: Vec<usize>,
    /// f64 or f32; gemm_i8 has i8.
    #[arg(long, value_parser = element)]
    element: Option<ElementType>,
    /// Matrices of a batch.
    #[arg(long)]
    batch: Option<usize>,
}

fn element(name: &str) -> Result<ElementType, String> {
    let known = [ElementType::F32, ElementType::F64, ElementType::I8];
    let found = known.into_iter().find(|element| element.as_str() == name);
    found.ok_or_else(|| "there are f32, f64 and i8".to_owned())
}

impl Arguments {
    pub(crate) fn run(&self, config: &Config) -> Result<ExitCode, StartError> {
        let hardware = hardware::configure(&config.hardware)?;
        match &self.task {
            None => {
                let report = Report::of(hardware);
                self.print(&report, print_report);
            }
            Some(Task::Route(job)) => {
                let spec = match job.spec() {
                    Ok(spec) => spec,
                    Err(reason) => {
                        complain!("error: {reason}");
                        return Ok(ExitCode::from(EXIT_USAGE));
                    }
                };
                let route = Route::of(hardware, &spec);
                self.print(&route, |route| print_route(route, &hardware.status().calibration));
            }
            Some(Task::Calibrate) => return self.calibrate(hardware),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn print<T: Serialize>(&self, value: &T, as_table: impl FnOnce(&T)) {
        match serde_json::to_string(value) {
            Ok(json) if self.json => say!("{json}"),
            _ => as_table(value),
        }
    }

    fn calibrate(&self, hardware: &Hardware) -> Result<ExitCode, StartError> {
        let bar = ProgressBar::new(0).with_style(bar_style());
        let measured = hardware::measure(hardware, |what, done, total| {
            bar.set_message(what);
            bar.set_length(u64::try_from(total).unwrap_or(u64::MAX));
            bar.set_position(u64::try_from(done).unwrap_or(u64::MAX));
        });
        bar.finish_and_clear();
        match measured {
            Ok(()) => {}
            Err(error @ CalibrationError::Pinned) => {
                let (key, message) = ("hardware.pin_backend".to_owned(), error.to_string());
                return Err(ConfigError::Setting { key, message }.into());
            }
            Err(error @ CalibrationError::NotStored { .. }) => {
                return Err(StartError::File(error.to_string()));
            }
            Err(error @ CalibrationError::Busy) => {
                complain!("error: {error}");
                return Ok(ExitCode::from(EXIT_AGAIN));
            }
        }
        self.print(&Report::of(hardware), print_report);
        Ok(ExitCode::SUCCESS)
    }
}

impl Job {
    fn spec(&self) -> Result<Spec, String> {
        let names = hardware::sizes(self.op);
        if self.sizes.len() != names.len() {
            return Err(format!("the sizes of {} are {}: give each once", self.op, names.join(" ")));
        }
        let size = |name| names.iter().position(|known| *known == name).map(|at| self.sizes[at]);
        let (m, n, k) = (size("m"), size("n"), size("k"));
        Question { op: self.op, m, n, k, batch: self.batch, element: self.element }.spec()
    }
}

fn bar_style() -> ProgressStyle {
    let style = "{spinner} {bar:40} {percent:>3}%  {msg}  {elapsed}";
    ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn print_report(report: &Report) {
    print_machine(&report.machine);
    say!("calibration  {}", calibration(&report.calibration));
    let switch = |on: bool| if on { "on" } else { "off" };
    let families = report.switches.families.iter();
    let families: Vec<_> = families.map(|s| format!("{} {}", name(&s.family), switch(s.on))).collect();
    say!("switches     {}", if families.is_empty() { "none".to_owned() } else { families.join(", ") });
    if let Some(forced) = report.switches.force {
        say!("forced       {forced}; portable does what it cannot");
    }
    if let Some(pinned) = report.pinned {
        say!("pinned       {pinned}, on one core");
    }
    say!("\n{:<12}{:<9}{:<7}why not", "backend", "family", "state");
    for backend in &report.backends {
        let family = backend.family.map_or_else(|| "-".to_owned(), |family| name(&family));
        let reason = backend.reason.as_deref().unwrap_or_default();
        let line = format!("{:<12}{family:<9}{:<7}{reason}", backend.backend.as_str(), switch(backend.on));
        say!("{}", line.trim_end());
    }
}

fn print_machine(machine: &Machine) {
    let Machine { system, architecture, processor, cores, threads, .. } = machine;
    let class = name(&machine.class);
    let guest = machine.hypervisor.as_ref().map(|host| format!(", guest of {host}")).unwrap_or_default();
    say!("machine      {processor}, {system} {architecture}, class {class}{guest}");
    let memory =
        machine.memory_limit_bytes.or(machine.memory_bytes).map_or_else(|| "unknown".to_owned(), bytes);
    let nodes = match machine.numa_nodes {
        0 | 1 => String::new(),
        nodes => format!(" on {nodes} NUMA nodes"),
    };
    say!("cores        {cores} with {threads} threads{nodes}, {memory} of memory");
    let caches: Vec<_> = machine.caches.iter().map(cache).collect();
    say!("caches       {}", if caches.is_empty() { "unknown".to_owned() } else { caches.join(", ") });
    say!("peaks        {}", machine.peaks.map_or_else(|| "not measured".to_owned(), peaks));
    if !machine.gpus.is_empty() {
        say!("gpu signs    {}", machine.gpus.join(", "));
    }
}

fn cache(cache: &CpuCache) -> String {
    let kind = match cache.kind {
        CacheKind::Data => "d",
        CacheKind::Instruction => "i",
        CacheKind::Unified => "",
    };
    format!("L{}{kind} {}", cache.level, bytes(cache.bytes))
}

/// Of one core; what was not measured is 0 and left out.
fn peaks(peaks: Peaks) -> String {
    let rates =
        [("f64", peaks.gflops_f64), ("f32", peaks.gflops_f32)].map(|(name, rate)| (name, rate, "GFLOP/s"));
    let levels =
        ["L1", "L2", "L3", "memory"].into_iter().zip(peaks.gbps).map(|(name, rate)| (name, rate, "GB/s"));
    let known = rates.into_iter().chain(levels).filter(|(_, rate, _)| *rate > 0.0);
    let shown: Vec<_> = known.map(|(name, rate, unit)| format!("{name} {rate:.1} {unit}")).collect();
    if shown.is_empty() { "not measured".to_owned() } else { format!("{}, one core", shown.join(", ")) }
}

fn calibration(calibration: &Calibration) -> String {
    match calibration {
        Calibration::Absent { reason: None } => {
            "not measured yet: `nautilus hardware calibrate`, or the first start, does".to_owned()
        }
        Calibration::Absent { reason: Some(reason) } => format!("not measured: {reason}"),
        Calibration::Measuring { done, total } => format!("being measured, {done} of {total}"),
        Calibration::Measured { age_s, .. } => format!("measured {} ago", age(*age_s)),
    }
}

fn print_route(route: &Route, known: &Calibration) {
    let Route { op, element, m, n, k, batch, chosen, workers, candidates } = route;
    let times = if *batch > 1 { format!(", {batch} times") } else { String::new() };
    say!("{op} of {element}, m {m}, n {n}, k {k}{times}: {chosen} on {}", cores(*workers));
    if !matches!(known, Calibration::Measured { .. }) {
        say!("chosen by preference; {}", calibration(known));
    }
    say!("\n{:<12}{:>7}{:>12}{:>12}  why not", "backend", "cores", "predicted", "measured");
    for candidate in candidates {
        let Candidate { backend, workers, predicted_ns, last_measured_ns, refused } = candidate;
        let predicted = predicted_ns.map_or_else(|| "-".to_owned(), time);
        #[allow(clippy::cast_precision_loss)]
        let measured = last_measured_ns.map_or_else(|| "-".to_owned(), |ns| time(ns as f64));
        let reason = refused.as_deref().unwrap_or_default();
        let line = format!("{:<12}{workers:>7}{predicted:>12}{measured:>12}  {reason}", backend.as_str());
        say!("{}", line.trim_end());
    }
}

fn cores(count: usize) -> String {
    if count == 1 { "one core".to_owned() } else { format!("{count} cores") }
}

/// Three digits and a unit.
fn time(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.2} µs", ns / 1e3),
        ns if ns < 1e9 => format!("{:.2} ms", ns / 1e6),
        ns => format!("{:.2} s", ns / 1e9),
    }
}

fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[allow(clippy::cast_precision_loss)]
fn bytes(count: u64) -> String {
    match count {
        0..0x10_0000 => format!("{} KiB", count >> 10),
        0x10_0000..0x4000_0000 => format!("{} MiB", count >> 20),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}

/// As it is written in JSON.
fn name<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}
