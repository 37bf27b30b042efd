//! Builds the page in `web/` with npm and embeds it: writes `page.rs`, a table of its files, into the build's folder.
//!
//! It never fails the build and never waits for long: without Node, or when npm cannot do its work, the gateway has the
//! plain page and the build says so. Once that has changed, the next build makes the page. `NAUTILUS_WEB=skip` leaves the
//! page out.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// What the page is made of, from its folder.
const SOURCES: [&str; 8] = [
    "index.html",
    "reference.html",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "vite.config.ts",
    "public",
    "src",
];
/// The oldest Node that builds it.
const NODE_MAJOR: u32 = 20;
const INSTALL_LIMIT: Duration = Duration::from_secs(120);
const BUILD_LIMIT: Duration = Duration::from_secs(120);

fn main() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web");
    println!("cargo::rerun-if-env-changed=NAUTILUS_WEB");
    println!("cargo::rerun-if-changed=build.rs");
    for source in SOURCES.iter().map(|source| web.join(source)).filter(|source| source.exists()) {
        println!("cargo::rerun-if-changed={}", source.display());
    }
    let folder = page(&web, &out.join("web")).unwrap_or_else(|reason| {
        println!("cargo::warning=the gateway has the plain page only: {reason}");
        None
    });
    std::fs::write(out.join("page.rs"), table(folder.as_deref())).expect("the build's folder takes files");
}

/// The folder of the finished page, or none where it is not wanted.
fn page(web: &Path, built: &Path) -> Result<Option<PathBuf>, String> {
    if std::env::var("NAUTILUS_WEB").is_ok_and(|wish| wish == "skip") {
        return Ok(None);
    }
    let ready_made = web.join("dist");
    if !node_is_there() {
        rerun_when_programs_change();
        if ready_made.join("index.html").exists() {
            println!("cargo::rerun-if-changed={}", ready_made.display());
            return Ok(Some(ready_made));
        }
        return Err(format!("Node {NODE_MAJOR} or newer with npm is not on the PATH"));
    }
    build(web, built).inspect_err(|_| {
        // A file that never exists: what npm lacked, a network for example, shows in no file, so the next build tries again.
        println!("cargo::rerun-if-changed={}", built.join("no page yet").display());
    })
}

/// Installs what the page is built with and builds it.
fn build(web: &Path, built: &Path) -> Result<Option<PathBuf>, String> {
    // Builds of other profiles may run at the same time.
    let lock = std::fs::File::open(web.join("package.json"))
        .map_err(|error| format!("web/package.json: {error}"))?;
    lock.lock().map_err(|error| format!("web/package.json cannot be locked: {error}"))?;
    if !installed(web) {
        // Without a network this gives up within seconds.
        let arguments = [
            "ci",
            "--prefer-offline",
            "--fetch-retries=1",
            "--fetch-retry-mintimeout=1000",
            "--fetch-retry-maxtimeout=2000",
            "--fetch-timeout=20000",
        ];
        npm(web, &arguments, INSTALL_LIMIT)?;
    }
    let folder = built.to_str().ok_or("the build's folder has a name that is not UTF-8")?;
    npm(web, &["run", "build", "--", "--outDir", folder, "--emptyOutDir"], BUILD_LIMIT)?;
    if !built.join("index.html").exists() {
        return Err("`npm run build` made no index.html".to_owned());
    }
    Ok(Some(built.to_owned()))
}

/// Node may be installed later: then a folder of the PATH changes, or the PATH itself.
fn rerun_when_programs_change() {
    println!("cargo::rerun-if-env-changed=PATH");
    let path = std::env::var_os("PATH").unwrap_or_default();
    for folder in std::env::split_paths(&path).filter(|folder| folder.is_absolute() && folder.is_dir()) {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
}

/// Whether what the lock file asks for is installed already.
fn installed(web: &Path) -> bool {
    let changed = |path: PathBuf| path.metadata().and_then(|data| data.modified()).ok();
    let done = changed(web.join("node_modules/.package-lock.json"));
    done.is_some() && done >= changed(web.join("package-lock.json"))
}

fn node_is_there() -> bool {
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        text.trim().trim_start_matches('v').split('.').next()?.parse::<u32>().ok()
    };
    version("node").is_some_and(|major| major >= NODE_MAJOR) && version("npm").is_some()
}

/// Runs npm in bounded time; the first error that it tells of is the reason of a failure.
fn npm(web: &Path, arguments: &[&str], limit: Duration) -> Result<(), String> {
    let shown = format!("`npm {}` in web/", arguments[..arguments.len().min(2)].join(" "));
    let mut command = Command::new("npm");
    command.args(arguments).current_dir(web).env("CI", "1").env("NO_COLOR", "1").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that what npm starts ends with it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn().map_err(|error| format!("{shown}: {error}"))?;
    let (said, heard) = mpsc::channel();
    let pipes = [child.stdout.take().map(read_all), child.stderr.take().map(read_all)];
    std::thread::spawn(move || {
        let texts: Vec<String> =
            pipes.into_iter().flatten().filter_map(|reader| reader.join().ok()).collect();
        // Nobody listens any more when it took too long.
        let _ = said.send(texts.concat());
    });
    let Ok(text) = heard.recv_timeout(limit) else {
        end(&mut child);
        return Err(format!("{shown} took longer than {} s", limit.as_secs()));
    };
    let status = child.wait().map_err(|error| format!("{shown}: {error}"))?;
    if status.success() {
        return Ok(());
    }
    let wrong = |line: &&str| line.to_ascii_lowercase().contains("error");
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let from = lines.iter().position(wrong).unwrap_or(0);
    let told: Vec<_> = lines[from..].iter().take(2).copied().collect();
    Err(format!("{shown} failed ({status}): {}", told.join(" ")))
}

fn read_all(mut pipe: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = pipe.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    })
}

fn end(child: &mut Child) {
    #[cfg(unix)]
    let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status();
    let _ = child.kill();
    let _ = child.wait();
}

/// The files as Rust, sorted by path.
fn table(folder: Option<&Path>) -> String {
    let mut files = Vec::new();
    if let Some(folder) = folder {
        collect(folder, folder, &mut files);
    }
    files.sort();
    let mut out = String::from("static FILES: &[File] = &[\n");
    for (path, file) in files {
        let media = media_type(&path);
        let _ = writeln!(
            out,
            "    File {{ path: {path:?}, media: {media:?}, bytes: include_bytes!({file:?}) }},"
        );
    }
    out.push_str("];\n");
    out
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, PathBuf)>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            files.push((format!("/{}", name.replace('\\', "/")), path));
        }
    }
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
