/* probed.c - see probed.h. Sequences come from the files in turn (sequences_mix), so that every k-th of all of them
 * could be of one file alone: hence a share of each file. */
#include "probed.h"
#include "kvc/codec.h"
#include <stdlib.h>

typedef struct file_share {
    size_t n, wanted, seen; /* sequences of the file that can be probed; how many are to be; how many came by */
} file_share;

static bool reads_a_page(const sequence_set *tokens, const kvc_token_policy *policy, size_t sequence)
{
    return kvc_tokens_compressed(policy, tokens->first[sequence + 1] - tokens->first[sequence]) > 0;
}

/* One for each file, then one more in turn while there are any left of `wanted`. */
static void share_out(file_share *files, uint32_t n_files, size_t wanted)
{
    bool any = true;
    for (size_t given = 0, round = 0; any; round++) {
        any = false;
        for (uint32_t i = 0; i < n_files; i++) {
            if (files[i].wanted == files[i].n || (round && wanted && given >= wanted)) continue;
            files[i].wanted++;
            given++;
            any = true;
        }
    }
}

static void choose(probed_set *p, const sequence_set *tokens, const kvc_token_policy *policy, file_share *files)
{
    for (size_t i = 0; i < tokens->n; i++) {
        file_share *f = &files[tokens->file[i]];
        if (!reads_a_page(tokens, policy, i)) continue;
        p->sequence[i] = f->seen * f->wanted / f->n != (f->seen + 1) * f->wanted / f->n;
        f->seen++;
        p->n += p->sequence[i];
    }
    for (uint32_t i = 0; i < p->n_files; i++) p->domain[i] = files[i].wanted ? p->n_domains++ : NO_DOMAIN;
}

kvc_status probed_new(probed_set *out, const sequence_set *tokens, const kvc_token_policy *policy, size_t wanted,
                      kvc_error *err)
{
    *out = (probed_set){.n_files = sequences_files(tokens)};
    file_share *files = calloc(out->n_files + 1u, sizeof *files);
    out->sequence = calloc(tokens->n + 1, sizeof *out->sequence);
    out->domain = calloc(out->n_files + 1u, sizeof *out->domain);
    if (!files || !out->sequence || !out->domain) {
        free(files);
        probed_free(out);
        return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu sequences", tokens->n);
    }
    for (size_t i = 0; i < tokens->n; i++) files[tokens->file[i]].n += reads_a_page(tokens, policy, i);
    share_out(files, out->n_files, wanted);
    choose(out, tokens, policy, files);
    free(files);
    return KVC_OK;
}

void probed_free(probed_set *p)
{
    free(p->sequence);
    free(p->domain);
    *p = (probed_set){0};
}
