#!/usr/bin/env bash
# install-deps.sh - Debian packages that building, testing and the demo need. Does nothing where all are there.
. "$(dirname "$0")/common.sh"

packages=(build-essential cmake ninja-build pkg-config git ca-certificates
    libyaml-dev libhdf5-dev libopenblas-pthread-dev liblapacke-dev libjansson-dev libpcre2-dev libutf8proc-dev
    libxxhash-dev libssl-dev check
    python3 python3-pip unzip)

missing=()
for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "packages are missing and there is neither root nor sudo: ${missing[*]}"
    root=(sudo)
fi
say "installing ${missing[*]}"
log=$(mktemp)
quietly "$log" "${root[@]}" apt-get update
quietly "$log" "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
rm -f "$log"
