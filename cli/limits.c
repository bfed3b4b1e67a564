/* limits.c - see limits.h. */
#include "limits.h"
#include "console.h"
#include "constrain.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 64 }; /* constants of a codec begin at multiples of this (FORMAT.md) */

bool limits_asked(const settings *s)
{
    return s->max_pairs || s->equal_pages || s->limit_constants;
}

void limits_text(const settings *s, char *out, size_t n)
{
    char pairs[40] = "", constants[48] = "";
    if (s->max_pairs) snprintf(pairs, sizeof pairs, " --max-pairs %llu", (unsigned long long)s->max_pairs);
    if (s->limit_constants)
        snprintf(constants, sizeof constants, " --max-constants %llu", (unsigned long long)s->max_constants);
    snprintf(out, n, "%s%s%s", pairs, s->equal_pages ? " --equal-pages" : "", constants);
    if (*out) memmove(out, out + 1, strlen(out));
}

/* By side and option, what search knows nothing of. */
typedef struct traits {
    uint64_t *page[2], *constants[2];
} traits;

static void traits_free(traits *t)
{
    for (int side = 0; side < 2; side++) {
        free(t->page[side]);
        free(t->constants[side]);
    }
}

static kvc_status traits_new(traits *out, const priced *priced, const profile *p, kvc_error *err)
{
    *out = (traits){0};
    for (int side = 0; side < 2; side++) {
        uint32_t n = priced->table.n_options[side];
        out->page[side] = malloc(n * sizeof *out->page[side]);
        out->constants[side] = malloc(n * sizeof *out->constants[side]);
        if (!out->page[side] || !out->constants[side]) {
            traits_free(out);
            return kvc_fail(err, KVC_NO_MEMORY, "out of memory for side constraints");
        }
        for (uint32_t o = 0; o < n; o++) {
            uint16_t candidate = priced->candidate[side][o];
            uint64_t bytes = (side ? p->values : p->keys)[candidate].param_bytes;
            out->page[side][o] = profile_page_bytes(p, side, candidate);
            out->constants[side][o] = (bytes + BLOCK - 1) / BLOCK * BLOCK;
        }
    }
    return KVC_OK;
}

static constraints constraints_of(const traits *t, const kvc_token_policy *tokens, uint64_t context,
                                  const settings *s)
{
    return (constraints){.max_pairs = s->max_pairs > UINT32_MAX ? UINT32_MAX : (uint32_t)s->max_pairs,
                         .equal_pages = s->equal_pages,
                         .max_constants = s->limit_constants ? s->max_constants : UINT64_MAX,
                         .page = {t->page[0], t->page[1]},
                         .page_copies = kvc_tokens_compressed(tokens, context) / tokens->page,
                         .constants = {t->constants[0], t->constants[1]}};
}

kvc_status limits_front(front *out, const priced *priced, const profile *p, const kvc_token_policy *tokens,
                        uint64_t context, const settings *s, size_t max_cells, kvc_error *err)
{
    traits t;
    KVC_TRY(traits_new(&t, priced, p, err));
    constraints c = constraints_of(&t, tokens, context, s);
    search_status status = solve_constrained(&priced->table, &c, max_cells, out);
    unsigned long long least = least_constants(&priced->table, &c);
    traits_free(&t);
    if (status != SEARCH_INFEASIBLE) return search_failed(status, err);
    return kvc_fail(err, KVC_INFEASIBLE, "--max-constants %llu cannot be kept: the least is %llu bytes",
                    (unsigned long long)s->max_constants, least);
}

void limits_note(const priced *priced, const profile *p, const settings *s, const uint16_t *choice)
{
    unsigned long long largest = 0;
    uint32_t n = 0; /* layers of that size */
    if (!s->equal_pages) return;
    for (uint32_t l = 0; l < p->n_layers; l++) {
        unsigned long long page = profile_page_bytes(p, 0, priced->candidate[2 * l][choice[2 * l]]) +
                                  profile_page_bytes(p, 1, priced->candidate[2 * l + 1][choice[2 * l + 1]]);
        if (page > largest) n = 0;
        if (page >= largest) largest = page, n++;
    }
    console_note("a page takes %llu bytes per layer and head; %u of %u layers are padded to that",
                 largest / p->model.n_kv_heads, p->n_layers - n, p->n_layers);
}
