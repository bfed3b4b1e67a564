/* pricing.c - isolated global loss: mean KL of next-token distributions when one item of a base plan changes
 * (methods.md section 4).
 *
 * A change in layer l leaves everything before l as it is, so the stream that enters each layer under the base plan
 * is kept and a price begins at the changed layer. Attention is evaluate()'s. Distributions are compared at the
 * scored positions alone, against the exact model's final rows there; its logits are recomputed for every few prices
 * (model_compare_rows()), since the product costs as much as half a layer at an eighth of the positions
 * (SmolLM2-135M), and keeping it 200 KB a position. Cost of an item: the layers from l on, and two vocabulary
 * products per scored position. A KL is good to some 1e-9 (sums of logit_sums are double and exponentials of both
 * models have the same errors).
 *
 * A device is kept busy by several changes of one layer at a time: the text runs in as many copies, each with its own
 * change.
 *
 * Memory: n_layers + 1 residual streams, as many of them as memory_limit allows, the others in unlinked files; a copy
 * is another. */
#include "compressed_layers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct pricing {
    model *m;
    backend *b;
    const sequence_set *tokens;
    kvc_token_policy policy;
    compressed_layers layers;  /* its sides are the base plan's, but for the time of a price */
    cache_side *other;         /* [n_layers][2] sides of another plan */
    hidden_states **entering;  /* [n_layers] the stream that enters each layer under the base plan */
    size_t together;           /* copies of the text that may run at a time */
    sequence_set copies;       /* their sequences; ids are not there */
    const cache_side *changes; /* [n_copies][2] sides of the layer `changed`; NULL: those of `layers` */
    uint32_t changed;
    hidden_states *work;       /* the streams that run, one behind another */
    size_t *work_rows;         /* [together][n_rows] scored positions of each copy */
    hidden_states *ref, *cfg;  /* [n_rows], [together][n_rows] final rows at those: exact, changed */
    size_t *rows, n_rows;      /* scored positions, as rows of the stream, ascending */
    size_t *first;             /* [tokens->n + 1] each sequence's among them */
    logit_row *scored;         /* [together][n_rows] */
    double *kl, *base_kl;      /* [together][n_rows], [n_rows] */
    bool keep_streams, usable; /* of the pass that runs; of the base */
};

/* ---- scored positions ---- */

/* Middles of `wanted` equal parts of the positions that see a page and predict a token; rows may be NULL. */
static size_t pick_rows(size_t *rows, const kvc_token_policy *policy, size_t n_tokens, uint32_t wanted)
{
    size_t first = (size_t)policy->sinks + policy->window + policy->page - 1; /* the first that sees a page */
    if (n_tokens <= first + 1) return 0;
    size_t range = n_tokens - 1 - first, n = wanted && wanted < range ? wanted : range;
    for (size_t i = 0; rows && i < n; i++) rows[i] = first + (2 * i + 1) * range / (2 * n);
    return n;
}

static kvc_status pick_all(pricing *p, uint32_t wanted, kvc_error *err)
{
    const sequence_set *t = p->tokens;
    p->rows = malloc((sequences_tokens(t) + 1) * sizeof *p->rows);
    p->first = calloc(t->n + 1, sizeof *p->first);
    if (!p->rows || !p->first) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for scored positions");
    for (size_t s = 0; s < t->n; s++) {
        size_t *own = p->rows + p->first[s], n = pick_rows(own, &p->policy, t->first[s + 1] - t->first[s], wanted);
        for (size_t i = 0; i < n; i++) own[i] += t->first[s];
        p->n_rows = p->first[s + 1] = p->first[s] + n;
    }
    if (p->n_rows) return KVC_OK;
    return kvc_fail(err, KVC_INPUT,
                    "the longest sequence has %zu tokens; from sinks + window + page + 1 = %u on there is a position "
                    "to score",
                    sequences_longest(t), p->policy.sinks + p->policy.window + p->policy.page + 1);
}

double pricing_share(const sequence_set *tokens, const kvc_token_policy *policy)
{
    size_t compressed = 0;
    for (size_t s = 0; s < tokens->n; s++)
        compressed += pick_rows(NULL, policy, tokens->first[s + 1] - tokens->first[s], 0);
    return (double)compressed / (double)(sequences_tokens(tokens) - tokens->n);
}

