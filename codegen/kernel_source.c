/* kernel_source.c - see kernel_source.h; kernels/template/default_params.h says what each #define means. */
#include "kernel_source.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "kvc/codec_list.h"

static void put_words(FILE *out, const char *side, const kernel_side *s)
{
    const kvc_codec *c = &s->codec;
    char spec[KVC_SPEC_MAX];
    if (s->most)
        snprintf(spec, sizeof spec, "vq[N]x%u", c->bits);
    else
        kvc_codec_format(c, spec);
    fprintf(out, " * %s %s: ", side, spec);
    if (c->symbol == KVC_SYMBOL_fp16)
        fputs("fp16 rows\n", out);
    else if (s->most)
        fprintf(out, "codes of %u bits that heads share out, up to %u of a head%s\n", c->bits, s->most,
                s->byte_table ? ", byte tables" : "");
    else if (s->n_codes)
        fprintf(out, "codes decoded one by one, %u a row\n", s->n_codes);
    else if (s->entries)
        fprintf(out, "codes of %u bits for %u channels, a %s of %u entries\n", c->bits, c->dims,
                s->byte_table ? "byte table" : "table", 1u << c->bits);
    else if (c->scale == KVC_SCALE_CH)
        fprintf(out, "integers of %u bits, scale and minimum per channel for %u tokens\n", c->bits, c->group);
    else if (c->group < s->latent)
        fprintf(out, "integers of %u bits, scale and minimum per token for %u channels\n", c->bits, c->group);
    else
        fprintf(out, "integers of %u bits, scale and minimum per token\n", c->bits);
}

/* Byte k is segment k. */
static uint64_t segments_of(const kvc_codec *c)
{
    uint64_t all = 0;
    for (uint32_t i = 8; i-- > 0;) all = all << 8 | c->segment[i];
    return all;
}

static void put_side(FILE *out, const char *side, const kernel_side *s)
{
    const kvc_codec *c = &s->codec;
    bool is_int = c->symbol == KVC_SYMBOL_int, is_seg = c->symbol == KVC_SYMBOL_seg;
    const char *symbol = is_int && s->n_codes       ? "ATTEND_SINGLE_INT"
                         : is_int                   ? "ATTEND_INT"
                         : is_seg                   ? "ATTEND_SINGLE_SEGMENTS"
                         : s->n_codes               ? "ATTEND_SINGLE_TABLES"
                         : s->most && s->byte_table ? "ATTEND_SHARED_BYTE_TABLES"
                         : s->most                  ? "ATTEND_SHARED"
                         : s->byte_table            ? "ATTEND_BYTE_TABLE"
                         : s->entries               ? "ATTEND_TABLE"
                                                    : "ATTEND_FP16";
    const char *scale = c->scale == KVC_SCALE_CH       ? "ATTEND_CH"
                        : c->scale == KVC_SCALE_TOK    ? "ATTEND_TOK"
                        : c->scale == KVC_SCALE_HEAD   ? "ATTEND_HEAD"
                        : c->scale == KVC_SCALE_STATIC ? "ATTEND_STATIC"
                                                       : "0";
    uint64_t segments = segments_of(c);
    fprintf(out, "\n#define ATTEND_%s_SYMBOL %s\n", side, symbol);
    fprintf(out, "#define ATTEND_%s_BITS %u\n", side, c->symbol == KVC_SYMBOL_fp16 || is_seg ? 0u : c->bits);
    fprintf(out, "#define ATTEND_%s_SCALE %s\n", side, scale);
    fprintf(out, "#define ATTEND_%s_SCALE_GROUP %u\n", side, c->group);
    fprintf(out, "#define ATTEND_%s_LATENT %u\n", side, s->latent);
    fprintf(out, "#define ATTEND_%s_DIMS %u\n", side, s->entries || (s->n_codes && !is_seg) ? c->dims : 0u);
    fprintf(out, "#define ATTEND_%s_MOST %u\n", side, s->most);
    fprintf(out, "#define ATTEND_%s_TABLE_BYTES %u\n", side, s->table_bytes);
    fprintf(out, "#define ATTEND_%s_SEGMENTS ", side);
    fprintf(out, segments ? "0x%016" PRIx64 "\n" : "%" PRIu64 "\n", segments);
}

static void put_all(FILE *out, const kernel_spec *k, const char *template_hash)
{
    fprintf(out, "/* %s.h - parameters of template/attend_kernel.cu, written by kvcalib:\n", k->name);
    put_words(out, "keys  ", &k->key);
    put_words(out, "values", &k->value);
    fprintf(out, " * heads of %u channels, %u query heads to a KV head, pages of %u tokens, %u columns%s */\n",
            k->head_dim, k->group, k->page, k->columns, k->softcap ? ", capped scores" : "");
    fprintf(out, "#define ATTEND_NAME %s\n", k->name);
    fprintf(out, "#define ATTEND_HEAD_DIM %u\n", k->head_dim);
    fprintf(out, "#define ATTEND_GROUP %u\n", k->group);
    fprintf(out, "#define ATTEND_COLUMNS %u\n", k->columns);
    fprintf(out, "#define ATTEND_SOFTCAP %d\n", k->softcap);
    fprintf(out, "#define ATTEND_PAGE %u\n", k->page);
    fprintf(out, "#define ATTEND_TILE %u\n", k->tile);
    fprintf(out, "#define ATTEND_STAGES %u\n", k->stages);
    fprintf(out, "#define ATTEND_WARPS %u\n", k->warps);
    fprintf(out, "#define ATTEND_SHARED_BYTES %u\n", k->shared_bytes);
    fprintf(out, "#define ATTEND_ROOM %u\n", k->room);
    put_side(out, "KEY", &k->key);
    put_side(out, "VALUE", &k->value);
    fprintf(out, "\n#define ATTEND_KEY_TEXT \"%s\"\n", k->words);
    fprintf(out, "#define ATTEND_TEMPLATE_HASH \"%s\"\n", template_hash);
}

char *kernel_source(const kernel_spec *kernel, const char *template_hash)
{
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    if (!out) return NULL;
    put_all(out, kernel, template_hash);
    if (fclose(out) == 0) return text;
    free(text);
    return NULL;
}
