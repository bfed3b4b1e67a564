/* kernel_nvrtc.c - kernels by NVRTC, a library that is looked for when the program runs. Our files come from memory;
 * cuda_fp16.h has to be where the library's toolkit, or $CUDA_HOME, keeps its headers. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "kernel_build_parts.h"
#include "kernel_template.h"

typedef struct program *program; /* nvrtcProgram */

/* Every entry point that is used; results are 0 where all went well. */
#define NVRTC_LIST(X)                                                                                                \
    X(Version, (int *major, int *minor))                                                                             \
    X(CreateProgram, (program * out, const char *text, const char *name, int n, const char *const *headers,          \
                      const char *const *names))                                                                     \
    X(DestroyProgram, (program * p))                                                                                 \
    X(CompileProgram, (program p, int n, const char *const *options))                                                \
    X(GetCUBINSize, (program p, size_t * n))                                                                         \
    X(GetCUBIN, (program p, char *bytes))                                                                            \
    X(GetProgramLogSize, (program p, size_t * n))                                                                    \
    X(GetProgramLog, (program p, char *text))

enum { MOST_FOLDERS = 4, MOST_HEADERS = 64 };

struct kernel_nvrtc {
    void *library;
#define ENTRY(name, arguments) int(*name) arguments;
    NVRTC_LIST(ENTRY)
#undef ENTRY
    char include[MOST_FOLDERS][4200]; /* options "-I..." */
    int n_include;
};

/* ---- where it is ---- */

static void *open_library(void)
{
    static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};
    const char *asked = getenv("KVC_NVRTC"), *home = getenv("CUDA_HOME");
    if (asked && *asked) return dlopen(asked, RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (library) return library;
    }
    char path[4096];
    if (!home || (size_t)snprintf(path, sizeof path, "%s/lib64/libnvrtc.so", home) >= sizeof path) return NULL;
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

static bool load_entries(kernel_nvrtc *x)
{
    bool all = true;
#define LOAD(name, arguments) all = (*(void **)&x->name = dlsym(x->library, "nvrtc" #name)) != NULL && all;
    NVRTC_LIST(LOAD)
#undef LOAD
    return all;
}

static void add_folder(kernel_nvrtc *x, const char *folder, int n, const char *below)
{
    char *option = x->include[x->n_include], header[4300];
    if (x->n_include == MOST_FOLDERS || snprintf(option, 4200, "-I%.*s%s", n, folder, below) >= 4200) return;
    snprintf(header, sizeof header, "%s/cuda_fp16.h", option + 2);
    if (access(header, R_OK) == 0) x->n_include++;
}

/* Headers lie beside the library's folder, or, as Python's packages have them, beside its parent. */
static void find_headers(kernel_nvrtc *x)
{
    Dl_info info;
    const char *home = getenv("CUDA_HOME");
    if (home) add_folder(x, home, (int)strlen(home), "/include");
    const char *slash = dladdr(*(void **)&x->Version, &info) && info.dli_fname ? strrchr(info.dli_fname, '/') : NULL;
    if (slash) {
        int n = (int)(slash - info.dli_fname);
        add_folder(x, info.dli_fname, n, "/../include");
        add_folder(x, info.dli_fname, n, "/../../cuda_runtime/include");
    }
    add_folder(x, "/usr/local/cuda/include", 23, "");
}

kernel_nvrtc *kernel_nvrtc_open(void)
{
    kernel_nvrtc *x = calloc(1, sizeof *x);
    if (!x) return NULL;
    x->library = open_library();
    if (!x->library || !load_entries(x)) {
        kernel_nvrtc_close(x);
        return NULL;
    }
    find_headers(x);
    return x;
}

void kernel_nvrtc_close(kernel_nvrtc *x)
{
    if (!x) return;
    if (x->library) dlclose(x->library);
    free(x);
}

void kernel_nvrtc_version(const kernel_nvrtc *x, int *major, int *minor)
{
    if (x->Version(major, minor)) *major = *minor = 0;
}

/* ---- one compilation ---- */

/* What NVRTC lacks of the C library. */
static const char integers[] = "typedef unsigned char uint8_t;\ntypedef unsigned short uint16_t;\n"
                               "typedef unsigned int uint32_t;\ntypedef unsigned long long uint64_t;\n"
                               "typedef int int32_t;\n"
                               "#ifndef INFINITY\n#define INFINITY __int_as_float(0x7f800000)\n#endif\n"
                               "#ifndef NULL\n#define NULL 0\n#endif\n";

static int create(const kernel_nvrtc *x, const kernel_job *job, program *out)
{
    const char *texts[MOST_HEADERS] = {integers, job->params}, *names[MOST_HEADERS] = {"stdint.h", "params.h"};
    const char *main_text = NULL;
    int n = 2;
    const kernel_template_file *file;
    for (size_t i = 0; (file = kernel_template_get(i)) && n < MOST_HEADERS; i++) {
        if (strcmp(file->path, KERNEL_TEMPLATE_MAIN) == 0) main_text = file->text;
        texts[n] = file->text;
        names[n++] = file->path;
    }
    return x->CreateProgram(out, main_text, KERNEL_TEMPLATE_MAIN, n, texts, names);
}

static kvc_status refuse(const kernel_nvrtc *x, program p, const char *name, kvc_error *err)
{
    size_t n = 0;
    char *log = x->GetProgramLogSize(p, &n) == 0 && n ? calloc(n, 1) : NULL;
    if (log && x->GetProgramLog(p, log)) *log = '\0';
    kvc_status status = kernel_log_fail(name, "NVRTC", log ? log : "", log ? strlen(log) : 0, err);
    free(log);
    return status;
}

static kvc_status hand_over(const kernel_nvrtc *x, program p, uint32_t job, const char *name,
                            const kernel_build_options *o, kvc_error *err)
{
    size_t n = 0;
    char *bytes = x->GetCUBINSize(p, &n) == 0 && n ? malloc(n) : NULL;
    kvc_status status = bytes && x->GetCUBIN(p, bytes) == 0
                            ? o->take(o->context, job, bytes, n, err)
                            : kvc_fail(err, KVC_UNSUPPORTED, "%s: NVRTC gives no code for %s", name, o->target->name);
    free(bytes);
    return status;
}

static kvc_status compile(const kernel_nvrtc *x, uint32_t index, const kernel_job *job, const kernel_build_options *o,
                          kvc_error *err)
{
    program p = NULL;
    char arch[64];
    const char *options[3 + MOST_FOLDERS] = {arch, "-std=c++17", "-DATTEND_PARAMS=\"params.h\""};
    int n = 3;
    snprintf(arch, sizeof arch, "--gpu-architecture=%s", o->target->name);
    for (int i = 0; i < x->n_include; i++) options[n++] = x->include[i];
    if (create(x, job, &p)) return kvc_fail(err, KVC_NO_MEMORY, "%s: NVRTC makes no program", job->name);
    kvc_status status =
        x->CompileProgram(p, n, options) ? refuse(x, p, job->name, err) : hand_over(x, p, index, job->name, o, err);
    x->DestroyProgram(&p);
    return status;
}

kvc_status kernel_nvrtc_build(const kernel_nvrtc *x, const kernel_job *jobs, uint32_t n,
                              const kernel_build_options *o, kvc_error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        if (o->cancelled(o->context)) return kvc_fail(err, KVC_INTERRUPTED, "interrupted");
        KVC_TRY(compile(x, i, &jobs[i], o, err));
    }
    return KVC_OK;
}
