/* limits.h - side constraints of --max-pairs, --equal-pages and --max-constants, for the candidates of a profile. */
#ifndef CLI_LIMITS_H
#define CLI_LIMITS_H
#include "cost.h"
#include "settings.h"

/* Was any asked for? */
bool limits_asked(const settings *s);
/* "--max-pairs 3 --equal-pages": those that were, for messages; "" without any. */
void limits_text(const settings *s, char *out, size_t n);
/* The front of plans that keep them; `priced` has the same options in all layers. KVC_INFEASIBLE names the least
 * --max-constants. With --equal-pages the points' bytes count the padding. */
kvc_status limits_front(front *out, const priced *priced, const profile *p, const kvc_token_policy *tokens,
                        uint64_t context, const settings *s, size_t max_cells, kvc_error *err);
/* With --equal-pages: say how large the pages of a plan are, and how many layers are padded. */
void limits_note(const priced *priced, const profile *p, const settings *s, const uint16_t *choice);
#endif
