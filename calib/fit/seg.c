/* seg.c - "seg": its tables (FORMAT.md, "seg").
 *
 * A table belongs to one channel of one head: weighted k-means in one dimension over the sampled rows, exact
 * (kmeans_line.c). How many bits an eighth of the channels gets is what the spec says. */
#include <stdlib.h>
#include "heads.h"
#include "kmeans.h"
#include "pieces.h"

#define EIGHTHS 8u
#define MAX_BITS 8u

typedef struct segment_fit {
    const fit_data *data;
    const fit_options *options;
    const kvc_coder *coder;
    const float *y;   /* [H][R][d'] */
    uint16_t *tables; /* of all heads */
} segment_fit;

static uint32_t bits_of(const kvc_coder *coder, uint32_t channel)
{
    return coder->codec.segment[channel / (coder->latent_dim / EIGHTHS)];
}

/* Values of the tables of a head's channels before `channel`. */
static size_t values_before(const kvc_coder *coder, uint32_t channel)
{
    size_t n = 0;
    for (uint32_t i = 0; i < channel; i++) n += bits_of(coder, i) ? (size_t)1 << bits_of(coder, i) : 0;
    return n;
}

/* The table of one channel: number head * d' + channel. */
static kvc_status fit_channel(void *context, uint32_t index, kvc_error *err)
{
    const segment_fit *s = context;
    uint32_t d = s->coder->latent_dim, head = index / d, channel = index % d, bits = bits_of(s->coder, channel);
    if (bits == 0) return KVC_OK;
    kmeans_options o = {.k = 1u << bits, .dims = 1, .iterations = s->options->iterations, .restarts = 1};
    float centroids[1u << MAX_BITS];
    size_t rows = s->data->n_rows;
    double distortion;
    float *x = malloc((rows + 1) * sizeof *x);
    if (!x) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu values", rows);
    for (size_t row = 0; row < rows; row++) x[row] = s->y[(head * rows + row) * d + channel];
    kvc_status status =
        kmeans(s->options->b, &o, rows, x, s->data->weights + head * rows, centroids, &distortion, err);
    if (status == KVC_OK)
        kvc_rows_to_fp16(centroids, o.k,
                         s->tables + head * values_before(s->coder, d) + values_before(s->coder, channel));
    free(x);
    return status;
}

kvc_status fit_seg(const fit_data *data, const fit_options *options, const float *y, uint32_t n,
                   const symbol_wish *wishes, kvc_error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        const kvc_coder *coder = wishes[i].coder;
        segment_fit s = {.data = data, .options = options, .coder = coder, .y = y, .tables = wishes[i].part};
        kvc_error why;
        kvc_status status = jobs_run("channel", data->n_kv_heads * coder->latent_dim, fit_channel, &s, &why);
        if (status != KVC_OK) return fit_fail(&coder->codec, status, &why, err);
    }
    return KVC_OK;
}
