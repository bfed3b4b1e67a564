/* status.c - status sentences, error messages, version. */
#include <stdarg.h>
#include <stdio.h>
#include "kvc/kvc.h"

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "libkvc reads cfg.bin in place: it needs a little-endian machine"
#endif

const char *kvc_status_text(kvc_status status)
{
#define STATUS_TEXT(name, text) [name] = text,
    static const char *const texts[] = {KVC_STATUS_LIST(STATUS_TEXT)};
#undef STATUS_TEXT
    return (unsigned)status < KVC_STATUS_COUNT ? texts[status] : "unknown status";
}

kvc_status kvc_fail(kvc_error *err, kvc_status status, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
    }
    return status;
}

const char *kvc_version(void)
{
    return KVC_VERSION_STRING;
}
