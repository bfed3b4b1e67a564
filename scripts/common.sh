# common.sh - what the scripts share. Source it; it moves to the top of the tree.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n== %s\n' "$*"; }
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}
# quietly LOG COMMAND...: run it, and show the log's end only if it fails.
quietly() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 || {
        tail -n 25 "$log" >&2
        die "failed: $* (whole log: $log)"
    }
}
# build FOLDER TARGETS [CMAKE-OPTION...]: configure once, build with all cores. TARGETS is one word or "all".
build() {
    local folder=$1 target=$2
    shift 2
    mkdir -p "$folder"
    quietly "$folder/configure.log" cmake -S . -B "$folder" -G Ninja "$@"
    quietly "$folder/build.log" cmake --build "$folder" --target "$target" --parallel "$(nproc)"
}
