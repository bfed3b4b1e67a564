/* settings.c - the command line, in the way of getopt_long: --name value, --name=value, -x value, -xvalue, -vq, and
 * -- after which everything is an operand. Order: defaults, recipe, command line. */
#include "limits.h"
#include "option_table.h"
#include "recipe.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct cursor {
    int argc, next;
    char **argv;
    settings *s;
    kvc_error *err;
    bool recipe_only; /* first pass: find --recipe, check names; second pass: set the rest */
} cursor;

static kvc_status fail_value(const option_row *row, const char *dash, kvc_status status, const kvc_error *why,
                             kvc_error *err)
{
    if (dash[1] == '-') return kvc_fail(err, status, "--%s: %s", row->name, why->message);
    return kvc_fail(err, status, "-%c: %s", row->letter, why->message);
}

/* Set from the command line; the first value of a list replaces what the recipe gave. */
static kvc_status assign(cursor *c, const option_row *row, const char *dash, const char *text)
{
    settings *s = c->s;
    value_source *source = &s->source[row - option_table];
    kvc_error why = {0};
    if (c->recipe_only && row != option_find("recipe", 6)) return KVC_OK;
    if (*source != FROM_COMMAND_LINE) option_unset(row, s);
    kvc_status status = option_set(row, s, text, &why);
    if (status) return fail_value(row, dash, status, &why, c->err);
    *source = FROM_COMMAND_LINE;
    return KVC_OK;
}

static kvc_status unknown_option(const cursor *c, const char *arg, const char *name)
{
    const char *near = option_suggest(name, c->s->command);
    const char *elsewhere = near ? NULL : option_suggest(name, NULL);
    const char *word = c->s->command->name;
    if (near) return kvc_fail(c->err, KVC_INVALID, "%s: unknown option %s; did you mean --%s?", word, arg, near);
    if (elsewhere)
        return kvc_fail(c->err, KVC_INVALID, "%s: unknown option %s; did you mean --%s of another command?", word,
                        arg, elsewhere);
    return kvc_fail(c->err, KVC_INVALID, "%s: unknown option %s; see kvcalib %s --help", word, arg, word);
}

static kvc_status foreign_option(const cursor *c, const option_row *row)
{
    char owners[160] = "";
    for (size_t i = 0; i < n_commands; i++) {
        size_t n = strlen(owners);
        if (option_applies(row, &command_table[i]))
            snprintf(owners + n, sizeof owners - n, "%s%s", n ? ", " : "", command_table[i].name);
    }
    return kvc_fail(c->err, KVC_INVALID, "%s: --%s is an option of %s", c->s->command->name, row->name, owners);
}

/* The option's value: after "=", or glued to a letter, or the next word. */
static kvc_status take_value(cursor *c, const option_row *row, const char *arg, const char *glued)
{
    if (glued) return assign(c, row, arg, glued);
    if (c->next == c->argc) return kvc_fail(c->err, KVC_INVALID, "%s needs a value: %s", arg, row->argument);
    return assign(c, row, arg, c->argv[c->next++]);
}

static kvc_status parse_long(cursor *c, const char *arg)
{
    const char *name = arg + 2, *equals = strchr(name, '=');
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    char bare[64];
    snprintf(bare, sizeof bare, "%.*s", (int)(n < 63 ? n : 63), name);
    const option_row *row = option_find(name, n);
    if (!row) return unknown_option(c, arg, bare);
    if (!option_applies(row, c->s->command)) return foreign_option(c, row);
    if (row->type != OPTION_FLAG) return take_value(c, row, arg, equals ? equals + 1 : NULL);
    return assign(c, row, arg, equals ? equals + 1 : "true");
}

static kvc_status parse_letters(cursor *c, const char *arg)
{
    for (const char *p = arg + 1; *p; p++) {
        const option_row *row = option_find_letter(*p);
        char letter[] = {'-', *p, 0};
        if (!row)
            return kvc_fail(c->err, KVC_INVALID, "%s: unknown option %s; see kvcalib %s --help", c->s->command->name,
                            letter, c->s->command->name);
        if (!option_applies(row, c->s->command)) return foreign_option(c, row);
        if (row->type != OPTION_FLAG) return take_value(c, row, letter, p[1] ? p + 1 : NULL);
        KVC_TRY(assign(c, row, letter, "true"));
    }
    return KVC_OK;
}

