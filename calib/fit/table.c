/* table.c - the constants of "vq" and "lut" (FORMAT.md, "vq", has their layout): which codes the heads have, and
 * which sub-vectors share a table.
 *
 * A table that is shared pools heads and sub-vectors; errors of heads are then brought to one unit (units.h). How
 * many codes a head has is a constant of the codec, or comes from share.h. Arrangement (arrange.c) and k-means over
 * points (points.c) follow in table_run.c. */
#include "table.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "heads.h"
#include "kvc/codec_list.h"
#include "share.h"
#include "units.h"

#define MIX_ROW 64u       /* channels that the number of shared codes is for */
#define N_DIMS 5u         /* of classes: 1, 2, 4, 8, 16 */
#define SHARED_SEGMENT 5u /* has the N of "vq[N]" */

/* ---- classes ---- */

/* Of a head that has `count` codes of those that heads share out, or where they do not. */
static code_classes classes_of(const table_fit *t, uint32_t count)
{
    code_classes all = {0};
    kvc_code_class some[5];
    uint32_t d = t->coder->head_dim,
             n = t->n_shared ? kvc_share_classes(d, count, some) : kvc_codec_classes(&t->coder->codec, d, some);
    for (uint32_t i = 0; i < n; i++) classes_add(&all, some[i].n, some[i].dims);
    return all;
}

static kvc_status share_out(table_fit *t, uint32_t *counts, kvc_error *err)
{
    uint32_t heads = t->data->n_kv_heads, d = t->coder->head_dim;
    double *value = malloc((size_t)heads * d * sizeof *value);
    if (!value) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u heads", heads);
    for (size_t i = 0; i < (size_t)heads * d; i++)
        value[i] = t->energy[i] * t->heads[i / d].weight * t->heads[i / d].unit;
    kvc_status status = share_codes(heads, d, t->coder->codec.bits, t->n_shared, value, counts, err);
    free(value);
    return status;
}

/* The classes of every head; counts [H] is written where they share codes. */
static kvc_status set_classes(table_fit *t, uint32_t *counts, kvc_error *err)
{
    uint32_t code = 0;
    if (t->n_shared) KVC_TRY(share_out(t, counts, err));
    for (uint32_t head = 0; head < t->data->n_kv_heads; head++) {
        table_head *h = &t->heads[head];
        h->classes = classes_of(t, t->n_shared ? counts[head] : 0);
        h->first_code = code;
        code += h->classes.n_codes;
    }
    assert(code == t->n_codes);
    return KVC_OK;
}

/* ---- energies ---- */

static kvc_status find_energies(void *context, uint32_t head, kvc_error *err)
{
    const table_fit *t = context;
    uint32_t d = t->coder->head_dim;
    size_t rows = t->data->n_rows;
    double weight = 0.0, *energy = t->energy + (size_t)head * d, *spread = t->spread + (size_t)head * d;
    (void)err;
    for (size_t row = head * rows; row < (head + 1) * rows; row++) {
        const float *y = t->y + row * d;
        double w = (double)t->data->weights[row];
        weight += w;
        for (uint32_t i = 0; i < d; i++) {
            double square = (double)y[i] * (double)y[i];
            energy[i] += w * square;
            spread[i] += w * square * square;
        }
    }
    for (uint32_t i = 0; weight > 0.0 && i < d; i++) {
        energy[i] /= weight;
        spread[i] = sqrt(spread[i] / weight / 3.0);
    }
    t->heads[head].weight = rows ? weight / (double)rows : 0.0;
    return KVC_OK;
}

/* `like`: a fit to the same latent rows whose energies are known; NULL: none. */
static kvc_status set_energies(table_fit *t, const table_fit *like, kvc_error *err)
{
    uint32_t heads = t->data->n_kv_heads;
    if (!like) return heads_run(heads, find_energies, t, err);
    memcpy(t->energy, like->energy, (size_t)heads * t->coder->head_dim * sizeof *t->energy);
    memcpy(t->spread, like->spread, (size_t)heads * t->coder->head_dim * sizeof *t->spread);
    for (uint32_t head = 0; head < heads; head++) t->heads[head].weight = like->heads[head].weight;
    return KVC_OK;
}

static kvc_status find_units(table_fit *t, kvc_error *err)
{
    uint32_t heads = t->data->n_kv_heads;
    double *units = malloc(heads * sizeof *units);
    if (!units) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u heads", heads);
    kvc_status status = KVC_OK;
    for (uint32_t head = 0; head < heads; head++) units[head] = 1.0;
    if (heads > 1 && t->coder->codec.scale == KVC_SCALE_NONE) status = units_of_heads(t->data, t->coder, units, err);
    for (uint32_t head = 0; head < heads; head++) t->heads[head].unit = units[head];
    free(units);
    return status;
}

/* ---- jobs ---- */

/* The sub-vectors of `dims` channels in some heads, to parts; returns how many. */
static uint32_t list_parts(const table_fit *t, uint32_t first, uint32_t n_heads, uint32_t dims, sub_vector *parts)
{
    uint32_t n = 0;
    for (uint32_t head = first; head < first + n_heads; head++) {
        const table_head *h = &t->heads[head];
        for (const code_class *c = h->classes.class; c < h->classes.class + h->classes.n; c++)
            for (uint32_t g = 0; c->dims == dims && g < c->n; g++)
                parts[n++] = (sub_vector){head, c->position + g * dims, h->first_code + c->code + g};
    }
    return n;
}

