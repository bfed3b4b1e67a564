/* allowed.c - see allowed.h. Specs are compared with their groups resolved: int4.tok of heads of 64 is int4.tok64. */
#include "allowed.h"
#include "plan.h"
#include <stdlib.h>
#include <string.h>

/* The candidate that a codec of the file is, or UINT32_MAX. */
static uint32_t find(const profile *p, bool values, const kvc_codec *codec)
{
    kvc_coder coder;
    if (kvc_coder_init(&coder, codec, NULL, p->model.n_kv_heads, p->model.head_dim, p->tokens.page, NULL) != KVC_OK)
        return UINT32_MAX;
    return profile_find_candidate(p, values, &coder.codec);
}

typedef struct files {
    const char *space, *profile;
} files;

static kvc_status mark(bool **out, const profile *p, bool values, const kvc_codec *codecs, uint32_t n,
                       const files *names, kvc_error *err)
{
    *out = calloc(values ? p->n_values : p->n_keys, sizeof **out);
    if (!*out) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for candidates");
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = find(p, values, &codecs[i]);
        char spec[KVC_SPEC_MAX];
        kvc_codec_format(&codecs[i], spec);
        if (at == UINT32_MAX)
            return kvc_fail(err, KVC_INPUT, "%s: %s: %s is no candidate of %s", names->space,
                            values ? "values" : "keys", spec, names->profile);
        (*out)[at] = true;
    }
    return KVC_OK;
}

kvc_status allowed_read(candidate_filter *out, const char *path, const profile *p, const char *profile_path,
                        kvc_error *err)
{
    codec_space space;
    const files names = {path, profile_path};
    *out = (candidate_filter){0};
    KVC_TRY(space_read(&space, path, err));
    kvc_status status = mark(&out->keys, p, false, space.keys, space.n_keys, &names, err);
    if (status == KVC_OK) status = mark(&out->values, p, true, space.values, space.n_values, &names, err);
    if (status != KVC_OK) allowed_free(out);
    space_free(&space);
    return status;
}

void allowed_free(candidate_filter *f)
{
    free(f->keys);
    free(f->values);
    *f = (candidate_filter){0};
}