static kvc_status take_operand(cursor *c, const char *arg)
{
    settings *s = c->s;
    const command *command = s->command;
    if (c->recipe_only) return KVC_OK;
    if (s->n_operands == command->n_operands)
        return kvc_fail(c->err, KVC_INVALID, "%s: \"%s\" is one operand too many; it takes %s", command->name, arg,
                        command->operands);
    s->operands[s->n_operands++] = arg;
    return KVC_OK;
}

static kvc_status parse_words(cursor *c)
{
    bool options_end = false;
    for (c->next = 0; c->next < c->argc;) {
        const char *arg = c->argv[c->next++];
        if (options_end || arg[0] != '-' || !arg[1])
            KVC_TRY(take_operand(c, arg));
        else if (strcmp(arg, "--") == 0)
            options_end = true;
        else
            KVC_TRY(arg[1] == '-' ? parse_long(c, arg) : parse_letters(c, arg));
    }
    return KVC_OK;
}

static kvc_status set_defaults(settings *s, kvc_error *err)
{
    for (size_t i = 0; i < n_options; i++) {
        if (!option_table[i].fallback) continue;
        KVC_TRY(option_set(&option_table[i], s, option_table[i].fallback, err));
        s->source[i] = FROM_DEFAULT;
    }
    return KVC_OK;
}

/* --bits and --max-loss exclude each other; the one from the stronger source stays. */
static kvc_status settle_budget(settings *s, kvc_error *err)
{
    const option_row *bits = option_find("bits", 4), *loss = option_find("max-loss", 8);
    value_source from_bits = s->source[bits - option_table], from_loss = s->source[loss - option_table];
    if (from_bits == from_loss)
        return kvc_fail(err, KVC_INVALID, "--bits and --max-loss exclude each other: one budget, please");
    option_unset(from_bits > from_loss ? loss : bits, s);
    return KVC_OK;
}

/* Side constraints are kept by the exact method alone. */
static kvc_status settle_limits(settings *s, kvc_error *err)
{
    char limits[128];
    s->limit_constants = settings_asked(s, "max-constants");
    limits_text(s, limits, sizeof limits);
    if (!limits_asked(s)) return KVC_OK;
    if (strcmp(s->method, "exact") != 0)
        return kvc_fail(err, KVC_INVALID, "%s: --method %s knows no side constraints, only exact does", limits,
                        s->method);
    if (s->evaluations && s->command == command_find("run"))
        return kvc_fail(err, KVC_INVALID, "%s: --evaluations knows no side constraints; leave out one or the other",
                        limits);
    return KVC_OK;
}

/* Only `run` measures plans and can look for a policy; a recipe of it serves the other commands all the same. */
static kvc_status settle_policy(const settings *s, kvc_error *err)
{
    const count_or_auto *counts[] = {&s->sinks, &s->window};
    bool runs = s->command == command_find("run");
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "window" : "sinks";
        bool typed = s->source[option_find(name, strlen(name)) - option_table] == FROM_COMMAND_LINE;
        if (!counts[i]->is_auto) continue;
        if (!runs && typed)
            return kvc_fail(err, KVC_INVALID,
                            "%s: --%s auto takes measured plans (kvcalib run); give a number of tokens",
                            s->command->name, name);
        if (runs && strcmp(s->method, "exact") != 0)
            return kvc_fail(err, KVC_INVALID, "--%s auto: --method %s does not look for it, only exact does", name,
                            s->method);
    }
    return KVC_OK;
}

/* Without the model nothing is measured; a recipe of `run` serves `solve` all the same. */
static kvc_status settle_method(const settings *s, kvc_error *err)
{
    if (strcmp(s->method, "kvtuner") == 0 && strcmp(s->objective, "max") == 0)
        return kvc_fail(err, KVC_INVALID, "--method kvtuner knows the mean alone, not --objective max");
    bool asked = s->source[option_find("evaluations", 11) - option_table] == FROM_COMMAND_LINE;
    if (s->command != command_find("solve") || !asked || strcmp(s->method, "kvtuner") == 0) return KVC_OK;
    return kvc_fail(err, KVC_INVALID,
                    "solve: --evaluations goes with --method kvtuner; to refine a plan takes the model "
                    "(kvcalib run)");
}

