/* option_table.c - the options and commands of kvcalib, and how names are found. */
#include "option_table.h"
#include "command.h"
#include "kvc/codec.h"
#include <string.h>

#define AT(field) offsetof(settings, field)
#define MOST_TOKENS 1e12
#define ON_MODEL (ON_RUN | ON_PROFILE | ON_EVAL | ON_GENERATE)
#define ON_LONG (ON_RUN | ON_PROFILE | ON_EVAL)
#define ON_POLICY (ON_RUN | ON_PROFILE | ON_COMPILE | ON_EVAL)
#define ON_WRITES (ON_RUN | ON_PROFILE | ON_SOLVE | ON_COMPILE | ON_IMPORT)
#define ON_PLAN (ON_RUN | ON_SOLVE)
#define ON_JSON (ON_RUN | ON_SOLVE | ON_EVAL | ON_INSPECT | ON_DIFF | ON_VERIFY | ON_BENCH)

const option_row option_table[] = {
    {"output", 'o', "output", OPTION_TEXT, ROLE_NONE, 0, 0, NULL, ON_WRITES, AT(output), "FILE",
     "what to write; nothing is written unless the command succeeds"},
    {"bits", 0, "bits", OPTION_NUMBER, ROLE_PLAN, 0.01, 64, NULL, ON_PLAN, AT(bits), "B",
     "at most B true bits per value at --context, everything included"},
    {"max-loss", 0, "max_loss", OPTION_LOSS, ROLE_PLAN, 1e-9, 1e6, "1%", ON_PLAN, AT(max_loss), "X",
     "or: the smallest cache whose predicted perplexity rises at most by X (1% or 0.01)"},
    {"method", 0, "method", OPTION_CHOICE, ROLE_PLAN, 0, 0, "exact", ON_PLAN, AT(method),
     "exact|greedy|random|kvtuner", "how the plan is found"},
    {"objective", 0, "objective", OPTION_CHOICE, ROLE_PLAN, 0, 0, "mean", ON_PLAN, AT(objective), "mean|max",
     "over several files of text: the mean loss, or that of the file that loses most"},
    {"max-pairs", 0, "max_pairs", OPTION_COUNT, ROLE_PLAN, 1, 65536, NULL, ON_PLAN, AT(max_pairs), "M",
     "at most M distinct (key, value) pairs of codecs: kernels to build"},
    {"equal-pages", 0, "equal_pages", OPTION_FLAG, ROLE_PLAN, 0, 0, NULL, ON_PLAN, AT(equal_pages), NULL,
     "pages of one size in all layers; bits count the padding"},
    {"max-constants", 0, "max_constants", OPTION_SIZE, ROLE_PLAN, 0, 1e18, NULL, ON_PLAN, AT(max_constants), "SIZE",
     "at most SIZE of constants (tables, bases) beside the cache"},
    {"prompts", 0, "prompts", OPTION_LIST, ROLE_NONE, 0, 0, NULL, ON_RUN | ON_PROFILE, AT(prompts), "FILE",
     "text to calibrate on: .txt, .jsonl or .tokens; repeatable"},
    {"holdout", 0, "holdout", OPTION_LIST, ROLE_NONE, 0, 0, NULL, ON_RUN, AT(holdout), "FILE",
     "text to measure the result on; repeatable (without: the end of the prompts is held apart)"},
    {"text", 0, "text", OPTION_TEXT, ROLE_NONE, 0, 0, NULL, ON_EVAL, AT(text), "FILE", "text to score"},
    {"config", 'c', "config", OPTION_TEXT, ROLE_NONE, 0, 0, NULL, ON_EVAL | ON_GENERATE | ON_BENCH, AT(config),
     "FILE", "a cfg.bin"},
    {"plan", 0, "plan", OPTION_TEXT, ROLE_NONE, 0, 0, NULL, ON_EVAL, AT(plan), "FILE",
     "or: a plan.yaml (with --profile where its codecs are fitted)"},
    {"profile", 0, "profile", OPTION_TEXT, ROLE_NONE, 0, 0, NULL, ON_COMPILE | ON_EVAL, AT(profile), "FILE",
     "the profile.h5 that the plan was solved from: it holds what fitted codecs need"},
    {"model", 'm', "model", OPTION_TEXT, ROLE_NONE, 0, 0, NULL, ON_COMPILE | ON_VERIFY, AT(model), "MODEL",
     "the model that the plan or configuration is for"},
    {"prompt", 'p', "prompt", OPTION_TEXT, ROLE_NONE, 0, 0, NULL, ON_GENERATE, AT(prompt), "TEXT",
     "text to continue"},
    {"prompt-file", 'f', "prompt_file", OPTION_TEXT, ROLE_NONE, 0, 0, NULL, ON_GENERATE, AT(prompt_file), "FILE",
     "or: a file that holds it"},
    {"chat", 0, "chat", OPTION_FLAG, ROLE_NONE, 0, 0, NULL, ON_GENERATE, AT(chat), NULL,
     "wrap the prompt as a user's turn in the model's chat template"},
    {"tokens", 'n', "tokens", OPTION_COUNT, ROLE_NONE, 1, 1e7, "128", ON_GENERATE, AT(n_tokens), "N",
     "generate at most N tokens"},
    {"temperature", 0, "temperature", OPTION_NUMBER, ROLE_NONE, 0, 100, "0", ON_GENERATE, AT(temperature), "T",
     "0: always the most likely token"},
    {"top-k", 0, "top_k", OPTION_COUNT, ROLE_NONE, 0, 1e9, "0", ON_GENERATE, AT(top_k), "K",
     "sample among the K most likely tokens (0: all)"},
    {"top-p", 0, "top_p", OPTION_NUMBER, ROLE_NONE, 0, 1, "1", ON_GENERATE, AT(top_p), "P",
     "sample among the most likely tokens that together reach probability P"},
    {"format", 0, "format", OPTION_CHOICE, ROLE_NONE, 0, 0, "plan", ON_SOLVE, AT(format), "plan|kvtuner",
     "form of the plan: our own, or KVTuner's, which holds the bits of KIVI's codecs alone"},
    {"dtype", 0, "dtype", OPTION_CHOICE, ROLE_NONE, 0, 0, "f16", ON_IMPORT, AT(dtype), "f16|f32|bf16",
     "type of the weights written"},
    {"space", 0, "space", OPTION_TEXT, ROLE_NONE, 0, 0, NULL, ON_RUN | ON_PROFILE | ON_SOLVE, AT(space), "FILE",
     "candidate codecs: YAML with keys: [...] and values: [...]; solve: which of the profile's"},
    {"context", 0, "context", OPTION_COUNT, ROLE_PROFILE, 1, 1e9, "8192",
     ON_RUN | ON_PROFILE | ON_SOLVE | ON_EVAL | ON_INSPECT | ON_DIFF, AT(context), "N",
     "context length in tokens that true bits are counted at"},
    {"sinks", 0, "sinks", OPTION_AUTO, ROLE_PROFILE, 0, 1048576, "4", ON_POLICY, AT(sinks), "S",
     "first tokens that stay fp16; run: auto looks for the best of 0, 1, 2, 4, 8, 16 (see --window)"},
    {"window", 0, "window", OPTION_AUTO, ROLE_PROFILE, 0, 1048576, "64", ON_POLICY, AT(window), "W",
     "newest tokens that stay fp16; run: auto measures plans with 0, 16, 32, 64, 128, 256, at the same --bits or "
     "within --max-loss, and takes the best"},
    {"page", 0, "page", OPTION_COUNT, ROLE_PROFILE, 8, KVC_MAX_PAGE, "64", ON_POLICY, AT(page), "P",
     "tokens that are compressed at a time, a multiple of 8"},
    {"seq-len", 0, "seq_len", OPTION_COUNT, ROLE_PROFILE, 2, 1e7, "2048", ON_LONG, AT(seq_len), "N",
     "length of the independent sequences that text is cut into"},
    {"calib-tokens", 0, "calib_tokens", OPTION_COUNT, ROLE_PROFILE, 2, MOST_TOKENS, "16384", ON_RUN | ON_PROFILE,
     AT(calib_tokens), "N", "calibrate on at most N tokens"},
    {"holdout-tokens", 0, "holdout_tokens", OPTION_COUNT, ROLE_PLAN, 2, MOST_TOKENS, "4096", ON_RUN,
     AT(holdout_tokens), "N", "measure the result on at most N tokens"},
    {"anchor-tokens", 0, "anchor_tokens", OPTION_COUNT, ROLE_PROFILE, 0, MOST_TOKENS, "4096", ON_RUN | ON_PROFILE,
     AT(anchor_tokens), "N",
     "measure four plans on N calibration tokens, so that --max-loss can be predicted (0: do not)"},
    {"max-tokens", 0, "max_tokens", OPTION_COUNT, ROLE_NONE, 2, MOST_TOKENS, NULL, ON_EVAL, AT(max_tokens), "N",
     "score the first N tokens only"},
    {"probe-rows", 0, "probe_rows", OPTION_COUNT, ROLE_PROFILE, 0, 1e7, "64", ON_RUN | ON_PROFILE, AT(probe_rows),
     "N", "query rows per sequence that candidates are measured on (0: all)"},
    {"probe-sequences", 0, "probe_sequences", OPTION_COUNT, ROLE_PROFILE, 0, 1e7, "8", ON_RUN | ON_PROFILE,
     AT(probe_sequences), "N", "of so many sequences, at least one of each prompt file (0: of all)"},
    {"fit-rows", 0, "fit_rows", OPTION_COUNT, ROLE_PROFILE, 1, 1e8, "16384", ON_RUN | ON_PROFILE, AT(fit_rows), "N",
     "tokens, sampled from all sequences, that tables are fitted to"},
    {"table-rows", 0, "table_rows", OPTION_COUNT, ROLE_PROFILE, 1, 1e9, "65536", ON_RUN | ON_PROFILE, AT(table_rows),
     "N", "sub-vectors of those that one table is fitted to, at most"},
    {"restarts", 0, "restarts", OPTION_COUNT, ROLE_PROFILE, 1, 1000, "1", ON_RUN | ON_PROFILE, AT(restarts), "N",
     "times that k-means begins anew; the best table is kept"},
    {"iterations", 0, "iterations", OPTION_COUNT, ROLE_PROFILE, 1, 10000, "10", ON_RUN | ON_PROFILE, AT(iterations),
     "N", "of k-means, at most"},
    {"ridge", 0, "ridge", OPTION_NUMBER, ROLE_PROFILE, 0, 1, "0.01", ON_RUN | ON_PROFILE, AT(ridge), "X",
     "added to the metric of klt, relative to its mean eigenvalue"},
    {"weights", 0, "weights", OPTION_CHOICE, ROLE_PROFILE, 0, 0, "sensitivity", ON_RUN | ON_PROFILE, AT(weights),
     "sensitivity|antkv",
     "how tokens count when codecs are fitted: by second-order sensitivity, or keys by AnTKV's score"},
    {"price", 0, "price", OPTION_CHOICE, ROLE_PROFILE, 0, 0, "local", ON_RUN | ON_PROFILE, AT(price),
     "full|anchor|local",
     "what losses are measured on the whole model: of all candidates, of one or two per item, or none"},
    {"price-tokens", 0, "price_tokens", OPTION_COUNT, ROLE_PROFILE, 2, MOST_TOKENS, "4096", ON_RUN | ON_PROFILE,
     AT(price_tokens), "N", "price on N calibration tokens"},
    {"price-rows", 0, "price_rows", OPTION_COUNT, ROLE_PROFILE, 0, 1e7, "256", ON_RUN | ON_PROFILE, AT(price_rows),
     "N", "positions per sequence that prices are measured at (0: all)"},
    {"price-anchors", 0, "price_anchors", OPTION_COUNT, ROLE_PROFILE, 1, 2, "1", ON_RUN | ON_PROFILE,
     AT(price_anchors), "N", "candidates per item that --price anchor measures, 1 or 2"},
    {"seed", 0, "seed", OPTION_COUNT, ROLE_PROFILE, 0, 9007199254740992.0, "0",
     ON_RUN | ON_PROFILE | ON_SOLVE | ON_GENERATE, AT(seed), "N", "of everything that is drawn at random"},
    {"front", 0, "front", OPTION_TEXT, ROLE_NONE, 0, 0, NULL, ON_RUN | ON_SOLVE, AT(front), "FILE",
     "also write the front of best plans: JSON, or CSV by the name's ending"},
    {"report", 0, "report", OPTION_TEXT, ROLE_NONE, 0, 0, NULL, ON_RUN | ON_SOLVE, AT(report), "FILE.html",
     "also write a page that shows why; run measures baselines for it"},
    {"load", 0, "load", OPTION_LIST, ROLE_NONE, 0, 0, "1x4096", ON_BENCH, AT(loads), "NxTOKENS",
     "time N sequences of so many tokens, like 16x32768; repeatable"},
    {"repeats", 0, "repeats", OPTION_COUNT, ROLE_NONE, 1, 1e6, "21", ON_BENCH, AT(repeats), "N",
     "times that each call is made; medians are printed"},
    {"kernels", 0, "kernels", OPTION_TEXT, ROLE_NONE, 0, 0, NULL, ON_RUN | ON_COMPILE | ON_EVAL | ON_BENCH,
     AT(kernels), "DIR",
     "also write the CUDA kernels that the configuration needs; what has none is refused by name. eval, bench: the "
     "kernels of --config, attention is libkvc_cuda's with them"},
    {"arch", 0, "arch", OPTION_CHOICE, ROLE_NONE, 0, 0, "sm_90", ON_RUN | ON_COMPILE, AT(arch),
     "sm_80|sm_86|sm_87|sm_89|sm_90|sm_100|sm_103|sm_120", "GPU that --kernels are for; later ones can run them too"},
    {"softcap", 0, "softcap", OPTION_FLAG, ROLE_NONE, 0, 0, NULL, ON_COMPILE, AT(softcap), NULL,
     "--kernels are for a model that caps its scores, s to cap tanh(s / cap)"},
    {"evaluations", 0, "evaluations", OPTION_COUNT, ROLE_PLAN, 0, 1e6, "0", ON_PLAN, AT(evaluations), "N",
     "refine the plan by N measurements on the whole model (0: do not); kvtuner: plans to evaluate"},
    {"memory", 0, "memory", OPTION_SIZE, ROLE_NONE, 1, 1e18, NULL, ON_LONG, AT(memory), "SIZE",
     "keep hidden states above SIZE (512M, 2G) in a temporary file"},
    {"workdir", 0, "workdir", OPTION_TEXT, ROLE_NONE, 0, 0, NULL, ON_RUN | ON_PROFILE, AT(workdir), "DIR",
     "checkpoints and intermediate files (without: OUTPUT.work)"},
    {"resume", 0, "resume", OPTION_FLAG, ROLE_NONE, 0, 0, NULL, ON_RUN | ON_PROFILE, AT(resume), NULL,
     "go on with the work that the work directory holds"},
    {"checkpoint-interval", 0, "checkpoint_interval", OPTION_NUMBER, ROLE_NONE, 0, 1e9, "15", ON_RUN | ON_PROFILE,
     AT(checkpoint_interval), "SECONDS", "least time between two checkpoints"},
    {"dry-run", 0, "dry_run", OPTION_FLAG, ROLE_NONE, 0, 0, NULL, ON_LONG, AT(dry_run), NULL,
     "say what memory, disk and time it would take, and stop"},
    {"device", 0, "device", OPTION_TEXT, ROLE_NONE, 0, 0, "auto", ON_MODEL | ON_BENCH, AT(device), "auto|cpu|cuda",
     "where to compute: cuda[:N][,fast] is a GPU"},
    {"threads", 't', "threads", OPTION_COUNT, ROLE_NONE, 0, 1024, "0", ON_MODEL | ON_COMPILE, AT(threads), "N",
     "threads (0: as many as the machine has); results do not depend on it"},
    {"json", 0, "json", OPTION_FLAG, ROLE_NONE, 0, 0, NULL, ON_JSON, AT(json), NULL,
     "results as JSON on standard output, and nothing else there"},
    {"progress", 0, "progress", OPTION_CHOICE, ROLE_NONE, 0, 0, "auto", ON_LONG | ON_COMPILE | ON_IMPORT | ON_BENCH,
     AT(progress), "auto|plain|json|none", "how progress is shown on standard error"},
    {"recipe", 0, NULL, OPTION_TEXT, ROLE_NONE, 0, 0, NULL, ON_ALL, AT(recipe), "FILE",
     "options from a YAML file; the command line wins"},
    {"print-config", 0, NULL, OPTION_FLAG, ROLE_NONE, 0, 0, NULL, ON_ALL, AT(print_config), NULL,
     "print the options in effect as such a file, and stop"},
    {"log-file", 0, "log_file", OPTION_TEXT, ROLE_NONE, 0, 0, NULL, ON_ALL, AT(log_file), "FILE",
     "append all messages to FILE"},
    {"verbose", 'v', "verbose", OPTION_FLAG, ROLE_NONE, 0, 0, NULL, ON_ALL, AT(verbose), NULL,
     "say more on standard error"},
    {"quiet", 'q', "quiet", OPTION_FLAG, ROLE_NONE, 0, 0, NULL, ON_ALL, AT(quiet), NULL,
     "nothing but errors on standard error"},
    {"help", 'h', NULL, OPTION_FLAG, ROLE_NONE, 0, 0, NULL, ON_ALL, AT(help), NULL, "print this help"},
    {"version", 'V', NULL, OPTION_FLAG, ROLE_NONE, 0, 0, NULL, ON_ALL, AT(version), NULL, "print the version"},
};
const size_t n_options = sizeof option_table / sizeof *option_table;
_Static_assert(sizeof option_table / sizeof *option_table <= MAX_OPTIONS, "settings.source");

