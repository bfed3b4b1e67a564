/* report.h - the page of a run: one self-contained HTML file, rendered from one JSON document.
 *
 * The page needs no network and no script. Every field of the document may be absent or null, and what needs it is
 * then left out: a row, a column, a section. A field of another type counts as absent, and so does a number beyond
 * 1e15. Texts may hold anything: nothing reaches the page unescaped. Equal documents give equal bytes.
 *
 *   model        {name, architecture, layers, kv_heads, query_heads, head_dim, sha256, tokenizer_sha256}
 *   tokens       {sinks, window, page, trials: [{sinks, window, bits_per_value, kl}]}   trials: policies measured
 *   context      tokens that bytes are counted at
 *   size         {cache_bytes, fp16_bytes, constant_bytes, file_bytes}; the first two at the context
 *   chosen       {method, bits, codes_bits, predicted_kl}; bits: all bytes of the cache, codes_bits: codes and
 *                metadata of a compressed page, the window apart
 *   fronts       [{method, measured, points: [{bits, kl}]}]   drawn as lines; measured: on calibration text, else
 *                predicted
 *   without_kvtuner   why there is no front of KVTuner's
 *   refinement   {evaluations, plans, accepted, start_kl, kl, kl_stderr}   on calibration text
 *   results      [{name, method, bits, codes_bits, kl, kl_stderr, ppl_ratio, top1, tokens, chosen, yardstick,
 *                calibration}]                          measured plans, drawn as markers and listed; of the three
 *                flags: the chosen plan; the plan whose KL others are compared with; measured on calibration text
 *   layers       [{key: {spec, bits, sensitivity}, value: {...}}]   from layer 0 on; bits: of codes and metadata
 *   sensitivity  {measure, key, value}                  what the layers' sensitivity is: of which specs
 *   predictions  [{name, pairs: [{name, predicted, measured, stderr}]}]   KL, nats per token
 *   domains      [{name, tokens, kl, kl_stderr, ppl_ratio, top1, yardstick_kl}]   the chosen plan on each text
 *   provenance   {tool, device, seed, recipe: {option: value}, prompts, holdout_prompts: [{name, sha256, tokens}],
 *                calibration, holdout: {tokens, sequences, sha256}}; other fields are passed over
 *
 * Known methods, which have a colour, a marker and a name of their own: exact, refined, uniform, hadamard, greedy,
 * random, kvtuner. */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H
#include <jansson.h>
#include "kvc/kvc.h"

/* Owned: free(). */
kvc_status report_render(const json_t *doc, char **html, kvc_error *err);
#endif
