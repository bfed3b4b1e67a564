/* run_domains.h - the final measurement told apart by prompt file. */
#ifndef CLI_RUN_DOMAINS_H
#define CLI_RUN_DOMAINS_H
#include "corpus.h"
#include "report_doc.h"

typedef struct run_domains {
    eval_result *files, *yardstick; /* [n_files] of the text held apart: the chosen plan, KIVI-2; n_tokens 0: none */
    const prompt_file *prompts;     /* [n_files] borrowed */
    uint32_t n_files;
    domain *list; /* [n] for the report */
    size_t n;
} run_domains;

/* Room for all of it. */
kvc_status run_domains_new(run_domains *out, const corpus *corpus, kvc_error *err);
/* The list from what was measured; empty where only one file was. */
void run_domains_list(run_domains *d);
void run_domains_free(run_domains *d); /* an empty one is fine */
#endif
