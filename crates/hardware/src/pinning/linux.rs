//! The calls of Linux: affinity, policy, memory, latency. Each remembers what was before.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};

use rustix::io::Errno;
use rustix::mm::{MlockAllFlags, mlockall, munlockall};
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};
use rustix::thread::{disable_transparent_huge_pages, gettid, transparent_huge_pages_are_disabled};

use super::limits::LockLimit;
use super::{PRIORITY_MAX, Policy};
use crate::probe::Root;

/// A thread of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    id: Pid,
    /// As the system knows it: 15 bytes at most.
    pub name: String,
}

/// A thread that was moved. Dropping it moves the thread back.
#[derive(Debug)]
#[must_use = "dropping it moves the thread back"]
pub struct Placed {
    id: Pid,
    affinity: CpuSet,
    /// What the policy was, once it was changed.
    attributes: Option<libc::sched_attr>,
    restored: bool,
}

pub(super) fn threads() -> Vec<Thread> {
    let root = Root::system();
    let thread = |id: String| {
        let name = root.text(&format!("proc/self/task/{id}/comm"))?;
        Some(Thread { id: Pid::from_raw(id.parse().ok()?)?, name })
    };
    root.names("proc/self/task").into_iter().filter_map(thread).collect()
}

impl Thread {
    /// The one that asks.
    #[must_use]
    pub fn current() -> Self {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        Self { id: gettid(), name }
    }

    /// Lets it run on one CPU only.
    ///
    /// # Errors
    /// One sentence that says why not.
    pub fn pin(&self, cpu: usize) -> Result<Placed, String> {
        let refused = |error: Errno| match error {
            Errno::SRCH => "the thread has ended".to_owned(),
            Errno::INVAL => format!("CPU {cpu} is off, or outside of this process's cpuset"),
            Errno::PERM => "the system forbids it (seccomp, or not our thread)".to_owned(),
            other => other.to_string(),
        };
        if cpu >= CpuSet::MAX_CPU {
            return Err(format!("CPUs from {} on cannot be named", CpuSet::MAX_CPU));
        }
        let affinity = sched_getaffinity(Some(self.id)).map_err(refused)?;
        let mut one = CpuSet::new();
        one.set(cpu);
        sched_setaffinity(Some(self.id), &one).map_err(refused)?;
        Ok(Placed { id: self.id, affinity, attributes: None, restored: false })
    }
}

impl Placed {
    /// Has the thread scheduled this way. Threads that it starts do not inherit it.
    ///
    /// # Errors
    /// One sentence that says why not.
    pub fn set_policy(&mut self, policy: Policy) -> Result<(), String> {
        let (number, priority) = match policy {
            Policy::Unchanged => return Ok(()),
            Policy::Fifo(priority) => (libc::SCHED_FIFO, priority),
            Policy::RoundRobin(priority) => (libc::SCHED_RR, priority),
        };
        let before = attributes(self.id).map_err(|error| error.to_string())?;
        let mut wanted = empty_attributes();
        wanted.sched_policy = number.cast_unsigned();
        wanted.sched_flags = libc::SCHED_FLAG_RESET_ON_FORK as u64;
        wanted.sched_priority = priority.into();
        set_attributes(self.id, &wanted).map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM) => refused_realtime(priority),
            Some(libc::ESRCH) => "the thread has ended".to_owned(),
            _ => error.to_string(),
        })?;
        self.attributes.get_or_insert(before);
        Ok(())
    }

    /// Moves it back and gives it its former policy. A thread that has ended needs neither.
    ///
    /// # Errors
    /// One sentence that says why not.
    pub fn restore(&mut self) -> Result<(), String> {
        if std::mem::replace(&mut self.restored, true) {
            return Ok(());
        }
        // First the policy: between the two a real-time thread would be where nobody planned it.
        let policy = self.attributes.take().map_or(Ok(()), |before| set_attributes(self.id, &before));
        let affinity = sched_setaffinity(Some(self.id), &self.affinity).map_err(io::Error::from);
        for result in [policy, affinity] {
            match result {
                Err(error) if error.raw_os_error() != Some(libc::ESRCH) => return Err(error.to_string()),
                _ => {}
            }
        }
        Ok(())
    }

    /// The CPUs it may run on, as `/proc` lists them, and its policy where that is one of ours; nothing once it has
    /// ended.
    pub(super) fn seen(&self) -> Option<(Vec<usize>, Option<Policy>)> {
        let id = self.id.as_raw_nonzero();
        let status = format!("proc/self/task/{id}/status");
        let cpus = Root::system().field(&status, "Cpus_allowed_list")?;
        let cpus = crate::probe::parse_list(&cpus)?;
        let seen = attributes(self.id).ok()?;
        let priority = u8::try_from(seen.sched_priority).ok().filter(|priority| *priority <= PRIORITY_MAX)?;
        let policy = match seen.sched_policy.cast_signed() {
            libc::SCHED_FIFO => Some(Policy::Fifo(priority)),
            libc::SCHED_RR => Some(Policy::RoundRobin(priority)),
            _ => None,
        };
        Some((cpus, policy))
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        if let Err(reason) = self.restore() {
            tracing::warn!("a thread stays pinned: {reason}");
        }
    }
}

