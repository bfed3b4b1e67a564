/* kernel_single.c - tiles of codes that are decoded one by one, as kernels/fragment/single.cuh has them: streams of
 * codes in planes, then scales and minima. */
#include "kernel_plan.h"
#include "kvc/codec_list.h"

/* n codes of a row, of so many bits. */
typedef struct stream {
    uint32_t n, bits;
} stream;

/* Those of each eighth of seg, or one; returns how many. */
static uint32_t streams_of(const kernel_side *side, stream out[8])
{
    uint32_t n = 0;
    if (side->codec.symbol != KVC_SYMBOL_seg) {
        out[0] = (stream){side->n_codes, side->codec.bits};
        return 1;
    }
    for (uint32_t e = 0; e < 8; e++)
        if (side->codec.segment[e]) out[n++] = (stream){side->latent / 8, side->codec.segment[e]};
    return n;
}

/* Of scales, and as many of minima. */
static uint32_t scale_bytes(const kernel_side *side, uint32_t tile)
{
    uint32_t group = side->codec.group;
    if (side->codec.scale == KVC_SCALE_TOK) return tile * (side->n_codes / group) * 2;
    return group ? (tile + group - 1) / group * side->n_codes * 2 : 0;
}

uint32_t kernel_single_bytes(const kernel_side *side, uint32_t tile)
{
    stream streams[8];
    uint32_t bytes = 0;
    for (uint32_t i = streams_of(side, streams); i-- > 0;) bytes += tile / 8 * streams[i].n * streams[i].bits;
    bytes = (bytes + 1) / 2 * 2 + 2 * scale_bytes(side, tile);
    return (bytes + 15) / 16 * 16;
}

uint32_t kernel_single_copies(const kernel_side *side, uint32_t page, uint32_t tile)
{
    stream streams[8];
    uint32_t group = side->codec.group, copies = group ? 2 : 0;
    if (side->codec.scale == KVC_SCALE_CH && tile % group && group % tile) return 0;
    if (tile == page) return 1;
    for (uint32_t i = streams_of(side, streams); i-- > 0;)
        for (uint32_t width = 8; width; width /= 2) {
            if (!(streams[i].bits & width)) continue;
            if (tile * streams[i].n * width / 8 % 16) return 0;
            copies++;
        }
    return scale_bytes(side, tile) % 16 ? 0 : copies;
}
