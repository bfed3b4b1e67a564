/* logits.c - final norm, vocabulary product, and the comparison of two models' predictions.
 *
 * Neither all logits of a row nor the vocabulary matrix are ever held: LOGIT_ROWS tokens at a time, the matrix passes
 * by in blocks of LOGIT_COLUMNS entries converted to fp32, and each row keeps running maxima and sums (logit_sums).
 * Converting the matrix once per 2048 rows is below 1 % of the products. Other models' rows beside the same few of a
 * reference go together, up to LOGIT_ROWS of them: the reference's logits are computed once for all of these, and not
 * kept for the next, since they take 4 V bytes a row. Memory for a vocabulary of any size (576
 * wide: 48 MB): stage [STAGE_FLOATS] | x [R][hidden] host | ref, cfg [R][hidden] | w [C][hidden] | a, b [R][C]
 * A device holds the matrix as a whole if there is room (resident.c), and takes larger blocks of it. */
#include "model_private.h"

#include <math.h>
#include <stdlib.h>

typedef struct head {
    model *m;
    backend *b;
    size_t rows[2];   /* most rows of each model at a time */
    size_t columns;   /* vocabulary entries at a time */
    float *stage, *x; /* host [STAGE_FLOATS], [the larger of rows][hidden] */
    float *norm;      /* [hidden] */
    void *all;        /* weight [vocab][hidden], borrowed; NULL: a block at a time */
    void *block;      /* weight [columns][hidden], unless there is `all` */
    float *normed[2]; /* [rows][hidden] */
    float *logits[2]; /* [rows][columns] */
} head;

size_t logit_columns(const backend *b, const model_config *c)
{
    return min_size(b->batch_values ? LOGIT_COLUMNS_DEVICE : LOGIT_COLUMNS, c->vocab);
}

static void head_free(head *h)
{
    backend *b = h->b;
    free(h->stage);
    free(h->x);
    b->buffer_free(b, h->norm);
    b->buffer_free(b, h->block);
    for (int i = 0; i < 2; i++) {
        b->buffer_free(b, h->normed[i]);
        b->buffer_free(b, h->logits[i]);
    }
}

static kvc_status head_new(head *h, int n_models, kvc_error *err)
{
    size_t hidden = h->m->config.hidden,
           most = h->rows[n_models - 1] > h->rows[0] ? h->rows[n_models - 1] : h->rows[0];
    backend *b = h->b;
    const tensor *norm = weights_find(h->m->weights, arch_find(h->m->config.architecture)->final_norm);
    h->stage = malloc(STAGE_FLOATS * sizeof *h->stage);
    h->x = malloc((most * hidden + 1) * sizeof *h->x);
    if (!h->stage || !h->x) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the logits of %zu tokens", most);
    KVC_TRY(b->buffer_new(b, hidden * sizeof(float), (void **)&h->norm, err));
    KVC_TRY(resident_open(h->m, b, err));
    KVC_TRY(resident_head(h->m, h->stage, &h->all, err));
    if (!h->all) KVC_TRY(b->buffer_new(b, h->columns * hidden * b->weight_bytes, &h->block, err));
    for (int i = 0; i < n_models; i++) {
        KVC_TRY(b->buffer_new(b, h->rows[i] * hidden * sizeof(float), (void **)&h->normed[i], err));
        KVC_TRY(b->buffer_new(b, h->rows[i] * h->columns * sizeof(float), (void **)&h->logits[i], err));
    }
    return tensor_load(h->m, b, norm, 0, hidden, h->stage, h->norm, err);
}

/* Final norm of rows in the backend's memory; they may be its result. */
static kvc_status head_norm(head *h, int which, size_t n, const float *x, kvc_error *err)
{
    return h->b->rmsnorm(h->b, n, h->m->config.hidden, x, h->norm, h->m->config.rms_eps, h->normed[which], err);
}

static kvc_status head_norm_host(head *h, int which, size_t n, const float *x, kvc_error *err)
{
    KVC_TRY(h->b->upload(h->b, h->normed[which], x, n * h->m->config.hidden * sizeof *x, err));
    return head_norm(h, which, n, h->normed[which], err);
}

