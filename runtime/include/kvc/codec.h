/* codec.h - the quantisers of libkvc: spec strings, block layout, encode and decode.
 *
 * Extension level: what calibrators, kernels and tools need besides kvc.h; it may change between minor versions.
 * The codec that is scored by a calibrator is the one that serves: both call the functions below.
 *
 * A codec is a chain  symbol . scale + transforms  (FORMAT.md, "spec strings"). Transforms map a row x [d] of one
 * head to latent channels y [d'], which the symbol codec packs, a page of P rows at a time, into one block. A page
 * of a side, all its heads' blocks, is a multiple of 16 bytes, and so is a block but where heads share out their
 * codes: there one begins at any byte. Transforms never run per cached token when attending:
 *
 *     keys    q.k = q'.y + bias,    q' and bias from kvc_coder_fold_query(), once per query
 *     values  o = sum_j a_j v_j,    from sum_j a_j y_j and the mass sum_j a_j by kvc_coder_unfold_output(), once
 *
 * No function here allocates; scratch comes from the caller. Encoding is bit-exact IEEE arithmetic without
 * contraction, so every backend must produce the same bytes. */
#ifndef KVC_CODEC_H
#define KVC_CODEC_H

#include "kvc/kvc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Small functions that kernels run too. */
#ifdef __CUDACC__
#define KVC_ON_DEVICE static inline __host__ __device__
#else
#define KVC_ON_DEVICE static inline
#endif

/* kvc_codec.flags */
#define KVC_FLAG_PRE 1u
#define KVC_FLAG_JOINT 2u

#define KVC_SPEC_MAX 96 /* longest spec string with its NUL */

/* Which values share a scale or a table. Tables (lut, vq) are fitted offline: NONE is one for the layer's side. */
typedef enum kvc_scale_kind {
    KVC_SCALE_NONE = 0,
    KVC_SCALE_TOK = 1,
    KVC_SCALE_CH = 2,
    KVC_SCALE_STATIC = 3, /* a table for each sub-vector (channel) of each head */
    KVC_SCALE_HEAD = 4    /* a table for each head */
} kvc_scale_kind;

/* Read "int4.ch64", "int4.tok+had", "fp16", ... The message of a failure says what was not understood and where.
 * Specs of the grammar that this version has no codec for are KVC_UNSUPPORTED, named. "int4" means "int4.tok"; group
 * 0 stands for the default: the whole head (tok) or the page (ch). */
KVC_API kvc_status kvc_codec_parse(kvc_codec *out, const char *spec, kvc_error *err);
/* The canonical spec; group 0 prints without a number. */
KVC_API void kvc_codec_format(const kvc_codec *codec, char out[KVC_SPEC_MAX]);
/* The first format version (major * 1000 + minor) whose readers have every piece of a codec that parses. */
KVC_API uint32_t kvc_codec_since(const kvc_codec *codec);

/* A codec has constants for up to 4 transforms, pieces 0 .. 3, and for its symbol. */
#define KVC_SYMBOL_PIECE 4u

/* A codec bound to a shape and to its parameters. Plain data, copied freely. */
typedef struct kvc_coder {
    kvc_codec codec;    /* group resolved */
    const void *params; /* [codec.param_bytes], borrowed; NULL where the codec has none, or for its layout alone */
    /* In them the constants of transform[0..3] and of the symbol; NULL where there are none. */
    const void *part[KVC_SYMBOL_PIECE + 1];
    uint32_t head_dim;   /* d, the channels of a row, a multiple of 8, at most KVC_MAX_ROW */
    uint32_t latent_dim; /* d' <= d, a multiple of 8: what is decoded and attended to */
    uint32_t n_kv_heads; /* rows of a token */
    uint32_t joined; /* KV heads of the model in one row: 1, or with "@joint" all of them, and then the two numbers
                      * above are not the model's: one row of all heads' channels, side by side */
    uint32_t page;   /* P, a multiple of 8 */
    /* With codes that heads share out ("vq[N]") both 32-bit numbers are those of all heads together. */
    uint32_t block_bytes; /* one page of one head, one side; a multiple of 16 */
    uint32_t code_bytes;  /* the codes' share of block_bytes, before scales and padding */
    uint64_t page_bytes;  /* one page of all heads, one side; a multiple of 16 */
} kvc_coder;

