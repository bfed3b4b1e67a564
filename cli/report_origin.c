/* report_origin.c - provenance: what the figures are of, and what they were made with. */
#include "report_part.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void put_text_row(text *out, const char *name, const char *value)
{
    if (value && *value) text_put(out, "<dt>%s</dt><dd>%s</dd>\n", name, value);
}

static void put_hash_row(text *out, const char *name, const char *value)
{
    if (value && *value) text_put(out, "<dt>%s</dt><dd><code>%s</code></dd>\n", name, value);
}

static void put_bytes_row(text *out, const char *name, double bytes)
{
    if (isnan(bytes)) return;
    text_put(out, "<dt>%s</dt><dd>%s", name, figure_bytes(bytes).s);
    if (bytes >= 1024) text_put(out, " (%s bytes)", figure_count(bytes).s);
    text_put(out, "</dd>\n");
}

/* "30 layers, 9 query heads on 3 KV heads of 64" */
static void put_shape_row(text *out, const json_t *model)
{
    if (isnan(doc_number(model, "layers"))) return;
    text_put(out, "<dt>shape</dt><dd>%s layers, %s query heads on %s KV heads of %s</dd>\n",
             figure_count(doc_number(model, "layers")).s, figure_count(doc_number(model, "query_heads")).s,
             figure_count(doc_number(model, "kv_heads")).s, figure_count(doc_number(model, "head_dim")).s);
}

/* What --window auto and --sinks auto measured. */
static void put_trials_row(text *out, const json_t *trials)
{
    if (json_array_size(trials) == 0) return;
    text_put(out, "<dt>tried</dt><dd>");
    for (size_t i = 0; i < json_array_size(trials); i++) {
        const json_t *t = json_array_get(trials, i);
        text_put(out, "%s%s sinks, window of %s: KL %s at %s bits", i ? "; " : "",
                 figure_count(doc_number(t, "sinks")).s, figure_count(doc_number(t, "window")).s,
                 figure_kl(doc_number(t, "kl")).s, figure_bits(doc_number(t, "bits_per_value")).s);
    }
    text_put(out, "</dd>\n");
}

static void put_policy_row(text *out, const json_t *tokens)
{
    if (isnan(doc_number(tokens, "page"))) return;
    text_put(out, "<dt>exact tokens</dt><dd>%s sinks, window of %s, pages of %s</dd>\n",
             figure_count(doc_number(tokens, "sinks")).s, figure_count(doc_number(tokens, "window")).s,
             figure_count(doc_number(tokens, "page")).s);
    put_trials_row(out, json_object_get(tokens, "trials"));
}

/* What --evaluations did. */
static void put_refinement_row(text *out, const json_t *r)
{
    if (isnan(doc_number(r, "evaluations"))) return;
    text_put(out,
             "<dt>refinement</dt><dd>%s measurements on calibration text, %s of %s plans accepted: KL %s before, %s "
             "\xc2\xb1 %s after</dd>\n",
             figure_count(doc_number(r, "evaluations")).s, figure_count(doc_number(r, "accepted")).s,
             figure_count(doc_number(r, "plans")).s, figure_kl(doc_number(r, "start_kl")).s,
             figure_kl(doc_number(r, "kl")).s, figure_error(doc_number(r, "kl_stderr")).s);
}

static void put_size_rows(text *out, const json_t *doc)
{
    char name[80];
    const json_t *size = json_object_get(doc, "size");
    snprintf(name, sizeof name, "cache at %s tokens", figure_count(doc_number(doc, "context")).s);
    put_bytes_row(out, name, doc_number(size, "cache_bytes"));
    put_bytes_row(out, "the same in fp16", doc_number(size, "fp16_bytes"));
    put_bytes_row(out, "constants beside it", doc_number(size, "constant_bytes"));
    put_bytes_row(out, "configuration file", doc_number(size, "file_bytes"));
}

static void put_tokens_row(text *out, const char *name, const json_t *set)
{
    const char *hash = doc_text(set, "sha256");
    double sequences = doc_number(set, "sequences");
    if (isnan(doc_number(set, "tokens"))) return;
    text_put(out, "<dt>%s</dt><dd>%s tokens in %s sequence%s <code>%s</code></dd>\n", name,
             figure_count(doc_number(set, "tokens")).s, figure_count(sequences).s, sequences == 1 ? "" : "s",
             hash ? hash : "");
}

