/* allowed.h - the candidates of a profile that a --space file lists. */
#ifndef CLI_ALLOWED_H
#define CLI_ALLOWED_H
#include "cost.h"

/* `only` for priced_new(); owned: allowed_free(). A spec of the file that the profile has no candidate for is
 * KVC_INPUT and named. */
kvc_status allowed_read(candidate_filter *out, const char *path, const profile *p, const char *profile_path,
                        kvc_error *err);
void allowed_free(candidate_filter *f);
#endif
