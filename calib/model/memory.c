/* memory.c - what a pass will take, before it runs (docs/memory.md). */
#include "model_private.h"

#include <omp.h>

/* Packed operands of OpenBLAS and tiles of attention, per thread; measured. */
#define THREAD_BYTES ((uint64_t)2 << 20)

static uint64_t pass_bytes(const model_config *c, size_t longest)
{
    const arch *a = arch_find(c->architecture);
    uint64_t weights = a ? layer_weights_floats(c, a) : 0;
    return sizeof(float) * (weights + layer_arena_floats(c, longest) + STAGE_FLOATS);
}

static uint64_t compare_bytes(const model_config *c, size_t n_tokens)
{
    uint64_t rows = min_size(LOGIT_ROWS, n_tokens), columns = min_size(LOGIT_COLUMNS, c->vocab), hidden = c->hidden;
    return sizeof(float) * (STAGE_FLOATS + 3 * rows * hidden + columns * hidden + 2 * rows * columns) +
           rows * (sizeof(logit_sums) + sizeof(uint32_t));
}

uint64_t model_memory(const model_config *c, size_t n_tokens, size_t longest, uint64_t memory_limit)
{
    uint64_t row = sizeof(float) * (uint64_t)c->hidden, stream = n_tokens * row;
    if (memory_limit && stream > memory_limit) stream = longest * row;
    uint64_t pass = pass_bytes(c, longest), compare = compare_bytes(c, n_tokens);
    return stream + (pass > compare ? pass : compare) + (uint64_t)omp_get_max_threads() * THREAD_BYTES;
}
