#include "inspect_json.h"
#include "run_report.h"
#include "console.h"
#include "provenance.h"
#include "report_doc.h"
#include "sha256.h"
#include <math.h>

static void report_json(const settings *s, const config_image *image, const solution *solution, const eval_result *r,
                        const workdir *w)
{
    char id[65];
    double predicted = solution_kl(solution, &solution->chosen);
    const kvc_token_policy *t = kvc_config_tokens(image->config);
    sha256_hex(kvc_config_id(image->config), id);
    json_t *o =
        json_pack("{s:o,s:s,s:I,s:I,s:{s:I,s:I,s:I},s:f,s:f,s:f,s:o,s:o,s:o,s:o}", "output", text_json(s->output),
                  "id", id, "file_bytes", (json_int_t)image->n, "context", (json_int_t)s->context, "tokens", "sinks",
                  (json_int_t)t->sinks, "window", (json_int_t)t->window, "page", (json_int_t)t->page,
                  "bits_per_value", kvc_config_bits_per_value(image->config, s->context), "padded_bits_per_value",
                  solution_bits(solution, &solution->chosen), "bytes_per_token",
                  kvc_config_bytes_per_token(image->config, s->context), "predicted_kl",
                  isfinite(predicted) ? json_real(predicted) : json_null(), "refinement", refinement_json(solution),
                  "measured", eval_result_json(r), "workdir", text_json(w->path));
    json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    printf("\n");
    json_decref(o);
}

/* What --equal-pages adds, and what --evaluations did. */
static void report_more(const settings *s, const solution *solution)
{
    const refinement *r = &solution->refined;
    double padded = solution_bits(solution, &solution->chosen);
    if (s->equal_pages)
        printf("with its pages padded to one size: %.3f bits per value, %.2f times smaller than fp16\n", padded,
               16 / padded);
    if (r->evaluations)
        printf("refined by %u measurements on calibration text: KL %.5f to %.5f +- %.5f, %u of %u plans accepted\n",
               r->evaluations, r->start_kl, r->kl, r->kl_stderr, r->accepted, r->plans);
}

static void report_text(const settings *s, const config_image *image, const solution *solution, const eval_result *r,
                        const workdir *w)
{
    double bits = kvc_config_bits_per_value(image->config, s->context),
           predicted = solution_kl(solution, &solution->chosen);
    printf("%s: %zu bytes; %.3f bits per value at %llu tokens, %.2f times smaller than fp16\n", s->output, image->n,
           bits, (unsigned long long)s->context, 16 / bits);
    report_more(s, solution);
    printf("measured on %llu tokens held apart: perplexity %.4f exact, %.4f compressed (%+.2f %%); KL %.5f +- %.5f "
           "nats per "
           "token; the same first choice at %.1f %%\n",
           (unsigned long long)r->n_tokens, r->ppl_ref, r->ppl, 100 * (r->ppl / r->ppl_ref - 1), r->kl_mean,
           r->kl_stderr, 100 * r->top1_agreement);
    if (isfinite(predicted)) printf("predicted from calibration text: KL %.5f\n", predicted);
    printf("profile.h5 and plan.yaml are in %s: another budget needs only kvcalib solve\n", w->path);
}

void run_report(const settings *s, const config_image *image, const solution *solution, const eval_result *r,
                const workdir *w)
{
    (s->json ? report_json : report_text)(s, image, solution, r, w);
    if (s->max_loss > 0 && r->kl_mean > log1p(s->max_loss))
        console_note("the measured loss, %.3g%%, is above the %.3g%% asked for: the prediction was too good",
                     100 * expm1(r->kl_mean), 100 * s->max_loss);
}
