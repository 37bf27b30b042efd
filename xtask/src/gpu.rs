//! The tests that need a GPU: the hardware crate once more, built with GPU support. Mesa's lavapipe, which runs Vulkan
//! on the processor, stands in for a GPU where there is none; where that is absent too, the tests say so.

use std::path::Path;
use std::process::Command;

use crate::{cargo, root};

/// Admits a software adapter.
const SOFTWARE: &str = "NAUTILUS_GPU_SOFTWARE";
const PACKAGE: &str = "nautilus-hardware";

/// The tests of the hardware crate with its GPU backend, unless `arguments` name other packages.
pub(crate) fn tests(arguments: &[String]) -> Option<Command> {
    if !are_wanted(arguments) {
        return None;
    }
    let mut command = Command::new(cargo());
    command.current_dir(root()).args(["test", "--locked", "--features", "nautilus-hardware/gpu"]);
    if !names_packages(arguments) {
        command.args(["-p", PACKAGE]);
    }
    command.args(arguments).env(SOFTWARE, "1");
    Some(command)
}

/// Whether a Vulkan driver is installed that needs no GPU. On macOS Metal is always there.
pub(crate) fn has_driver() -> bool {
    let folders = ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    cfg!(target_os = "macos") || folders.iter().any(|folder| has_lavapipe(Path::new(folder)))
}

fn has_lavapipe(folder: &Path) -> bool {
    let is_lavapipe = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("lvp_icd");
    std::fs::read_dir(folder).is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| is_lavapipe(&entry.file_name())))
    })
}

fn names_packages(arguments: &[String]) -> bool {
    crate::test::selection(arguments).is_none()
}

/// Arguments that pick targets are of whatever packages they name, or of the whole workspace.
fn are_wanted(arguments: &[String]) -> bool {
    let of_cargo: Vec<_> = arguments.iter().take_while(|argument| *argument != "--").collect();
    if names_packages(arguments) {
        return of_cargo.iter().any(|argument| argument.ends_with(PACKAGE));
    }
    let targets = ["--test", "--bin", "--bench", "--example"];
    !of_cargo.iter().any(|argument| targets.iter().any(|target| argument.starts_with(target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hardware_crate_is_tested_with_a_gpu_unless_others_are_named() {
        for (line, expected) in [
            ("", Some("test --locked --features nautilus-hardware/gpu -p nautilus-hardware")),
            ("gemm", Some("test --locked --features nautilus-hardware/gpu -p nautilus-hardware gemm")),
            (
                "-p nautilus-hardware",
                Some("test --locked --features nautilus-hardware/gpu -p nautilus-hardware"),
            ),
            ("-p nautilus-store", None),
            ("--test gateway", None),
            ("-p nautilus-store -- nautilus-hardware", None),
        ] {
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let words = |command: Command| {
                let words: Vec<_> =
                    command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
                words.join(" ")
            };
            assert_eq!(tests(&arguments).map(words).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn the_driver_is_found_by_its_manifest() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!has_lavapipe(folder.path()) && !has_lavapipe(Path::new("/nowhere")));
        std::fs::write(folder.path().join("lvp_icd.x86_64.json"), "{}").unwrap();
        assert!(has_lavapipe(folder.path()));
    }
}
