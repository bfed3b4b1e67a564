/* run_domains.c - see run_domains.h. */
#include "run_domains.h"
#include <math.h>
#include <stdlib.h>

kvc_status run_domains_new(run_domains *out, const corpus *corpus, kvc_error *err)
{
    uint32_t n = sequences_files(&corpus->holdout);
    *out = (run_domains){.files = calloc(n + 1u, sizeof *out->files),
                         .yardstick = calloc(n + 1u, sizeof *out->yardstick),
                         .prompts = corpus->n_held_files ? corpus->held_files : corpus->files,
                         .n_files = n,
                         .list = calloc(n + 1u, sizeof *out->list)};
    if (out->files && out->yardstick && out->list) return KVC_OK;
    run_domains_free(out);
    return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u prompt files", n);
}

void run_domains_list(run_domains *d)
{
    d->n = 0;
    for (uint32_t i = 0; i < d->n_files; i++)
        if (d->files[i].n_tokens)
            d->list[d->n++] = (domain){.name = d->prompts[i].name,
                                       .result = d->files[i],
                                       .yardstick_kl = d->yardstick[i].n_tokens ? d->yardstick[i].kl_mean : NAN};
    if (d->n == 1) d->n = 0;
}

void run_domains_free(run_domains *d)
{
    free(d->files);
    free(d->yardstick);
    free(d->list);
    *d = (run_domains){0};
}
