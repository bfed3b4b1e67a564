/* cmd_solve.c - kvcalib solve profile.h5 -o plan.yaml */
#include "inspect_json.h"
#include "command.h"
#include "console.h"
#include "json.h"
#include "output.h"
#include "plan_file.h"
#include "solution.h"
#include <stdlib.h>
#include <string.h>

enum { FRONT_POINTS = 200 };

static kvc_status write_front(const solution *s, const char *path, kvc_error *err)
{
    json_t *list = solution_front_json(s, FRONT_POINTS, false);
    char *text = list ? json_canonical(list) : NULL;
    kvc_status status =
        text ? output_write(path, text, strlen(text), err) : kvc_fail(err, KVC_NO_MEMORY, "out of memory");
    free(text);
    json_decref(list);
    return status;
}

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

static kvc_status solve(const settings *s, const profile *p, kvc_error *err)
{
    solution found = {0};
    kvc_status status = solution_find(&found, p, s, err);
    if (status == KVC_OK) status = plan_file_write(&found, s->output, err);
    if (status == KVC_OK && s->front) status = write_front(&found, s->front, err);
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
