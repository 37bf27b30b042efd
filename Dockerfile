# One image with every program of the platform and nothing else: no shell, no package manager, no root.
#
#   docker build -t nautilus:0.1.0 .                          compiles (BuildKit, which Docker uses by itself since 23)
#   docker build --target prebuilt -f Dockerfile FOLDER       takes the programs from FOLDER/programs
#
# RUSTFLAGS="-C target-cpu=native" builds for this machine's processor: docker-compose.sme.yml sets it.
ARG RUST_IMAGE=rust:1.95.0-bookworm
ARG NODE_IMAGE=node:22.16.0-bookworm-slim
ARG BASE_IMAGE=debian:bookworm-20250520-slim
# `without-page` builds without Node; the gateway then serves its plain page.
ARG PAGE=with-page

# The few files that a dynamically linked program needs, and folders that volumes take their owner from.
FROM ${BASE_IMAGE} AS files
RUN set -eu; \
    libraries="/lib/$(uname -m)-linux-gnu"; \
    mkdir -p "/image$libraries" /image/etc /image/tmp /image/recordings /image/var/lib/nautilus/checkpoints \
        /image/var/lib/nautilus/journal \
        /image/run/nautilus/access /image/run/nautilus/gateway /image/run/nautilus/prometheus /image/run/nautilus/store; \
    cp -L "$libraries/libc.so.6" "$libraries/libm.so.6" "$libraries/libgcc_s.so.1" "/image$libraries/"; \
    for loader in /lib64/ld-linux-*.so.* /lib/ld-linux-*.so.*; do \
        if [ -e "$loader" ]; then mkdir -p "/image$(dirname "$loader")"; cp -L "$loader" "/image$loader"; fi; \
    done; \
    echo 'nautilus:x:65532:65532::/var/lib/nautilus:/nonexistent' > /image/etc/passwd; \
    echo 'nautilus:x:65532:' > /image/etc/group; \
    echo 'hosts: files dns' > /image/etc/nsswitch.conf; \
    chmod 1777 /image/tmp; \
    chown -R 65532:65532 /image/var/lib/nautilus /image/run/nautilus; \
    chmod 0750 /image/run/nautilus/* /image/var/lib/nautilus/checkpoints /image/var/lib/nautilus/journal

FROM scratch AS runtime
COPY --from=files /image /
USER 65532:65532
WORKDIR /var/lib/nautilus
ENTRYPOINT ["/usr/local/bin/nautilus"]

FROM runtime AS prebuilt
COPY programs/ /usr/local/bin/

FROM ${NODE_IMAGE} AS with-page
WORKDIR /web
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY web ./
RUN npm run build

FROM ${BASE_IMAGE} AS without-page
RUN mkdir -p /web/dist

FROM ${PAGE} AS page

FROM ${RUST_IMAGE} AS build
WORKDIR /source
# The toolchain that the project pins, in a layer that only a new version renews.
COPY rust-toolchain.toml ./
RUN cargo --version
ARG RUSTFLAGS=""
ENV RUSTFLAGS=${RUSTFLAGS}
COPY . .
COPY --from=page /web/dist web/dist
# Crates and objects stay in the builder's cache, so that a change compiles only what it touches.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/source/target,sharing=locked \
    set -eu; \
    cargo build --release --locked --workspace --bins --exclude xtask --exclude nautilus-benches; \
    mkdir /programs; \
    find target/release -maxdepth 1 -type f -executable -name 'nautilus*' -exec cp -t /programs {} +

FROM runtime
COPY --from=build /programs/ /usr/local/bin/
