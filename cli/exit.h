/* exit.h - the exit code of a status, as docs/commands.md lists them. */
#ifndef CLI_EXIT_H
#define CLI_EXIT_H
#include "kvc/kvc.h"
enum {
    EXIT_DIFFERS = 1,
    EXIT_USAGE = 2,
    EXIT_INPUT = 3,
    EXIT_INFEASIBLE = 4,
    EXIT_RESOURCE = 5,
    EXIT_INTERRUPTED = 6,
    EXIT_LOSSY = 7
};
int exit_code(kvc_status status);
#endif
