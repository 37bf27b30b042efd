//! Plans over many machines, and what the system does with them on this one. Nothing spins at real-time priority.

use std::collections::BTreeSet;

use nautilus_hardware::pinning::{PinningError, Plan, Policy, Request};
use nautilus_hardware::probe::{LogicalCpu, Topology};
use proptest::prelude::*;

/// `cores` cores of `threads` threads each, those of a core `cores` apart, half of the cores slower where they differ.
fn machine(cores: usize, threads: usize, differ: bool) -> Topology {
    let cpu = |id| LogicalCpu {
        id,
        core: id % cores,
        package: 0,
        cluster: None,
        node: 0,
        capacity: differ.then_some(if id % cores < cores / 2 { 512 } else { 1024 }),
    };
    let cpus: Vec<_> = (0..cores * threads).map(cpu).collect();
    Topology {
        allowed: cpus.iter().map(|cpu| cpu.id).collect(),
        cpus,
        isolated: Vec::new(),
        tickless: Vec::new(),
    }
}

fn request(roles: usize, cores: &[usize], realtime_priority: u8) -> Request {
    let roles = (0..roles).map(|role| format!("role{role}")).collect();
    Request { roles, cores: cores.to_vec(), realtime_priority, ..Request::default() }
}

fn cpus(plan: &Plan) -> Vec<usize> {
    plan.placements.iter().map(|placement| placement.cpu).collect()
}

#[test]
fn the_planner_leaves_the_first_core_and_takes_the_fastest() {
    for (topology, roles, chosen) in [
        (machine(4, 1, false), 2, vec![1, 2]),
        (machine(4, 2, false), 3, vec![1, 2, 3]),
        (machine(4, 1, true), 3, vec![2, 3, 1]),
        (machine(2, 1, false), 3, vec![1, 1, 1]),
        (machine(1, 2, false), 2, vec![]),
        (Topology { isolated: vec![2], ..machine(4, 1, false) }, 2, vec![2, 2]),
        (Topology { allowed: vec![0, 1], isolated: vec![3], ..machine(4, 1, false) }, 1, vec![3]),
    ] {
        let plan = Plan::new(&topology, &request(roles, &[], 0)).expect("a plan");
        assert_eq!(cpus(&plan), chosen, "{topology:?}");
        assert_eq!(plan.refused.len(), usize::from(chosen.is_empty()));
    }
}

#[test]
fn real_time_threads_that_share_a_cpu_take_turns() {
    let policies = |topology: &Topology, cores: &[usize]| {
        let plan = Plan::new(topology, &request(3, cores, 50)).expect("a plan");
        (plan.placements.iter().map(|placement| placement.policy).collect::<Vec<_>>(), plan.refused.len())
    };
    use Policy::{Fifo, RoundRobin, Unchanged};
    assert_eq!(policies(&machine(4, 1, false), &[]), (vec![Fifo(50); 3], 0));
    assert_eq!(policies(&machine(2, 1, false), &[]), (vec![RoundRobin(50); 3], 0));
    assert_eq!(policies(&machine(4, 1, false), &[1, 2]), (vec![RoundRobin(50), Fifo(50), RoundRobin(50)], 0));
    assert_eq!(policies(&machine(2, 1, false), &[0, 1]), (vec![Unchanged; 3], 1), "no core would be left");
    assert_eq!(policies(&machine(2, 2, false), &[0, 3]), (vec![Unchanged; 3], 1), "nor half of one");
}

#[test]
fn what_cannot_be_planned_is_one_sentence() {
    let topology = Topology { allowed: vec![0, 2], ..machine(4, 1, false) };
    let refuse = |request: &Request| Plan::new(&topology, request).unwrap_err().to_string();
    assert_eq!(refuse(&request(1, &[1], 0)), "core 1 cannot be used: this process may run on 0, 2");
    assert!(refuse(&request(1, &[], 100)).contains("use 1 to 99"));
    let required = Request { required: true, ..request(1, &[0, 2], 9) };
    assert!(Plan::new(&topology, &required).is_ok(), "one role takes one of the two cores");
    let required = Request { required: true, ..request(2, &[0, 2], 9) };
    assert!(matches!(Plan::new(&topology, &required), Err(PinningError::Refused(_))));
}

