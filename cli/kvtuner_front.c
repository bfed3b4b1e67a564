/* kvtuner_front.c - see kvtuner_front.h. The search knows pairs; everything else of the program knows options. */
#include "kvtuner_front.h"
#include "console.h"
#include <stdlib.h>

typedef struct asking {
    const kvtuner_space *space;
    const kvtuner_loss *loss;
    uint16_t *choice; /* [2 n_layers] */
} asking;

static int evaluate(void *context, const uint16_t *pairs, double *loss)
{
    asking *x = context;
    kvtuner_space_choice(x->space, pairs, x->choice);
    return x->loss->evaluate(x->loss->context, x->choice, kvtuner_plan(pairs, x->space->layers.n_layers), loss);
}

/* The points' pairs become options: a block of its own. */
static kvc_status translate(front *f, const kvtuner_space *space, kvc_error *err)
{
    size_t n = 2 * (size_t)space->layers.n_layers;
    uint16_t *choices = malloc((f->n ? f->n : 1) * n * sizeof *choices);
    if (!choices) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the front of plans");
    for (size_t i = 0; i < f->n; i++) {
        kvtuner_space_choice(space, f->points[i].choice, choices + i * n);
        f->points[i].choice = choices + i * n;
    }
    free(f->choices);
    f->choices = choices;
    return KVC_OK;
}

kvc_status kvtuner_front(front *out, int *stopped, const kvtuner_space *space, const kvtuner_search_options *options,
                         const kvtuner_loss *loss, kvc_error *err)
{
    asking x = {space, loss, malloc(2 * space->layers.n_layers * sizeof *x.choice)};
    const kvtuner_options search = {.budget = options->budget,
                                    .evaluations = options->evaluations,
                                    .seed = options->seed,
                                    .log = options->log,
                                    .n_log = options->n_log,
                                    .evaluate = evaluate,
                                    .context = &x};
    kvtuner_result r = {0};
    if (!x.choice) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a plan");
    kvc_status status = search_failed(kvtuner_search(&space->layers, &space->groups, &search, &r), err);
    free(x.choice);
    if (status == KVC_OK) status = translate(&r.front, space, err);
    if (status == KVC_OK)
        *out = r.front;
    else
        front_free(&r.front);
    *stopped = r.stopped;
    console_detail("kvtuner: %u groups of %u layers (%u of noise), %u plans evaluated", space->groups.n,
                   space->layers.n_layers, space->groups.n_noise, r.used);
    return status;
}

static int predict(void *context, const uint16_t *choice, uint64_t plan, double *loss)
{
    const cost_table *t = context;
    (void)plan;
    *loss = 0;
    for (uint32_t i = 0; i < t->n_items; i++) *loss += t->options[i][choice[i]].loss;
    return 0;
}

kvc_status kvtuner_front_predicted(front *out, const kvtuner_space *space, const priced *priced,
                                   const kvtuner_search_options *options, kvc_error *err)
{
    int stopped;
    const kvtuner_loss loss = {predict, (void *)&priced->table};
    return kvtuner_front(out, &stopped, space, options, &loss, err);
}
