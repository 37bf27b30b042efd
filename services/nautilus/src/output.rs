//! What the launcher says to its user. A reader that has gone away (`nautilus doctor | head -1`) is no panic.

/// `println!`, where nobody may be reading.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout().lock(), $($part)*);
    }};
}

/// `eprintln!`, where nobody may be reading.
macro_rules! complain {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr().lock(), $($part)*);
    }};
}