/* Rows of the vocabulary matrix [first, first + n), for the products that follow; their mapped pages do not stay. */
static kvc_status head_load(head *h, size_t first, size_t n, const void **w, kvc_error *err)
{
    size_t hidden = h->m->config.hidden;
    const tensor *t = model_head_tensor(h->m);
    *w = h->all ? (const char *)h->all + first * hidden * h->b->weight_bytes : h->block;
    if (h->all) return KVC_OK;
    KVC_TRY(weight_load(h->m, h->b, t, first * hidden, n * hidden, h->stage, h->block, err));
    weights_release(h->m->weights, t);
    return KVC_OK;
}

static kvc_status head_multiply(head *h, int which, size_t rows, size_t columns, const void *w, kvc_error *err)
{
    return h->b->gemm(h->b, rows, columns, h->m->config.hidden, h->normed[which], w, NULL, 0, h->logits[which], err);
}

static kvc_status logits_of(head *h, size_t n, const float *x, float *logits, kvc_error *err)
{
    size_t vocab = h->m->config.vocab;
    const void *w;
    KVC_TRY(head_norm_host(h, 0, n, x, err));
    for (size_t first = 0; first < vocab; first += h->columns) {
        size_t count = min_size(h->columns, vocab - first);
        KVC_TRY(head_load(h, first, count, &w, err));
        KVC_TRY(head_multiply(h, 0, n, count, w, err));
        for (size_t r = 0; r < n; r++)
            KVC_TRY(h->b->download(h->b, logits + r * vocab + first, h->logits[0] + r * count, count * sizeof(float),
                                   err));
    }
    return h->b->sync(h->b, err);
}

kvc_status model_logits(model *m, backend *b, size_t n, const float *x, float *logits, kvc_error *err)
{
    head h = {.m = m, .b = b, .rows = {n}, .columns = logit_columns(b, &m->config)};
    kvc_status status = head_new(&h, 1, err);
    if (status == KVC_OK) status = logits_of(&h, n, x, logits, err);
    head_free(&h);
    resident_leave(m);
    return status;
}

typedef struct comparison {
    head head;
    int n_models;               /* 1: both are the same */
    size_t total, n_copies;     /* rows of the reference; the other's are as many for each copy */
    size_t together;            /* copies at a time; several only where all of their rows are */
    const sequence_set *tokens; /* that the rows belong to; NULL: rows without a next token, each of which counts */
    hidden_states *hidden[2];
    uint32_t *targets; /* [rows of the reference]; of a sequence's last token 0, its row is dropped */
    logit_sums *sums;  /* [rows of the other] */
    size_t sequence;   /* of the next row to emit */
    logit_row *next;
} comparison;

static kvc_status norm_rows(comparison *c, int which, size_t first, size_t n, kvc_error *err)
{
    head *h = &c->head;
    const float *rows = hidden_device(c->hidden[which], first);
    if (rows) return head_norm(h, which, n, rows, err);
    KVC_TRY(hidden_read(c->hidden[which], first, n, h->x, err));
    return head_norm_host(h, which, n, h->x, err);
}

/* n rows of the reference, and those of n_copies. */
static kvc_status compare_block(comparison *c, size_t copy, size_t n_copies, size_t first, size_t n, kvc_error *err)
{
    head *h = &c->head;
    size_t vocab = h->m->config.vocab, begin[] = {first, copy * c->total + first}, rows[] = {n, n_copies * n};
    int cfg = c->n_models - 1;
    const void *w;
    for (int i = 0; i < c->n_models; i++) KVC_TRY(norm_rows(c, i, begin[i], rows[i], err));
    for (size_t i = 0; i < n; i++)
        c->targets[i] = c->tokens && first + i + 1 < c->total ? c->tokens->ids[first + i + 1] : 0;
    logit_sums_start(rows[cfg], c->sums);
    for (size_t at = 0; at < vocab; at += h->columns) {
        size_t count = min_size(h->columns, vocab - at);
        KVC_TRY(head_load(h, at, count, &w, err));
        for (int i = 0; i < c->n_models; i++) KVC_TRY(head_multiply(h, i, rows[i], count, w, err));
        KVC_TRY(h->b->compare_logits(h->b, rows[cfg], n, at, count, h->logits[0], h->logits[cfg], c->targets, c->sums,
                                     err));
    }
    return h->b->sync(h->b, err);
}

