/* page_cases.h - pages by a kernel have the bytes that libkvc writes, and decode to the same floats: one table of
 * codecs and shapes for a GPU and for kernels that are run on the CPU. */
#ifndef TESTS_GPU_PAGE_CASES_H
#define TESTS_GPU_PAGE_CASES_H
#include <stddef.h>

/* The memory that kernels see. Whatever fails there ends the program. */
typedef struct page_memory {
    void *(*make)(size_t n); /* 64-byte aligned */
    void (*drop)(void *p);
    void (*put)(void *to, const void *host, size_t n);
    void (*get)(void *host, const void *from, size_t n); /* waits for the kernels */
    void (*fill)(void *to, int byte, size_t n);
} page_memory;

/* Cases begin, begin + step, ...; n_pages of each. Prints what differs; returns how many cases did. */
int page_cases_run(const page_memory *m, size_t n_pages, size_t begin, size_t step);
/* The codec of every case with every head dimension of the table that it fits. */
int page_cases_run_all(const page_memory *m, size_t n_pages);
#endif
