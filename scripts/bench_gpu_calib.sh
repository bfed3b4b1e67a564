#!/usr/bin/env bash
# bench_gpu_calib.sh FOLDER MODEL OUT - calibration on one GPU, timed. FOLDER has kvcalib and bench_forward of a build with CUDA (and, in FOLDER,
# libraries that the machine lacks), MODEL a folder with SmolLM2-135M and its tokenizer; output and work go to OUT (20 GB for the large model).
#   1. MODEL with full pricing
#   2. a random model of Llama-3-8B's shape, 131072 tokens, anchor pricing, 32 measured plans
#   3. its forward pass beside the speed of its products
# STEPS="small large forward" picks; DEVICE=cuda or cuda,fast; PYTHON has numpy; LARGE=FOLDER takes a model that is there. A table comes last.
set -uo pipefail
folder=$(cd "${1:?bench_gpu_calib.sh FOLDER MODEL OUT}" && pwd)
model=$(cd "${2:?bench_gpu_calib.sh FOLDER MODEL OUT}" && pwd)
mkdir -p "${3:?bench_gpu_calib.sh FOLDER MODEL OUT}"
out=$(cd "$3" && pwd)
here=$(cd "$(dirname "$0")/.." && pwd)
steps=${STEPS:-small large forward} device=${DEVICE:-cuda} python=${PYTHON:-python3} large=${LARGE:-$out/llama-8b}
export LD_LIBRARY_PATH="$folder:/usr/local/cuda/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

# Text: this tree's own words and code, in two files.
cat "$here"/README.md "$here"/docs/*.md "$here"/docs/decisions/*.md "$here"/configs/prompts/*.txt >"$out/words.txt"
cat "$here"/runtime/*/*.c "$here"/calib/*/*.[ch] "$here"/cli/*.[ch] "$here"/search/*.c "$here"/tests/unit/*.c >"$out/code.txt"

# calibrate NAME MODEL OPTIONS...: forecast and run
calibrate() {
    local name=$1 folder_of=$2
    shift 2
    local options=(--prompts "$out/words.txt" --prompts "$out/code.txt" --device "$device" "$@")
    rm -rf "$out/$name.work"
    "$folder/kvcalib" "$folder_of" --dry-run --json "${options[@]}" >"$out/$name.forecast.json" 2>"$out/$name.forecast.txt"
    local begin=$(date +%s.%N)
    "$folder/kvcalib" "$folder_of" -o "$out/$name.bin" --workdir "$out/$name.work" --progress plain -v "${options[@]}" >"$out/$name.txt" 2>&1
    echo "exit $? seconds $(awk "BEGIN {print $(date +%s.%N) - $begin}")" >>"$out/$name.txt"
    rm -rf "$out/$name.work"
}

for step in $steps; do
    case $step in
    small) calibrate small "$model" --price full ;;
    large | forward)
        [ -f "$large/config.json" ] || "$python" "$here/tests/bench/make_model.py" "$large" --tokenizer "$model" >"$out/make.txt" 2>&1 ||
            { cat "$out/make.txt"; continue; }
        [ "$step" = forward ] || calibrate large "$large" --calib-tokens 131072 --price anchor --evaluations 32
        [ "$step" = large ] || "$folder/bench_forward" "$large" 65536 2048 0 cuda,fast >"$out/forward.txt" 2>&1
        ;;
    esac
done

"$python" - "$out" <<'PY'
import json, os, re, sys
out = sys.argv[1]
for name in ("small", "large"):
    path = os.path.join(out, name + ".txt")
    if not os.path.exists(path):
        continue
    text = open(path).read()
    print(f"== {name}")
    for line in re.findall(r"time: (.*)", text):
        print("  " + line)
    end = re.search(r"exit (\d+) seconds ([\d.]+)", text)
    peak = re.search(r"peak device memory ([\d.]+) MiB", text)
    try:
        forecast = json.load(open(os.path.join(out, name + ".forecast.json")))
        said = f"{forecast['device_bytes'] / 2**20:.0f} MiB predicted; " + ", ".join(f"{s['stage']} {s['seconds']:.1f} s" for s in forecast["stages"])
    except (OSError, ValueError, KeyError):
        said = "no forecast"
    print(f"  exit {end.group(1)}, {float(end.group(2)):.1f} s in all; peak {peak.group(1) if peak else '?'} MiB of device memory, {said}")
    if end.group(1) != "0":
        print("  " + "\n  ".join(text.strip().splitlines()[-6:]))
forward = os.path.join(out, "forward.txt")
if os.path.exists(forward):
    print("== forward\n  " + open(forward).read().strip().replace("\n", "\n  "))
PY