static void put_facts(text *out, const json_t *doc)
{
    const json_t *model = json_object_get(doc, "model"), *origin = json_object_get(doc, "provenance");
    text_put(out, "<dl>\n");
    put_text_row(out, "model", doc_text(model, "name"));
    put_text_row(out, "architecture", doc_text(model, "architecture"));
    put_shape_row(out, model);
    put_hash_row(out, "weights, SHA-256", doc_text(model, "sha256"));
    put_hash_row(out, "tokenizer, SHA-256", doc_text(model, "tokenizer_sha256"));
    put_policy_row(out, json_object_get(doc, "tokens"));
    put_refinement_row(out, json_object_get(doc, "refinement"));
    put_size_rows(out, doc);
    put_text_row(out, "tool", doc_text(origin, "tool"));
    put_text_row(out, "device", doc_text(origin, "device"));
    if (!isnan(doc_number(origin, "seed")))
        text_put(out, "<dt>seed</dt><dd>%s</dd>\n", figure_count(doc_number(origin, "seed")).s);
    put_tokens_row(out, "calibration", json_object_get(origin, "calibration"));
    put_tokens_row(out, "held apart", json_object_get(origin, "holdout"));
    text_put(out, "</dl>\n");
}

static void put_files(text *out, const json_t *files, const char *use)
{
    const json_t *file;
    size_t i;
    json_array_foreach(files, i, file)
    {
        const char *name = doc_text(file, "name"), *hash = doc_text(file, "sha256");
        text_put(out,
                 "<tr><th scope=\"row\">%s</th><td>%s</td><td class=\"n\">%s</td><td><code>%s</code></td></tr>\n",
                 name ? name : "unnamed", use, figure_count(doc_number(file, "tokens")).s, hash ? hash : "");
    }
}

static void put_texts(text *out, const json_t *origin)
{
    const json_t *prompts = json_object_get(origin, "prompts"), *held = json_object_get(origin, "holdout_prompts");
    if (json_array_size(prompts) + json_array_size(held) == 0) return;
    text_put(
        out,
        "<div class=\"wide\"><table>\n<tr><th scope=\"col\">text</th><th scope=\"col\">use</th><th scope=\"col\" "
        "class=\"n\">tokens</th><th scope=\"col\">SHA-256</th></tr>\n");
    put_files(out, prompts, "calibration");
    put_files(out, held, "held apart");
    text_put(out, "</table></div>\n");
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_option(text *out, const char *key, const json_t *value)
{
    char *dump =
        json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_SORT_KEYS | JSON_REAL_PRECISION(9));
    const char *shown = json_is_string(value) ? json_string_value(value) : dump;
    if (shown) text_put(out, "<dt><code>%s</code></dt><dd><code>%s</code></dd>\n", key, shown);
    free(dump);
}

static void put_options(text *out, json_t *recipe)
{
    size_t n = 0;
    const char *key;
    json_t *value;
    const char **keys = malloc((json_object_size(recipe) + 1) * sizeof *keys);
    out->failed = out->failed || !keys;
    if (!keys || json_object_size(recipe) == 0) {
        free(keys);
        return;
    }
    json_object_foreach(recipe, key, value) keys[n++] = key;
    qsort(keys, n, sizeof *keys, by_text);
    text_put(out, "<details open=\"\"><summary>Options</summary>\n<dl class=\"many\">\n");
    for (size_t i = 0; i < n; i++) put_option(out, keys[i], json_object_get(recipe, keys[i]));
    text_put(out, "</dl></details>\n");
    free(keys);
}

void report_provenance(text *out, const json_t *doc)
{
    const json_t *origin = json_object_get(doc, "provenance");
    if (!json_is_object(origin) && !json_is_object(json_object_get(doc, "model"))) return;
    text_put(out, "<section><h2>Provenance</h2>\n");
    put_facts(out, doc);
    put_texts(out, origin);
    put_options(out, json_object_get(origin, "recipe"));
    text_put(out, "</section>\n");
}
