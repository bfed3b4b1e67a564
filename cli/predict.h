/* predict.h - the KL divergence of a plan from its summed local loss, through plans that were measured (anchors). */
#ifndef CLI_PREDICT_H
#define CLI_PREDICT_H
#include <stddef.h>

typedef struct predictor {
    double *log_loss, *log_kl; /* [n] rising, not falling */
    size_t n;
} predictor;

typedef struct predictor_anchor {
    double local_loss, kl;
} predictor_anchor;

/* Anchors whose loss or KL is not above zero say nothing and are left out. 0: out of memory. */
int predictor_new(predictor *out, const predictor_anchor *anchors, size_t n);
void predictor_free(predictor *p);
/* Every prediction times `factor`, above zero. */
void predictor_scale(predictor *p, double factor);
/* Nats per token, never falling with the loss; 0 for no loss; NaN without anchors. */
double predictor_kl(const predictor *p, double local_loss);
#endif