/* ---- passes ---- */

static kvc_status attend(void *context, const layer_view *view, kvc_error *err)
{
    pricing *p = context;
    if (!p->changes || view->layer != p->changed) return compressed_layers_attend(&p->layers, view, err);
    for (size_t i = 0; i <= view->n_more; i++) {
        const layer_view one = layer_view_of(view, i);
        const cache_side *sides = p->changes + 2 * (one.sequence / p->tokens->n);
        KVC_TRY(compressed_layers_attend_as(&p->layers, &one, sides, err));
    }
    return KVC_OK;
}

static kvc_status layer_done(void *context, uint32_t layer, hidden_states *hidden, kvc_error *err)
{
    pricing *p = context;
    if (!p->keep_streams || layer + 1 == p->m->config.n_layers) return KVC_OK;
    return hidden_copy(p->entering[layer + 1], 0, hidden, sequences_tokens(p->tokens), err);
}

/* Copies of the text from a layer on. */
static kvc_status run_copies(pricing *p, uint32_t layer, size_t n_copies, bool keep_streams, const job *job,
                             const char *stage, kvc_error *err)
{
    forward_hooks hooks = {.attention = attend, .layer_done = layer_done, .context = p};
    size_t n_tokens = sequences_tokens(p->tokens);
    sequence_set copies = p->copies;
    copies.n = n_copies * p->tokens->n;
    p->keep_streams = keep_streams;
    for (size_t i = 0; i < n_copies; i++)
        KVC_TRY(hidden_copy(p->work, i * n_tokens, p->entering[layer], n_tokens, err));
    return model_layers(p->m, p->b, &copies, p->work, layer, p->m->config.n_layers, &hooks, job, stage, err);
}

/* The scored rows of copies that have run. */
static kvc_status take_rows(pricing *p, size_t n_copies, hidden_states *final, kvc_error *err)
{
    return hidden_gather(final, p->work, p->work_rows, n_copies * p->n_rows, err);
}

/* The present sides from a layer on; the scored rows of the result go to `final`. */
static kvc_status run_from(pricing *p, uint32_t layer, bool keep_streams, hidden_states *final, const job *job,
                           const char *stage, kvc_error *err)
{
    KVC_TRY(run_copies(p, layer, 1, keep_streams, job, stage, err));
    return take_rows(p, 1, final, err);
}

/* KL of copies at the scored positions [n_copies][n_rows]; progress is that of the layers alone. */
static kvc_status compare(pricing *p, size_t n_copies, double *kl, const job *job, kvc_error *err)
{
    struct job quiet = job ? *job : (struct job){0};
    quiet.progress = NULL;
    KVC_TRY(model_compare_rows(p->m, p->b, p->n_rows, p->ref, n_copies, p->cfg, p->scored, &quiet, err));
    for (size_t i = 0; i < n_copies * p->n_rows; i++) kl[i] = p->scored[i].kl;
    return KVC_OK;
}

/* ---- plans ---- */

static bool same_side(const cache_side *x, const cache_side *y)
{
    kvc_codec a = x->coder.codec, b = y->coder.codec;
    if (x->exact || y->exact) return x->exact && y->exact;
    a.param_offset = b.param_offset = 0; /* where parameters lie does not matter, what they are does */
    if (memcmp(&a, &b, sizeof a) != 0) return false;
    return a.param_bytes == 0 || memcmp(x->coder.params, y->coder.params, a.param_bytes) == 0;
}

/* The first layer in which p->other is not the base; n_layers: none. */
static uint32_t first_difference(const pricing *p)
{
    uint32_t i = 0, n = 2 * p->m->config.n_layers;
    while (i < n && same_side(&p->layers.sides[i], &p->other[i])) i++;
    return i / 2;
}

static void swap_sides(pricing *p)
{
    cache_side *sides = p->layers.sides;
    p->layers.sides = p->other;
    p->other = sides;
}

static kvc_status rebase(pricing *p, const job *job, kvc_error *err)
{
    uint32_t layer = p->usable ? first_difference(p) : 0;
    swap_sides(p); /* even where nothing differs: parameters are borrowed from the new plan */
    if (layer == p->m->config.n_layers) return KVC_OK;
    p->usable = false;
    KVC_TRY(run_from(p, layer, true, p->cfg, job, "base plan", err));
    KVC_TRY(compare(p, 1, p->base_kl, job, err));
    p->usable = true;
    return KVC_OK;
}

