#include "build_id.h"
#include "sha256.h"
#include "version.h" /* written by version.cmake at build time */

const char *build_version(void)
{
    return *KVCALIB_COMMIT ? KVCALIB_VERSION " (git " KVCALIB_COMMIT ")" : KVCALIB_VERSION;
}

kvc_status build_sha256(uint8_t out[32], kvc_error *err)
{
    return sha256_file("/proc/self/exe", out, err);
}
