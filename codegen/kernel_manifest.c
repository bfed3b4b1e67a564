/* kernel_manifest.c - see kernel_manifest.h. */
#include "kernel_manifest.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kernel_template.h"

static bool take_text(char *out, size_t room, const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (!text || strlen(text) >= room) return false;
    strcpy(out, text);
    return true;
}

/* A file's name is the kernel's with an ending, nothing that leads out of the folder. */
static bool is_plain(const kernel_image *image)
{
    size_t n = strlen(image->name);
    return strncmp(image->name, "attend_", 7) == 0 && !strchr(image->file, '/') &&
           strncmp(image->file, image->name, n) == 0 && image->file[n] == '.';
}

static bool take_image(kernel_image *out, const json_t *from)
{
    return take_text(out->name, sizeof out->name, from, "name") &&
           take_text(out->file, sizeof out->file, from, "file") &&
           take_text(out->sha256, sizeof out->sha256, from, "sha256") &&
           take_text(out->params, sizeof out->params, from, "params_sha256") && is_plain(out);
}

kvc_status kernel_manifest_read(kernel_manifest *out, const char *text, size_t n, kvc_error *err)
{
    *out = (kernel_manifest){0};
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL), *list = json_object_get(root, "kernels");
    bool ours = json_integer_value(json_object_get(root, "format")) == KERNEL_MANIFEST_FORMAT &&
                take_text(out->arch, sizeof out->arch, root, "arch");
    size_t most = ours ? json_array_size(list) : 0;
    if (most) out->images = calloc(most, sizeof *out->images);
    for (size_t i = 0; out->images && i < most; i++)
        out->n_images += take_image(&out->images[out->n_images], json_array_get(list, i));
    json_decref(root);
    return most && !out->images ? kvc_fail(err, KVC_NO_MEMORY, "no memory for a manifest of %zu kernels", most)
                                : KVC_OK;
}

void kernel_manifest_free(kernel_manifest *m)
{
    free(m->images);
    *m = (kernel_manifest){0};
}

const kernel_image *kernel_manifest_find(const kernel_manifest *m, const char *name)
{
    for (uint32_t i = 0; i < m->n_images; i++)
        if (strcmp(m->images[i].name, name) == 0) return &m->images[i];
    return NULL;
}

static json_t *kernel_json(const kernel_spec *k, const kernel_image *image)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "name", k->name, "key", k->words, "file", image->file,
                     "sha256", image->sha256, "params_sha256", image->params, "shared_bytes",
                     (json_int_t)k->shared_bytes);
}

char *kernel_manifest_text(const kernel_plan *plan, const kernel_image *images)
{
    json_t *kernels = json_array(), *layers = json_array();
    int bad = 0;
    for (uint32_t i = 0; i < plan->n_kernels; i++)
        bad |= json_array_append_new(kernels, kernel_json(&plan->kernels[i], &images[i]));
    for (uint32_t i = 0; i < plan->n_layers; i++)
        bad |= json_array_append_new(layers, json_string(plan->kernels[plan->of_layer[i]].name));
    json_t *root =
        json_pack("{s:i, s:s, s:s, s:s, s:o, s:o}", "format", KERNEL_MANIFEST_FORMAT, "tool", kvc_version(), "arch",
                  plan->target->name, "template_sha256", kernel_template_hash, "kernels", kernels, "layers", layers);
    char *text = bad || !root ? NULL : json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS), *out = NULL;
    if (text && asprintf(&out, "%s\n", text) < 0) out = NULL;
    free(text);
    json_decref(root);
    return out;
}