/* In the order of the file: for each head that has its own, for each class, for each code that has its own. */
static void list_jobs(table_fit *t)
{
    const kvc_codec *codec = &t->coder->codec;
    uint32_t heads = t->data->n_kv_heads, pooled = codec->scale == KVC_SCALE_NONE ? heads : 1;
    sub_vector *parts = t->parts;
    for (uint32_t head = 0; head < heads; head += pooled)
        for (uint32_t dims = 1; dims < 1u << N_DIMS; dims *= 2) {
            uint32_t n = list_parts(t, head, pooled, dims, parts);
            uint32_t together = codec->scale == KVC_SCALE_STATIC ? 1 : n;
            size_t values = (size_t)dims << codec->bits;
            for (uint32_t g = 0; g < n; g += together, t->n_values += values)
                t->jobs[t->n_jobs++] = (table_job){dims, together, parts + g, t->tables + t->n_values};
            if (n == 0 && t->n_shared) t->n_values += values; /* a table that no code uses */
            parts += n;
        }
}

/* ---- parts ---- */

/* Arrays of the fit, and where its results lie in `part`; returns where the counts lie, if there are any. */
static uint32_t *lay_out(table_fit *t, table_way *out, void *part)
{
    uint32_t heads = t->data->n_kv_heads, *counts = part;
    size_t order_bytes = ((size_t)heads * t->order_stride * sizeof *out->order + 3u) / 4u * 4u;
    out->scales = (float *)(t->n_shared ? counts + heads : part);
    out->order = (uint16_t *)(out->scales + t->n_codes);
    t->tables = (uint16_t *)((char *)out->order + order_bytes);
    return counts;
}

static void count_codes(table_fit *t)
{
    const kvc_codec *codec = &t->coder->codec;
    uint32_t heads = t->data->n_kv_heads, d = t->coder->head_dim;
    if (codec->dims == 0 && codec->segment[SHARED_SEGMENT]) {
        t->n_shared = t->n_codes = (uint32_t)((uint64_t)codec->segment[SHARED_SEGMENT] * heads * d / MIX_ROW);
        t->order_stride = d;
    } else {
        code_classes classes = classes_of(t, 0);
        t->n_codes = heads * classes.n_codes;
        t->order_stride = classes.n_kept;
    }
}

/* One table a side of codes of one byte, of 4 or 8 channels or shared out: those that attention on a GPU may look up
 * as bytes. */
static bool has_bytes(const table_fit *t)
{
    const kvc_codec *codec = &t->coder->codec;
    return codec->symbol == KVC_SYMBOL_vq && codec->scale == KVC_SCALE_NONE && codec->bits == 8 &&
           (t->n_shared || codec->dims == 4 || codec->dims == 8) && !(codec->flags & KVC_FLAG_JOINT);
}

static kvc_status prepare(table_fit *t, const table_fit *like, table_way *out, void *part, kvc_error *err)
{
    uint32_t heads = t->data->n_kv_heads;
    count_codes(t);
    t->bytes = has_bytes(t);
    uint32_t *counts = lay_out(t, out, part);
    t->heads = calloc(heads, sizeof *t->heads);
    t->parts = calloc(t->n_codes, sizeof *t->parts);
    t->jobs = calloc(t->n_codes, sizeof *t->jobs);
    t->energy = calloc((size_t)heads * t->coder->head_dim, sizeof *t->energy);
    t->spread = calloc((size_t)heads * t->coder->head_dim, sizeof *t->spread);
    if (!t->heads || !t->parts || !t->jobs || !t->energy || !t->spread)
        return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u codes", t->n_codes);
    KVC_TRY(find_units(t, err));
    KVC_TRY(set_energies(t, like, err));
    KVC_TRY(set_classes(t, counts, err));
    list_jobs(t);
    assert((char *)(t->tables + t->n_values) == (char *)part + kvc_coder_part_bytes(t->coder, KVC_SYMBOL_PIECE));
    return KVC_OK;
}

static void table_fit_free(table_fit *t)
{
    free(t->heads);
    free(t->parts);
    free(t->jobs);
    free(t->energy);
    free(t->spread);
}

kvc_status fit_tables(const fit_data *data, const fit_options *options, const float *y, uint32_t n,
                      const symbol_wish *wishes, kvc_error *err)
{
    table_fit *fits = calloc(n, sizeof *fits);
    table_way *out = calloc(n, sizeof *out);
    kvc_status status = fits && out ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u candidates", n);
    for (uint32_t i = 0; i < n && status == KVC_OK; i++) {
        kvc_error why;
        fits[i] = (table_fit){.data = data, .options = *options, .coder = wishes[i].coder, .y = y};
        status = prepare(&fits[i], i ? fits : NULL, &out[i], wishes[i].part, &why);
        if (status != KVC_OK) fit_fail(&wishes[i].coder->codec, status, &why, err);
    }
    if (status == KVC_OK) status = table_run(fits, out, n, err);
    for (uint32_t i = 0; i < n && fits; i++) table_fit_free(&fits[i]);
    free(fits);
    free(out);
    return status;
}
