/* kernel_check.c - what the attention template can be specialised for; the static_asserts of kernels/fragment say the
 * same. To admit more: the template first, then its line here. */
#include <stdio.h>
#include <string.h>
#include "kernel_plan.h"
#include "kvc/codec_list.h"

static bool one_of(uint32_t x, const uint32_t *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == x) return true;
    return false;
}
#define ONE_OF(x, ...)                                                                                               \
    one_of(x, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

kvc_status kernel_check_model(const kvc_model_info *model, uint32_t page, kvc_error *err)
{
    uint32_t heads = model->n_kv_heads, group = heads ? model->n_query_heads / heads : 0;
    if (!ONE_OF(model->head_dim, 64, 80, 96, 128, 256))
        return kvc_fail(err, KVC_UNSUPPORTED, "no kernels for head dimension %u: only for 64, 80, 96, 128 and 256",
                        model->head_dim);
    if (group * heads != model->n_query_heads || !ONE_OF(group, 1, 2, 3, 4, 5, 6, 7, 8, 16))
        return kvc_fail(err, KVC_UNSUPPORTED,
                        "no kernels for %u query heads to %u KV heads: only for 1 to 8 and 16 to one",
                        model->n_query_heads, heads);
    if (page == 0 || page % 16)
        return kvc_fail(err, KVC_UNSUPPORTED, "no kernels for pages of %u tokens: only for multiples of 16", page);
    return KVC_OK;
}

/* An empty reason is consent. */
typedef struct reason {
    char text[160];
} reason;
#define REFUSE(...)                                                                                                  \
    do {                                                                                                             \
        snprintf(why->text, sizeof why->text, __VA_ARGS__);                                                          \
        return;                                                                                                      \
    } while (0)

/* Can a lane split rows of d channels and what shares a scale (kernels/fragment/int.cuh)? It takes whole bytes of a
 * row's low plane, an eighth of it: 1, 2, 4 or 8 bits a channel (FORMAT.md, "int"). A product is of 16 tokens or 16
 * channels; sums of weights times minima have a row for each scale of a token. */
static bool splits_int(const kvc_codec *codec, uint32_t d)
{
    uint32_t low = codec->bits == 3 ? 2 : codec->bits == 6 ? 4 : codec->bits;
    bool few = codec->scale != KVC_SCALE_TOK || d / codec->group <= 8;
    return codec->group % 16 == 0 && few && d * low / 8 % 8 == 0;
}

static bool is_shared(const kvc_codec *codec)
{
    return codec->symbol == KVC_SYMBOL_vq && codec->dims == 0 && codec->segment[5];
}

static void judge(const kvc_codec *codec, reason *why)
{
    if (codec->flags & KVC_FLAG_PRE) REFUSE("no kernel yet for keys before RoPE");
    if (codec->flags & KVC_FLAG_JOINT) REFUSE("no kernel yet for rows of all heads together");
    if (is_shared(codec) && codec->bits != 8) REFUSE("kernels have shared codes of 8 bits");
}

/* Codes of a row that are decoded one by one: of seg, of tables that shared memory does not take, of integers that a
 * lane cannot split. */
static uint32_t single_codes(const kvc_coder *coder)
{
    const kvc_codec *codec = &coder->codec;
    kvc_code_class classes[5];
    uint32_t n = 0;
    switch (codec->symbol) {
    case KVC_SYMBOL_int: return splits_int(codec, coder->latent_dim) ? 0 : coder->latent_dim;
    case KVC_SYMBOL_seg:
        for (uint32_t e = 0; e < 8; e++) n += codec->segment[e] ? coder->latent_dim / 8 : 0;
        return n;
    case KVC_SYMBOL_lut:
    case KVC_SYMBOL_vq: break;
    default: return 0;
    }
    if (is_shared(codec)) return 0;
    for (uint32_t i = kvc_codec_classes(codec, coder->head_dim, classes); i-- > 0;) n += classes[i].n;
    bool near = codec->dims && codec->scale == KVC_SCALE_NONE && ONE_OF(codec->bits, 4, 6, 8) && n % 8 == 0;
    return near ? 0 : n;
}

kvc_status kernel_side_init(kernel_side *out, const kvc_codec *codec, const kvc_model_info *model, uint32_t page,
                            kvc_error *err)
{
    kvc_coder coder;
    reason why = {""};
    char spec[KVC_SPEC_MAX];
    KVC_TRY(kvc_coder_init(&coder, codec, NULL, model->n_kv_heads, model->head_dim, page, err));
    kvc_codec_format(codec, spec);
    judge(&coder.codec, &why);
    if (*why.text) return kvc_fail(err, KVC_UNSUPPORTED, "%s: %s", spec, why.text);
    *out = (kernel_side){.latent = (coder.latent_dim + 15u) & ~15u, /* products are of 16 channels */
                         .n_codes = single_codes(&coder)};
    if (is_shared(&coder.codec)) out->most = coder.head_dim; /* before any are counted */
    if (out->n_codes) memcpy(out->codec.segment, coder.codec.segment, sizeof out->codec.segment);
    out->codec.symbol = coder.codec.symbol;
    out->codec.bits = coder.codec.bits;
    out->codec.scale = coder.codec.scale;
    out->codec.dims = coder.codec.dims;
    out->codec.group = coder.codec.group;
    return KVC_OK;
}

kvc_status kernel_check_codec(const kvc_codec *codec, const kvc_model_info *model, uint32_t page, kvc_error *err)
{
    kernel_side side;
    return kernel_side_init(&side, codec, model, page, err);
}
