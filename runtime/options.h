/* options.h - structs of options, whose first field is their size. */
#ifndef RUNTIME_OPTIONS_H
#define RUNTIME_OPTIONS_H
#include <string.h>
#include "kvc/kvc.h"

/* Copy a caller's struct to out [known]; fields that it has not got are zero. Refused are one that is smaller than
 * the first version's, `least`, and one that sets fields which this version does not have. */
static inline kvc_status kvci_options_take(void *out, size_t known, const void *options, size_t least, kvc_error *err)
{
    const uint8_t *bytes = options;
    uint32_t size;
    memcpy(&size, bytes, sizeof size);
    if (size < least) return kvc_fail(err, KVC_INVALID, "options of %u bytes, at least %zu expected", size, least);
    for (size_t i = known; i < size; i++)
        if (bytes[i]) return kvc_fail(err, KVC_UNSUPPORTED, "an option at byte %zu is not in this version", i);
    memset(out, 0, known);
    memcpy(out, bytes, size < known ? size : known);
    return KVC_OK;
}

#endif