/* Where the rows of a head lie in a page of the side. */
typedef struct kvc_block {
    uint64_t offset;
    uint32_t bytes;
} kvc_block;

#define KVC_MAX_HEAD_DIM 512u /* of a model */
#define KVC_MAX_ROW 2048u
#define KVC_MAX_PAGE 1024u
#define KVC_PARAM_ALIGNMENT 64u

/* Resolve defaults, check the codec against the shape, compute the layout and codec.param_bytes. A codec that says 0
 * parameter bytes is given the number; any other number must be right. With params (64-byte aligned) their values are
 * checked; without them a fitted codec has its layout and may not encode, decode or fold. Parameters are the parts of
 * the pieces in order (transforms, symbol), each at a multiple of 16 (FORMAT.md, "parameters"). */
KVC_API kvc_status kvc_coder_init(kvc_coder *out, const kvc_codec *codec, const void *params, uint32_t n_kv_heads,
                                  uint32_t head_dim, uint32_t page, kvc_error *err);

/* Codes of one length in a row of one head: n codes, each for `dims` channels. */
typedef struct kvc_code_class {
    uint32_t n, dims;
} kvc_code_class;

/* Of every head of d channels, where the heads do not share codes out: the classes, dims ascending. Returns how many,
 * 0 to 5. */
static inline uint32_t kvc_codec_classes(const kvc_codec *codec, uint32_t d, kvc_code_class out[5])
{
    uint32_t n = 0;
    if (codec->dims) out[n++] = (kvc_code_class){d / codec->dims, codec->dims};
    for (uint32_t k = 0; codec->dims == 0 && k < 5; k++)
        if (codec->segment[k]) out[n++] = (kvc_code_class){codec->segment[k] * d / 64u, 1u << k};
    return n;
}

/* "vq[N]x8", codes shared out among the heads of a layer: the classes, dims ascending, of a head of d channels that
 * has k <= d of them. As few sizes as cover all channels, or k codes of 16 where they cannot. Returns how many, 0
 * to 2. */
KVC_ON_DEVICE uint32_t kvc_share_classes(uint32_t d, uint32_t k, kvc_code_class out[2])
{
    uint32_t dims = 8, n = 0;
    if (k <= d / 16u) {
        out[0] = (kvc_code_class){k, 16};
        return k > 0;
    }
    while (k > d / dims) dims /= 2;
    uint32_t small = 2 * k - d / dims; /* small * dims + (k - small) * 2 dims = d */
    if (small) out[n++] = (kvc_code_class){small, dims};
    if (k > small) out[n++] = (kvc_code_class){k - small, 2 * dims};
    return n;
}

/* In a page of shared codes the tokens go in runs, and within a run a head's codes come code by code: of code 0 those
 * of all the run's tokens, then of code 1. Tokens of a run: the greatest of 32, 16 and 8 that divides the page. */
KVC_ON_DEVICE uint32_t kvc_share_run(uint32_t page)
{
    return page % 32u == 0 ? 32u : page % 16u == 0 ? 16u : 8u;
}

/* The field of a head's stream that holds code `code` of n_codes of token `token` of the page; run as above. */
KVC_ON_DEVICE uint32_t kvc_share_field(uint32_t run, uint32_t n_codes, uint32_t token, uint32_t code)
{
    return token / run * run * n_codes + code * run + token % run;
}

/* Bytes of the constants of a piece, 0 .. 3 the transforms, KVC_SYMBOL_PIECE the symbol, and where they lie in
 * params. */
