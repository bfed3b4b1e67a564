/* table.h - symbols whose codes are indices into fitted tables: "lut" (one channel a code) and "vq" (several).
 *
 * The latent channels lie in bands of equal dims c: one for a uniform codec, else one for each run of equal numbers
 * in segment[], the last of which may be 0 (dropped). A band of m channels has n = m / c sub-vectors, interleaved:
 * the frame gives sub-vector g the channels g, g + n, g + 2n, ... of the band, divided by its scale, and puts them
 * side by side. FORMAT.md, "vq", has the constants and the block. */
#ifndef RUNTIME_CODEC_TABLE_H
#define RUNTIME_CODEC_TABLE_H
#include "codec/pieces.h"

#define TABLE_MAX_DIMS 16u
#define TABLE_MAX_BITS 12u

typedef struct table_band {
    uint32_t channel; /* the first */
    uint32_t n;       /* sub-vectors */
    uint32_t dims;
    uint32_t code;  /* of a row, the first */
    uint32_t table; /* dims of the bands before it */
} table_band;

typedef struct table_shape {
    uint32_t n_bands, n_codes, n_channels; /* of a row; channels beyond n_channels are dropped */
    table_band band[8];
} table_shape;

table_shape kvci_table_shape(const kvc_coder *coder);

/* The constants: scales [n_codes] of a head, and the table [2^bits][dims] of a sub-vector, of which that of the next
 * one lies `stride` further on. */
const float *kvci_table_scales(const kvc_coder *coder, const table_shape *shape, uint32_t head);
const uint16_t *kvci_table_of(const kvc_coder *coder, const table_shape *shape, const table_band *band, uint32_t head,
                              size_t *stride);

/* Pieces of the two symbols. */
kvc_status kvci_table_fits(const kvc_coder *coder, kvc_error *err);
void kvci_table_layout(kvc_coder *coder);
void kvci_table_encode(const kvc_coder *coder, uint32_t head, const float *y, uint8_t *block);
void kvci_table_decode(const kvc_coder *coder, uint32_t head, const uint8_t *block, uint32_t first_row,
                       uint32_t n_rows, float *y);
size_t kvci_table_param_bytes(const kvc_coder *coder);
kvc_status kvci_table_param_check(const kvc_coder *coder, const void *params, kvc_error *err);
extern const kvc_transform kvci_table_frame;

/* Tables are for the layer's side, for each head, or for each sub-vector. */
kvc_status kvci_table_check_scale(const kvc_codec *codec, const char *name, kvc_error *err);

#endif
