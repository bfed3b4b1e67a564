/* cuda_solver.c - finds cuSOLVER (cuda_library.h). */
#include "cuda_solver.h"
#include "cuda_library.h"

#define LIBRARY "libcusolver.so." CUDA_TEXT(CUSOLVER_VER_MAJOR)

static kvc_status find_functions(cuda_solver *solver, kvc_error *err)
{
#define FIND(name, symbol)                                                                                           \
    KVC_TRY(cuda_library_find(solver->library, LIBRARY, CUDA_TEXT(symbol), &solver->name, err));
    CUDA_SOLVER_FUNCTIONS(FIND)
#undef FIND
    return KVC_OK;
}

kvc_status cuda_solver_open(cuda_solver *solver, kvc_error *err)
{
    *solver = (cuda_solver){0};
    KVC_TRY(cuda_library_open(&solver->library, LIBRARY, err));
    kvc_status status = find_functions(solver, err);
    if (status != KVC_OK) cuda_solver_close(solver);
    return status;
}

void cuda_solver_close(cuda_solver *solver)
{
    cuda_library_close(solver->library);
    *solver = (cuda_solver){0};
}