kvc_status pricing_rebase(pricing *p, const plan_ref *base, const job *job, kvc_error *err)
{
    KVC_TRY(compressed_layers_bind(&p->layers, base, p->other, err));
    return rebase(p, job, err);
}

/* ---- prices ---- */

enum { ALL_FILES = -1 };

/* Sum of (kl - less - shift)^power, power 1 or 2, over the scored rows of a prompt file. */
static double sum_of(const pricing *p, int64_t file, const double *kl, const double *less, double shift, int power)
{
    double sum = 0;
    for (size_t s = 0; s < p->tokens->n; s++) {
        if (file != ALL_FILES && file != p->tokens->file[s]) continue;
        for (size_t i = p->first[s]; i < p->first[s + 1]; i++) {
            double d = kl[i] - (less ? less[i] : 0) - shift;
            sum += power == 2 ? d * d : d;
        }
    }
    return sum;
}

static size_t rows_of(const pricing *p, int64_t file)
{
    size_t n = 0;
    for (size_t s = 0; s < p->tokens->n; s++)
        if (file == ALL_FILES || file == p->tokens->file[s]) n += p->first[s + 1] - p->first[s];
    return n;
}

/* Mean of kl - less and its standard error. */
static double summarise(const pricing *p, int64_t file, const double *kl, const double *less, double *standard_error)
{
    double n = (double)rows_of(p, file), mean = n > 0 ? sum_of(p, file, kl, less, 0, 1) / n : 0;
    *standard_error = n > 1 ? sqrt(sum_of(p, file, kl, less, mean, 2) / (n - 1) / n) : 0;
    return mean;
}

static price price_of(const pricing *p, int64_t file, const double *kl)
{
    price out = {.n_rows = rows_of(p, file)};
    out.kl = fmax(0, summarise(p, file, kl, NULL, &out.kl_stderr));
    out.delta = summarise(p, file, kl, p->base_kl, &out.delta_stderr);
    return out;
}

static void report(const pricing *p, const double *kl, price *out, price *files)
{
    *out = price_of(p, ALL_FILES, kl);
    for (uint32_t i = 0; files && i < sequences_files(p->tokens); i++) files[i] = price_of(p, i, kl);
}

/* The price of p->other, which goes in for the time of a pass. */
static kvc_status price_other(pricing *p, price *out, price *files, const job *job, kvc_error *err)
{
    uint32_t layer = first_difference(p);
    if (layer == p->m->config.n_layers) {
        report(p, p->base_kl, out, files);
        return KVC_OK;
    }
    swap_sides(p);
    kvc_status status = run_from(p, layer, false, p->cfg, job, "price", err);
    swap_sides(p);
    if (status == KVC_OK) status = compare(p, 1, p->kl, job, err);
    if (status == KVC_OK) report(p, p->kl, out, files);
    return status;
}

static kvc_status check_usable(const pricing *p, kvc_error *err)
{
    return p->usable ? KVC_OK : kvc_fail(err, KVC_INVALID, "pricing: the base plan was not computed to its end");
}

size_t pricing_together(const pricing *p)
{
    return p->together;
}

/* Sides [n][2] of the layer with one side changed in each, and whether any is another than the base's. */
static kvc_status bind_changes(pricing *p, uint32_t layer, bool values, uint32_t n, const pricing_change *changes,
                               cache_side *sides, bool *any, kvc_error *err)
{
    *any = false;
    for (uint32_t i = 0; i < n; i++) {
        cache_side *own = sides + 2 * i;
        memcpy(own, p->layers.sides + 2 * layer, 2 * sizeof *own);
        KVC_TRY(compressed_layers_side(&p->layers, layer, values, changes[i].codec, changes[i].params, &own[values],
                                       err));
        *any = *any || !same_side(&own[values], &p->layers.sides[2 * layer + values]);
    }
    return KVC_OK;
}

