/* table.cuh - symbols lut and vq: codes that are numbers of entries in fitted tables (runtime/codec/table.h). Their
 * frame, the order and scale of channels, is applied where values are read and written. */
#ifndef KERNELS_CODEC_TABLE_CUH
#define KERNELS_CODEC_TABLE_CUH
#include "codec/planes.cuh"
#include "codec/table_encode.cuh"
#include "codec/table_nearest.cuh"

/* ---- on the host: where the constants lie (runtime/codec/table_params.c) ---- */

static inline uint32_t table_classes(const kvc_coder *coder, page_tables *t)
{
    kvc_code_class classes[5];
    uint32_t channels = 0, table = 0;
    t->n_classes = kvc_codec_classes(&coder->codec, coder->head_dim, classes);
    t->per_code = coder->codec.scale == KVC_SCALE_STATIC;
    for (uint32_t i = 0; i < t->n_classes; i++) {
        uint32_t n = classes[i].n, dims = classes[i].dims;
        t->classes[i] = page_class{n, dims, channels, t->n_codes, t->per_code ? channels : table};
        t->n_codes += n;
        channels += n * dims;
        table += dims;
    }
    t->order_stride = channels;
    return t->per_code ? channels : table;
}

static inline void table_describe(const kvc_coder *coder, page_shape *s)
{
    page_tables *t = &s->tables;
    const kvc_codec *codec = &coder->codec;
    uint64_t heads = coder->n_kv_heads, n_codes = heads * codec->segment[5] * coder->head_dim / 64;
    t->shared = codec->dims == 0 && codec->segment[5];
    t->order_stride = coder->head_dim;
    if (!t->shared) {
        uint32_t channels = table_classes(coder, t);
        t->head_values = codec->scale == KVC_SCALE_NONE ? 0 : channels << codec->bits;
        n_codes = heads * t->n_codes;
    }
    t->counts = s->part[KVC_SYMBOL_PIECE];
    t->scales = t->counts + (t->shared ? 4 * heads : 0);
    t->order = t->scales + 4 * n_codes;
    t->values = t->order + (2 * heads * t->order_stride + 3) / 4 * 4;
}

/* ---- of one head ---- */

struct table_head {
    uint32_t n_classes, n_codes;
    uint32_t before; /* codes of the heads before it */
    page_class classes[5];
    const float *scales; /* [n_codes] */
    const uint16_t *order;
    const __half *values;
};

/* Codes that heads share out: so many as the constants say (kvc_share_classes()). */
__device__ inline void table_share(const page_shape &s, const uint8_t *params, uint32_t head, table_head *h)
{
    const uint32_t *counts = (const uint32_t *)(params + s.tables.counts);
    kvc_code_class classes[2];
    uint32_t channels = 0;
    h->before = h->n_codes = 0;
    for (uint32_t i = 0; i < head; i++) h->before += counts[i];
    h->n_classes = counts[head] ? kvc_share_classes(s.d, counts[head], classes) : 0;
    for (uint32_t i = 0; i < h->n_classes; i++) {
        uint32_t n = classes[i].n, dims = classes[i].dims;
        h->classes[i] = page_class{n, dims, channels, h->n_codes, dims - 1};
        h->n_codes += n;
        channels += n * dims;
    }
}

__device__ inline table_head table_head_of(const page_shape &s, const uint8_t *params, uint32_t head)
{
    const page_tables &t = s.tables;
    table_head h;
    if (t.shared) {
        table_share(s, params, head, &h);
    } else {
        h.n_classes = t.n_classes, h.n_codes = t.n_codes, h.before = head * t.n_codes;
        for (uint32_t i = 0; i < t.n_classes; i++) h.classes[i] = t.classes[i];
    }
    h.scales = (const float *)(params + t.scales) + h.before;
    h.order = (const uint16_t *)(params + t.order) + (size_t)head * t.order_stride;
    h.values = (const __half *)(params + t.values) + (size_t)head * t.head_values;
    return h;
}

/* The class of code k of a row. */
__device__ inline const page_class &table_class_of(const table_head &h, uint32_t k)
{
    uint32_t i = 0;
    while (i + 1 < h.n_classes && k >= h.classes[i + 1].code) i++;
    return h.classes[i];
}

