#!/usr/bin/env bash
# test.sh [LABEL] - installs what is needed, builds with warnings as errors, runs the tests; without LABEL also the unit and fuzz tests
# under AddressSanitizer and UndefinedBehaviorSanitizer. Labels: unit, fuzz, spec, cli, install, model.
. "$(dirname "$0")/common.sh"
label=${1:-}
scripts/install-deps.sh

say "building (build-test/)"
build build-test all -DKVC_WERROR=ON
say "tests${label:+ ($label)}"
ctest --test-dir build-test --output-on-failure --no-tests=error -j "$(nproc)" ${label:+-L "$label"}
[ -z "$label" ] || exit 0

say "building with sanitizers (build-asan/)"
build build-asan all -DKVC_WERROR=ON -DKVC_SANITIZE=ON
say "unit and fuzz tests under sanitizers"
ctest --test-dir build-asan --output-on-failure --no-tests=error -j "$(nproc)" -L 'unit|fuzz'
