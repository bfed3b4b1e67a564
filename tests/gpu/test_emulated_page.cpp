/* test_emulated_page.cpp - page_cases.h with the kernels run on the CPU, threads in ascending and in descending order
 * (emulate.h): one page of every case, and some with three pages. */
#include "emulate.h"

#include <stdlib.h>
extern "C" {
#include "page_cases.h"
}

static void *make(size_t n)
{
    return aligned_alloc(64, (n + 63) / 64 * 64);
}

static void put(void *to, const void *host, size_t n)
{
    memcpy(to, host, n);
}

static void fill(void *to, int byte, size_t n)
{
    memset(to, byte, n);
}

int main(void)
{
    static const page_memory memory = {make, free, put, put, fill};
    int failed = page_cases_run(&memory, 1, 0, 1);
    emulate_order(true);
    failed += page_cases_run(&memory, 1, 0, 1);
    failed += page_cases_run(&memory, 3, 4, 8);
    return failed ? 1 : 0;
}
