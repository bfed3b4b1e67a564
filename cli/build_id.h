/* build_id.h - which kvcalib this is. */
#ifndef CLI_BUILD_ID_H
#define CLI_BUILD_ID_H
#include "kvc/kvc.h"
/* "0.1.0 (git 1234abcd)", or without the commit where it was not built from a git checkout. */
const char *build_version(void);
/* SHA-256 of the running executable: results of another binary are not continued. */
kvc_status build_sha256(uint8_t out[32], kvc_error *err);
#endif
