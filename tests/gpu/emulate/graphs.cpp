/* graphs.cpp - see graphs.h. Nothing but launches is kept by a capture. */
#include "graphs.h"
#include "emulate.h"

#include <dlfcn.h>
#include <stdio.h>
#include "template/attend_args.h"
#include "template/attend_info.h"

struct CUgraph_st {
    std::vector<emulated_launch> launches;
};
struct CUgraphExec_st {
    std::vector<emulated_launch> launches;
};

static cudaError_t last;
static cudaStream_t capturing;
static std::vector<emulated_launch> captured;

cudaError_t graphs_done(cudaError_t status)
{
    return status == cudaSuccess ? status : last = status;
}

bool graphs_capturing(void)
{
    return capturing;
}

bool graphs_captures(cudaStream_t stream)
{
    return capturing && capturing == stream;
}

/* At once, or behind what waits in the stream. */
static void enqueue(cudaStream_t stream, std::function<void()> work)
{
    if (emulate_enqueue)
        emulate_enqueue(stream, work);
    else
        work();
}

extern "C" {

cudaError_t CUDARTAPI cudaGetLastError(void)
{
    cudaError_t status = last;
    last = cudaSuccess;
    return status;
}

const char *CUDARTAPI cudaGetErrorString(cudaError_t status)
{
    static char text[32];
    if (status == cudaErrorMemoryAllocation) return "out of memory";
    snprintf(text, sizeof text, "error %d", (int)status);
    return text;
}

/* ---- captures and graphs ---- */

cudaError_t CUDARTAPI cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status)
{
    *status = graphs_captures(stream) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode)
{
    if (capturing) return graphs_done(cudaErrorStreamCaptureUnsupported);
    captured.clear();
    capturing = stream;
    emulate_record(&captured);
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
    if (capturing != stream) return graphs_done(cudaErrorInvalidValue);
    emulate_record(NULL);
    *out = new CUgraph_st{captured};
    capturing = NULL;
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long)
{
    *out = new CUgraphExec_st{graph->launches};
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    enqueue(stream, [launches = exec->launches] {
        for (const emulated_launch &l : launches) emulate_launch(l.grid, l.block, l.shared_bytes, l.body);
    });
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    delete exec;
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

/* Time stands still. */
cudaError_t CUDARTAPI cudaEventElapsedTime(float *ms, cudaEvent_t, cudaEvent_t)
{
    *ms = 1.0f;
    return cudaSuccess;
}

/* ---- kernels ---- */

cudaError_t CUDARTAPI cudaLibraryLoadFromFile(cudaLibrary_t *out, const char *path, enum cudaJitOption *, void **,
                                              unsigned, enum cudaLibraryOption *, void **, unsigned)
{
    char magic[4] = "";
    FILE *in = fopen(path, "rb");
    bool elf = in && fread(magic, 1, 4, in) == 4 && memcmp(magic, "\177ELF", 4) == 0; /* dlopen() goes by names */
    if (in) fclose(in);
    *out = elf ? (cudaLibrary_t)dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    return graphs_done(*out ? cudaSuccess : in ? cudaErrorInvalidKernelImage : cudaErrorFileNotFound);
}

cudaError_t CUDARTAPI cudaLibraryUnload(cudaLibrary_t library)
{
    dlclose(library);
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaLibraryGetKernel(cudaKernel_t *out, cudaLibrary_t library, const char *name)
{
    *out = (cudaKernel_t)dlsym(library, name);
    return graphs_done(*out ? cudaSuccess : cudaErrorSymbolNotFound);
}

cudaError_t CUDARTAPI cudaLibraryGetGlobal(void **out, size_t *bytes, cudaLibrary_t library, const char *name)
{
    *out = dlsym(library, name);
    *bytes = sizeof(attend_info); /* no image has another global */
    return graphs_done(*out ? cudaSuccess : cudaErrorSymbolNotFound);
}

cudaError_t CUDARTAPI cudaFuncSetAttribute(const void *, enum cudaFuncAttribute, int)
{
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaFuncGetAttributes(struct cudaFuncAttributes *, const void *)
{
    return cudaSuccess;
}

/* Of an attention image; other kernels are started by KVC_LAUNCH. */
cudaError_t CUDARTAPI cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **arguments,
                                       size_t shared_bytes, cudaStream_t stream)
{
    typedef void image_kernel(attend_layer, attend_batch, attend_work);
    emulate_start(stream, grid, block, shared_bytes, (image_kernel *)kernel, *(attend_layer *)arguments[0],
                  *(attend_batch *)arguments[1], *(attend_work *)arguments[2]);
    return cudaSuccess;
}
}
