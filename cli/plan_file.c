#include "plan_file.h"
#include "output.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void describe(const solution *s, char *out, size_t n)
{
    char prediction[64] = "";
    double kl = solution_kl(s, &s->chosen);
    if (isfinite(kl)) snprintf(prediction, sizeof prediction, ", predicted KL %.4g nats per token", kl);
    snprintf(out, n, "%s: %.4f bits per value at %llu tokens%s", s->method, solution_bits(s, &s->chosen),
             (unsigned long long)s->context, prediction);
}

static kvc_status write_plan(const solution *s, bool kvtuner, const char *path, kvc_error *err)
{
    char comment[256], *text = NULL;
    plan plan;
    describe(s, comment, sizeof comment);
    KVC_TRY(solution_plan(s, &s->chosen, &plan, err));
    kvc_status status = KVC_OK;
    if (kvtuner)
        status = plan_write_kvtuner(&text, &plan, comment, err);
    else if (!(text = plan_write(&plan, comment)))
        status = kvc_fail(err, KVC_NO_MEMORY, "out of memory for a plan");
    plan_free(&plan);
    if (status == KVC_OK) status = output_write(path, text, strlen(text), err);
    free(text);
    return status;
}

kvc_status plan_file_write(const solution *s, const char *path, kvc_error *err)
{
    return write_plan(s, false, path, err);
}

kvc_status plan_file_write_kvtuner(const solution *s, const char *path, kvc_error *err)
{
    return write_plan(s, true, path, err);
}
