//! Every backend of this machine against the definition of each operation, over shapes, strides, orders and scale
//! factors.
//!
//! Expected values are computed in f64 with plain loops. A sum of k products may differ by the componentwise bound
//! `g(k) · Σ|aᵢ||bᵢ|`, `g(k) = k·u / (1 − k·u)` (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., §3.1)
//! with the u of the type; the bound is taken twice where the expected value itself is rounded at the same u. Memory
//! between the elements of a view must stay as it was.

mod cases;
mod edges;
mod factors;
mod products;
mod special;

use nautilus_hardware::{Backend, Job, Spec};

/// Runs `job` where the backend says that it can; whether it did.
fn ran(backend: &dyn Backend, mut job: Job<'_>) -> bool {
    let spec: Spec = job.spec();
    if !backend.supports(&spec) {
        return false;
    }
    backend.run(&mut job).unwrap_or_else(|failure| panic!("{}: {spec:?}: {failure}", backend.id()));
    true
}
