//! The images of the test: pulled where a registry answers, otherwise stand-ins made from Debian's packages; and the
//! platform's own.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{Docker, Programs, compile, quietly};
use crate::install::{Missing, find};
use crate::root;

/// How long the slowest image may take to come.
const PULL_SECONDS: &str = "300";
const MIRROR: &str = "http://deb.debian.org/debian";

/// An image of the compose file that Debian's packages can stand in for: what follows `FROM` the base.
const STAND_INS: [(&str, &str); 4] =
    [("redis", REDIS), ("postgres", POSTGRES), ("prometheus", PROMETHEUS), ("alertmanager", ALERTMANAGER)];

const REDIS: &str = "
RUN apt-get update && apt-get install -y --no-install-recommends redis-server
RUN mkdir -p /data && chown 999:999 /data
WORKDIR /data
";

/// Does what the real image's entry point does with the variables that the compose file sets.
const POSTGRES: &str = r#"
RUN apt-get update && apt-get install -y --no-install-recommends postgresql-15
RUN groupmod -g 999 postgres && usermod -u 999 -g 999 postgres
ENV PGDATA=/var/lib/postgresql/data PATH=/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/bin:/bin
RUN mkdir -p $PGDATA /var/run/postgresql && chown -R 999:999 /var/lib/postgresql /var/run/postgresql
RUN printf '%s\n' '#!/bin/sh' 'set -eu' \
    'if [ ! -s "$PGDATA/PG_VERSION" ]; then' \
    '  initdb -D "$PGDATA" -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" $POSTGRES_INITDB_ARGS' \
    '  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"' \
    '  echo "CREATE DATABASE $POSTGRES_DB;" | postgres --single -D "$PGDATA" postgres' \
    'fi' \
    'exec postgres -D "$PGDATA" -c "listen_addresses=*"' > /usr/local/bin/start && chmod 755 /usr/local/bin/start
ENTRYPOINT ["/usr/local/bin/start"]
"#;

const PROMETHEUS: &str = r#"
RUN apt-get update && apt-get install -y --no-install-recommends prometheus
RUN mkdir -p /prometheus && chown 65534:65534 /prometheus
WORKDIR /prometheus
ENTRYPOINT ["/bin/prometheus"]
"#;

const ALERTMANAGER: &str = r#"
RUN apt-get update && apt-get install -y --no-install-recommends prometheus-alertmanager
RUN mkdir -p /alertmanager && chown 65534:65534 /alertmanager
WORKDIR /alertmanager
ENTRYPOINT ["/bin/prometheus-alertmanager"]
"#;

/// Makes every image there, and returns the services that have none.
pub(super) fn prepare(docker: &Docker, programs: Programs) -> Result<Vec<String>> {
    let base = default_of("BASE_IMAGE")?;
    if !pulled(docker, &base) {
        println!("{base}: no registry gives it, so Debian's own tool makes a stand-in");
        import_base(docker, &base)?;
    }
    let mut missing = Vec::new();
    for (service, image) in service_images()? {
        if pulled(docker, &image) {
            continue;
        }
        let name = image.rsplit('/').next().unwrap_or_default().split(':').next().unwrap_or_default();
        match STAND_INS.iter().find(|(known, _)| *known == name) {
            Some((_, steps)) => {
                println!("{image}: no registry gives it, so Debian's package stands in");
                build_stand_in(docker, &image, &base, steps)?;
            }
            None => {
                println!("!!! SKIPPED: {service}: no registry gives {image} and Debian has no such package");
                missing.push(service);
            }
        }
    }
    build_platform(docker, programs)?;
    Ok(missing)
}

/// The default of an argument of the Dockerfile.
fn default_of(argument: &str) -> Result<String> {
    let text = std::fs::read_to_string(root().join("Dockerfile"))?;
    let found =
        text.lines().find_map(|line| line.strip_prefix("ARG ")?.strip_prefix(argument)?.strip_prefix('='));
    found.map(str::to_owned).with_context(|| format!("the Dockerfile has no ARG {argument}"))
}

/// Services of other people's images: the image line that follows a service's name or an anchor.
fn service_images() -> Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(root().join("docker-compose.yml"))?;
    Ok(images_in(&text))
}

