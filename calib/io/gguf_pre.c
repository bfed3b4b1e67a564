/* gguf_pre.c - the pre-tokenizers that tokenizer.ggml.pre names, as tokenizer.json components. Another name
 * is one line here; a name that is not here is refused, because a wrong one gives wrong tokens without a
 * sign. */
#include "gguf_private.h"

#define BYTES_SPLIT                                                                                                  \
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": true}"
#define BYTES_ONLY                                                                                                   \
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": false}"
#define SPLIT(regex)                                                                                                 \
    "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"" regex "\"}, \"behavior\": \"Isolated\", \"invert\": false}"
#define SEQUENCE(parts) "{\"type\": \"Sequence\", \"pretokenizers\": [" parts "]}"

/* One regular expression, apart from how many digits go together. */
#define WORDS_OF_LLAMA3(digits)                                                                                      \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|" digits                                   \
    "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define WORDS_OF_GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\\\p{L}+| ?\\\\p{N}+| ?[^\\\\s\\\\p{L}\\\\p{N}]+|\\\\s+(?!\\\\S)"

#define SINGLE_DIGITS SEQUENCE("{\"type\": \"Digits\", \"individual_digits\": true}, " BYTES_SPLIT)
#define LLAMA3 SEQUENCE(SPLIT(WORDS_OF_LLAMA3("\\\\p{N}{1,3}")) ", " BYTES_ONLY)
#define QWEN2 SEQUENCE(SPLIT(WORDS_OF_LLAMA3("\\\\p{N}")) ", " BYTES_ONLY)
/* ggml's own fallback: four splits, one after the other. */
#define DEFAULT                                                                                                      \
    SEQUENCE(SPLIT("[\\\\p{P}\\\\$\\\\+<=>\\\\^~\\\\|]+") ", " SPLIT(WORDS_OF_GPT2) ", " SPLIT(                      \
        "\\\\p{N}+") ", " SPLIT("[0-9][0-9][0-9]") ", " BYTES_ONLY)

static const struct {
    const char *name;
    gguf_pre pre;
} known[] = {
    {"smollm", {SINGLE_DIGITS, false, false, false}}, {"starcoder", {SINGLE_DIGITS, false, false, false}},
    {"refact", {SINGLE_DIGITS, false, false, false}}, {"gpt-2", {BYTES_SPLIT, false, false, false}},
    {"llama-bpe", {LLAMA3, false, true, true}},       {"llama3", {LLAMA3, false, true, true}},
    {"llama-v3", {LLAMA3, false, true, true}},        {"qwen2", {QWEN2, true, false, false}},
    {"default", {DEFAULT, false, false, false}},
};

const gguf_pre *gguf_pre_find(gguf_text name)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (gguf_text_is(name, known[i].name)) return &known[i].pre;
    return NULL;
}