fn refused_realtime(priority: u8) -> String {
    format!(
        "the system refuses real-time priority {priority}: give the process CAP_SYS_NICE or an rtprio limit (ulimit -r \
         {priority}); in a container or control group also real-time budget (cpu.rt_runtime_us)"
    )
}

fn empty_attributes() -> libc::sched_attr {
    libc::sched_attr {
        size: const { size_of::<libc::sched_attr>() as u32 },
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    }
}

/// sched_getattr(2), which the C library does not have.
fn attributes(id: Pid) -> io::Result<libc::sched_attr> {
    let mut attributes = empty_attributes();
    let size = attributes.size;
    // SAFETY: the kernel writes at most `size` bytes, which `attributes` has.
    let status = unsafe {
        libc::syscall(libc::SYS_sched_getattr, id.as_raw_nonzero(), &raw mut attributes, size, 0_u32)
    };
    if status == 0 { Ok(attributes) } else { Err(io::Error::last_os_error()) }
}

/// sched_setattr(2), which the C library does not have.
fn set_attributes(id: Pid, attributes: &libc::sched_attr) -> io::Result<()> {
    let attributes: *const libc::sched_attr = attributes;
    // SAFETY: the kernel reads as many bytes as `attributes.size` says, which is its size.
    let status = unsafe { libc::syscall(libc::SYS_sched_setattr, id.as_raw_nonzero(), attributes, 0_u32) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What holds for the process as a whole.
#[derive(Debug, Default)]
pub(super) struct ProcessState {
    /// Memory was locked here, and was not before.
    locked: bool,
    /// Transparent huge pages were turned off here, and were on before.
    huge_pages_off: bool,
    /// The request holds as long as this is open.
    latency: Option<File>,
}

impl ProcessState {
    pub(super) fn avoid_huge_pages(&mut self) -> Result<(), String> {
        if transparent_huge_pages_are_disabled().map_err(|error| error.to_string())? {
            return Ok(());
        }
        disable_transparent_huge_pages(true).map_err(|error| error.to_string())?;
        self.huge_pages_off = true;
        Ok(())
    }

    /// Pages are locked when they are touched, so that stacks and arenas cost what they use. Without the right to lock
    /// all there is the first growth beyond the limit would fail later, so that is refused now.
    pub(super) fn lock_memory(&mut self) -> Result<(), String> {
        let root = Root::system();
        LockLimit::read(&root).allows_everything()?;
        if locked_kilobytes(&root).is_some_and(|locked| locked > 0) {
            return Ok(());
        }
        let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
        mlockall(flags).map_err(|error| error.to_string())?;
        self.locked = true;
        Ok(())
    }

    /// Linux, Documentation/power/pm_qos_interface.rst: the wish is four bytes, in microseconds.
    pub(super) fn request_latency(&mut self) -> Result<(), String> {
        const DEVICE: &str = "/dev/cpu_dma_latency";
        let opened = OpenOptions::new().write(true).open(DEVICE).and_then(|mut file| {
            file.write_all(&0_i32.to_ne_bytes())?;
            Ok(file)
        });
        self.latency = Some(opened.map_err(|error| format!("{DEVICE}: {error}; only root may write it"))?);
        Ok(())
    }

    pub(super) fn differences(&self) -> Vec<String> {
        let mut differences = Vec::new();
        if self.locked && locked_kilobytes(&Root::system()) == Some(0) {
            differences.push("memory is not locked".to_owned());
        }
        if self.huge_pages_off && transparent_huge_pages_are_disabled() == Ok(false) {
            differences.push("transparent huge pages are on".to_owned());
        }
        differences
    }

    pub(super) fn undo(&mut self) -> Vec<String> {
        let mut failed = Vec::new();
        drop(self.latency.take());
        if std::mem::take(&mut self.locked)
            && let Err(error) = munlockall()
        {
            failed.push(format!("memory stays locked: {error}"));
        }
        if std::mem::take(&mut self.huge_pages_off)
            && let Err(error) = disable_transparent_huge_pages(false)
        {
            failed.push(format!("transparent huge pages stay off: {error}"));
        }
        failed
    }
}

fn locked_kilobytes(root: &Root) -> Option<u64> {
    root.field("proc/self/status", "VmLck")?.strip_suffix("kB")?.trim().parse().ok()
}

/// Whether a thread of this process may have this real-time priority: a thread of our own tries, and ends.
pub(super) fn try_realtime(priority: u8) -> Result<(), String> {
    let attempt = std::thread::Builder::new().name("pinning-trial".to_owned()).spawn(move || {
        let thread = Thread::current();
        let before = sched_getaffinity(Some(thread.id)).map_err(|error| error.to_string())?;
        let mut placed = Placed { id: thread.id, affinity: before, attributes: None, restored: false };
        placed.set_policy(Policy::RoundRobin(priority))
    });
    let attempt = attempt.map_err(|error| error.to_string())?;
    attempt.join().unwrap_or_else(|_| Err("the attempt failed".to_owned()))
}

/// Whether the latency device may be written; nothing is written.
pub(super) fn try_latency() -> Result<(), String> {
    let opened = OpenOptions::new().write(true).open("/dev/cpu_dma_latency");
    opened.map(drop).map_err(|error| format!("/dev/cpu_dma_latency: {error}; only root may write it"))
}
