/* memory.c - what a pass will take, before it runs (docs/memory.md). */
#include "model_private.h"

#include <omp.h>

/* Packed operands of OpenBLAS and tiles of attention, per thread; measured. */
#define THREAD_BYTES ((uint64_t)2 << 20)

size_t model_rows_together(const model_config *c, const backend *b, size_t n_tokens, size_t longest)
{
    size_t together = min_size(batch_rows(b, c), n_tokens);
    return together > longest ? together : longest;
}

size_t model_together(const model_config *c, const backend *b, size_t length)
{
    size_t n = length ? min_size(batch_rows(b, c) / length, MOST_COPIES) : 0;
    return n ? n : 1;
}

static memory_need pass_bytes(const model_config *c, const backend *b, size_t room, size_t n_tokens, size_t longest,
                              bool own_x)
{
    const arch *a = arch_find(c->architecture);
    size_t together = model_rows_together(c, b, n_tokens, longest);
    uint64_t layer = a ? layer_weights_bytes(c, a, b->weight_bytes) : 0;
    return (memory_need){
        .host = sizeof(float) * (uint64_t)STAGE_FLOATS,
        .dev = resident_count(c, room, b->weight_bytes) * layer +
               sizeof(float) * (uint64_t)layer_arena_floats(b, c, together, own_x),
    };
}

static memory_need compare_bytes(const model_config *c, const backend *b, size_t room, size_t n_tokens)
{
    uint64_t rows = min_size(LOGIT_ROWS, n_tokens), columns = logit_columns(b, c), hidden = c->hidden;
    uint64_t block = resident_holds_head(c, room, b->weight_bytes) ? c->vocab : columns;
    return (memory_need){
        .host = sizeof(float) * (STAGE_FLOATS + rows * hidden) + rows * (sizeof(logit_sums) + sizeof(uint32_t)),
        .dev = sizeof(float) * (2 * rows * hidden + 2 * rows * columns) + block * hidden * b->weight_bytes,
    };
}

static uint64_t larger(uint64_t x, uint64_t y)
{
    return x > y ? x : y;
}

memory_need stream_memory(const model_config *c, backend *b, size_t n_tokens, size_t longest, uint64_t memory_limit)
{
    uint64_t row = sizeof(float) * (uint64_t)c->hidden, stream = n_tokens * row;
    if (hidden_on_device(b, b->room(b), stream, memory_limit)) return (memory_need){.dev = stream};
    return (memory_need){.host = memory_limit && stream > memory_limit ? longest * row : stream};
}

/* On a device the weights stay while logits are compared; in host memory they do not. */
memory_need model_memory(const model_config *c, backend *b, size_t n_tokens, size_t longest, uint64_t memory_limit)
{
    size_t room = b->room(b), together = model_rows_together(c, b, n_tokens, longest), query = query_width(c);
    memory_need stream = stream_memory(c, b, n_tokens, longest, memory_limit);
    memory_need pass = pass_bytes(c, b, room, n_tokens, longest, stream.dev == 0);
    memory_need compare = compare_bytes(c, b, room, n_tokens);
    const scratch_shape shape = {.n_tokens = longest,
                                 .n_heads = c->n_heads,
                                 .n_kv_heads = c->n_kv_heads,
                                 .head_dim = c->head_dim,
                                 .gemm_values = together * larger(larger(c->hidden, query), c->ffn)};
    memory_need need = memory_sum(stream, b->scratch(b, &shape));
    need.host += larger(pass.host, compare.host) + (uint64_t)omp_get_max_threads() * THREAD_BYTES;
    need.dev += room == SIZE_MAX ? larger(pass.dev, compare.dev) : pass.dev + compare.dev;
    return need;
}
