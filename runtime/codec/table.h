/* table.h - symbols whose codes are indices into fitted tables: "lut" (one channel a code) and "vq" (several).
 *
 * The sub-vectors of a row come in classes of equal dims c, each with a table: one class in a uniform codec, up to
 * five in a mix. Where codes are shared out among heads, each head has classes of its own, which its number of codes,
 * a constant, determines. The frame gathers the channels of each sub-vector in the fitted order, divides them by its
 * scale and puts all of them side by side, classes in order; channels that the order does not name are dropped.
 * FORMAT.md, "vq", has the constants and the block. */
#ifndef RUNTIME_CODEC_TABLE_H
#define RUNTIME_CODEC_TABLE_H
#include "codec/pieces.h"

#define TABLE_MAX_DIMS 16u
#define TABLE_MIX_ROW 64u /* channels that the numbers of a mix are for */
#define TABLE_MAX_BITS 12u

typedef struct table_class {
    uint32_t n, dims;  /* sub-vectors, channels of each */
    uint32_t position; /* the first, of the latent row */
    uint32_t code;     /* the first, of a row */
    uint32_t table;    /* dims of the tables before its first one */
} table_class;

/* Of one head. */
typedef struct table_shape {
    uint32_t n_classes, n_codes, n_kept; /* channels that have a position */
    uint32_t codes_before;               /* of the heads before */
    table_class class[5];
} table_shape;

/* Codes of a token that the heads share out among themselves; 0 where each has as many as the others. */
static inline uint64_t kvci_table_shared(const kvc_coder *coder)
{
    uint32_t n = coder->codec.dims == 0 ? coder->codec.segment[5] : 0;
    return (uint64_t)n * coder->n_kv_heads * coder->head_dim / TABLE_MIX_ROW;
}

table_shape kvci_table_shape(const kvc_coder *coder, uint32_t head);

/* The constants: scales [n_codes] and order [n_kept] of a head, and the table [2^bits][dims] of a sub-vector, of
 * which that of the next one lies `stride` further on. */
const float *kvci_table_scales(const kvc_coder *coder, const table_shape *shape);
const uint16_t *kvci_table_order(const kvc_coder *coder, uint32_t head);
const uint16_t *kvci_table_of(const kvc_coder *coder, const table_class *class, uint32_t head, size_t *stride);

/* Pieces of the two symbols. */
kvc_status kvci_table_fits(const kvc_coder *coder, kvc_error *err);
void kvci_table_layout(kvc_coder *coder);
kvc_block kvci_vq_block(const kvc_coder *coder, uint32_t head);
void kvci_table_encode(const kvc_coder *coder, uint32_t head, const float *y, uint8_t *block);
void kvci_table_decode(const kvc_coder *coder, uint32_t head, const uint8_t *block, uint32_t first_row,
                       uint32_t n_rows, float *y);
size_t kvci_table_param_bytes(const kvc_coder *coder);
kvc_status kvci_table_param_check(const kvc_coder *coder, const void *params, kvc_error *err);
extern const kvc_transform kvci_table_frame;

/* Tables are for the layer's side, for each head, or for each sub-vector. */
kvc_status kvci_table_check_scale(const kvc_codec *codec, const char *name, kvc_error *err);

#endif
