/* tokenizer_split_load.c - "pre_tokenizer" into a flat list of steps. ByteLevel, whose alphabet the
 * vocabulary is written in, must be there and be the last; it may bring GPT-2's own pattern as a step. */
#include "tokenizer_split.h"

#include <stdlib.h>
#include <string.h>

static const char *const SUPPORTED = "ByteLevel, Split, Digits and Sequence are";
static const char *const GPT2_PATTERN =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static split_step *add_step(split_plan *plan)
{
    return plan->n < SPLIT_STEPS_MAX ? &plan->steps[plan->n++] : NULL;
}

static kvc_status too_many(const field *f, kvc_error *err)
{
    return field_fail(f, KVC_UNSUPPORTED, err, "is beyond the limit of %d steps", SPLIT_STEPS_MAX);
}

static kvc_status compile(pcre2_code **out, const char *pattern, size_t n, uint32_t options, const field *where,
                          kvc_error *err)
{
    int code;
    size_t at;
    PCRE2_UCHAR text[120];
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context) return field_fail(where, KVC_NO_MEMORY, err, "out of memory");
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    *out = pcre2_compile((PCRE2_SPTR)pattern, n, options, &code, &at, context);
    pcre2_compile_context_free(context);
    if (!*out) {
        pcre2_get_error_message(code, text, sizeof text);
        return field_fail(where, KVC_UNSUPPORTED, err, "the regular expression does not compile: %s", (char *)text);
    }
    pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE); /* without JIT it is interpreted: the same, slower */
    return KVC_OK;
}

static kvc_status compile_regex(pcre2_code **out, const char *pattern, const field *where, kvc_error *err)
{
    text_buffer rewritten = {0};
    kvc_status status = regex_translate(&rewritten, pattern, strlen(pattern), where, err);
    if (status == KVC_OK)
        status = compile(out, rewritten.bytes, rewritten.n, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, where, err);
    free(rewritten.bytes);
    return status;
}

static kvc_status load_byte_level(split_plan *plan, const field *f, kvc_error *err)
{
    bool prefix_space, use_regex, trim;
    split_step *step;
    KVC_TRY(field_only(f, (const char *const[]){"type", "add_prefix_space", "trim_offsets", "use_regex", NULL}, err));
    KVC_TRY(field_bool(f, "add_prefix_space", true, &prefix_space, err));
    KVC_TRY(field_bool(f, "use_regex", true, &use_regex, err));
    KVC_TRY(field_bool(f, "trim_offsets", true, &trim, err)); /* offsets are not ours to report */
    if (prefix_space) {
        if (!(step = add_step(plan))) return too_many(f, err);
        step->kind = SPLIT_PREFIX_SPACE;
    }
    plan->byte_level = true;
    if (!use_regex) return KVC_OK;
    if (!(step = add_step(plan))) return too_many(f, err);
    step->kind = SPLIT_PATTERN;
    step->behavior = ISOLATED;
    return compile_regex(&step->code, GPT2_PATTERN, f, err);
}

static kvc_status load_digits(split_plan *plan, const field *f, kvc_error *err)
{
    bool individual;
    split_step *step;
    KVC_TRY(field_only(f, (const char *const[]){"type", "individual_digits", NULL}, err));
    KVC_TRY(field_bool(f, "individual_digits", false, &individual, err));
    if (!(step = add_step(plan))) return too_many(f, err);
    step->kind = SPLIT_DIGITS;
    step->behavior = individual ? ISOLATED : CONTIGUOUS;
    return KVC_OK;
}

static kvc_status load_behavior(const field *f, split_behavior *out, kvc_error *err)
{
    static const char *const names[] = {[ISOLATED] = "Isolated",
                                        [REMOVED] = "Removed",
                                        [CONTIGUOUS] = "Contiguous",
                                        [MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
                                        [MERGED_WITH_NEXT] = "MergedWithNext"};
    const char *text;
    size_t n;
    KVC_TRY(field_text(f, &text, &n, err));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(text, names[i])) return *out = (split_behavior)i, KVC_OK;
    return field_unsupported(f, text, "Isolated, Removed, Contiguous, MergedWithPrevious and MergedWithNext are",
                             err);
}

static kvc_status load_pattern(split_step *step, const field *pattern, kvc_error *err)
{
    field regex = field_get(pattern, "Regex"), string = field_get(pattern, "String");
    const char *text;
    size_t n;
    KVC_TRY(field_object(pattern, err));
    KVC_TRY(field_only(pattern, (const char *const[]){"Regex", "String", NULL}, err));
    if (!regex.value == !string.value)
        return field_fail(pattern, KVC_FORMAT, err, "needs either 'Regex' or 'String'");
    KVC_TRY(field_text(regex.value ? &regex : &string, &text, &n, err));
    if (regex.value) return compile_regex(&step->code, text, &regex, err);
    if (n == 0) return field_fail(&string, KVC_UNSUPPORTED, err, "is empty");
    return compile(&step->code, text, n, PCRE2_UTF | PCRE2_LITERAL, &string, err);
}

static kvc_status load_split(split_plan *plan, const field *f, kvc_error *err)
{
    field pattern = field_get(f, "pattern"), behavior = field_get(f, "behavior");
    split_step *step;
    KVC_TRY(field_only(f, (const char *const[]){"type", "pattern", "behavior", "invert", NULL}, err));
    if (!(step = add_step(plan))) return too_many(f, err);
    step->kind = SPLIT_PATTERN;
    KVC_TRY(load_behavior(&behavior, &step->behavior, err));
    KVC_TRY(field_bool(f, "invert", false, &step->invert, err));
    return load_pattern(step, &pattern, err);
}

static kvc_status load_component(split_plan *plan, const field *f, unsigned depth, kvc_error *err)
{
    const char *type;
    size_t n;
    KVC_TRY(field_type(f, &type, err));
    if (plan->byte_level && type[0])
        return field_fail(f, KVC_UNSUPPORTED, err, "%s after ByteLevel is not supported",
                          quote(type, strlen(type)).text);
    if (!strcmp(type, "ByteLevel")) return load_byte_level(plan, f, err);
    if (!strcmp(type, "Digits")) return load_digits(plan, f, err);
    if (!strcmp(type, "Split")) return load_split(plan, f, err);
    if (strcmp(type, "Sequence")) return field_unsupported(f, type, SUPPORTED, err);
    if (depth == SPLIT_STEPS_MAX) return field_fail(f, KVC_UNSUPPORTED, err, "is nested too deep");
    field list = field_get(f, "pretokenizers");
    KVC_TRY(field_only(f, (const char *const[]){"type", "pretokenizers", NULL}, err));
    KVC_TRY(field_array(&list, &n, err));
    for (size_t i = 0; i < n; i++) {
        field step = field_at(&list, i);
        KVC_TRY(load_component(plan, &step, depth + 1, err));
    }
    return KVC_OK;
}

kvc_status split_load(split_plan **out, const field *f, kvc_error *err)
{
    split_plan *plan = *out = calloc(1, sizeof *plan);
    if (!plan) return field_fail(f, KVC_NO_MEMORY, err, "out of memory");
    KVC_TRY(load_component(plan, f, 0, err));
    if (!plan->byte_level) return field_fail(f, KVC_UNSUPPORTED, err, "has no ByteLevel: not a byte-level tokenizer");
    return KVC_OK;
}

void split_free(split_plan *plan)
{
    if (!plan) return;
    for (size_t i = 0; i < plan->n; i++) pcre2_code_free(plan->steps[i].code);
    free(plan);
}
