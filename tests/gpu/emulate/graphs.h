/* graphs.h - what both stand-ins for the CUDA runtime (cuda.cpp, fake_runtime.cpp) have in common: errors, captures,
 * graphs, and images, which are shared objects with the kernel as a function, made by emulate/nvcc.in. */
#ifndef TESTS_GPU_EMULATE_GRAPHS_H
#define TESTS_GPU_EMULATE_GRAPHS_H
#include <cuda_runtime_api.h>

enum { MULTIPROCESSORS = 3 };

/* The status, which cudaGetLastError() then has if it is an error. */
cudaError_t graphs_done(cudaError_t status);
/* Is any stream, or is this one, captured? */
bool graphs_capturing(void);
bool graphs_captures(cudaStream_t stream);
#endif
