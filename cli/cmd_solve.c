/* cmd_solve.c - kvcalib solve profile.h5 -o plan.yaml */
#include "allowed.h"
#include "inspect_json.h"
#include "command.h"
#include "console.h"
#include "front_file.h"
#include "item_price.h"
#include "limits.h"
#include "plan_file.h"
#include "report_file.h"
#include "solution.h"
#include <stdlib.h>
#include <string.h>

static void report(const settings *s, const solution *found)
{
    double bits = solution_bits(found, &found->chosen), kl = solution_kl(found, &found->chosen);
    if (s->json) {
        printf("{\"output\":");
        json_t *name = text_json(s->output);
        json_dumpf(name, stdout, JSON_ENCODE_ANY);
        json_decref(name);
        printf(
            ",\"method\":\"%s\",\"context\":%llu,\"bits_per_value\":%.9g,\"bytes_per_token\":%.9g,\"predicted_kl\":",
            s->method, (unsigned long long)s->context, bits, (double)found->chosen.bytes / (double)s->context);
        printf(found->predictor.n ? "%.9g}\n" : "null}\n", kl);
    } else {
        printf("%s: %.4f bits per value at %llu tokens", s->output, bits, (unsigned long long)s->context);
        if (found->predictor.n) printf(", predicted KL %.3g nats per token", kl);
        printf("\n");
    }
}

static kvc_status write_plan(const solution *found, const settings *s, kvc_error *err)
{
    if (strcmp(s->format, "kvtuner") == 0) return plan_file_write_kvtuner(found, s->output, err);
    return plan_file_write(found, s->output, err);
}

static kvc_status write_report(const solution *found, const settings *s, kvc_error *err)
{
    rivals rivals;
    kvc_status status = rivals_find(&rivals, found, s->seed, err);
    const report_input page = {.solution = found, .rivals = &rivals};
    if (status == KVC_OK) status = report_file_write(&page, s->report, err);
    rivals_free(&rivals);
    return status;
}

static kvc_status solve(const settings *s, const profile *p, kvc_error *err)
{
    solution found = {0};
    candidate_filter only = {0};
    if (s->space) KVC_TRY(allowed_read(&only, s->space, p, s->operands[0], err));
    kvc_status status = solution_find_among(&found, p, &p->tokens, s, &only, err);
    allowed_free(&only);
    if (status == KVC_OK) objective_note(p, s, 0);
    if (status == KVC_OK) item_price_note(p);
    if (status == KVC_OK) limits_note(&found.priced, p, s, found.chosen.choice);
    if (status == KVC_OK) status = write_plan(&found, s, err);
    if (status == KVC_OK && s->front) status = front_file_write(&found, s->front, err);
    if (status == KVC_OK && s->report) status = write_report(&found, s, err);
    if (status == KVC_OK) report(s, &found);
    solution_free(&found);
    return status;
}

kvc_status command_solve(settings *s, kvc_error *err)
{
    profile *p = NULL;
    KVC_TRY(profile_load(&p, s->operands[0], err));
    kvc_status status = p->layers_done < p->n_layers
                            ? kvc_fail(err, KVC_INPUT, "%s: an unfinished profile: %u of %u layers", s->operands[0],
                                       p->layers_done, p->n_layers)
                            : solve(s, p, err);
    profile_free(p);
    return status;
}