KVC_API size_t kvc_coder_part_bytes(const kvc_coder *coder, uint32_t piece);
KVC_API size_t kvc_coder_part_offset(const kvc_coder *coder, uint32_t piece);
/* The rows that a symbol is fitted to: y [d] = the transforms of x [d], before the symbol's own frame. */
KVC_API void kvc_coder_transform(const kvc_coder *coder, uint32_t head, const float *x, float *y);

/* The step of the byte table for codes of `dims` channels, one table for all heads whose values are integers of
 * -127 .. 127 times a power of two: the smallest such power, 1 where all values are 0. Codes that heads share out
 * have a table for each dims of 1, 2, 4, 8 and 16, in use or not, other codecs one for codec.dims. Returns 0 where
 * there is no such table, and for mixes. */
KVC_API float kvc_coder_byte_step(const kvc_coder *coder, uint32_t dims);

/* Heads have block_bytes each, one behind the other; with codes shared out among them each has what its codes take,
 * and a coder without params does not know that: its heads have 0 bytes. */
KVC_API kvc_block kvc_coder_block(const kvc_coder *coder, uint32_t head);

/* Floats of scratch that encode, decode and unfold_output need, alike for all of them. */
KVC_API size_t kvc_coder_work(const kvc_coder *coder);

/*  rows  [P][d]  in, finite; row r starts at rows + r * stride
 *  block out, the head's bytes (kvc_coder_block), every one written (padding zero) */
KVC_API void kvc_coder_encode(const kvc_coder *coder, uint32_t head, const float *rows, size_t stride, void *block,
                              float *work);
/*  rows  [P][d]  out, in the domain that encode took */
KVC_API void kvc_coder_decode(const kvc_coder *coder, uint32_t head, const void *block, float *rows, size_t stride,
                              float *work);

/*  y [P][d']  out, contiguous: the latent rows, transforms not undone */
KVC_API void kvc_coder_decode_latent(const kvc_coder *coder, uint32_t head, const void *block, float *y);
/*  q [channels of one KV head] in, of a query that reads the model's KV head `head`; q_latent [d'] out; returns the
 * bias. Keys only. */
KVC_API float kvc_coder_fold_query(const kvc_coder *coder, uint32_t head, const float *q, float *q_latent);
/*  o_latent [d'] in, out [channels of one KV head], of the model's KV head `head`, is added to. Values only. */
KVC_API void kvc_coder_unfold_output(const kvc_coder *coder, uint32_t head, const float *o_latent, float mass,
                                     float *out, float *work);

/* c(n): how many of n tokens are compressed. */
KVC_ON_DEVICE uint64_t kvc_tokens_compressed(const kvc_token_policy *p, uint64_t n)
{
    uint64_t exact = (uint64_t)p->sinks + p->window;
    return n > exact ? (n - exact) / p->page * p->page : 0;
}

/* Bytes that one side of one layer occupies for n tokens. */
static inline uint64_t kvc_coder_bytes(const kvc_coder *coder, const kvc_token_policy *p, uint64_t n)
{
    uint64_t c = kvc_tokens_compressed(p, n);
    return c / p->page * coder->page_bytes + (n - c) * coder->n_kv_heads * coder->head_dim * 2u;
}

/* IEEE binary16 and bfloat16, round to nearest even; _down and _up round towards -inf and +inf.
 * Finite values beyond the range saturate to +-65504 (fp16). */
KVC_API uint16_t kvc_fp16_from_float(float x);
KVC_API uint16_t kvc_fp16_from_float_down(float x);
KVC_API uint16_t kvc_fp16_from_float_up(float x);
KVC_API float kvc_fp16_to_float(uint16_t h);
/* Rows of any dtype to fp32 and fp32 to fp16 bits, n values. */
KVC_API void kvc_rows_to_float(const void *src, kvc_dtype dtype, size_t n, float *dst);
KVC_API void kvc_rows_to_fp16(const float *src, size_t n, uint16_t *dst);

#ifdef __cplusplus
}
#endif
#endif
