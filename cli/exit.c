#include "exit.h"
#include <assert.h>

int exit_code(kvc_status status)
{
    switch (status) {
    case KVC_OK: return 0;
    case KVC_INVALID: return EXIT_USAGE;
    case KVC_INPUT:
    case KVC_FORMAT:
    case KVC_UNSUPPORTED:
    case KVC_MISMATCH:
    case KVC_NONFINITE: return EXIT_INPUT;
    case KVC_INFEASIBLE: return EXIT_INFEASIBLE;
    case KVC_NO_MEMORY:
    case KVC_FULL:
    case KVC_IO: return EXIT_RESOURCE;
    case KVC_INTERRUPTED: return EXIT_INTERRUPTED;
    case KVC_LOSSY: return EXIT_LOSSY;
    case KVC_STATUS_COUNT: break;
    }
    assert(!"a status without an exit code");
    return EXIT_USAGE;
}
