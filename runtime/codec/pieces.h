/* pieces.h - what a symbol codec and a transform have to define. One descriptor each, listed in kvc/codec_list.h.
 *
 * A symbol turns a page of latent rows into one block and back; a transform maps one row of one head. Neither
 * allocates and neither can fail once its checks have passed. A transform finds its fitted constants in
 * stage.params, a symbol in coder->part[KVC_SYMBOL_PIECE]. */
#ifndef RUNTIME_CODEC_PIECES_H
#define RUNTIME_CODEC_PIECES_H
#include "kvc/codec.h"
#include "kvc/codec_list.h"

#define KVC_FP16_MAX 65504.0f
/* What a piece may multiply a row by on its way back (FORMAT.md, "Pages and blocks"): decoded rows of any chain,
 * scores and outputs stay finite. */
#define KVC_GROWTH_MAX 0x1p17f

struct kvc_transform;

typedef struct kvc_symbol {
    /* Are bits, scale kind and dims what this symbol can do? Knows no shape. */
    kvc_status (*check)(const kvc_codec *codec, kvc_error *err);
    /* Can it work on this head dimension, these heads, this page? The group is resolved. NULL: on any. */
    kvc_status (*fits)(const kvc_coder *coder, kvc_error *err);
    /* Sets code_bytes and block_bytes (before padding) of a coder whose shape and group are resolved, latent_dim
     * where its frame keeps less than d channels, and page_bytes where that is not block_bytes for each head. */
    void (*layout)(kvc_coder *coder);
    /* Where a head's rows lie in a page; NULL: every head has block_bytes. */
    kvc_block (*block)(const kvc_coder *coder, uint32_t head);
    /*  y     [P][d']  in, each within +-65504
     *  block [block_bytes] out; arrives as zeros, so that padding need not be written */
    void (*encode)(const kvc_coder *coder, uint32_t head, const float *y, uint8_t *block);
    /*  y     [n_rows][d']  out: rows first_row .. first_row + n_rows - 1 of the page */
    void (*decode)(const kvc_coder *coder, uint32_t head, const uint8_t *block, uint32_t first_row, uint32_t n_rows,
                   float *y);
    /* The rest is for symbols with fitted constants, NULL elsewhere.
     * Bytes of them, for any shape that fits. */
    size_t (*param_bytes)(const kvc_coder *coder);
    /* Are they finite and in range? `params` is 16-byte aligned and has param_bytes. */
    kvc_status (*param_check)(const kvc_coder *coder, const void *params, kvc_error *err);
    /* The order and scale in which it takes latent rows: runs behind the last transform and folds like one, so that
     * it costs nothing per cached token. Its stage has the symbol's params. */
    const struct kvc_transform *frame;
} kvc_symbol;

/* Where in a chain a transform runs. */
typedef struct kvc_stage {
    const kvc_coder *coder;
    uint32_t head;
    uint32_t dim;       /* of the row that forward() reads */
    const void *params; /* of this piece, all heads */
    /* Channels of the row x that inverse() has to make, both multiples of 8; the others are ignored. */
    uint32_t first, end;
} kvc_stage;

typedef struct kvc_transform {
    /* y = T x, `dim` values; of a frame the last ones, beyond d', are zero */
    void (*forward)(kvc_stage stage, const float *x, float *y);
    /* x = T^-1 y, its constant term (a mean that forward() subtracts) counted `mass` times */
    void (*inverse)(kvc_stage stage, const float *y, float mass, float *x);
    /* q' and the bias that is returned, such that q.x = q'.(T x) + bias */
    float (*fold)(kvc_stage stage, const float *q, float *folded);
    /* As in kvc_symbol; NULL if it works on any shape, and without constants. */
    kvc_status (*fits)(const kvc_coder *coder, kvc_error *err);
    size_t (*param_bytes)(const kvc_coder *coder);
    kvc_status (*param_check)(const kvc_coder *coder, const void *params, kvc_error *err);
} kvc_transform;

#define KVC_SYMBOL_DECLARE(name, wire_id, since_format) extern const kvc_symbol kvci_symbol_##name;
KVC_SYMBOL_LIST(KVC_SYMBOL_DECLARE)
#undef KVC_SYMBOL_DECLARE
#define KVC_TRANSFORM_DECLARE(name, wire_id, since_format) extern const kvc_transform kvci_transform_##name;
KVC_TRANSFORM_LIST(KVC_TRANSFORM_DECLARE)
#undef KVC_TRANSFORM_DECLARE

/* NULL if this version has none with that wire id. */
const kvc_symbol *kvci_symbol_find(uint8_t wire_id);
const kvc_transform *kvci_transform_find(uint8_t wire_id);

/* Everything about a descriptor that can be judged without a shape: pieces known, unused fields zero. */
kvc_status kvci_codec_check(const kvc_codec *codec, kvc_error *err);
/* For check() of a symbol that leaves segment[] zero. */
kvc_status kvci_check_unsegmented(const kvc_codec *codec, kvc_error *err);
/* kvc_coder_init() without constants: shape and group, and whether the codec can work on them. */
kvc_status kvci_coder_shape(kvc_coder *out, const kvc_codec *codec, uint32_t n_kv_heads, uint32_t head_dim,
                            uint32_t page, kvc_error *err);
/* The coder's row that holds the channels of a KV head of the model: its own, or with "@joint" the only one. */
static inline uint32_t kvci_coder_row(const kvc_coder *coder, uint32_t head)
{
    return coder->joined > 1 ? 0 : head;
}
/* Part of a page: rows first_row .. first_row + n_rows - 1 into y [n_rows][d']. */
void kvci_coder_decode_rows(const kvc_coder *coder, uint32_t head, const void *block, uint32_t first_row,
                            uint32_t n_rows, float *y);

#endif
