/* options.h - structs of options, whose first field is their size. */
#ifndef RUNTIME_OPTIONS_H
#define RUNTIME_OPTIONS_H
#include "kvc/kvc.h"

/* Refuse a struct that is too small, or that sets fields which this version, with `known` bytes, does not have. */
static inline kvc_status kvci_options_check(const void *options, uint32_t size, size_t known, kvc_error *err)
{
    const uint8_t *bytes = options;
    if (size < known) return kvc_fail(err, KVC_INVALID, "options of %u bytes, %zu expected", size, known);
    for (size_t i = known; i < size; i++)
        if (bytes[i]) return kvc_fail(err, KVC_UNSUPPORTED, "an option at byte %zu is not in this version", i);
    return KVC_OK;
}

#endif