static kvc_status check_complete(const settings *s, kvc_error *err)
{
    const command *c = s->command;
    if (s->help || s->version || s->print_config) return KVC_OK;
    if (s->n_operands < c->n_operands)
        return kvc_fail(err, KVC_INVALID, "%s: missing operand; it takes %s (see kvcalib %s --help)", c->name,
                        c->operands, c->name);
    if ((option_find("output", 6)->commands & c->mask) && !s->output && !s->dry_run)
        return kvc_fail(err, KVC_INVALID, "%s: say with -o what to write", c->name);
    return KVC_OK;
}

/* A first word that is no command is the MODEL of `run`; but a typing error is not taken for a model. */
static kvc_status find_command(settings *s, int *argc, char ***argv, kvc_error *err)
{
    const char *word = *argc ? (*argv)[0] : NULL;
    s->command = word ? command_find(word) : NULL;
    if (s->command) {
        ++*argv, --*argc;
        return KVC_OK;
    }
    bool missing = word && word[0] != '-' && access(word, F_OK) != 0;
    const char *near = missing ? command_suggest(word) : NULL;
    if (missing && !near && !strchr(word, '/') && !strchr(word, '.'))
        return kvc_fail(err, KVC_INVALID, "\"%s\" is neither a command nor a model; see kvcalib --help", word);
    if (near) return kvc_fail(err, KVC_INVALID, "unknown command \"%s\"; did you mean \"%s\"?", word, near);
    s->command = command_find("run");
    return KVC_OK;
}

kvc_status settings_parse(settings *out, int argc, char **argv, kvc_error *err)
{
    *out = (settings){0};
    KVC_TRY(find_command(out, &argc, &argv, err));
    cursor c = {.argc = argc, .argv = argv, .s = out, .err = err, .recipe_only = true};
    KVC_TRY(set_defaults(out, err));
    KVC_TRY(parse_words(&c));
    if (out->recipe) KVC_TRY(recipe_read(out, out->recipe, err));
    c.recipe_only = false;
    KVC_TRY(parse_words(&c));
    if (out->page % 8) return kvc_fail(err, KVC_INVALID, "--page: %u is not a multiple of 8", (unsigned)out->page);
    KVC_TRY(settle_budget(out, err));
    KVC_TRY(settle_limits(out, err));
    KVC_TRY(settle_method(out, err));
    KVC_TRY(settle_policy(out, err));
    return check_complete(out, err);
}

void settings_free(settings *s)
{
    for (size_t i = 0; i < n_options; i++)
        if (option_table[i].type == OPTION_LIST) option_unset(&option_table[i], s);
    yaml_close(&s->recipe_file);
}

bool settings_asked(const settings *s, const char *name)
{
    return s->source[option_find(name, strlen(name)) - option_table] > FROM_DEFAULT;
}

static uint32_t chosen_or(bool asked, uint64_t value, const uint32_t *fallback)
{
    return asked || !fallback ? (uint32_t)value : *fallback;
}

static uint32_t count_or(const settings *s, const char *name, const count_or_auto *value, const uint32_t *fallback)
{
    return chosen_or(settings_asked(s, name) && !value->is_auto, value->n, fallback);
}

kvc_token_policy settings_tokens(const settings *s, const kvc_token_policy *defaults)
{
    return (kvc_token_policy){
        .sinks = count_or(s, "sinks", &s->sinks, defaults ? &defaults->sinks : NULL),
        .window = count_or(s, "window", &s->window, defaults ? &defaults->window : NULL),
        .page = chosen_or(settings_asked(s, "page"), s->page, defaults ? &defaults->page : NULL),
    };
}

fit_options settings_fit(const settings *s)
{
    return (fit_options){.seed = s->seed,
                         .table_rows = s->table_rows,
                         .restarts = (uint32_t)s->restarts,
                         .iterations = (uint32_t)s->iterations,
                         .ridge = s->ridge};
}
