#include "plan_file.h"
#include "output.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

kvc_status plan_file_write(const solution *s, const char *path, kvc_error *err)
{
    char comment[256], prediction[64] = "";
    double kl = solution_kl(s, &s->chosen);
    plan plan;
    if (isfinite(kl)) snprintf(prediction, sizeof prediction, ", predicted KL %.4g nats per token", kl);
    snprintf(comment, sizeof comment, "%s: %.4f bits per value at %llu tokens%s", s->method,
             solution_bits(s, &s->chosen), (unsigned long long)s->context, prediction);
    KVC_TRY(solution_plan(s, &s->chosen, &plan, err));
    char *text = plan_write(&plan, comment);
    plan_free(&plan);
    if (!text) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a plan");
    kvc_status status = output_write(path, text, strlen(text), err);
    free(text);
    return status;
}
