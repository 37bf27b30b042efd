//! House rules that the compiler does not know: each finding names the file, the line and what to write instead.

use std::path::{Path, PathBuf};

/// Folders that hold Rust source, from the root.
const FOLDERS: [&str; 6] = ["crates", "services", "benches", "tests", "xtask", "fuzz"];
const FILE_LINES_MAX: usize = 1_000;
const FUNCTION_LINES_MAX: usize = 70;

/// Words that shipped code does not hold, and what to write instead.
const WORDS: [(&str, &str); 3] = [
    ("todo!(", "write it, or leave it out"),
    ("unimplemented!(", "write it, or leave it out"),
    ("thread::sleep", "wait on the condition itself: a channel, a Condvar or a tokio timer"),
];

/// How a product of matrices is written past the router; only `MULTIPLIES` and benches may.
const PRODUCTS: [&str; 4] = [".dot(", "general_mat_mul", "general_mat_vec_mul", "kron("];
const MULTIPLIES: &str = "crates/hardware/";

/// Exceptions: file, word and the reason. One that is no longer needed is a finding as well.
const EXCEPTIONS: [(&str, &str, &str); 3] = [
    ("crates/testkit/src/postgres.rs", "thread::sleep", "a server has no way to call back when it is ready"),
    (
        "crates/testkit/src/prometheus.rs",
        "thread::sleep",
        "a server has no way to call back when it is ready",
    ),
    ("crates/testkit/src/redis.rs", "thread::sleep", "a server has no way to call back when it is ready"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests stands in the workspace").to_owned()
}

/// Every Rust file with its path from the root, in order.
fn sources() -> Vec<(String, String)> {
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| root().join(folder)).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("source is UTF-8");
                let name = path.strip_prefix(root()).expect("below the root").display().to_string();
                files.push((name, text));
            }
        }
    }
    files.sort();
    files
}

/// What is wrong with one file.
fn findings(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.starts_with("//!") {
        found.push(format!("{file}:1: begin with `//!`: what the file decides, and what it never does"));
    }
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        found
            .push(format!("{file}:{lines}: longer than {FILE_LINES_MAX} lines: split it by what it decides"));
    }
    if is_test(file) {
        return found;
    }
    let shipped: Vec<&str> =
        text.lines().take_while(|line| !line.trim().starts_with("#[cfg(test)]")).collect();
    for (number, line) in (1..).zip(&shipped) {
        let code = line.split("//").next().unwrap_or_default();
        for (word, instead) in WORDS.iter().filter(|(word, _)| code.contains(word)) {
            if !EXCEPTIONS.iter().any(|(name, excepted, _)| *name == file && excepted == word) {
                found.push(format!("{file}:{number}: `{word}`: {instead}"));
            }
        }
    }
    if !file.starts_with(MULTIPLIES) {
        found.extend(products(file, &shipped));
    }
    found.extend(long_functions(&shipped).into_iter().map(|(number, length)| {
        format!(
            "{file}:{number}: a function of {length} lines: take the leaves out, at most {FUNCTION_LINES_MAX}"
        )
    }));
    found
}

/// Where matrices are multiplied without asking what is fastest on this machine.
fn products(file: &str, lines: &[&str]) -> Vec<String> {
    // The router's own `dot` is asked of a value that is called what it is.
    let code = |line: &str| line.split("//").next().unwrap_or_default().replace("hardware.dot(", "");
    let word = |line: &str| PRODUCTS.into_iter().find(|word| code(line).contains(word));
    let found = (1..).zip(lines).filter_map(|(number, line)| Some((number, word(line)?)));
    found
        .map(|(number, word)| {
            format!("{file}:{number}: `{word}`: multiply through nautilus_hardware or nautilus_numerics")
        })
        .collect()
}

/// Tests and benches may wait and may be long.
fn is_test(file: &str) -> bool {
    file.starts_with("tests/")
        || file.starts_with("benches/")
        || file.contains("/tests/")
        || file.ends_with("/tests.rs")
}

/// Where functions begin that are too long, and their lengths. Formatted code closes a function with a brace
/// under its first letter.
fn long_functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let begins = |line: &str| {
        let code = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        ["fn ", "async fn ", "const fn "].iter().any(|start| code.starts_with(start))
    };
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate().filter(|(_, line)| begins(line)) {
        let end = |other: &str| indent(other) == indent(line) && other.trim() == "}";
        let length = lines[start..].iter().position(|other| end(other)).map_or(0, |length| length + 1);
        let one_line = line.trim_end().ends_with(['}', ';']);
        if !one_line && length > FUNCTION_LINES_MAX {
            found.push((start + 1, length));
        }
    }
    found
}

#[test]
fn the_house_is_tidy() {
    let sources = sources();
    let mut found: Vec<String> = sources.iter().flat_map(|(file, text)| findings(file, text)).collect();
    for (file, word, _) in EXCEPTIONS {
        if !sources.iter().any(|(name, text)| name == file && text.contains(word)) {
            found.push(format!(
                "tests/tests/tidy.rs: the exception for `{word}` in {file} is not needed: delete it"
            ));
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn untidy_files_are_found() {
    let long = format!("//! x\nfn f() {{\n{}}}\n", "    g();\n".repeat(FUNCTION_LINES_MAX));
    for (file, text, expected) in [
        ("crates/a/src/b.rs", "//! x\nfn f() {}\n", None),
        ("crates/a/src/b.rs", "fn f() {}\n", Some("crates/a/src/b.rs:1: begin with")),
        ("crates/a/src/b.rs", "//! x\n\nfn f() { todo!() }\n", Some("crates/a/src/b.rs:3: `todo!(`")),
        ("crates/a/src/b.rs", "//! x\n// not todo!() code\n#[cfg(test)]\nmod t { todo!() }\n", None),
        ("crates/a/src/b.rs", "//! x\nlet c = a.dot(&b);\n", Some("crates/a/src/b.rs:2: `.dot(`")),
        ("crates/a/src/b.rs", "//! x\nlet c = hardware.dot(&a, &b);\n", None),
        ("crates/hardware/src/b.rs", "//! x\nlet c = a.dot(&b);\n", None),
        ("crates/a/tests/b.rs", "//! x\nfn f() { std::thread::sleep(d) }\n", None),
        ("crates/a/src/b.rs", &long, Some("crates/a/src/b.rs:2: a function of 72 lines")),
    ] {
        let found = findings(file, text);
        assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
        assert!(found.iter().zip(expected).all(|(found, expected)| found.starts_with(expected)), "{found:?}");
    }
    let endless = format!("//! x\n{}", "// x\n".repeat(FILE_LINES_MAX));
    assert!(findings("crates/a/src/b.rs", &endless)[0].contains("split it"));
}
