//! The environment's say in which backends may run.
//!
//! `NAUTILUS_BACKEND_FORCE=jit` uses nothing else where it can run; `NAUTILUS_BACKEND_FORBID=gpu,sme` leaves some out.
//! The switches of the platform's first deployment turn families on and off: `KERNEL_OPTIMIZATIONS` and
//! `GPU_OPTIMIZATIONS`, with `BREAKTHROUGH_OPTIMIZATIONS` as the default of all. Each family is listed only where it
//! exists. The portable backend is always on, unless another is forced.

use serde::Serialize;

use crate::backend::{BackendId, Family};

/// A switch whose value means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={value}: {reason}")]
pub struct SwitchError {
    variable: String,
    value: String,
    reason: String,
}

/// Which backends may run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Switches {
    /// The only one that may, if any.
    pub force: Option<BackendId>,
    /// Those that may not.
    pub forbid: Vec<BackendId>,
    /// Families that are off.
    pub off: Vec<Family>,
}

const FORCE: &str = "NAUTILUS_BACKEND_FORCE";
const FORBID: &str = "NAUTILUS_BACKEND_FORBID";
const ALL_FAMILIES: &str = "BREAKTHROUGH_OPTIMIZATIONS";
const FAMILIES: [(Family, &str); 2] =
    [(Family::Kernel, "KERNEL_OPTIMIZATIONS"), (Family::Gpu, "GPU_OPTIMIZATIONS")];

impl Switches {
    /// What the environment of this process says.
    ///
    /// # Errors
    /// A switch has a value that means nothing.
    pub fn from_environment() -> Result<Self, SwitchError> {
        Self::read(|variable| std::env::var(variable).ok())
    }

    /// What `variable` says of each name.
    ///
    /// # Errors
    /// A switch has a value that means nothing.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SwitchError> {
        let backend = |name: &str, text: &str| {
            text.trim().parse::<BackendId>().map_err(|reason| SwitchError {
                variable: name.to_owned(),
                value: text.to_owned(),
                reason,
            })
        };
        let given = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
        let force = given(FORCE).map(|text| backend(FORCE, &text)).transpose()?;
        let forbid = given(FORBID)
            .map(|text| text.split(',').map(|name| backend(FORBID, name)).collect::<Result<Vec<_>, _>>())
            .transpose()?
            .unwrap_or_default();
        let all = given(ALL_FAMILIES).map(|text| on(ALL_FAMILIES, &text)).transpose()?;
        let mut off = Vec::new();
        for (family, name) in FAMILIES {
            let own = given(name).map(|text| on(name, &text)).transpose()?;
            if !own.or(all).unwrap_or(true) {
                off.push(family);
            }
        }
        Ok(Self { force, forbid, off })
    }

    /// Whether `backend` may run.
    #[must_use]
    pub fn allow(&self, backend: BackendId) -> bool {
        if let Some(forced) = self.force {
            return backend == forced;
        }
        !self.forbid.contains(&backend) && backend.family().is_none_or(|family| !self.off.contains(&family))
    }
}

fn on(variable: &str, text: &str) -> Result<bool, SwitchError> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "on" | "yes" => Ok(true),
        "0" | "false" | "off" | "no" => Ok(false),
        _ => Err(SwitchError {
            variable: variable.to_owned(),
            value: text.to_owned(),
            reason: "use true or false".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Switches, SwitchError> {
        Switches::read(|name| {
            pairs.iter().find(|(variable, _)| *variable == name).map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn families_follow_their_own_switch_and_then_the_one_of_all() {
        use BackendId::{Avx2, Gpu, Jit, Portable};
        for (pairs, allowed) in [
            (&[][..], vec![Portable, Avx2, Jit, Gpu]),
            (&[("KERNEL_OPTIMIZATIONS", "false")], vec![Portable, Gpu]),
            (&[("BREAKTHROUGH_OPTIMIZATIONS", "0")], vec![Portable]),
            (&[("BREAKTHROUGH_OPTIMIZATIONS", "0"), ("GPU_OPTIMIZATIONS", "on")], vec![Portable, Gpu]),
            (&[("NAUTILUS_BACKEND_FORBID", "gpu, jit")], vec![Portable, Avx2]),
            (&[("NAUTILUS_BACKEND_FORCE", "jit"), ("KERNEL_OPTIMIZATIONS", "0")], vec![Jit]),
            (&[("NAUTILUS_BACKEND_FORCE", "")], vec![Portable, Avx2, Jit, Gpu]),
        ] {
            let switches = read(pairs).unwrap();
            let on: Vec<_> =
                [Portable, Avx2, Jit, Gpu].into_iter().filter(|id| switches.allow(*id)).collect();
            assert_eq!(on, allowed, "{pairs:?}");
        }
    }

    #[test]
    fn values_that_mean_nothing_are_refused() {
        let error = read(&[("GPU_OPTIMIZATIONS", "maybe")]).unwrap_err().to_string();
        assert_eq!(error, "GPU_OPTIMIZATIONS=maybe: use true or false");
        let error = read(&[("NAUTILUS_BACKEND_FORBID", "gpu,cuda")]).unwrap_err().to_string();
        assert!(error.starts_with("NAUTILUS_BACKEND_FORBID=cuda: there is no backend 'cuda'"), "{error}");
    }
}
