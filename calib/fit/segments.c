/* segments.c - "seg": its tables (FORMAT.md, "seg"), and the allocation of bits to eighths (segments.h).
 *
 * A table belongs to one channel of one head: weighted k-means in one dimension over the sampled rows, exact
 * (kmeans_line.c). The allocation is a multiple-choice knapsack of eight items: 8 total 9 additions. */
#include "segments.h"

#include <math.h>
#include <stdlib.h>
#include "heads.h"
#include "kmeans.h"
#include "pieces.h"

/* ---- bits ---- */

const double segment_normal[SEGMENT_MAX_BITS + 1] = {1.0,      .363380,   .117482,   .0345478, .00950101,
                                                     .0025047, .00064424, .00016348, 4.1185e-5};
const double segment_bound[SEGMENT_MAX_BITS + 1] = {1.0,     0x1p-2,  0x1p-4,  0x1p-6, 0x1p-8,
                                                    0x1p-10, 0x1p-12, 0x1p-14, 0x1p-16};

void segment_losses(uint32_t n_channels, const double *variance, const double *left,
                    double loss[SEGMENTS][SEGMENT_MAX_BITS + 1])
{
    uint32_t width = n_channels / SEGMENTS;
    for (uint32_t e = 0; e < SEGMENTS; e++) {
        double sum = 0.0;
        for (uint32_t i = 0; i < width; i++) sum += variance[e * width + i];
        for (uint32_t b = 0; b <= SEGMENT_MAX_BITS; b++) loss[e][b] = sum * left[b];
    }
}

double segment_bits(const double loss[SEGMENTS][SEGMENT_MAX_BITS + 1], uint32_t total, uint8_t bits[SEGMENTS])
{
    enum { MOST = SEGMENTS * SEGMENT_MAX_BITS };
    double least[SEGMENTS + 1][MOST + 1] = {{0.0}}; /* of the first e eighths with at most t bits */
    uint8_t choice[SEGMENTS][MOST + 1];
    if (total > MOST) total = MOST;
    for (uint32_t e = 0; e < SEGMENTS; e++)
        for (uint32_t t = 0; t <= total; t++) {
            least[e + 1][t] = INFINITY;
            choice[e][t] = 0;
            for (uint32_t b = 0; b <= SEGMENT_MAX_BITS && b <= t; b++) {
                double sum = least[e][t - b] + loss[e][b];
                if (!(sum < least[e + 1][t])) continue;
                least[e + 1][t] = sum;
                choice[e][t] = (uint8_t)b;
            }
        }
    for (uint32_t e = SEGMENTS, t = total; e-- > 0; t -= bits[e]) bits[e] = choice[e][t];
    return least[SEGMENTS][total];
}

/* ---- tables ---- */

typedef struct segment_fit {
    const fit_data *data;
    const fit_options *options;
    const kvc_coder *coder;
    const float *y;   /* [H][R][d'] */
    uint16_t *tables; /* of all heads */
} segment_fit;

static uint32_t bits_of(const kvc_coder *coder, uint32_t channel)
{
    return coder->codec.segment[channel / (coder->latent_dim / SEGMENTS)];
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
    float centroids[1u << SEGMENT_MAX_BITS];
    size_t rows = s->data->n_rows;
    double distortion;
    float *x = malloc((rows + 1) * sizeof *x);
    if (!x) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu values", rows);
    for (size_t row = 0; row < rows; row++) x[row] = s->y[(head * rows + row) * d + channel];
    kvc_status status = kmeans(&o, rows, x, s->data->weights + head * rows, centroids, &distortion, err);
    if (status == KVC_OK)
        kvc_rows_to_fp16(centroids, o.k,
                         s->tables + head * values_before(s->coder, d) + values_before(s->coder, channel));
    free(x);
    return status;
}

kvc_status fit_seg(const fit_data *data, const fit_options *options, const kvc_coder *coder, const float *y,
                   void *part, kvc_error *err)
{
    segment_fit s = {.data = data, .options = options, .coder = coder, .y = y, .tables = part};
    return heads_run(data->n_kv_heads * coder->latent_dim, fit_channel, &s, err);
}
