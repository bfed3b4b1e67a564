/* bench.h - what `kvcalib bench` times, and what a device has to offer for it (bench_cpu.c, bench_cuda.c). A further
 * device is one file with such a table. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H
#include "bench_layers.h"
#include "job.h"

/* Where, and what of; borrowed until close. */
typedef struct bench_place {
    int ordinal;              /* of a GPU */
    const kvc_config *config; /* whole */
    const char *kernels;      /* of a GPU: the folder of config's */
} bench_place;

/* Sequences of `context` tokens each. */
typedef struct bench_load {
    uint32_t batch;
    uint32_t context;
} bench_load;

/* Seconds: of one query token of every sequence, and of one appended token of every sequence, pages that it completes
 * included. */
typedef struct bench_times {
    double attend, append;
} bench_times;

typedef struct bench_device bench_device;
struct bench_device {
    const char *name; /* "cpu" */
    /* Opens what the others work with; to be closed whether or not that succeeded. */
    kvc_status (*open)(void **state, const bench_place *place, kvc_error *err);
    void (*close)(void *state);
    const char *(*text)(const void *state); /* what is timed, in words */
    /* Bytes a second of a plain read of memory: the ceiling. */
    kvc_status (*read_rate)(void *state, uint32_t repeats, double *out, kvc_error *err);
    /* A cache of the layer's configuration, filled with random rows; medians of `repeats`. KVC_INTERRUPTED where the
     * job is cancelled, KVC_UNSUPPORTED where fp16, which is for comparison, cannot be had. */
    kvc_status (*time)(void *state, const bench_layer *layer, bench_load load, uint32_t repeats, const job *job,
                       bench_times *out, kvc_error *err);
};

extern const bench_device bench_cpu, bench_cuda;

static inline kvc_status bench_interrupted(const job *job, kvc_error *err)
{
    return job_cancelled(job) ? kvc_fail(err, KVC_INTERRUPTED, "interrupted") : KVC_OK;
}
#endif
