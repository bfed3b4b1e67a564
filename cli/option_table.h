/* option_table.h - every option of kvcalib in one table. It drives parsing, --help, recipes, --print-config and the
 * record of what a result was made with. A new option is one row here and one field in settings.h. */
#ifndef CLI_OPTION_TABLE_H
#define CLI_OPTION_TABLE_H
#include <stdio.h>
#include "settings.h"

typedef enum option_type {
    OPTION_FLAG,   /* bool */
    OPTION_TEXT,   /* const char * */
    OPTION_CHOICE, /* const char *, one of the words in `argument` (a|b|c) */
    OPTION_LIST,   /* text_list, repeatable */
    OPTION_COUNT,  /* uint64_t */
    OPTION_AUTO,   /* count_or_auto */
    OPTION_SIZE,   /* uint64_t, bytes: 4096, 512M, 2G */
    OPTION_NUMBER, /* double */
    OPTION_LOSS    /* double: 1% or 0.01 */
} option_type;

typedef enum option_role {               /* which results depend on the value */
                           ROLE_NONE,    /* none: where and how to work */
                           ROLE_PROFILE, /* profile.h5 and all that follows */
                           ROLE_PLAN     /* only what follows the profile */
} option_role;

typedef struct option_row {
    const char *name; /* without dashes */
    char letter;      /* or 0 */
    const char *key;  /* in recipes; NULL: command line only */
    option_type type;
    option_role role;
    double min, max;      /* of counts, sizes and numbers */
    const char *fallback; /* as text; NULL: unset */
    unsigned commands;    /* bit mask of ON_... */
    size_t offset;        /* in settings */
    const char *argument; /* in help: "FILE" */
    const char *help;
} option_row;

enum {
    ON_RUN = 1,
    ON_PROFILE = 2,
    ON_SOLVE = 4,
    ON_COMPILE = 8,
    ON_EVAL = 16,
    ON_GENERATE = 32,
    ON_INSPECT = 64,
    ON_DIFF = 128,
    ON_VERIFY = 256,
    ON_IMPORT = 512,
    ON_BENCH = 1024,
    ON_ALL = 2047
};

struct command {
    const char *name;
    unsigned mask;        /* one ON_... */
    const char *operands; /* in help: "MODEL" */
    size_t n_operands;
    const char *summary;
    kvc_status (*run)(settings *s, kvc_error *err);
};

extern const option_row option_table[];
extern const size_t n_options;
extern const command command_table[];
extern const size_t n_commands;

const command *command_find(const char *name);             /* or NULL */
const option_row *option_find(const char *name, size_t n); /* by long name, or NULL */
const option_row *option_find_letter(char letter);
bool option_applies(const option_row *row, const command *c);
/* The nearest long name among the options of a command (NULL: of all), or NULL. */
const char *option_suggest(const char *name, const command *c);
/* The nearest command, or NULL. */
const char *command_suggest(const char *name);

/* option_value.c: text to field and back. A list appends. Messages name neither source nor option. */
kvc_status option_set(const option_row *row, settings *s, const char *text, kvc_error *err);
void option_unset(const option_row *row, settings *s);
bool option_is_set(const option_row *row, const settings *s);
#endif
