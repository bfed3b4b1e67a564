/* join.h - the data of one side with all KV heads in one row, for codecs with "@joint". */
#ifndef CALIB_FIT_JOIN_H
#define CALIB_FIT_JOIN_H
#include "fit.h"

typedef struct joined joined;

/* Rows of H d channels, heads side by side. What weights and metrics say of heads apart becomes one weight per token
 * and one metric: with m_h the mean weight of head h,
 *     w_j = mean_h ( w_jh / m_h )  over heads with m_h > 0,        metric = diag over h of  m_h metric_h,
 * so that w_j e' metric e is the loss where a token matters equally to all heads. The covariance is that of the
 * sampled rows. Owned: joined_free(). */
kvc_status joined_new(joined **out, const fit_data *data, kvc_error *err);
void joined_free(joined *j); /* NULL is fine */
const fit_data *joined_data(const joined *j);
#endif
