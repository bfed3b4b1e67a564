/* fake_runtime.h - the calls of the CUDA runtime that host code makes, over host memory, for tests without a GPU.
 *
 * The first stream that is created runs everything at once. What is asked of any other waits until something waits
 * for it (an event behind it, the stream, the device): code that does not ask for its copies to have arrived finds
 * other bytes. Device memory is filled with NaN when it is taken. */
#ifndef TESTS_GPU_FAKE_RUNTIME_H
#define TESTS_GPU_FAKE_RUNTIME_H
#include <cuda_runtime_api.h>
#include <functional>

/* At once, or behind what waits in the stream. */
void fake_enqueue(cudaStream_t stream, std::function<void()> work);
#endif
