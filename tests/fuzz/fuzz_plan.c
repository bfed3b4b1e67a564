/* fuzz_plan.c - any text as a plan and as a space: refused with a message of one line, or read; and a plan
 * that is read comes back the same from its canonical text. */
#include "plan.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(const kvc_error *err)
{
    if (!err->message[0] || strpbrk(err->message, "\n\r")) abort();
}

static void check_round_trip(const plan *p, const kvc_token_policy *defaults)
{
    plan again;
    kvc_error err = {0};
    char *text = plan_write(p, "fuzz");
    if (!text || plan_read_memory(&again, text, strlen(text), "again", p->n_layers, defaults, &err) != KVC_OK)
        abort();
    char *same = plan_write(&again, "fuzz");
    if (!same || strcmp(text, same) != 0 || memcmp(p->layers, again.layers, p->n_layers * sizeof *p->layers) != 0)
        abort();
    free(text);
    free(same);
    plan_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const kvc_token_policy defaults = {4, 64, 64};
    plan p;
    codec_space s;
    kvc_error err = {0};
    if (plan_read_memory(&p, (const char *)data, size, "fuzz", 8, &defaults, &err) == KVC_OK) {
        check_round_trip(&p, &defaults);
        plan_free(&p);
    } else {
        check_message(&err);
    }
    err.message[0] = 0;
    if (space_read_memory(&s, (const char *)data, size, "fuzz", &err) == KVC_OK)
        space_free(&s);
    else
        check_message(&err);
    return 0;
}
