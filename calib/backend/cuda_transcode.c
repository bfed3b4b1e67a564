/* cuda_transcode.c - what a cache holds of rows: rounded to fp16, and whole pages through the kernels of libkvc's
 * codecs and back. Pages have the bytes that libkvc writes (kernels/page.h). Rows that are NaN or infinite are
 * refused before they are coded. Rounded rows that nobody wants are rounded into `page` and coded in place. */
#include "cuda_internal.h"
#include "page.h"

typedef struct pages {
    const kvc_coder *coder;
    size_t width, begin, end, n; /* values of a token; tokens [begin, end) in n whole pages */
} pages;

static kvc_status round_rows(cuda_state *s, size_t n, const float *x, float *rows, uint32_t *dev_bad, kvc_error *err)
{
    uint32_t bad = 0;
    KVC_TRY_CUDA(cudaMemsetAsync(dev_bad, 0, sizeof bad, s->compute));
    KVC_TRY_CUDA(op_round_fp16(n, x, rows, dev_bad, s->compute));
    KVC_TRY(cuda_fetch(s, &bad, dev_bad, sizeof bad, err));
    return bad ? kvc_fail(err, KVC_NONFINITE, "the model computes keys or values that are NaN or infinite") : KVC_OK;
}

/* The tokens that are in no page. */
static kvc_status copy_exact(cuda_state *s, const pages *p, size_t n_tokens, const float *exact, float *page,
                             kvc_error *err)
{
    size_t token = p->width * sizeof *page, tail = p->end * p->width;
    KVC_TRY_CUDA(cudaMemcpyAsync(page, exact, p->begin * token, cudaMemcpyDeviceToDevice, s->compute));
    KVC_TRY_CUDA(cudaMemcpyAsync(page + tail, exact + tail, (n_tokens - p->end) * token, cudaMemcpyDeviceToDevice,
                                 s->compute));
    return KVC_OK;
}

static kvc_status code_pages(cuda_state *s, const pages *p, const void *params, const float *rows, float *page,
                             void *work, kvc_error *err)
{
    size_t at = p->begin * p->width;
    char spec[KVC_SPEC_MAX];
    cudaError_t status = kernel_transcode_pages(p->coder, params, rows + at, p->n, page + at, work,
                                                p->n * p->coder->page_bytes, s->compute);
    if (status != cudaErrorNotSupported) {
        KVC_TRY_CUDA(status);
        return KVC_OK;
    }
    kvc_codec_format(&p->coder->codec, spec);
    return kvc_fail(err, KVC_UNSUPPORTED, "codec %s has no CUDA kernel", spec);
}

kvc_status cuda_transcode(backend *b, const kvc_coder *coder, const kvc_token_policy *policy, size_t n_tokens,
                          const float *x, float *exact, float *page, kvc_error *err)
{
    cuda_state *s = b->state;
    size_t sinks = policy->sinks < n_tokens ? policy->sinks : n_tokens, n = (n_tokens - sinks) / policy->page;
    pages p = {coder, (size_t)coder->n_kv_heads * coder->head_dim, sinks, sinks + n * policy->page, n};
    float *rows = exact ? exact : page;
    size_t param_bytes = coder->codec.param_bytes;
    void *work, *params;
    uint32_t *bad;
    const cuda_part parts[] = {{&work, n * coder->page_bytes}, {&params, param_bytes}, {&bad, sizeof *bad}};
    if (n_tokens == 0) return KVC_OK;
    KVC_TRY(CUDA_BEGIN(b, err, x, exact, page));
    KVC_TRY(cuda_scratch(s, parts, 3, err));
    KVC_TRY(round_rows(s, n_tokens * p.width, x, rows, bad, err));
    if (exact) KVC_TRY(copy_exact(s, &p, n_tokens, exact, page, err));
    if (n == 0) return KVC_OK;
    KVC_TRY(cuda_put(s, params, coder->params, param_bytes, err));
    return code_pages(s, &p, param_bytes ? params : NULL, rows, page, work, err);
}
