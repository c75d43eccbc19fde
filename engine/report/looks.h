/* Test images that the page looks at closely, out of the run file. */
#ifndef ENGINE_REPORT_LOOKS_H
#define ENGINE_REPORT_LOOKS_H

#include "engine/train/run.h"

#include <stdio.h>

struct look {
    float *values;   /* [c, h, w] as the network gets them */
    uint8_t *pixels; /* [h, w, c] */
    long sample;     /* its place in the test split */
    int actual;      /* -1: the run file does not say */
    int predicted;
    double probability; /* of that class */
};

struct looks {
    size_t n;
    struct look *items;
};

/* Up to `golden` of the run's golden samples, then up to `worst` of its worst mistakes. The caller
 * finishes them, also on error. */
enum colonnade_status looks_init(struct looks *looks, const struct run *run, size_t golden,
                                 size_t worst, struct colonnade_error *error);
void looks_finish(struct looks *looks);

/* "test image 3: Shirt taken for Coat, 97.31%" */
void look_write_name(FILE *page, const struct run *run, const struct look *look);

/* softmax(logits [classes])[class] */
double look_probability(const float *logits, int classes, int class);

#endif
