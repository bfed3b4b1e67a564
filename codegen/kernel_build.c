/* kernel_build.c - which compiler there is. */
#include "kernel_build_parts.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kernel_compiler {
    char *nvcc; /* or NULL, and then */
    kernel_nvrtc *nvrtc;
    char text[512];
};

kernel_compiler *kernel_compiler_open(void)
{
    kernel_compiler *c = calloc(1, sizeof *c);
    int major, minor;
    if (!c) return NULL;
    c->nvcc = kernel_nvcc_find();
    if (!c->nvcc) c->nvrtc = kernel_nvrtc_open();
    if (c->nvcc) {
        snprintf(c->text, sizeof c->text, "nvcc (%s)", c->nvcc);
    } else if (c->nvrtc) {
        kernel_nvrtc_version(c->nvrtc, &major, &minor);
        snprintf(c->text, sizeof c->text, "NVRTC %d.%d", major, minor);
    } else {
        free(c);
        return NULL;
    }
    return c;
}

void kernel_compiler_close(kernel_compiler *c)
{
    if (!c) return;
    kernel_nvrtc_close(c->nvrtc);
    free(c->nvcc);
    free(c);
}

const char *kernel_compiler_text(const kernel_compiler *c)
{
    return c->text;
}

const char *kernel_compiler_ending(const kernel_compiler *c)
{
    return c->nvcc ? "fatbin" : "cubin";
}

kvc_status kernel_build(const kernel_compiler *c, const kernel_job *jobs, uint32_t n, const kernel_build_options *o,
                        kvc_error *err)
{
    return c->nvcc ? kernel_nvcc_build(c->nvcc, jobs, n, o, err) : kernel_nvrtc_build(c->nvrtc, jobs, n, o, err);
}

/* The first line that speaks of an error or of what is fatal, else the first that is not empty. */
static const char *telling_line(const char *log, size_t n, size_t *length)
{
    const char *first = NULL, *end = log + n;
    size_t first_length = 0;
    for (const char *at = log; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        *length = (size_t)(stop - at);
        if (memmem(at, *length, "error", 5) || memmem(at, *length, "fatal", 5)) return at;
        if (!first && *length) first = at, first_length = *length;
        at = stop + 1;
    }
    *length = first_length;
    return first;
}

kvc_status kernel_log_fail(const char *kernel, const char *compiler, const char *log, size_t n, kvc_error *err)
{
    size_t length = 0;
    const char *at = telling_line(log, n, &length);
    char line[300] = "failed and does not say why";
    if (at) snprintf(line, sizeof line, "%.*s", (int)(length < sizeof line ? length : sizeof line - 1), at);
    for (char *c = line; *c; c++)
        if (iscntrl((unsigned char)*c)) *c = ' ';
    return kvc_fail(err, KVC_UNSUPPORTED, "%s: %s: %s", kernel, compiler, line);
}
