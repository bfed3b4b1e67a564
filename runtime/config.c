/* config.c - open and close a cfg.bin, and what an open one says. check.c decides whether it may be opened.
 *
 * The image is used in place: after a successful check every accessor is a pointer into it. A file that is
 * mapped must not be changed while it is open. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "config.h"
#include "kvc/codec.h"

static kvc_status open_image(kvc_config **out, kvc_config image, kvc_error *err)
{
    kvc_config *cfg = malloc(sizeof *cfg);
    if (!cfg) return kvc_fail(err, KVC_NO_MEMORY, "no memory for a configuration");
    *cfg = image;
    kvc_status status = kvci_config_check(cfg, err);
    if (status == KVC_OK)
        *out = cfg;
    else
        free(cfg);
    return status;
}

/* A copy whose structs are aligned. */
static kvc_status open_copy(kvc_config **out, const void *bytes, size_t n_bytes, kvc_error *err)
{
    size_t room = (n_bytes + KVC_FILE_ALIGNMENT - 1) / KVC_FILE_ALIGNMENT * KVC_FILE_ALIGNMENT;
    void *copy = room ? aligned_alloc(KVC_FILE_ALIGNMENT, room) : NULL;
    if (!copy) return kvc_fail(err, KVC_NO_MEMORY, "no memory for a configuration of %zu bytes", n_bytes);
    memcpy(copy, bytes, n_bytes);
    kvc_status status = open_image(out, (kvc_config){.image = copy, .n_bytes = n_bytes, .copied = true}, err);
    if (status != KVC_OK) free(copy);
    return status;
}

kvc_status kvc_config_open_memory(kvc_config **out, const void *bytes, size_t n_bytes, kvc_error *err)
{
    *out = NULL;
    if (n_bytes && (uintptr_t)bytes % KVC_FILE_ALIGNMENT) return open_copy(out, bytes, n_bytes, err);
    return open_image(out, (kvc_config){.image = bytes, .n_bytes = n_bytes}, err);
}

static kvc_status map_file(const char *path, int fd, void **image, size_t *n_bytes, kvc_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0) return kvc_fail(err, KVC_INPUT, "%s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode)) return kvc_fail(err, KVC_INPUT, "%s: not a regular file", path);
    if (info.st_size == 0) return kvc_fail(err, KVC_FORMAT, "%s: [F-01] the file is empty", path);
    *n_bytes = (size_t)info.st_size;
    *image = mmap(NULL, *n_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (*image == MAP_FAILED) return kvc_fail(err, KVC_INPUT, "%s: %s", path, strerror(errno));
    return KVC_OK;
}

kvc_status kvc_config_open(kvc_config **out, const char *path, kvc_error *err)
{
    void *image = NULL;
    size_t n_bytes = 0;
    kvc_error why;
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return kvc_fail(err, KVC_INPUT, "%s: %s", path, strerror(errno));
    kvc_status status = map_file(path, fd, &image, &n_bytes, err);
    close(fd);
    if (status != KVC_OK) return status;
    status = open_image(out, (kvc_config){.image = image, .n_bytes = n_bytes, .mapped = true}, &why);
    if (status != KVC_OK) {
        munmap(image, n_bytes);
        kvc_fail(err, status, "%s: %s", path, why.message);
    }
    return status;
}

void kvc_config_close(kvc_config *cfg)
{
    if (!cfg) return;
    if (cfg->mapped) munmap((void *)cfg->image, cfg->n_bytes);
    if (cfg->copied) free((void *)cfg->image);
    free(cfg);
}

const kvc_file_section *kvci_config_find(const kvc_config *cfg, uint32_t type)
{
    for (uint32_t i = 0; i < cfg->header->n_sections; i++)
        if (cfg->sections[i].type == type) return &cfg->sections[i];
    return NULL;
}

static const void *section_bytes(const kvc_config *cfg, uint32_t type, size_t *n_bytes)
{
    const kvc_file_section *section = kvci_config_find(cfg, type);
    *n_bytes = section ? (size_t)section->bytes : 0;
    return section ? cfg->image + section->offset : NULL;
}

const void *kvci_config_params(const kvc_config *cfg, const kvc_codec *codec)
{
    size_t n_bytes;
    const uint8_t *params = section_bytes(cfg, KVC_SECTION_parameters, &n_bytes);
    return codec->param_bytes ? params + codec->param_offset : NULL;
}

static const char *section_name(uint32_t type)
{
#define SECTION_NAME(name, type)                                                                                     \
    case type: return #name;
    switch (type) {
        KVC_SECTION_LIST(SECTION_NAME)
    default: return "unknown";
    }
#undef SECTION_NAME
}

const kvc_model_info *kvc_config_model(const kvc_config *cfg)
{
    return cfg->model;
}

const kvc_token_policy *kvc_config_tokens(const kvc_config *cfg)
{
    return &cfg->tokens->policy;
}

const kvc_layer *kvc_config_layer(const kvc_config *cfg, uint32_t layer)
{
    return layer < cfg->model->n_layers ? &cfg->layers[layer] : NULL;
}

const void *kvc_config_parameters(const kvc_config *cfg, size_t *n_bytes)
{
    return section_bytes(cfg, KVC_SECTION_parameters, n_bytes);
}

const char *kvc_config_provenance(const kvc_config *cfg, size_t *n_bytes)
{
    return section_bytes(cfg, KVC_SECTION_provenance, n_bytes);
}

const uint8_t *kvc_config_id(const kvc_config *cfg)
{
    return cfg->header->identity;
}

uint32_t kvc_config_format(const kvc_config *cfg)
{
    return cfg->header->writer;
}

size_t kvc_config_file_bytes(const kvc_config *cfg)
{
    return cfg->n_bytes;
}

uint32_t kvc_config_sections(const kvc_config *cfg)
{
    return cfg->header->n_sections;
}

kvc_section kvc_config_section(const kvc_config *cfg, uint32_t index)
{
    if (index >= cfg->header->n_sections) return (kvc_section){"", 0, 0};
    const kvc_file_section *section = &cfg->sections[index];
    return (kvc_section){section_name(section->type), section->offset, section->bytes};
}

uint64_t kvc_config_bytes(const kvc_config *cfg, uint64_t n_tokens)
{
    const kvc_model_info *model = cfg->model;
    const kvc_token_policy *policy = &cfg->tokens->policy;
    uint64_t compressed = kvc_tokens_compressed(policy, n_tokens);
    uint64_t row_bytes = 2ull * model->n_layers * model->head_dim * 2u * model->n_kv_heads, pages, rows, bytes;
    bool beyond = __builtin_mul_overflow(compressed / policy->page, cfg->page_bytes, &pages);
    beyond |= __builtin_mul_overflow(n_tokens - compressed, row_bytes, &rows);
    beyond |= __builtin_add_overflow(pages, rows, &bytes);
    return beyond ? UINT64_MAX : bytes;
}

double kvc_config_bytes_per_token(const kvc_config *cfg, uint64_t context)
{
    return context ? (double)kvc_config_bytes(cfg, context) / (double)context : 0.0;
}

double kvc_config_bits_per_value(const kvc_config *cfg, uint64_t context)
{
    const kvc_model_info *model = cfg->model;
    double values = 2.0 * model->n_layers * model->n_kv_heads * model->head_dim;
    return 8.0 * kvc_config_bytes_per_token(cfg, context) / values;
}
