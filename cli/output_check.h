/* output_check.h - find out before long work whether its output can be written. */
#ifndef CLI_OUTPUT_CHECK_H
#define CLI_OUTPUT_CHECK_H
#include "output.h"
static inline kvc_status output_check(const char *path, kvc_error *err)
{
    output *o;
    KVC_TRY(output_open(&o, path, err));
    output_discard(o);
    return KVC_OK;
}
#endif
