/* builtin.c - the built-in prompt set: the files of configs/prompts/, compiled in (builtin.cmake). */
#include "prompts.h"

/* builtin_list.h is written by the build: BUILTIN(symbol, "name", bytes) for each file. */
#define BUILTIN(symbol, name, bytes) extern const unsigned char symbol[];
#include "builtin_list.h"
#undef BUILTIN

#define BUILTIN(symbol, name, bytes) {name, (const char *)symbol, bytes},
static const builtin_prompt all[] = {
#include "builtin_list.h"
};

const builtin_prompt *builtin_prompts(size_t *n)
{
    *n = sizeof all / sizeof *all;
    return all;
}
