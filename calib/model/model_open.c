/* model_open.c - a model's configuration and weights, and the check that all tensors of the pass are there. */
#include "model_private.h"
#include "sha256.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void tensor_name(char *buf, size_t n, const char *format, uint32_t layer)
{
    const char *mark = strstr(format, "%u");
    snprintf(buf, n, "%.*s%u%s", (int)(mark - format), format, layer, mark + 2);
}

const tensor *model_layer_tensor(const model *m, uint32_t layer, layer_slot slot)
{
    const arch_tensor *t = &arch_find(m->config.architecture)->layer[slot];
    char name[128];
    if (!arch_has(&m->config, t)) return NULL;
    tensor_name(name, sizeof name, t->name, layer);
    return weights_find(m->weights, name);
}

const tensor *model_head_tensor(const model *m)
{
    const arch *a = arch_find(m->config.architecture);
    return weights_find(m->weights, m->config.tied_embeddings ? a->embedding : a->head);
}

static kvc_status check_layer(const model *m, const arch *a, uint32_t layer, kvc_error *err)
{
    const tensor *unused;
    char name[128];
    for (int slot = 0; slot < SLOT_COUNT; slot++) {
        const arch_tensor *t = &a->layer[slot];
        if (!arch_has(&m->config, t)) continue;
        uint64_t cols = t->cols == WIDTH_ONE ? 0 : arch_width_of(&m->config, t->cols);
        tensor_name(name, sizeof name, t->name, layer);
        KVC_TRY(weights_get(m->weights, name, arch_width_of(&m->config, t->rows), cols, &unused, err));
    }
    return KVC_OK;
}

static kvc_status check_tensors(const model *m, kvc_error *err)
{
    const arch *a = arch_find(m->config.architecture);
    const model_config *c = &m->config;
    const tensor *unused;
    if (!a)
        return kvc_fail(err, KVC_UNSUPPORTED, "config.json: \"model_type\": \"%s\" is not supported",
                        c->architecture);
    KVC_TRY(weights_get(m->weights, a->embedding, c->vocab, c->hidden, &unused, err));
    KVC_TRY(weights_get(m->weights, a->final_norm, c->hidden, 0, &unused, err));
    if (!c->tied_embeddings) KVC_TRY(weights_get(m->weights, a->head, c->vocab, c->hidden, &unused, err));
    for (uint32_t layer = 0; layer < c->n_layers; layer++) KVC_TRY(check_layer(m, a, layer, err));
    return KVC_OK;
}

static void beside(const model *m, const char *file, char *buf, size_t n)
{
    snprintf(buf, n, "%s/%s", weights_folder(m->weights), file);
}

void model_tokenizer_path(const model *m, char *buf, size_t n)
{
    beside(m, "tokenizer.json", buf, n);
}

static void fill_info(model *m)
{
    const model_config *c = &m->config;
    kvc_model_info *info = &m->info;
    snprintf(info->name, sizeof info->name, "%s", c->name);
    snprintf(info->architecture, sizeof info->architecture, "%s", c->architecture);
    info->n_layers = c->n_layers;
    info->n_query_heads = c->n_heads;
    info->n_kv_heads = c->n_kv_heads;
    info->head_dim = c->head_dim;
    info->hidden_size = c->hidden;
    info->vocab_size = c->vocab;
    info->rope_theta = c->rope_theta;
}

static kvc_status fill_hashes(model *m, kvc_error *err)
{
    char path[4096];
    model_tokenizer_path(m, path, sizeof path);
    KVC_TRY(weights_sha256(m->weights, m->info.weights_sha256, err));
    return access(path, F_OK) == 0 ? sha256_file(path, m->info.tokenizer_sha256, err) : KVC_OK;
}

static kvc_status open_into(model *m, const char *path, bool hash, kvc_error *err)
{
    char config[4096];
    KVC_TRY(weights_open(&m->weights, path, err));
    beside(m, "config.json", config, sizeof config);
    KVC_TRY(model_config_read(&m->config, config, err));
    KVC_TRY(check_tensors(m, err));
    fill_info(m);
    return hash ? fill_hashes(m, err) : KVC_OK;
}

kvc_status model_open(model **out, const char *path, bool hash, kvc_error *err)
{
    model *m = *out = calloc(1, sizeof *m);
    if (!m) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a model");
    kvc_status status = open_into(m, path, hash, err);
    if (status != KVC_OK) {
        model_close(m);
        *out = NULL;
    }
    return status;
}

void model_close(model *m)
{
    if (!m) return;
    resident_free(m);
    weights_close(m->weights);
    free(m);
}