const command command_table[] = {
    {"run", ON_RUN, "MODEL", 1, "the main job: profile, solve, compile, measure", command_run},
    {"profile", ON_PROFILE, "MODEL", 1, "measure every candidate codec at every layer", command_profile},
    {"solve", ON_SOLVE, "PROFILE.H5", 1, "the best plan for a budget, from a profile", command_solve},
    {"compile", ON_COMPILE, "PLAN.YAML", 1, "a plan as a cfg.bin, and its kernels", command_compile},
    {"eval", ON_EVAL, "MODEL", 1, "perplexity and KL divergence of a configuration on a text", command_eval},
    {"generate", ON_GENERATE, "MODEL", 1, "text through the compressed cache", command_generate},
    {"inspect", ON_INSPECT, "CFG.BIN", 1, "what a configuration holds", command_inspect},
    {"diff", ON_DIFF, "A.BIN B.BIN", 2, "whether and where two configurations differ", command_diff},
    {"verify", ON_VERIFY, "CFG.BIN", 1, "whether a configuration is whole and belongs to a model", command_verify},
    {"import", ON_IMPORT, "MODEL.GGUF", 1, "a GGUF model as a safetensors folder", command_import},
    {"bench", ON_BENCH, "--config CFG.BIN", 0, "how long attend and append take with a configuration", command_bench},
};
const size_t n_commands = sizeof command_table / sizeof *command_table;

