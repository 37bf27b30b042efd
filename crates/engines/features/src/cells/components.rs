//! Principal components of the returns of all instruments at a bar close.
//!
//! Only instruments that had a bar at every one of the window's closes take part, so that a row of returns is of one
//! instant. The mathematics stands in `nautilus_numerics`; the backend is pinned, so that equal returns give equal bits.

use nautilus_hardware::Hardware;
use nautilus_numerics::{PrincipalComponents, principal_components};
use ndarray::Array2;

use crate::columns::{UNDEFINED, defined};
use crate::kernel::{Kernel, Task};
use crate::operations::{Made, Operation, Ticks, window};

/// Components that have loadings, and that the fit is of.
const COMPONENTS: usize = 3;
const OUTPUTS: usize = COMPONENTS + 1;

/// Loadings on the leading components, and the share of an instrument's variance that they explain.
struct Components {
    n: usize,
    hardware: Hardware,
}

impl std::fmt::Debug for Components {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Components").field("n", &self.n).finish_non_exhaustive()
    }
}

fn make(parameters: &[f64]) -> Made {
    // A bar close is no time to wake other cores.
    Ok(Box::new(Components { n: window(parameters[0], 3)?, hardware: Hardware::reproducible() }))
}

impl Components {
    /// One column per member, oldest returns first.
    fn returns(&self, task: &Task<'_>, members: &[usize]) -> Array2<f64> {
        let history = task.history(0);
        let mut returns = Array2::zeros((self.n, members.len()));
        for (mut column, &row) in returns.columns_mut().into_iter().zip(members) {
            column.iter_mut().zip(history.window(row, self.n)).for_each(|(to, from)| *to = *from);
        }
        returns
    }

    fn members(&self, task: &Task<'_>) -> Vec<usize> {
        let history = task.history(0);
        let takes_part = |row: &usize| {
            task.universe.streaks[*row] as usize >= self.n && history.window(*row, self.n).len() == self.n
        };
        let mut members: Vec<usize> = task.rows.iter().map(|row| *row as usize).filter(takes_part).collect();
        // Equal instruments give equal bits, in whichever order they were defined.
        members.sort_unstable_by_key(|row| task.universe.order[*row]);
        members
    }
}

/// The share of a member's variance that the components explain.
fn fit(found: &PrincipalComponents, member: usize, returns: &Array2<f64>) -> f64 {
    let column = returns.column(member);
    let mean = column.sum() / column.len() as f64;
    let variance = column.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (column.len() - 1) as f64;
    let loadings = found.loadings.column(member);
    let explained: f64 =
        loadings.iter().zip(&found.variances).map(|(loading, variance)| variance * loading * loading).sum();
    (explained / variance).min(1.0)
}

impl Kernel for Components {
    fn windows(&self) -> Vec<usize> {
        vec![self.n]
    }

    fn outputs(&self) -> usize {
        OUTPUTS
    }

    fn slots(&self) -> usize {
        0
    }

    fn warm(&self, _: usize) -> usize {
        self.n - 1
    }

    fn is_local(&self) -> bool {
        false
    }

    fn run(&self, task: Task<'_>) {
        for &row in task.rows {
            task.out.iter_mut().for_each(|column| column[row as usize] = UNDEFINED);
        }
        let members = self.members(&task);
        if members.len() < 2 {
            return;
        }
        let returns = self.returns(&task, &members);
        let Ok(found) = principal_components(&self.hardware, &returns, COMPONENTS) else { return };
        for (member, &row) in members.iter().enumerate() {
            for (column, loadings) in task.out.iter_mut().zip(found.loadings.rows()) {
                column[row] = defined(loadings[member]);
            }
            task.out[COMPONENTS][row] = defined(fit(&found, member, &returns));
        }
    }
}

const N: &[&str] = &["n"];

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new("pca_loading_1", 1, N, "loading on the first principal component of x over the last n bar closes", make)
        .output_of("components", 0)
        .ticking(Ticks::AtBars),
    Operation::new("pca_loading_2", 1, N, "loading on the second principal component of x over the last n bar closes", make)
        .output_of("components", 1)
        .ticking(Ticks::AtBars),
    Operation::new("pca_loading_3", 1, N, "loading on the third principal component of x over the last n bar closes", make)
        .output_of("components", 2)
        .ticking(Ticks::AtBars),
    Operation::new("pca_fit", 1, N, "share of the variance of x over the last n bar closes that the first three principal components explain", make)
        .output_of("components", 3)
        .ticking(Ticks::AtBars),
];
