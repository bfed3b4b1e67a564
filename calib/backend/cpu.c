/* cpu.c - the CPU backend's table. Buffers are plain memory, so uploads are copies and nothing is
 * asynchronous. */
#include "cpu_internal.h"

#include <cblas.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static void cpu_close(backend *b)
{
    free(b);
}

static kvc_status cpu_buffer_new(backend *b, size_t bytes, void **out, kvc_error *err)
{
    (void)b;
    size_t rounded = (bytes + 63) & ~(size_t)63;
    *out = rounded >= bytes ? aligned_alloc(64, rounded ? rounded : 64) : NULL;
    return *out ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "out of memory for a buffer of %zu bytes", bytes);
}

static void cpu_buffer_free(backend *b, void *memory)
{
    (void)b;
    free(memory);
}

static kvc_status cpu_copy(backend *b, void *dst, const void *src, size_t bytes, kvc_error *err)
{
    (void)b, (void)err;
    memcpy(dst, src, bytes);
    return KVC_OK;
}

static kvc_status cpu_sync(backend *b, kvc_error *err)
{
    (void)b, (void)err;
    return KVC_OK;
}

static size_t cpu_room(backend *b)
{
    (void)b;
    return SIZE_MAX;
}

/* cpu_probe.c: all values' errors, and per thread two tiles of its rows; the other operations' tiles are a few MB. */
static memory_need cpu_scratch(const backend *b, const scratch_shape *s)
{
    (void)b;
    uint64_t errors = (uint64_t)s->n_values * s->n_tokens * s->n_kv_heads * s->head_dim;
    uint64_t rows = s->n_rows ? 16 * (s->n_heads / s->n_kv_heads) : 0;
    uint64_t tile = rows * (4 * (uint64_t)s->n_tokens + s->n_values * (uint64_t)s->head_dim);
    return (memory_need){.host = sizeof(float) * (errors + 2 * tile)};
}

static uint64_t cpu_peak(const backend *b)
{
    (void)b;
    return 0;
}

static kvc_status cpu_gather_rows(backend *b, size_t n, size_t width, const float *x, const size_t *rows, float *out,
                                  kvc_error *err)
{
    (void)b, (void)err;
    for (size_t i = 0; i < n; i++) memcpy(out + i * width, x + rows[i] * width, width * sizeof *out);
    return KVC_OK;
}

static kvc_status cpu_load_weight(backend *b, void *w, const float *src, size_t n, kvc_error *err)
{
    return cpu_copy(b, w, src, n * sizeof *src, err);
}

static const backend cpu_table = {
    .name = "cpu",
    .weight_bytes = sizeof(float),
    .close = cpu_close,
    .buffer_new = cpu_buffer_new,
    .buffer_free = cpu_buffer_free,
    .room = cpu_room,
    .scratch = cpu_scratch,
    .peak = cpu_peak,
    .upload = cpu_copy,
    .download = cpu_copy,
    .sync = cpu_sync,
    .copy = cpu_copy,
    .gather_rows = cpu_gather_rows,
    .load_weight = cpu_load_weight,
    .gemm = cpu_gemm,
    .output_metric = cpu_output_metric,
    .rmsnorm = cpu_rmsnorm,
    .rope = cpu_rope,
    .silu_mul = cpu_silu_mul,
    .attention = cpu_attention,
    .transcode = cpu_transcode,
    .compare_logits = cpu_compare_logits,
    .probe = cpu_probe,
    .row_power = cpu_row_power,
    .relative_error = cpu_relative_error,
    .column_stats = cpu_column_stats,
    .sensitivity = cpu_sensitivity,
    .moments = cpu_moments,
    .lloyd_batch = 1,
    .lloyd = cpu_lloyd,
    .eigen = cpu_eigen,
};

kvc_status cpu_set_threads(int threads, kvc_error *err)
{
    if (threads < 0 || threads > 4096)
        return kvc_fail(err, KVC_INVALID, "%d threads: expected 0 (all) to 4096", threads);
    openblas_set_num_threads(1);
    omp_set_num_threads(threads ? threads : omp_get_num_procs());
    return KVC_OK;
}

kvc_status backend_open_cpu(backend **out, int threads, kvc_error *err)
{
    *out = NULL;
    KVC_TRY(cpu_set_threads(threads, err));
    backend *b = malloc(sizeof *b);
    if (!b) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a backend");
    *b = cpu_table;
    *out = b;
    return KVC_OK;
}
