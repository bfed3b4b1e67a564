/* space_fit.c - a candidate space cut down to what a model's shape allows. */
#include "plan.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct shape {
    uint32_t n_kv_heads, head_dim, page;
} shape;

static bool same_codec(const shape *s, const kvc_codec *resolved, const kvc_codec *other)
{
    kvc_coder coder;
    return kvc_coder_init(&coder, other, NULL, s->n_kv_heads, s->head_dim, s->page, NULL) == KVC_OK &&
           memcmp(&coder.codec, resolved, sizeof *resolved) == 0;
}

static bool fits(const shape *s, const kvc_codec *kept, uint32_t n_kept, const kvc_codec *candidate)
{
    kvc_coder coder;
    if (kvc_coder_init(&coder, candidate, NULL, s->n_kv_heads, s->head_dim, s->page, NULL) != KVC_OK) return false;
    for (uint32_t i = 0; i < n_kept; i++)
        if (same_codec(s, &coder.codec, &kept[i])) return false;
    return true;
}

static uint32_t fit_side(const shape *s, const char *side, kvc_codec *codecs, uint32_t n, FILE *dropped)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        char spec[KVC_SPEC_MAX];
        if (fits(s, codecs, kept, &codecs[i])) {
            codecs[kept++] = codecs[i];
            continue;
        }
        kvc_codec_format(&codecs[i], spec);
        fprintf(dropped, "%s%s %s", ftell(dropped) ? ", " : "", side, spec);
    }
    return kept;
}

char *space_fit(codec_space *s, uint32_t n_kv_heads, uint32_t head_dim, uint32_t page)
{
    const shape shape = {n_kv_heads, head_dim, page};
    char *text = NULL;
    size_t n = 0;
    FILE *dropped = open_memstream(&text, &n);
    if (!dropped) return NULL;
    s->n_keys = fit_side(&shape, "keys", s->keys, s->n_keys, dropped);
    s->n_values = fit_side(&shape, "values", s->values, s->n_values, dropped);
    if (fclose(dropped) == 0) return text;
    free(text);
    return NULL;
}
