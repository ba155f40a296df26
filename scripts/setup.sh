#!/usr/bin/env bash
# Installs from the distribution what the build and `tenantry dev` need, or with `all` also what the tests and the demo talk
# to. Quiet when nothing is missing.
# What counts is that a program is there, not which package brought it.
set -euo pipefail

packages=()
need() { packages+=("$@"); }
have() { command -v "$1" >/dev/null 2>&1; }
# Whether one of the files exists; takes an expanded glob.
any_file() { local file; for file; do [ -e "$file" ] && return 0; done; return 1; }

# aws-lc-rs and the linker need a C compiler and its headers, nothing more: no cmake, no clang, no protoc.
have cc || need gcc
any_file /usr/include/stdlib.h || need libc6-dev
have make || need make
have git || need git
have curl || need curl
have setpriv || need util-linux
any_file /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt || need ca-certificates
any_file /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb || have initdb || need postgresql
if [ "${1:-}" = all ]; then
    have redis-server || need redis-server
    # OpenFeature's published provider for Rust compiles its contract with it when tests build it; nothing of ours does.
    have protoc || need protobuf-compiler
    any_file /usr/include/google/protobuf/struct.proto /usr/local/include/google/protobuf/struct.proto || need libprotobuf-dev
    have prometheus-alertmanager || have alertmanager || need prometheus-alertmanager
    have openssl || need openssl
    # Runs a replica whose clock is wrong.
    any_file /usr/lib/*/faketime/libfaketime.so.1 || need libfaketime
    have radosgw || need radosgw
    have ceph-mon || need ceph-mon
    have ceph-mgr || need ceph-mgr
    have ceph-osd || need ceph-osd
    have node || need nodejs
    have npm || need npm
    { have python3 && any_file /usr/lib/python3*/ensurepip/__init__.py /usr/local/lib/python3*/ensurepip/__init__.py; } ||
        need python3-venv
fi

if ! have cargo && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    echo "Rust is installed but not on the PATH. Run: . \"${CARGO_HOME:-$HOME/.cargo}/env\"" >&2
    exit 1
elif ! have cargo; then
    echo "Rust 1.95 or later is missing (the distribution's is too old). Install it with rustup, then run this again." >&2
    exit 1
fi

[ ${#packages[@]} -eq 0 ] && exit 0

list="${packages[*]}"
if ! have apt-get; then
    echo "Missing, by their Debian names: $list. Install them with this system's package manager, then run this again." >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    as_root=()
elif have sudo && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
    as_root=(sudo)
else
    echo "Missing: $list. Ask somebody with root rights to run:" >&2
    echo "  apt-get update && apt-get install --no-install-recommends -y $list" >&2
    exit 1
fi

echo "Installing: $list"
# Tenantry starts a PostgreSQL of its own; the one that Debian's package would make and start is in nobody's interest.
cluster_conf=/etc/postgresql-common/createcluster.conf
if [[ " $list " == *" postgresql "* ]] && [ ! -e "$cluster_conf" ]; then
    "${as_root[@]}" mkdir -p "${cluster_conf%/*}"
    echo 'create_main_cluster = false' | "${as_root[@]}" tee "$cluster_conf" >/dev/null
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# One unreachable package source is no reason to stop: the packages may well come from another.
"${as_root[@]}" apt-get -qq update >"$log" 2>&1 ||
    echo "Some package lists could not be refreshed; going on with those that are there."
if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
    -o Dpkg::Options::=--force-confold install "${packages[@]}" >>"$log" 2>&1; then
    tail -n 15 "$log" >&2
    echo "The packages could not be installed. Run this by hand: apt-get update && apt-get install -y $list" >&2
    exit 1
fi