prop_compose! {
    fn machines()(cores in 1_usize..9, threads in 1_usize..4, differ in any::<bool>())(
        topology in Just(machine(cores, threads, differ)),
        allowed in proptest::collection::vec(any::<bool>(), cores * threads),
        isolated in proptest::collection::vec(proptest::bool::weighted(0.2), cores * threads),
    ) -> Topology {
        let pick = |chosen: &[bool]| (0..chosen.len()).filter(|id| chosen[*id]).collect::<Vec<_>>();
        let mut allowed = pick(&allowed);
        if allowed.is_empty() {
            allowed.push(0);
        }
        Topology { allowed, isolated: pick(&isolated), ..topology }
    }
}

proptest! {
    /// On no machine and with no request do real-time threads take the last core.
    #[test]
    fn a_core_is_always_left(
        topology in machines(),
        roles in 0_usize..8,
        cores in proptest::collection::vec(0_usize..12, 0..6),
        priority in 0_u8..110,
    ) {
        let Ok(plan) = Plan::new(&topology, &request(roles, &cores, priority)) else {
            let usable = |core: &usize| topology.allowed.contains(core) || topology.isolated.contains(core);
            prop_assert!(priority > 99 || !cores.iter().all(usable), "only nonsense is refused");
            return Ok(());
        };
        let core = |id: usize| topology.cpu(id).expect("only CPUs that exist are used").core;
        let realtime: Vec<_> =
            plan.placements.iter().filter(|placement| placement.policy != Policy::Unchanged).collect();
        let taken: BTreeSet<_> = realtime.iter().map(|placement| core(placement.cpu)).collect();
        if !taken.is_empty() {
            let left = |id: &usize| !topology.isolated.contains(id) && !taken.contains(&core(*id));
            prop_assert!(topology.allowed.iter().any(left), "{:?} takes everything", plan);
        }
        prop_assert!(plan.placements.is_empty() || plan.placements.len() == roles);
        if priority > 0 && !plan.placements.is_empty() {
            prop_assert_eq!(realtime.len() == roles, plan.refused.is_empty(), "all or none, with the reason");
        }
    }
}

