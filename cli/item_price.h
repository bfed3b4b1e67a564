/* item_price.h - what the candidates of one layer and side cost the whole model, from those that were measured.
 *
 * A measured candidate has its own KL. Others lie on the line through the measured points in log KL over log local
 * loss; beyond them, and with one point alone, KL is proportional to the local loss. */
#ifndef CLI_ITEM_PRICE_H
#define CLI_ITEM_PRICE_H
#include "profile.h"

enum { ITEM_PRICES = 256, ALL_DOMAINS = -1 };

typedef struct item_price {
    bool values;
    uint32_t layer;
    int64_t domain;
    size_t n; /* points, by rising local loss */
    double log_local[ITEM_PRICES], log_kl[ITEM_PRICES];
} item_price;

/* Has every item a point with which the others can be priced? */
bool item_prices_complete(const profile *p);
/* On a domain's text, or on all. Without a point (n == 0), which only domains may be, nothing can be priced. */
void item_price_read(item_price *out, const profile *p, bool values, uint32_t layer, int64_t domain);
double item_price_of(const item_price *price, const profile *p, uint32_t candidate);
#endif
