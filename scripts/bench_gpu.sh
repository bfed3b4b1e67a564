#!/usr/bin/env bash
# bench_gpu.sh FOLDER [OUT] - tests and timings on one GPU. FOLDER has test_gpu_*, bench_gpu_* of a build with CUDA, gpu_cache and bench_cache of its
# tests/gpu (and, in FOLDER, libraries that the machine lacks); whole output goes to OUT (default: FOLDER/out), a short table comes last.
set -uo pipefail
folder=$(cd "${1:?bench_gpu.sh FOLDER [OUT]}" && pwd)
out=${2:-$folder/out}
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$out"
export LD_LIBRARY_PATH="$folder:/usr/local/cuda/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" OMP_WAIT_POLICY=passive
summary=()

# step NAME COMMAND...: its output to a file, its exit code to the table
step() {
    local name=$1 begin=$SECONDS
    shift
    "$@" >"$out/$name.txt" 2>&1
    local code=$?
    summary+=("$(printf '%-24s exit %3d  %4d s' "$name" "$code" $((SECONDS - begin)))")
}

nvidia-smi --query-gpu=name,clocks.max.sm,clocks.sm,power.limit,driver_version --format=csv >"$out/gpu.txt" 2>&1
for test in "$folder"/test_gpu_*; do step "$(basename "$test")" "$test"; done
step bench_gpu_attend "$folder/bench_gpu_attend"
step bench_gpu_queries "$folder/bench_gpu_attend" "int4.ch64 int4.tok" 4
step bench_sdpa python3 "$here/tests/bench/bench_sdpa.py"
[ ! -x "$folder/bench_gpu_append" ] || step bench_gpu_append "$folder/bench_gpu_append"
[ ! -x "$folder/bench_gpu_lookup" ] || step bench_gpu_lookup "$folder/bench_gpu_lookup"
[ ! -x "$folder/bench_gpu_backend" ] || step bench_gpu_backend "$folder/bench_gpu_backend" 2048
# Nothing is timed any more: sanitizers, which use one core each, run side by side.
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck; do
        options=(--tool "$tool" --error-exitcode 9 --report-api-errors no) # some tests ask for what cannot be
        for test in attend codes cache; do
            (
                summary=()
                KVC_TEST_STEPS=40 step "$test-$tool" timeout "${SANITIZER_SECONDS:-240}" compute-sanitizer "${options[@]}" "$folder/test_gpu_$test"
                printf '%s\n' "${summary[@]}" >"$out/$test-$tool.exit"
            ) &
        done
    done
    wait
    mapfile -t -O "${#summary[@]}" summary < <(cat "$out"/*-*.exit)
fi

cat "$out/gpu.txt"
grep -h 'x *[0-9]' "$out/bench_gpu_attend.txt" "$out/bench_sdpa.txt"
echo "4 queries of each sequence:"
grep -h 'x *[0-9]' "$out/bench_gpu_queries.txt"
[ ! -f "$out/bench_gpu_append.txt" ] || cat "$out/bench_gpu_append.txt"
head -2 "$out/bench_gpu_attend.txt"
printf '%s\n' "${summary[@]}"