/* The last row of a sequence predicts nothing that is known. */
static bool ends_sequence(comparison *c, size_t row)
{
    if (!c->tokens) return false;
    while (row >= c->tokens->first[c->sequence + 1]) c->sequence++;
    return row + 1 == c->tokens->first[c->sequence + 1];
}

/* Rows [first, first + n) without the last of each sequence. */
static kvc_status emit_rows(comparison *c, size_t first, size_t n, kvc_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (ends_sequence(c, first + i)) continue;
        logit_row row = logit_sums_finish(&c->sums[i]);
        if (!isfinite(row.nll_ref) || !isfinite(row.nll_cfg) || !isfinite(row.kl))
            return kvc_fail(err, KVC_NONFINITE, "%s %zu: the model's logits are not finite",
                            c->tokens ? "token" : "scored row", first + i);
        *c->next++ = row;
    }
    return KVC_OK;
}

static kvc_status compare_copies(comparison *c, size_t copy, const job *job, kvc_error *err)
{
    size_t total = c->total, n_copies = min_size(c->together, c->n_copies - copy);
    for (size_t first = 0; first < total; first += c->head.rows[0]) {
        size_t n = min_size(c->head.rows[0], total - first);
        if (job_cancelled(job))
            return kvc_fail(err, KVC_INTERRUPTED, "interrupted at row %zu of %zu of the logits", first, total);
        KVC_TRY(compare_block(c, copy, n_copies, first, n, err));
        KVC_TRY(emit_rows(c, first, n_copies * n, err));
        job_progress(job, "logits", (double)(copy * total + n_copies * (first + n)), (double)(c->n_copies * total));
    }
    return KVC_OK;
}

static kvc_status compare_all(comparison *c, const job *job, kvc_error *err)
{
    size_t rows = c->head.rows[0], copied = c->together * rows;
    if (c->tokens) KVC_TRY(check_ids(c->head.m, c->tokens->ids, c->total, err));
    KVC_TRY(head_new(&c->head, c->n_models, err));
    c->targets = malloc(rows * sizeof *c->targets);
    c->sums = malloc(copied * sizeof *c->sums);
    if (!c->targets || !c->sums) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu logit rows", copied);
    for (size_t copy = 0; copy < c->n_copies; copy += c->together) KVC_TRY(compare_copies(c, copy, job, err));
    return KVC_OK;
}

static kvc_status compare(comparison *c, model *m, backend *b, const job *job, kvc_error *err)
{
    if (c->total == 0 || c->n_copies == 0) return KVC_OK;
    size_t rows = min_size(LOGIT_ROWS, c->total);
    c->together = min_size(c->n_copies, rows == c->total ? LOGIT_ROWS / rows : 1);
    c->head = (head){.m = m, .b = b, .rows = {rows, c->together * rows}, .columns = logit_columns(b, &m->config)};
    kvc_status status = compare_all(c, job, err);
    head_free(&c->head);
    resident_leave(m);
    free(c->targets);
    free(c->sums);
    return status;
}

kvc_status model_compare(model *m, backend *b, const sequence_set *tokens, hidden_states *ref, hidden_states *cfg,
                         logit_row *rows, const job *job, kvc_error *err)
{
    comparison c = {.tokens = tokens,
                    .total = tokens->first[tokens->n],
                    .n_copies = 1,
                    .hidden = {ref, cfg},
                    .n_models = ref == cfg ? 1 : 2,
                    .next = rows};
    return compare(&c, m, b, job, err);
}

kvc_status model_compare_rows(model *m, backend *b, size_t n, hidden_states *ref, size_t n_copies, hidden_states *cfg,
                              logit_row *rows, const job *job, kvc_error *err)
{
    comparison c = {
        .total = n, .n_copies = n_copies, .hidden = {ref, cfg}, .n_models = ref == cfg ? 1 : 2, .next = rows};
    return compare(&c, m, b, job, err);
}