static kvc_status price_copies(pricing *p, uint32_t layer, uint32_t n, const cache_side *sides, price *out,
                               price *files, const job *job, kvc_error *err)
{
    p->changes = sides;
    p->changed = layer;
    kvc_status status = run_copies(p, layer, n, false, job, "price", err);
    p->changes = NULL;
    if (status == KVC_OK) status = take_rows(p, n, p->cfg, err);
    if (status == KVC_OK) status = compare(p, n, p->kl, job, err);
    for (uint32_t i = 0; i < n && status == KVC_OK; i++)
        report(p, p->kl + i * p->n_rows, &out[i], files ? files + i * sequences_files(p->tokens) : NULL);
    return status;
}

kvc_status pricing_items(pricing *p, uint32_t layer, bool values, uint32_t n, const pricing_change *changes,
                         price *out, price *files, const job *job, kvc_error *err)
{
    uint32_t n_layers = p->m->config.n_layers;
    bool any;
    KVC_TRY(check_usable(p, err));
    if (layer >= n_layers) return kvc_fail(err, KVC_INVALID, "pricing: layer %u of %u", layer, n_layers);
    if (n > p->together) return kvc_fail(err, KVC_INVALID, "pricing: %u items of %zu", n, p->together);
    cache_side *sides = calloc(2 * (size_t)n, sizeof *sides);
    if (!sides) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u prices", n);
    kvc_status status = bind_changes(p, layer, values, n, changes, sides, &any, err);
    if (status == KVC_OK && any) status = price_copies(p, layer, n, sides, out, files, job, err);
    for (uint32_t i = 0; i < n && status == KVC_OK && !any; i++)
        report(p, p->base_kl, &out[i], files ? files + i * sequences_files(p->tokens) : NULL);
    free(sides);
    return status;
}

kvc_status pricing_item(pricing *p, uint32_t layer, bool values, const kvc_codec *codec, const void *params,
                        price *out, price *files, const job *job, kvc_error *err)
{
    const pricing_change change = {codec, params};
    return pricing_items(p, layer, values, 1, &change, out, files, job, err);
}

kvc_status pricing_plan(pricing *p, const plan_ref *plan, price *out, price *files, const job *job, kvc_error *err)
{
    KVC_TRY(check_usable(p, err));
    KVC_TRY(compressed_layers_bind(&p->layers, plan, p->other, err));
    return price_other(p, out, files, job, err);
}

/* ---- beginning and end ---- */

/* How many of the n_layers + 1 streams lie in memory. */
static size_t streams_held(uint64_t stream_bytes, uint32_t n_layers, uint64_t memory_limit)
{
    uint64_t most = (uint64_t)n_layers + 1;
    if (memory_limit == 0 || stream_bytes == 0 || memory_limit / stream_bytes >= most) return most;
    return memory_limit / stream_bytes;
}

static kvc_status allocate_streams(pricing *p, uint64_t memory_limit, kvc_error *err)
{
    const model_config *c = &p->m->config;
    size_t n = sequences_tokens(p->tokens),
           held = streams_held(n * sizeof(float) * c->hidden, c->n_layers, memory_limit);
    p->entering = calloc(c->n_layers, sizeof(hidden_states *));
    if (!p->entering) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u layers", c->n_layers);
    KVC_TRY(hidden_new(&p->work, p->b, p->together * n, c->hidden, held > 0 ? 0 : 1, NULL, err));
    for (uint32_t i = 0; i < c->n_layers; i++)
        KVC_TRY(hidden_new(&p->entering[i], p->b, n, c->hidden, i + 1 < held ? 0 : 1, NULL, err));
    KVC_TRY(hidden_new(&p->ref, p->b, p->n_rows, c->hidden, 0, NULL, err));
    return hidden_new(&p->cfg, p->b, p->together * p->n_rows, c->hidden, 0, NULL, err);
}

/* Sequences and scored positions of all copies, one behind another. */
static kvc_status copy_sequences(pricing *p, kvc_error *err)
{
    const sequence_set *t = p->tokens;
    p->together = model_together(&p->m->config, p->b, sequences_tokens(t));
    size_t n = p->together * t->n;
    p->copies.n = n;
    p->copies.first = malloc((n + 1) * sizeof *p->copies.first);
    p->work_rows = malloc(p->together * p->n_rows * sizeof *p->work_rows);
    if (!p->copies.first || !p->work_rows) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu sequences", n);
    for (size_t i = 0; i <= n; i++) p->copies.first[i] = i / t->n * sequences_tokens(t) + t->first[i % t->n];
    for (size_t i = 0; i < p->together * p->n_rows; i++)
        p->work_rows[i] = i / p->n_rows * sequences_tokens(t) + p->rows[i % p->n_rows];
    return KVC_OK;
}

