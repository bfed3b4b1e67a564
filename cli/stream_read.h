/* stream_read.h - how fast one core reads memory: the ceiling of whatever has to read a cache. */
#ifndef CLI_STREAM_READ_H
#define CLI_STREAM_READ_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More than the processor's caches hold, as far as it says how much that is. */
typedef struct stream_memory {
    uint64_t *words;
    size_t bytes;
    uint64_t sum; /* of all that was read: so that it is read */
} stream_memory;

bool stream_open(stream_memory *out); /* false: out of memory */
void stream_close(stream_memory *m);
/* Read all of it. It then lies in the caches, and nothing else does. */
void stream_read(stream_memory *m);
/* Bytes a second, the median of n readings. times [n] scratch */
double stream_rate(stream_memory *m, double *times, size_t n);

/* The clock that this is timed by: of the thread, so that what other programs take does not count. */
double thread_seconds(void);
/* The middle one of n times, which it sorts. */
double median_of(double *times, size_t n);
#endif
