/* help.h - help texts, from the option table. */
#ifndef CLI_HELP_H
#define CLI_HELP_H
#include <stdio.h>
#include "option_table.h"
void help_general(FILE *out);
void help_command(FILE *out, const command *c);
#endif
