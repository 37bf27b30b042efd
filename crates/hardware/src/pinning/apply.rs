//! Does a plan, checks that it was done, and undoes it.

use super::system::{self, Placed, ProcessState, Thread};
use super::{PinningError, Placement, Plan, Policy, Refusal};

/// A plan that is in effect as far as the system allowed. Dropping it puts everything back.
#[derive(Debug)]
#[must_use = "dropping it puts everything back"]
pub struct Applied {
    plan: Plan,
    placed: Vec<(Placement, Placed)>,
    process: ProcessState,
    refused: Vec<Refusal>,
}

impl Plan {
    /// Applies the plan to those of `threads` that bear the name of a role.
    ///
    /// # Errors
    /// Something was refused that is required; everything is as it was.
    pub fn apply(self, threads: &[Thread]) -> Result<Applied, PinningError> {
        let refused = self.refused.clone();
        let mut applied =
            Applied { plan: self, placed: Vec::new(), process: ProcessState::default(), refused };
        // On an error `applied` is dropped, which undoes what was done.
        applied.place_all(threads)?;
        let Plan { lock_memory, avoid_huge_pages, latency_request, .. } = applied.plan;
        if avoid_huge_pages {
            let done = applied.process.avoid_huge_pages();
            applied.note("huge page advice", done)?;
        }
        if lock_memory {
            let done = applied.process.lock_memory();
            applied.note("memory lock", done)?;
        }
        if latency_request {
            let done = applied.process.request_latency();
            applied.note("latency request", done)?;
        }
        Ok(applied)
    }
}

impl Applied {
    fn place_all(&mut self, threads: &[Thread]) -> Result<(), PinningError> {
        for placement in self.plan.placements.clone() {
            for thread in threads.iter().filter(|thread| thread.name == placement.role) {
                self.place(&placement, thread)?;
            }
        }
        Ok(())
    }

    fn place(&mut self, placement: &Placement, thread: &Thread) -> Result<(), PinningError> {
        let Placement { role, cpu, policy } = placement;
        let mut placed = match thread.pin(*cpu) {
            Ok(placed) => placed,
            Err(reason) => return self.note(&format!("{role} on CPU {cpu}"), Err(reason)),
        };
        let mut kept = placement.clone();
        if *policy != Policy::Unchanged {
            let done = placed.set_policy(*policy);
            if done.is_err() {
                kept.policy = Policy::Unchanged;
            }
            if let Err(error) = self.note(&format!("{policy} for {role}"), done) {
                drop(placed);
                return Err(error);
            }
        }
        self.placed.push((kept, placed));
        Ok(())
    }

    fn note(&mut self, what: &str, done: Result<(), String>) -> Result<(), PinningError> {
        let Err(reason) = done else { return Ok(()) };
        let refusal = Refusal::new(what, reason);
        if self.plan.required {
            return Err(PinningError::Refused(refusal));
        }
        self.refused.push(refusal);
        Ok(())
    }

    /// The threads that were placed, with the policy that they got.
    pub fn placements(&self) -> impl Iterator<Item = &Placement> {
        self.placed.iter().map(|(placement, _)| placement)
    }

    /// What was asked for and is not in effect.
    #[must_use]
    pub fn refused(&self) -> &[Refusal] {
        &self.refused
    }

    /// Asks the system whether what was done is in effect; each difference is a sentence. A thread that has ended is
    /// none.
    #[must_use]
    pub fn verify(&self) -> Vec<String> {
        let mut differences = Vec::new();
        for (Placement { role, cpu, policy }, placed) in &self.placed {
            let Some((cpus, seen)) = placed.seen() else { continue };
            if cpus != [*cpu] {
                differences.push(format!("{role} may run on CPUs {cpus:?}, not on {cpu} alone"));
            }
            if *policy != Policy::Unchanged && seen != Some(*policy) {
                let seen = seen.map_or_else(|| "another policy".to_owned(), |seen| seen.to_string());
                differences.push(format!("{role} has {seen}, not {policy}"));
            }
        }
        differences.extend(self.process.differences());
        differences
    }

    /// Puts back what was before, in reverse order; what cannot be put back is a sentence each.
    #[must_use]
    pub fn rollback(mut self) -> Vec<String> {
        self.undo()
    }

    fn undo(&mut self) -> Vec<String> {
        let mut failed = self.process.undo();
        while let Some((placement, mut placed)) = self.placed.pop() {
            if let Err(reason) = placed.restore() {
                failed.push(format!("{} stays on CPU {}: {reason}", placement.role, placement.cpu));
            }
        }
        failed
    }
}

impl Drop for Applied {
    fn drop(&mut self) {
        for sentence in self.undo() {
            tracing::warn!("{sentence}");
        }
    }
}

impl Thread {
    /// Every thread of this process; none where the system does not list them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        system::threads()
    }
}
