//! Scenarios that are drawn or come from a closed form: Monte Carlo and parametric measures.
