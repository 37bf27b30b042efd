//! What it costs to move a thread to a core and give it real-time priority, and what that does to its wake-ups while
//! other threads want the same cores.
//!
//! A wake-up is timed from the waker's clock read right before it wakes until the woken thread's first clock read. No
//! thread here spins at real-time priority.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::time::{Duration, Instant};

use criterion::Criterion;
use nautilus_benches::{Contest, Figures, Goal, Peer, Report, Unit, percentile, timed};
use nautilus_hardware::pinning::{Placed, Policy, Thread};
use nautilus_hardware::probe::{Root, Topology};

/// Calls of one run.
const CALLS: usize = 200;
const ROUNDS: usize = 15;
/// Wake-ups of one contestant in one round.
const WAKES: usize = 2_000;
const WAKE_ROUNDS: usize = 7;
/// Between two wake-ups: long enough for the thread to be asleep again.
const GAP: Duration = Duration::from_micros(200);
const PRIORITY: u8 = 50;
const SHARES: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// How the woken thread is treated.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Treatment {
    Plain,
    Pinned,
    PinnedFifo,
}

impl Treatment {
    fn give(self, cpu: usize) -> Option<Placed> {
        if self == Self::Plain {
            return None;
        }
        let mut placed = Thread::current().pin(cpu).expect("a CPU of this process's own");
        if self == Self::PinnedFifo {
            placed.set_policy(Policy::Fifo(PRIORITY)).expect("asked before");
        }
        Some(placed)
    }
}

/// Threads that never rest, two for each CPU.
struct Load {
    running: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<u64>>,
}

impl Load {
    fn start(cpus: usize) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let work = |running: Arc<AtomicBool>| {
            move || {
                let mut memory = vec![1_u64; 1 << 16];
                let mut sum = 0;
                while running.load(Relaxed) {
                    memory.iter_mut().for_each(|word| *word = word.wrapping_mul(6_364_136_223_846_793_005));
                    sum = memory.iter().fold(sum, |sum: u64, word| sum.wrapping_add(*word));
                }
                sum
            }
        };
        let threads = (0..2 * cpus).map(|_| std::thread::spawn(work(Arc::clone(&running)))).collect();
        Self { running, threads }
    }

    fn end(self) {
        self.running.store(false, Relaxed);
        for thread in self.threads {
            std::hint::black_box(thread.join().expect("it only counts"));
        }
    }
}

/// Wakes one sleeping thread again and again; how long each took, in microseconds.
fn wake_ups(treatment: Treatment, cpu: usize) -> Vec<f64> {
    let start = Instant::now();
    let clock = move || u64::try_from(start.elapsed().as_nanos()).expect("a bench ends within centuries");
    // The stamp of the wake-up under way, 0 once it was taken.
    let stamp = Arc::new(AtomicU64::new(0));
    let theirs = Arc::clone(&stamp);
    let sleeper = std::thread::spawn(move || {
        let _placed = treatment.give(cpu);
        let mut took = Vec::with_capacity(WAKES);
        while took.len() < WAKES {
            std::thread::park();
            let woken = clock();
            let since = theirs.swap(0, AcqRel);
            if since != 0 {
                took.push(woken.saturating_sub(since) as f64 / 1e3);
            }
        }
        took
    });
    while !sleeper.is_finished() {
        std::thread::sleep(GAP);
        if stamp.load(Acquire) == 0 {
            stamp.store(clock().max(1), Release);
            sleeper.thread().unpark();
        }
    }
    sleeper.join().expect("it only sleeps")
}

/// Percentiles of each treatment's rounds.
fn race(treatments: &[Treatment], cpu: usize) -> Vec<[Figures; 4]> {
    let mut figures: Vec<[Figures; 4]> = vec![Default::default(); treatments.len()];
    for round in 0..WAKE_ROUNDS {
        for turn in 0..treatments.len() {
            let who = (round + turn) % treatments.len();
            let mut took = wake_ups(treatments[who], cpu);
            for (figures, (_, share)) in figures[who].iter_mut().zip(SHARES) {
                figures.push(percentile(&mut took, share));
            }
        }
    }
    figures
}

