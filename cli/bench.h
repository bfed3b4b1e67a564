/* bench.h - what `kvcalib bench` times, and what a device has to offer for it (bench_cpu.c). A further device is one
 * file with such a table. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H
#include "job.h"
#include "kvc/kvc.h"

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
    const char *text; /* what is timed, in words */
    /* Opens what the others work with; to be closed whether or not that succeeded. */
    kvc_status (*open)(void **state, kvc_error *err);
    void (*close)(void *state);
    /* Bytes a second of a plain read of memory: the ceiling. */
    kvc_status (*read_rate)(void *state, uint32_t repeats, double *out, kvc_error *err);
    /* A cache of `config`, which has one layer, filled with random rows; medians of `repeats`. KVC_INTERRUPTED where
     * the job is cancelled. */
    kvc_status (*time)(void *state, const kvc_config *config, bench_load load, uint32_t repeats, const job *job,
                       bench_times *out, kvc_error *err);
};

extern const bench_device bench_cpu;
#endif
