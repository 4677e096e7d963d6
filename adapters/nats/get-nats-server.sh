#!/usr/bin/env bash
# Gets a nats-server for the tests into target/tools, from a newer Debian than this one may be. Nothing is installed: the
# package is unpacked there. apt checks the archive's signature, and the package against it.
#
#   adapters/nats/get-nats-server.sh [SUITE]      trixie (2.10) unless said; sid has a newer one
set -euo pipefail
suite="${1:-trixie}"
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
tools="$root/target/tools"
server="$tools/nats-server"
if [ "$suite" != trixie ]; then
    server="$tools/nats-server-$suite"
fi
if [ -x "$server" ]; then
    "$server" --version
    exit
fi
# One that is there already will do.
if [ "$suite" = trixie ] && [ -x "${DRIFTLESS_NATS_SERVER:-}" ]; then
    "$DRIFTLESS_NATS_SERVER" --version
    exit
fi
if ! command -v apt-get > /dev/null || ! command -v dpkg-deb > /dev/null; then
    echo "this needs apt and dpkg-deb; otherwise put any nats-server from 2.10 on into PATH" >&2
    exit 1
fi

# The archive that this machine uses, and the keys that it trusts.
mirror="$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 2> /dev/null | head -n 1 || true)"
if [ -z "$mirror" ]; then
    mirror="$(sed -nE 's/^(URIs:|deb)[[:space:]]+(\[[^]]*\][[:space:]]+)?([a-z+-]+:[^[:space:]]+).*/\3/p' \
        /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2> /dev/null | head -n 1 || true)"
fi
if [ -z "$mirror" ]; then
    echo "apt names no archive of Debian here; put any nats-server from 2.10 on into PATH, or name it in DRIFTLESS_NATS_SERVER" >&2
    exit 1
fi
keys=/usr/share/keyrings/debian-archive-keyring.gpg

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists/partial,archives/partial,parts,unpacked} "$tools"
echo "deb [signed-by=$keys] $mirror $suite main" > "$work/sources.list"
: > "$work/status"
options=(
    -o "Dir::Etc::sourcelist=$work/sources.list" -o "Dir::Etc::sourceparts=$work/parts"
    -o "Dir::State::lists=$work/lists" -o "Dir::State::status=$work/status" -o "Dir::Cache=$work"
    -o "Dir::Cache::archives=$work/archives" -o APT::Sandbox::User=root -o Acquire::Languages=none
)
apt-get -qq "${options[@]}" update
(cd "$work" && apt-get -qq "${options[@]}" download nats-server)
dpkg-deb -x "$work"/nats-server_*.deb "$work/unpacked"
# Whole, or not at all.
install -m 755 "$(find "$work/unpacked" -type f -name nats-server -perm -u+x | head -n 1)" "$server.new"
mv "$server.new" "$server"
"$server" --version
