/* attend_options.h - kvc_attend_options as both caches take them: what an older caller's struct has not got is zero,
 * defaults are filled in. */
#ifndef RUNTIME_ATTEND_OPTIONS_H
#define RUNTIME_ATTEND_OPTIONS_H
#include <float.h>
#include <math.h>
#include <stddef.h>
#include "options.h"

/* `options` may be NULL. */
static inline kvc_status kvci_attend_options_take(kvc_attend_options *out, const kvc_attend_options *options,
                                                  uint32_t n_kv_heads, uint32_t head_dim, kvc_error *err)
{
    const size_t least = offsetof(kvc_attend_options, sliding_window); /* the first version */
    *out = (kvc_attend_options){0};
    if (options) KVC_TRY(kvci_options_take(out, sizeof *out, options, least, err));
    if (out->kv_head_begin > out->kv_head_end || out->kv_head_end > n_kv_heads)
        return kvc_fail(err, KVC_INVALID, "KV heads %u to %u of %u", out->kv_head_begin, out->kv_head_end,
                        n_kv_heads);
    if (!(out->softcap >= 0.0f && out->softcap <= FLT_MAX))
        return kvc_fail(err, KVC_INVALID, "a softcap of %g", (double)out->softcap);
    if (out->kv_head_begin == 0 && out->kv_head_end == 0) out->kv_head_end = n_kv_heads;
    if (out->score_scale == 0.0f) out->score_scale = 1.0f / sqrtf((float)head_dim);
    return KVC_OK;
}

#endif
