/* item_price.h - what the candidates of one layer and side cost the whole model, from those that were measured.
 *
 * A measured candidate has its own KL. Others lie on the line through the measured points in log KL over log local
 * loss; beyond them, and with one point alone, KL is proportional to the local loss. A KL of zero, which was too
 * small to be measured, is no point. Without any point KL is the local loss times what a local loss is worth
 * elsewhere. */
#ifndef CLI_ITEM_PRICE_H
#define CLI_ITEM_PRICE_H
#include "profile.h"

enum { ITEM_PRICES = 256, ALL_DOMAINS = -1 };

typedef struct item_price {
    bool values;
    uint32_t layer;
    int64_t domain;
    double scale; /* KL of one unit of local loss, where there is no point */
    size_t n;     /* points, by rising local loss */
    double log_local[ITEM_PRICES], log_kl[ITEM_PRICES];
} item_price;

/* The median of KL over local loss of all points; 0: the profile has no prices to go by. */
kvc_status item_price_scale(double *out, const profile *p, kvc_error *err);
/* On a domain's text, or on all. */
void item_price_read(item_price *out, const profile *p, bool values, uint32_t layer, int64_t domain, double scale);
double item_price_of(const item_price *price, const profile *p, uint32_t candidate);
/* Says so where a profile's prices leave items that could have one without. */
void item_price_note(const profile *p);
#endif