fn images_in(text: &str) -> Vec<(String, String)> {
    let mut images: Vec<(String, String)> = Vec::new();
    let mut service = "";
    for line in text.lines() {
        let name = line.trim_start().trim_end_matches(':');
        if line.len() - line.trim_start().len() <= 2 && line.ends_with(':') || line.starts_with("x-") {
            service = name.split(':').next().unwrap_or_default();
        }
        let image = line.trim_start().strip_prefix("image: ").filter(|image| !image.starts_with("nautilus:"));
        images.extend(image.map(|image| (service.to_owned(), image.to_owned())));
    }
    images
}

fn pulled(docker: &Docker, image: &str) -> bool {
    if quietly(docker.command(&["image", "inspect", image])).is_ok() {
        return true;
    }
    let mut pull = Command::new("timeout");
    pull.args([PULL_SECONDS, "docker", "pull", "--quiet", image]).env("DOCKER_HOST", &docker.host);
    quietly(pull).is_ok()
}

fn import_base(docker: &Docker, image: &str) -> Result<()> {
    if find("debootstrap").is_none() {
        return Err(
            Missing::new("debootstrap is not installed; on Debian: apt-get install debootstrap").into()
        );
    }
    let folder = tempfile::tempdir_in(root().join("target"))?;
    let mirror = std::env::var("NAUTILUS_DEBIAN_MIRROR").unwrap_or_else(|_| MIRROR.to_owned());
    let mut bootstrap = Command::new("debootstrap");
    bootstrap.args(["--variant=minbase", "bookworm"]).arg(folder.path().join("root")).arg(mirror);
    quietly(bootstrap)?;
    let mut pack = Command::new("tar");
    pack.arg("-C").arg(folder.path().join("root")).args(["-c", "."]).stdout(Stdio::piped());
    let mut pack = pack.spawn()?;
    let packed = pack.stdout.take().context("it is piped")?;
    let imported = docker.command(&["import", "-", image]).stdin(packed).stdout(Stdio::null()).status()?;
    ensure!(imported.success() && pack.wait()?.success(), "the base image cannot be imported");
    Ok(())
}

fn build_stand_in(docker: &Docker, image: &str, base: &str, steps: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("Dockerfile"), format!("FROM {base}\n{steps}"))?;
    let path = folder.path().to_str().context("a path in UTF-8")?;
    // The image in the compose file is found by name before any registry is asked.
    quietly(docker.command(&["build", "--tag", image, path]))
}

fn build_platform(docker: &Docker, programs: Programs) -> Result<()> {
    let tag = format!("nautilus:{}", env!("CARGO_PKG_VERSION"));
    let dockerfile = root().join("Dockerfile");
    let dockerfile = dockerfile.to_str().context("a path in UTF-8")?;
    let folder = tempfile::tempdir_in(root().join("target"))?;
    let mut words = vec!["build", "--tag", &tag, "--file", dockerfile];
    let here = root();
    let context = match programs {
        Programs::Compiled => here.as_path(),
        Programs::Copied { release } => {
            words.extend(["--target", "prebuilt"]);
            copy_programs(&compile(release)?, &folder.path().join("programs"))?;
            folder.path()
        }
    };
    words.push(context.to_str().context("a path in UTF-8")?);
    println!(
        "\n$ docker build --tag {tag} {}",
        if programs == Programs::Compiled { "." } else { "--target prebuilt" }
    );
    quietly(docker.command(&words))?;
    println!("{}", docker.text(&["image", "ls", &tag])?.trim_end());
    Ok(())
}

fn copy_programs(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("nautilus") && !name.contains('.') && path.is_file() {
            std::fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_of_the_compose_file_is_pulled_or_replaced() {
        let images = service_images().unwrap();
        let services: Vec<&str> = images.iter().map(|(service, _)| service.as_str()).collect();
        assert_eq!(services, ["x-redis", "postgres", "prometheus", "alertmanager", "grafana"]);
        for (name, _) in STAND_INS {
            assert!(images.iter().any(|(_, image)| image.contains(name)), "{name} stands in for nothing");
        }
        assert!(default_of("BASE_IMAGE").unwrap().starts_with("debian:"));
    }
}
