//! Stress: scenarios, sensitivity grids, correlation stress, and the shock behind a given loss.
