/* cuda_open.h - the GPU side of backend_open(): cuda.c in a build with CUDA, cuda_absent.c in one without. */
#ifndef CALIB_BACKEND_CUDA_OPEN_H
#define CALIB_BACKEND_CUDA_OPEN_H
#include "backend.h"

/* `fast`: products of bfloat16 by tensor cores, as backend_open() says. */
kvc_status backend_open_cuda(backend **out, int ordinal, bool fast, int threads, kvc_error *err);

/* The device of a CUDA backend, and the stream on which its operations follow one another: for others that work on
 * buffers of its, between operations, which read and write them before and after. Only in a build with CUDA. */
struct CUstream_st;
void cuda_stream_of(const backend *b, int *device, struct CUstream_st **stream);
#endif