static kvc_status allocate(pricing *p, uint64_t memory_limit, kvc_error *err)
{
    KVC_TRY(copy_sequences(p, err));
    KVC_TRY(allocate_streams(p, memory_limit, err));
    KVC_TRY(compressed_layers_new(&p->layers, p->m, p->b, &p->policy, sequences_longest(p->tokens), err));
    p->other = calloc(2 * (size_t)p->m->config.n_layers, sizeof *p->other);
    p->scored = calloc(p->together * p->n_rows, sizeof *p->scored);
    p->kl = calloc(p->together * p->n_rows, sizeof *p->kl);
    p->base_kl = calloc(p->n_rows, sizeof *p->base_kl);
    if (p->other && p->scored && p->kl && p->base_kl) return KVC_OK;
    return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu scored positions", p->n_rows);
}

static kvc_status begin(pricing *p, const plan_ref *base, uint32_t score_rows, uint64_t memory_limit, const job *job,
                        kvc_error *err)
{
    KVC_TRY(pick_all(p, score_rows, err));
    KVC_TRY(allocate(p, memory_limit, err));
    KVC_TRY(compressed_layers_bind(&p->layers, base, p->other, err)); /* refused before anything runs */
    KVC_TRY(model_embed(p->m, p->tokens, p->entering[0], err));
    KVC_TRY(run_from(p, 0, !base->layers, p->ref, job, "reference", err));
    p->usable = true;
    return rebase(p, job, err);
}

kvc_status pricing_new(pricing **out, model *m, backend *b, const sequence_set *tokens,
                       const kvc_token_policy *policy, const plan_ref *base, uint32_t score_rows,
                       uint64_t memory_limit, const job *job, kvc_error *err)
{
    pricing *p = *out = calloc(1, sizeof *p);
    if (!p) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for pricing");
    p->m = m;
    p->b = b;
    p->tokens = tokens;
    p->policy = *policy;
    kvc_status status = begin(p, base, score_rows, memory_limit, job, err);
    if (status != KVC_OK) {
        pricing_free(p);
        *out = NULL;
    }
    return status;
}

void pricing_free(pricing *p)
{
    if (!p) return;
    for (uint32_t i = 0; p->entering && i < p->m->config.n_layers; i++) hidden_free(p->entering[i]);
    hidden_free(p->work);
    hidden_free(p->ref);
    hidden_free(p->cfg);
    compressed_layers_free(&p->layers);
    sequences_free(&p->copies);
    free(p->work_rows);
    free(p->entering);
    free(p->other);
    free(p->rows);
    free(p->first);
    free(p->scored);
    free(p->kl);
    free(p->base_kl);
    free(p);
}

memory_need pricing_memory(const model_config *c, backend *b, size_t n_tokens, size_t n_sequences, size_t longest,
                           uint32_t score_rows, uint64_t memory_limit)
{
    uint64_t stream = n_tokens * sizeof(float) * (uint64_t)c->hidden,
             held = streams_held(stream, c->n_layers, memory_limit);
    uint64_t rows = n_tokens, together = model_together(c, b, n_tokens),
             pages = 4 * sizeof(float) * (uint64_t)longest * c->n_kv_heads * c->head_dim;
    if (score_rows && n_sequences < n_tokens / score_rows) rows = n_sequences * (uint64_t)score_rows;
    memory_need need = {.host = together * rows * (sizeof(logit_row) + sizeof(double) + sizeof(size_t)) +
                                rows * sizeof(double) + n_tokens * sizeof(size_t),
                        .dev = (1 + together) * sizeof(float) * rows * c->hidden + pages};
    if (stream_memory(c, b, n_tokens, longest, 0).dev) /* a device's memory knows no limit but its own */
        need.dev += (b->room(b) == SIZE_MAX ? (held ? held - 1 : 0) : c->n_layers) * stream;
    else
        need.host += (held ? held - 1 : 0) * stream;
    return need;
}
