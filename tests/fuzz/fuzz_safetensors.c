/* fuzz_safetensors.c - any bytes as a safetensors file: opened and read in full, or refused with a message. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const weights *w)
{
    for (size_t i = 0; i < weights_count(w); i++) {
        const tensor *t = weights_at(w, i);
        if (weights_find(w, t->name) != t) abort();
        float values[64];
        kvc_error err = {0};
        for (uint64_t at = 0; !t->foreign && at < t->n; at += 64) {
            uint64_t n = t->n - at < 64 ? t->n - at : 64;
            if (weights_read(w, t, at, n, values, &err) != KVC_OK && !err.message[0]) abort();
        }
        weights_release(w, t);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    kvc_error err = {0};
    weights *w;
    if (weights_open(&w, path, &err) == KVC_OK) {
        read_all(w);
    } else if (!err.message[0]) {
        abort();
    }
    weights_close(w);
    close(fd);
    return 0;
}
