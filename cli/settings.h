/* settings.h - what one invocation of kvcalib was asked to do: values of the options (option_table.c) and the
 * operands. */
#ifndef CLI_SETTINGS_H
#define CLI_SETTINGS_H
#include <stdbool.h>
#include "fit.h"
#include "kvc/kvc.h"
#include "yaml.h"

typedef struct text_list {
    const char **items; /* the array is owned, the texts are borrowed */
    size_t n;
} text_list;

/* A count, or one that `run` is to look for; then n is the default, which the profile is made with. */
typedef struct count_or_auto {
    uint64_t n;
    bool is_auto;
} count_or_auto;

enum { MAX_OPTIONS = 96 };

typedef enum value_source { FROM_NOWHERE, FROM_DEFAULT, FROM_RECIPE, FROM_COMMAND_LINE } value_source;

typedef struct command command;

/* Texts are borrowed from argv and from the recipe, which stays open until settings_free(). */
typedef struct settings {
    const command *command;
    const char *operands[2];
    size_t n_operands;
    value_source source[MAX_OPTIONS]; /* by row of the option table */
    yaml_file recipe_file;

    const char *output, *recipe, *space, *workdir, *device, *progress, *log_file;
    const char *method, *front, *report, *profile, *model, *text, *config, *plan, *prompt, *prompt_file, *dtype;
    text_list prompts, holdout, loads;
    count_or_auto sinks, window;
    uint64_t context, page, seq_len, calib_tokens, holdout_tokens, anchor_tokens, probe_rows;
    uint64_t probe_sequences, fit_rows, table_rows, restarts, iterations, price_tokens, price_rows, price_anchors,
        evaluations;
    uint64_t max_pairs, max_constants; /* max_pairs 0: any number */
    uint64_t repeats, memory, threads, seed, max_tokens, n_tokens, top_k;
    const char *price, *weights, *objective, *format;
    const char *kernels, *arch;
    double ridge;
    double bits, max_loss, checkpoint_interval, temperature, top_p; /* bits, max_loss: 0 = not asked for */
    bool differs;                                                   /* set by diff and verify: exit code 1 */
    bool equal_pages, limit_constants;                              /* limit_constants: max_constants was asked for */
    bool softcap, resume, dry_run, json, chat, print_config, verbose, quiet, help, version;
} settings;

/* Defaults, then the recipe, then the command line; argv[0] is left out. A usage error is KVC_INVALID. */
kvc_status settings_parse(settings *out, int argc, char **argv, kvc_error *err);
void settings_free(settings *s);
/* Given on the command line or in a recipe, by recipe key. */
bool settings_asked(const settings *s, const char *name);
fit_options settings_fit(const settings *s);
/* --sinks, --window and --page; what was left at its default, or is auto, comes from `defaults` where that is not
 * NULL. */
kvc_token_policy settings_tokens(const settings *s, const kvc_token_policy *defaults);
#endif
