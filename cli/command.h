/* command.h - the subcommands, one file each (cmd_*.c). They return a status; main() prints and exits. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H
#include "settings.h"

kvc_status command_run(settings *s, kvc_error *err);
kvc_status command_profile(settings *s, kvc_error *err);
kvc_status command_solve(settings *s, kvc_error *err);
kvc_status command_compile(settings *s, kvc_error *err);
kvc_status command_eval(settings *s, kvc_error *err);
kvc_status command_generate(settings *s, kvc_error *err);
kvc_status command_inspect(settings *s, kvc_error *err);
kvc_status command_diff(settings *s, kvc_error *err);
kvc_status command_verify(settings *s, kvc_error *err);
kvc_status command_import(settings *s, kvc_error *err);
kvc_status command_bench(settings *s, kvc_error *err);
#endif
