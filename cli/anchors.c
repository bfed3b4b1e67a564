/* anchors.c - see anchors.h. */
#include "anchors.h"
#include "console.h"
#include "corpus.h"
#include "measure_plan.h"
#include "probed.h"
#include "solution.h"
#include <math.h>
#include <stdlib.h>

/* True bits per value, window and sinks included, up to which anchors lie; where a prediction has to be right. */
#define MOST_BITS 6.0

/* Middles of equal ratios from the cheapest plan to MOST_BITS. */
static double anchor_bits(const solution *s, int i)
{
    double least = solution_bits(s, &s->front.points[0]);
    return least * pow(fmax(MOST_BITS / least, 1), (i + 0.5) / N_ANCHORS);
}

static size_t nearest(const solution *s, double bits)
{
    size_t best = 0;
    for (size_t i = 1; i < s->front.n; i++)
        if (fabs(solution_bits(s, &s->front.points[i]) - bits) <
            fabs(solution_bits(s, &s->front.points[best]) - bits))
            best = i;
    return best;
}

/* Up to N_ANCHORS different points of the front that lose something. */
static size_t pick(const solution *s, size_t picked[N_ANCHORS])
{
    size_t n = 0;
    for (int i = 0; i < N_ANCHORS; i++) {
        size_t point = nearest(s, anchor_bits(s, i));
        if (s->front.points[point].loss > 0 && (n == 0 || picked[n - 1] != point)) picked[n++] = point;
    }
    return n;
}

static double local_loss(const profile *p, const profile_anchor *a)
{
    double sum = 0;
    for (uint32_t i = 0; i < p->n_layers; i++)
        sum += profile_loss(p, 0, i, a->key[i]) + profile_loss(p, 1, i, a->value[i]);
    return sum;
}

/* Picks the plans and adds them to the profile, losses by measurement still zero. The front goes before the model
 * comes. */
static kvc_status choose(profile *p, uint64_t context, kvc_error *err)
{
    solution s;
    size_t picked[N_ANCHORS];
    uint16_t *choice = malloc(2 * p->n_layers * sizeof *choice);
    kvc_status status = solution_front(&s, p, context, err);
    if (status == KVC_OK && !choice) status = kvc_fail(err, KVC_NO_MEMORY, "out of memory for anchors");
    size_t n = status == KVC_OK ? pick(&s, picked) : 0;
    for (size_t i = 0; i < n && status == KVC_OK; i++) {
        const front_point *point = &s.front.points[picked[i]];
        for (uint32_t item = 0; item < 2 * p->n_layers; item++)
            choice[item / 2 + item % 2 * p->n_layers] = solution_candidate(&s, point, item);
        status = profile_add_anchor(p, choice, choice + p->n_layers, err);
        if (status == KVC_OK) p->anchors[p->n_anchors - 1].local_loss = local_loss(p, &p->anchors[p->n_anchors - 1]);
    }
    solution_free(&s);
    free(choice);
    return status;
}

/* The anchor's KL in every domain: that of its file's text, or of all where none of it was scored. */
static void keep_domains(profile *p, uint32_t anchor, const probed_set *probed, const eval_result *files,
                         uint32_t n_files)
{
    double *domains = p->anchor_domain_kl + (size_t)anchor * p->n_domains;
    for (uint32_t d = 0; d < p->n_domains; d++) domains[d] = p->anchors[anchor].kl;
    for (uint32_t i = 0; p->n_domains && i < n_files; i++)
        if (files[i].n_tokens && probed->domain[i] != NO_DOMAIN) domains[probed->domain[i]] = files[i].kl_mean;
}

static kvc_status measure(profile_anchor *a, const plan_measure *m, eval_result *files, kvc_error *err)
{
    const profile *p = m->profile;
    eval_result r;
    kvc_layer *layers = malloc(p->n_layers * sizeof *layers);
    if (!layers) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for anchors");
    for (uint32_t i = 0; i < p->n_layers; i++) layers[i] = (kvc_layer){p->keys[a->key[i]], p->values[a->value[i]]};
    kvc_status status = measure_plan(m, &p->tokens, layers, &r, files, err);
    free(layers);
    if (status != KVC_OK) return status;
    console_detail("anchor: local loss %.4g, KL %.4g +- %.2g", a->local_loss, r.kl_mean, r.kl_stderr);
    a->kl = r.kl_mean;
    a->kl_stderr = r.kl_stderr;
    a->ppl_ref = r.ppl_ref;
    a->ppl = r.ppl;
    a->n_tokens = r.n_tokens;
    return KVC_OK;
}

kvc_status anchors_measure(profile *p, const settings *s, const subject *subject, const sequence_set *tokens,
                           hidden_states *final, kvc_error *err)
{
    sequence_set part = {0};
    probed_set probed = {0};
    const plan_measure m = {p, s, subject, &part, final, "anchors"};
    if (s->anchor_tokens == 0) return KVC_OK;
    KVC_TRY(choose(p, s->context, err));
    kvc_status status = sequences_slice(&part, tokens, 0, sequences_within(tokens, s->anchor_tokens), err);
    uint32_t n_files = sequences_files(&part);
    eval_result *files = calloc(n_files + 1u, sizeof *files);
    if (status == KVC_OK && !files) status = kvc_fail(err, KVC_NO_MEMORY, "out of memory for anchors");
    if (status == KVC_OK) status = probed_new(&probed, tokens, &p->tokens, s->probe_sequences, err);
    for (uint32_t i = 0; i < p->n_anchors && status == KVC_OK; i++) {
        status = measure(&p->anchors[i], &m, files, err);
        if (status == KVC_OK) keep_domains(p, i, &probed, files, n_files);
    }
    probed_free(&probed);
    sequences_free(&part);
    free(files);
    return status;
}
