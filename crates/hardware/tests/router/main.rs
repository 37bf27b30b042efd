//! The router on fake backends and a synthetic clock: every choice, fall-back and lesson is the same on every machine.

mod choices;
mod fakes;
mod faults;
mod stored;