fn report_wake_ups(report: &mut Report, when: &str, cpu: usize, realtime: bool) {
    let mut treatments = vec![Treatment::Plain, Treatment::Pinned];
    treatments.extend(realtime.then_some(Treatment::PinnedFifo));
    let figures = race(&treatments, cpu);
    for (treatment, ours) in treatments.iter().zip(&figures).skip(1) {
        let name = if *treatment == Treatment::Pinned { "pinned" } else { "pinned, SCHED_FIFO" };
        for (n, (share, _)) in SHARES.into_iter().enumerate() {
            let peer = Peer::Here("not pinned", &figures[0][n]);
            report.row(
                &format!("wake-up {when}, {name}, {share}"),
                Unit::Microseconds,
                &ours[n],
                peer,
                Goal::None,
            );
        }
    }
}

/// Moves the calling thread, with or without a change of policy; putting it back is not timed.
fn moves(cpu: usize, policy: Policy) -> impl FnMut() -> Duration {
    let thread = Thread::current();
    move || {
        let call = || {
            timed(|| {
                let mut placed = thread.pin(cpu).expect("a CPU of this process's own");
                placed.set_policy(policy).expect("asked before");
                placed
            })
        };
        (0..CALLS).map(|_| call()).sum()
    }
}

/// Puts the calling thread back, which it was moved before.
fn moves_back(cpu: usize, policy: Policy) -> impl FnMut() -> Duration {
    let thread = Thread::current();
    move || {
        let call = || {
            let mut placed = thread.pin(cpu).expect("a CPU of this process's own");
            placed.set_policy(policy).expect("asked before");
            timed(|| placed.restore())
        };
        (0..CALLS).map(|_| call()).sum()
    }
}

fn report_calls(report: &mut Report, criterion: &mut Criterion, cpu: usize, realtime: bool) {
    // Where it already is: otherwise the move itself, to another core, is timed as well.
    let here = Thread::current().pin(cpu).expect("a CPU of this process's own");
    let policies = [("affinity", Policy::Unchanged), ("affinity and SCHED_FIFO", Policy::Fifo(PRIORITY))];
    for (name, policy) in policies.into_iter().take(if realtime { 2 } else { 1 }) {
        let mut contest = Contest::new(name, CALLS)
            .enter("change", moves(cpu, policy))
            .enter("put back", moves_back(cpu, policy));
        let [change, back] = &contest.race(ROUNDS)[..] else { unreachable!("two were entered") };
        report.row(
            &format!("{name}: remember and change"),
            Unit::Nanoseconds,
            change,
            Peer::None,
            Goal::AtMost(5_000.0),
        );
        report.row(&format!("{name}: put back"), Unit::Nanoseconds, back, Peer::None, Goal::AtMost(5_000.0));
        contest.criterion(criterion);
    }
    drop(here);
}

fn main() {
    let Some(mut report) = Report::begin("wakeup") else { return };
    let mut criterion = Criterion::default().configure_from_args();
    let topology = Topology::read(&Root::system());
    // The last one: the first is left to everybody else.
    let cpu = *topology.allowed.last().expect("there is one");
    let trial = std::thread::spawn(move || {
        let mut placed = Thread::current().pin(cpu)?;
        placed.set_policy(Policy::Fifo(PRIORITY))
    });
    let refused = trial.join().expect("it only asks").err();
    let realtime = refused.is_none() && topology.cores() > 1;
    report_calls(&mut report, &mut criterion, cpu, realtime);
    report_wake_ups(&mut report, "on an idle machine", cpu, realtime);
    let load = Load::start(topology.allowed.len());
    report_wake_ups(&mut report, "under load", cpu, realtime);
    load.end();
    report.note(&format!(
        "Calls on a thread that is on that CPU already. {WAKES} wake-ups a round by unpark, {GAP:?} apart; the load is \
         two threads for each CPU that never rest. Percentiles of a round, median of {WAKE_ROUNDS} rounds."
    ));
    if !realtime {
        report.note(&format!(
            "Without SCHED_FIFO: {}",
            refused.unwrap_or_else(|| "there is one core".to_owned())
        ));
    }
    criterion.final_summary();
}
