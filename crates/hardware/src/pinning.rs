//! Which core a thread runs on, and with what priority: plan, apply, verify, roll back.