#[cfg(target_os = "linux")]
mod on_this_machine {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Mutex, PoisonError};

    use nautilus_hardware::pinning::{Abilities, Need, Thread};
    use nautilus_hardware::probe::Root;
    use rustix::thread::{CapabilitySets, CpuSet, sched_getaffinity, set_capabilities};

    use super::*;

    /// What concerns the process as a whole is looked at by one test at a time.
    static PROCESS: Mutex<()> = Mutex::new(());

    /// A thread that waits, and says where it may run when it is asked.
    struct Worker {
        name: &'static str,
        ask: Option<Sender<()>>,
        answers: Receiver<CpuSet>,
        thread: Option<std::thread::JoinHandle<()>>,
    }

    impl Worker {
        fn start(name: &'static str) -> Self {
            let (ask, asked) = channel();
            let (answer, answers) = channel();
            let work = move || {
                while asked.recv().is_ok() {
                    let _ = answer.send(sched_getaffinity(None).expect("it may be asked"));
                }
            };
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work).expect("a thread");
            let worker = Self { name, ask: Some(ask), answers, thread: Some(thread) };
            worker.affinity();
            worker
        }

        fn affinity(&self) -> CpuSet {
            self.ask.as_ref().expect("it runs").send(()).expect("it listens");
            self.answers.recv().expect("it answers")
        }

        fn request(&self, topology: &Topology) -> Request {
            let core = *topology.allowed.last().expect("there is one");
            Request { roles: vec![self.name.to_owned()], cores: vec![core], ..Request::default() }
        }

        fn end(&mut self) {
            drop(self.ask.take());
            if let Some(thread) = self.thread.take() {
                thread.join().expect("it ends");
            }
        }
    }

    impl Drop for Worker {
        fn drop(&mut self) {
            self.end();
        }
    }

    fn topology() -> Topology {
        Topology::read(&Root::system())
    }

    fn only(cpu: usize) -> CpuSet {
        let mut set = CpuSet::new();
        set.set(cpu);
        set
    }

    fn refused(applied: &nautilus_hardware::pinning::Applied) -> String {
        applied.refused().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_thread_is_moved_and_moved_back() {
        let (topology, worker) = (topology(), Worker::start("pin-move"));
        let before = worker.affinity();
        let request = worker.request(&topology);
        let plan = Plan::new(&topology, &request).expect("a plan");
        let applied = plan.clone().apply(&Thread::all()).expect("nothing is required");
        assert_eq!((applied.verify(), refused(&applied)), (vec![], String::new()));
        assert_eq!(applied.placements().count(), 1);
        assert_eq!(worker.affinity(), only(request.cores[0]));
        assert_eq!(applied.rollback(), [""; 0]);
        assert_eq!(worker.affinity(), before);
        drop(plan.apply(&Thread::all()).expect("once more"));
        assert_eq!(worker.affinity(), before, "dropping it is enough");
    }

    #[test]
    fn somebody_elses_change_is_noticed() {
        let (topology, worker) = (topology(), Worker::start("pin-verify"));
        if topology.allowed.len() < 2 {
            eprintln!("SKIPPED: with one CPU there is nowhere else to go");
            return;
        }
        let request = worker.request(&topology);
        let applied = Plan::new(&topology, &request).expect("a plan").apply(&Thread::all()).expect("it is");
        let thread = Thread::all().into_iter().find(|thread| thread.name == worker.name).expect("it lives");
        let elsewhere = thread.pin(topology.allowed[0]).expect("it may be moved");
        let differences = applied.verify();
        assert!(
            differences.len() == 1 && differences[0].starts_with("pin-verify may run on"),
            "{differences:?}"
        );
        drop(elsewhere);
        assert_eq!(applied.verify(), [""; 0]);
    }

    #[test]
    fn a_thread_that_ends_is_no_failure() {
        let (topology, mut worker) = (topology(), Worker::start("pin-end"));
        let plan = Plan::new(&topology, &worker.request(&topology)).expect("a plan");
        let threads = Thread::all();
        let applied = plan.clone().apply(&threads).expect("it lives");
        worker.end();
        assert_eq!((applied.verify(), applied.rollback()), (vec![], vec![]));
        let applied = plan.apply(&threads).expect("nothing is required");
        assert!(refused(&applied).ends_with("the thread has ended"), "{}", refused(&applied));
    }

    /// Real-time priority where it is permitted; where it is not, the reason, and the rest is done.
    #[test]
    fn real_time_is_given_or_refused_with_the_reason() {
        let (topology, worker) = (topology(), Worker::start("pin-fifo"));
        let request = Request { realtime_priority: 1, ..worker.request(&topology) };
        let plan = Plan::new(&topology, &request).expect("a plan");
        let planned = plan.placements[0].policy;
        let granted = Abilities::detect(&Root::system(), &topology, 1)
            .all
            .into_iter()
            .any(|ability| ability.need == Need::RealtimePriority && ability.granted);
        let applied = plan.apply(&Thread::all()).expect("nothing is required");
        assert_eq!(applied.verify(), [""; 0]);
        let policy = applied.placements().next().expect("it is placed").policy;
        match planned {
            Policy::Unchanged => assert!(refused(&applied).contains("no core would be left")),
            planned if granted => assert_eq!((policy, refused(&applied)), (planned, String::new())),
            _ => assert!(policy == Policy::Unchanged && refused(&applied).contains("CAP_SYS_NICE")),
        }
        assert_eq!(applied.rollback(), [""; 0]);
        let plan = Plan::new(&topology, &worker.request(&topology)).expect("a plan");
        let applied = plan.apply(&Thread::all()).expect("nothing is required");
        assert_eq!(applied.verify(), [""; 0], "and its policy is the former one");
    }

    /// Capabilities belong to threads: one without them is what an ordinary user has.
    #[test]
    fn without_privileges_real_time_is_refused_and_nothing_is_left_behind() {
        let topology = topology();
        let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux has it");
        let line =
            limits.lines().find_map(|line| line.strip_prefix("Max realtime priority")).expect("a limit");
        if line.split_whitespace().next() != Some("0") {
            eprintln!("SKIPPED: this user may have real-time priority without privileges (ulimit -r)");
            return;
        }
        let ordinary = move || {
            let none = rustix::thread::CapabilitySet::empty();
            set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
                .expect("one may always give up");
            let before = sched_getaffinity(None).expect("it may be asked");
            let cpu = *topology.allowed.last().expect("there is one");
            let thread = Thread::current();
            let mut placed = thread.pin(cpu).expect("moving is free");
            let reason = placed.set_policy(Policy::Fifo(1)).expect_err("it has no right to");
            assert!(reason.contains("CAP_SYS_NICE") && reason.contains("ulimit -r 1"), "{reason}");
            assert_eq!(sched_getaffinity(None), Ok(only(cpu)));
            drop(placed);
            assert_eq!(sched_getaffinity(None), Ok(before));
            if topology.cores() < 2 || topology.allowed.len() < 2 {
                return;
            }
            let request = Request {
                roles: vec!["pin-ordinary".to_owned()],
                cores: vec![cpu],
                realtime_priority: 1,
                required: true,
                ..Request::default()
            };
            let plan = Plan::new(&topology, &request).expect("a plan");
            if plan.placements[0].policy != Policy::Unchanged {
                let error = plan.apply(&[thread]).expect_err("it is required").to_string();
                assert!(error.starts_with("pinning is required and refused: SCHED_FIFO 1"), "{error}");
                assert_eq!(sched_getaffinity(None), Ok(before), "what was done is undone");
            }
        };
        let thread = std::thread::Builder::new().name("pin-ordinary".to_owned()).spawn(ordinary);
        thread.expect("a thread").join().expect("it passes");
    }

    fn locked() -> String {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
        status.lines().find(|line| line.starts_with("VmLck")).expect("a line").to_owned()
    }

    #[test]
    fn memory_pages_and_latency_are_put_back() {
        let _alone = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        let topology = topology();
        let request = Request {
            lock_memory: true,
            avoid_huge_pages: true,
            latency_request: true,
            ..Request::default()
        };
        let before = locked();
        // An emulator may not know the question; then the advice is refused as well.
        let disabled = || rustix::thread::transparent_huge_pages_are_disabled().ok();
        let huge_pages_off = disabled();
        let applied =
            Plan::new(&topology, &request).expect("a plan").apply(&[]).expect("nothing is required");
        assert_eq!(applied.verify(), [""; 0]);
        let refusal = applied.refused().iter().find(|refusal| refusal.what == "huge page advice");
        assert_eq!(disabled(), refusal.is_none().then_some(true));
        for (what, cause) in [("memory lock", "ulimit -l"), ("latency request", "/dev/cpu_dma_latency")] {
            let refusal = applied.refused().iter().find(|refusal| refusal.what == what);
            assert!(refusal.is_none_or(|refusal| refusal.reason.contains(cause)), "{refusal:?}");
            if what == "memory lock" && refusal.is_none() {
                assert_ne!(locked(), before);
            }
        }
        assert_eq!(applied.rollback(), [""; 0]);
        assert_eq!((locked(), disabled()), (before, huge_pages_off));
    }

    #[test]
    fn cpus_that_are_not_there_are_refused() {
        let thread = Thread::current();
        for cpu in [1_023, 1_024, usize::MAX] {
            assert!(thread.pin(cpu).is_err() || topology().cpu(cpu).is_some(), "{cpu}");
        }
    }

    /// What stands in the way is read from files, so it can be read on machines that are not there.
    #[test]
    fn limits_and_disturbances_are_named() {
        let place = tempfile::tempdir().expect("a folder");
        let file = |path: &str, text: &str| {
            let path = place.path().join(path);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        };
        file("proc/sys/kernel/sched_rt_runtime_us", "950000\n");
        file("proc/sys/kernel/sched_rt_period_us", "1000000\n");
        file("proc/self/cgroup", "3:cpu,cpuacct:/docker/abc\n0::/\n");
        file("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.rt_runtime_us", "0\n");
        file("proc/self/status", "CapEff:\t0000000000000000\n");
        file(
            "proc/self/limits",
            "Max locked memory         8388608              8388608              bytes\n",
        );
        let abilities = Abilities::detect(&Root::at(place.path()), &machine(4, 1, false), 1);
        let lock =
            abilities.all.iter().find(|ability| ability.need == Need::MemoryLock).expect("it is listed");
        assert!(!lock.granted && lock.detail.contains("8388608 bytes"), "{}", lock.detail);
        let warnings = abilities.warnings.join("\n");
        for part in ["stopped for 50000 of every 1000000 µs", "RT_GROUP_SCHED", "nohz_full", "isolcpus"] {
            assert!(warnings.contains(part), "{part}: {warnings}");
        }
        file("proc/self/status", "CapEff:\t000001ffffffffff\n");
        file("proc/sys/kernel/sched_rt_runtime_us", "-1\n");
        let quiet = Topology { isolated: vec![3], tickless: vec![3], ..machine(4, 1, false) };
        let abilities = Abilities::detect(&Root::at(place.path()), &quiet, 1);
        assert!(abilities.all.iter().any(|ability| ability.need == Need::MemoryLock && ability.granted));
        assert!(abilities.warnings[0].contains("not throttled"), "{:?}", abilities.warnings);
    }
}
