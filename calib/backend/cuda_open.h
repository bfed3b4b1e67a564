/* cuda_open.h - the GPU side of backend_open(): cuda.cu in a build with CUDA, cuda_absent.c in one without.
 */
#ifndef CALIB_BACKEND_CUDA_OPEN_H
#define CALIB_BACKEND_CUDA_OPEN_H
#include "backend.h"

kvc_status backend_open_cuda(backend **out, int ordinal, int threads, kvc_error *err);
/* The first usable GPU, else the CPU. */
kvc_status backend_open_auto(backend **out, int threads, kvc_error *err);
#endif
