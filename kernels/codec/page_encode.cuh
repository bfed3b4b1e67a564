/* page_encode.cuh - a thread block encodes a page of one head, or a part of it, some rows at a time in shared memory,
 * wherever rows come from: rows(tile, first, again) puts rows first .. of the page into the tile, within the fp16
 * range; again: it will be asked for them once more. */
#ifndef KERNELS_CODEC_PAGE_ENCODE_CUH
#define KERNELS_CODEC_PAGE_ENCODE_CUH
#include "codec/coder.cuh"
#include "codec/fp16.cuh"
#include "codec/int.cuh"
#include "codec/seg.cuh"
#include "codec/table.cuh"

/* Kinds of kernels; lut is vq of one dimension. */
enum { PAGE_FP16, PAGE_INT, PAGE_TABLE, PAGE_SEG };

/* Where the block of a head lies (kvc_coder_block()) and how much of it is not padding. */
struct block_place {
    uint64_t offset, bytes, used;
};

__device__ inline block_place block_place_of(const page_shape &s, uint32_t head, const table_head *h)
{
    if (!h || !s.tables.shared) return block_place{(uint64_t)head * s.block_bytes, s.block_bytes, s.used_bytes};
    uint64_t row_bits = s.page / 8 * s.bits, offset = row_bits * h->before, used = row_bits * h->n_codes;
    return block_place{offset, head + 1 == s.n_heads ? s.page_bytes - offset : used, used};
}

/* Room for n_rows, up to s.tile; the rest of shared [s.tile * s.d + s.scratch] is scratch, and
 * ranges lie behind it. */
__device__ inline page_tile page_tile_in(const page_shape &s, float *shared, uint32_t n_rows)
{
    uint32_t n = s.tile * s.d + s.scratch;
    return page_tile{shared, shared + n_rows * s.d, (float2 *)(shared + n), 0, n - n_rows * s.d};
}

/* Rows of a page from `begin` to before `end`, multiples of 8. */
struct page_part {
    uint32_t begin, end;
};

/* Do rows have nothing to do with each other, so that parts of a page can be encoded apart? */
__device__ inline bool page_has_parts(const page_shape &s)
{
    return s.scale != KVC_SCALE_CH;
}

template <int KIND>
__device__ inline void page_pack(const page_shape &s, const page_tile &t, uint32_t first, uint8_t *block)
{
    __syncthreads();
    if (KIND == PAGE_INT) int_pack(s, t, first, block);
    if (KIND == PAGE_SEG) seg_pack(s, t, first, block);
}

/* Scale ch. Tiles are of whole groups, or a group takes several tiles, which pass twice. */
template <int KIND, bool MATRIX, typename ROWS>
__device__ inline void page_encode_groups(const page_shape &s, const coder_work &w, page_tile t, const ROWS &rows,
                                          uint8_t *block)
{
    bool tall = s.group > s.tile;
    for (uint32_t start = 0, end; start < s.page; start = end) {
        end = least(start + (tall ? s.group : s.tile), s.page);
        for (uint32_t first = start; tall && first < end; first += t.n_rows) {
            t.n_rows = least(s.tile, end - first);
            coder_read<MATRIX>(s, w, t, rows, first, true);
            uniform_widen(s, t, first == start);
        }
        for (uint32_t first = start; first < end; first += t.n_rows) {
            t.n_rows = least(s.tile, end - first);
            coder_read<MATRIX>(s, w, t, rows, first, false);
            if (!tall) uniform_widen(s, t, true);
            if (first == start) uniform_scales<KIND == PAGE_SEG>(s, t, start / s.group, block);
            uniform_quantise<KIND == PAGE_SEG>(s, t);
            page_pack<KIND>(s, t, first, block);
        }
    }
}

/* Other scales. */
template <int KIND, bool MATRIX, typename ROWS>
__device__ inline void page_encode_rows(const page_shape &s, const coder_work &w, page_tile t, const ROWS &rows,
                                        const table_head *h, page_part part, uint8_t *block)
{
    for (uint32_t first = part.begin; first < part.end; first += t.n_rows) {
        t.n_rows = least(s.tile, part.end - first);
        coder_read<MATRIX>(s, w, t, rows, first, false);
        if (KIND == PAGE_FP16) fp16_encode(s, t, first, block);
        if (KIND == PAGE_INT) int_quantise_rows(s, t, first, block);
        if (KIND == PAGE_SEG) seg_look_up(s, t, seg_tables(s, w.params, w.head));
        if (KIND == PAGE_TABLE) table_encode(s, *h, t, first, block);
        page_pack<KIND>(s, t, first, block);
    }
}

/* The part's bytes of the head's block in `page` [page_bytes], with the first part what is behind them too: of all
 * parts, all bytes. Without parts it is the whole page. shared: page_shared_bytes(). */
template <int KIND, bool MATRIX, typename ROWS>
__device__ inline void page_encode(const page_shape &s, const coder_work &w, float *shared, const ROWS &rows,
                                   page_part part, uint8_t *page)
{
    page_tile t = page_tile_in(s, shared, least(s.tile, part.end - part.begin));
    table_head head, *h = KIND == PAGE_TABLE ? &head : NULL;
    if (h) head = table_head_of(s, w.params, w.head);
    block_place place = block_place_of(s, w.head, h);
    uint8_t *block = page + place.offset;
    if ((KIND == PAGE_INT || KIND == PAGE_SEG) && !page_has_parts(s))
        page_encode_groups<KIND, MATRIX>(s, w, t, rows, block);
    else
        page_encode_rows<KIND, MATRIX>(s, w, t, rows, h, part, block);
    for (uint64_t i = place.used + threadIdx.x; part.begin == 0 && i < place.bytes; i += blockDim.x) block[i] = 0;
}
#endif