/* ---- encode ---- */

/* A code takes the place of the first channel that it stands for. */
template <uint32_t DIMS>
__device__ inline void table_encode_class(const page_shape &s, const table_head &h, const page_class &c,
                                          const page_tile &t)
{
    const uint16_t *order = h.order + c.position;
    table_set set = {h.values + ((size_t)c.table << s.bits), c.n, 1u << s.bits};
    auto read = [&](uint32_t row, uint32_t g, uint32_t k) {
        return clamp_fp16(t.y[row * s.d + order[g * DIMS + k]] / h.scales[c.code + g]);
    };
    auto write = [&](uint32_t row, uint32_t g, uint32_t nearest) {
        t.y[row * s.d + order[g * DIMS]] = __uint_as_float(nearest);
    };
    if constexpr (table_nearest_takes(DIMS)) {
        if (!s.tables.per_code && table_nearest_holds(set.n_entries)) return table_nearest<DIMS>(t, set, read, write);
    }
    if (s.tables.per_code)
        table_search_each<DIMS, false>(t, set, read, write);
    else
        table_search_one<DIMS>(t, set, read, write);
}

/* The codes of a tile to their fields. Eight of one code side by side are those of eight rows where they are shared,
 * otherwise those of a row. */
__device__ inline void table_pack(const page_shape &s, const table_head &h, const page_tile &t, uint32_t first,
                                  uint8_t *block)
{
    uint32_t n = h.n_codes, run = kvc_share_run(s.page);
    auto code = [&](uint32_t row, uint32_t k) {
        const page_class &c = table_class_of(h, k);
        return __float_as_uint(t.y[row * s.d + h.order[c.position + (k - c.code) * c.dims]]);
    };
    if (s.tables.shared)
        planes_pack(
            block, t.n_rows * n, s.bits, s.page * n,
            [&](uint32_t eight) { return kvc_share_field(run, n, first + eight / n * 8, eight % n) / 8; },
            [&](uint32_t i) { return code(i / 8 / n * 8 + i % 8, i / 8 % n); });
    else
        planes_pack(
            block, t.n_rows * n, s.bits, s.page * n, [&](uint32_t eight) { return first * n / 8 + eight; },
            [&](uint32_t i) { return code(i / n, i % n); });
}

__device__ inline void table_encode(const page_shape &s, const table_head &h, const page_tile &t, uint32_t first,
                                    uint8_t *block)
{
    for (uint32_t i = 0; i < h.n_classes; i++) {
        const page_class &c = h.classes[i];
        switch (c.dims) {
        case 1: table_encode_class<1>(s, h, c, t); break;
        case 2: table_encode_class<2>(s, h, c, t); break;
        case 4: table_encode_class<4>(s, h, c, t); break;
        case 8: table_encode_class<8>(s, h, c, t); break;
        case 16: table_encode_class<16>(s, h, c, t); break;
        }
    }
    __syncthreads();
    table_pack(s, h, t, first, block);
}

/* ---- decode ---- */

__device__ inline void table_decode(const page_shape &s, const table_head &h, const page_tile &t, uint32_t first,
                                    const uint8_t *block)
{
    uint32_t n = h.n_codes, run = kvc_share_run(s.page);
    each_value(t.n_rows, s.d, [&](uint32_t r, uint32_t i) { t.y[r * s.d + i] = 0.0f; });
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < t.n_rows * n; i += blockDim.x) {
        uint32_t row = i / n, k = i % n;
        uint32_t field = s.tables.shared ? kvc_share_field(run, n, first + row, k) : first * n + i;
        uint32_t code = planes_code(block, field, s.bits, s.page * n);
        const page_class &c = table_class_of(h, k);
        uint32_t g = k - c.code;
        size_t table = (size_t)(c.table + (s.tables.per_code ? g * c.dims : 0)) << s.bits;
        const __half *entry = h.values + table + code * c.dims;
        for (uint32_t j = 0; j < c.dims; j++)
            t.y[row * s.d + h.order[c.position + g * c.dims + j]] = __half2float(entry[j]) * h.scales[k];
    }
}
#endif
