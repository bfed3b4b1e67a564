/* cuda_solver.h - the functions of cuSOLVER that the backend calls, from a library opened when the first of them is.
 */
#ifndef CALIB_BACKEND_CUDA_SOLVER_H
#define CALIB_BACKEND_CUDA_SOLVER_H
#include <cusolverDn.h>
#include "kvc/kvc.h"

#define CUDA_SOLVER_FUNCTIONS(X)                                                                                     \
    X(create, cusolverDnCreate)                                                                                      \
    X(destroy, cusolverDnDestroy)                                                                                    \
    X(set_stream, cusolverDnSetStream)                                                                               \
    X(create_params, cusolverDnCreateParams)                                                                         \
    X(destroy_params, cusolverDnDestroyParams)                                                                       \
    X(eigen_size, cusolverDnXsyevBatched_bufferSize)                                                                 \
    X(eigen, cusolverDnXsyevBatched)

typedef struct cuda_solver {
    void *library;
#define CUDA_SOLVER_MEMBER(name, symbol) __typeof__(symbol) *name;
    CUDA_SOLVER_FUNCTIONS(CUDA_SOLVER_MEMBER)
#undef CUDA_SOLVER_MEMBER
} cuda_solver;

/* On failure nothing is held. */
kvc_status cuda_solver_open(cuda_solver *solver, kvc_error *err);
void cuda_solver_close(cuda_solver *solver); /* zeros are fine */
#endif
