#!/usr/bin/env bash
# demo.sh - from a bare Debian to a compiled cache that is shown to work: installs what is needed, builds, fetches a real model
# (SmolLM2-135M-Instruct) and text, compiles its KV cache, and compares the model with and without it. Everything stays in demo/;
# what is done is not done again (remove demo/ to start over).
. "$(dirname "$0")/common.sh"
scripts/install-deps.sh

say "building (build/)"
build build kvcalib -DKVC_WERROR=OFF
export KVCALIB=build/cli/kvcalib
mkdir -p demo

say "the model: SmolLM2-135M-Instruct (demo/model)"
scripts/fetch-model.sh demo/model
say "text: manuals, answers, licences, Perl, Python, shell and C to calibrate on; other documents to evaluate on (demo/text)"
scripts/fetch-text.sh demo/text

if [ -f demo/cfg.bin ]; then
    say "demo/cfg.bin is there already"
else
    say "the main job: kvcalib demo/model/model.safetensors -o demo/cfg.bin"
    main_job() {
        local calib=()
        for file in demo/text/calib-*.txt; do calib+=(--prompts "$file"); done
        "$KVCALIB" demo/model/model.safetensors -o demo/cfg.bin "${calib[@]}" --workdir demo/work "$@"
    }
    rm -f demo/eval-*.json
    status=0
    if [ -d demo/work ]; then main_job --resume || status=$?; else main_job || status=$?; fi
    if [ "$status" -eq 3 ] && [ -d demo/work ]; then
        say "demo/work was begun by another build of kvcalib: beginning again"
        rm -rf demo/work
        status=0
        main_job || status=$?
    fi
    [ "$status" -eq 0 ] || exit "$status" # 6: interrupted; run this script again to go on
fi

say "what was decided: kvcalib inspect demo/cfg.bin"
"$KVCALIB" inspect demo/cfg.bin

for kind in prose perl c; do
    say "evaluation on text it has not seen: eval-$kind.txt, 4096 tokens, exact against compressed"
    [ -f "demo/eval-$kind.json" ] ||
        "$KVCALIB" eval demo/model --text "demo/text/eval-$kind.txt" --config demo/cfg.bin --max-tokens 4096 --json >"demo/eval-$kind.tmp"
    [ -f "demo/eval-$kind.json" ] || mv "demo/eval-$kind.tmp" "demo/eval-$kind.json"
    python3 - "demo/eval-$kind.json" <<'PY'
import json, sys
e = json.load(open(sys.argv[1]))
print("perplexity %.3f exact, %.3f compressed; KL divergence %.5f +- %.5f nats per token; the same first choice at %.1f %% of positions"
      % (e["ppl_ref"], e["ppl"], e["kl_mean"], e["kl_stderr"], 100 * e["top1_agreement"]))
PY
done

# A prompt much longer than the fp16 window, so that most of what the answer reads is compressed.
{
    echo "Here is a part of a manual."
    sed -n 1,26p demo/text/eval-prose.txt
    echo "Say in two or three sentences what this part is about."
} >demo/prompt.txt
for config in "" demo/cfg.bin; do
    say "an answer about a page of text, with ${config:-the exact fp16 cache}"
    "$KVCALIB" generate demo/model --chat --prompt-file demo/prompt.txt ${config:+--config "$config"} -n 80
    echo
done

say "summary"
"$KVCALIB" inspect demo/cfg.bin --json >demo/inspect.json
python3 - <<'PY'
import json
i = json.load(open("demo/inspect.json"))
m, evals = i["model"], [json.load(open("demo/eval-%s.json" % k)) for k in ("prose", "perl", "c")]
context = evals[0]["context"]
exact = 2 * 2 * m["layers"] * m["kv_heads"] * m["head_dim"]
small = evals[0]["bytes_per_token"]
print("The KV cache of %s takes %.1f MiB for %d tokens in fp16 and %.1f MiB with demo/cfg.bin: %.2f bits per value,\n%.1f times smaller."
      % (m["name"], exact * context / 2**20, context, small * context / 2**20, evals[0]["bits_per_value"], exact / small))
for kind, e in zip(("prose", "Perl", "C"), evals):
    print("On unseen %-5s perplexity changes by %+.2f %%." % (kind, 100 * (e["ppl"] / e["ppl_ref"] - 1)))
print("cfg.bin has %d bytes; serve it with libkvc (runtime/include/kvc/kvc.h), or try another budget in a second:\n"
      "  %s solve demo/work/profile.h5 --bits 3.5 -o plan.yaml" % (i["file_bytes"], "build/cli/kvcalib"))
PY