const command *command_find(const char *name)
{
    for (size_t i = 0; i < n_commands; i++)
        if (strcmp(command_table[i].name, name) == 0) return &command_table[i];
    return NULL;
}

const option_row *option_find(const char *name, size_t n)
{
    for (size_t i = 0; i < n_options; i++)
        if (strlen(option_table[i].name) == n && memcmp(option_table[i].name, name, n) == 0) return &option_table[i];
    return NULL;
}

const option_row *option_find_letter(char letter)
{
    for (size_t i = 0; i < n_options; i++)
        if (letter && option_table[i].letter == letter) return &option_table[i];
    return NULL;
}

bool option_applies(const option_row *row, const command *c)
{
    return row->commands & c->mask;
}

const char *option_suggest(const char *name, const command *c)
{
    const char *names[MAX_OPTIONS + 1];
    size_t n = 0;
    for (size_t i = 0; i < n_options; i++)
        if (!c || option_applies(&option_table[i], c)) names[n++] = option_table[i].name;
    names[n] = NULL;
    return nearest_word(name, names);
}

const char *command_suggest(const char *name)
{
    const char *names[sizeof command_table / sizeof *command_table + 1] = {0};
    for (size_t i = 0; i < n_commands; i++) names[i] = command_table[i].name;
    return nearest_word(name, names);
}
