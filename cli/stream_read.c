/* stream_read.c - see stream_read.h. */
#include "stream_read.h"
#include "kvc/clones.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LEAST_BYTES ((size_t)256 << 20)
#define MOST_BYTES ((size_t)2 << 30)

bool stream_open(stream_memory *out)
{
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    size_t bytes = cache > 0 ? 2 * (size_t)cache : 0;
    bytes = bytes < LEAST_BYTES ? LEAST_BYTES : bytes > MOST_BYTES ? MOST_BYTES : bytes;
    *out = (stream_memory){.words = aligned_alloc(64, bytes / 64 * 64), .bytes = bytes / 64 * 64};
    if (out->words) memset(out->words, 1, out->bytes);
    return out->words;
}

void stream_close(stream_memory *m)
{
    free(m->words);
    *m = (stream_memory){0};
}

#ifdef KVC_HAS_CLONES
__attribute__((target_clones("default", "avx2")))
#endif
void stream_read(stream_memory *m)
{
    uint64_t sum = m->sum;
    for (size_t i = 0; i < m->bytes / sizeof *m->words; i++) sum += m->words[i];
    m->sum = sum;
}

double stream_rate(stream_memory *m, double *times, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double start = thread_seconds();
        stream_read(m);
        times[i] = thread_seconds() - start;
    }
    return (double)m->bytes / median_of(times, n);
}

double thread_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median_of(double *times, size_t n)
{
    qsort(times, n, sizeof *times, by_value);
    return times[n / 2];
}
