/* recipe.h - options as YAML and as JSON, by the option table. */
#ifndef CLI_RECIPE_H
#define CLI_RECIPE_H
#include <jansson.h>
#include <stdio.h>
#include "option_table.h"

/* Read a recipe over the defaults. Keys of other commands are checked and kept out of the way, so that one recipe
 * serves a whole pipeline. Errors name line and column. */
kvc_status recipe_read(settings *s, const char *path, kvc_error *err);
/* The options in effect for this command, as a recipe that recipe_read() takes. */
void recipe_print(const settings *s, FILE *out);
/* The values that results depend on: role ROLE_PROFILE or ROLE_PLAN; NULL: out of memory. */
json_t *recipe_json(const settings *s, option_role role);
#endif
