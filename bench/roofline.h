/* Roofs and dots of a roofline figure (Williams, Waterman & Patterson 2009): how fast each kernel
 * is beside what arithmetic and memory allow.
 */
#ifndef BENCH_ROOFLINE_H
#define BENCH_ROOFLINE_H

#include <stdio.h>

enum family { FAMILY_CONVOLUTION, FAMILY_DENSE, FAMILY_POOLING, FAMILY_PASS, FAMILY_COUNT };

struct dot {
    enum family family;
    char label[96];   /* model, layer, kernel */
    double intensity; /* operations a byte */
    double gflops;
};

struct roofline {
    const char *title;
    double peak_gflops; /* sgemm */
    double cache_gb;    /* GB/s, arrays in the second cache */
    double memory_gb;   /* GB/s, arrays too large for any */
    const struct dot *dots;
    size_t count;
};

/* SVG; whoever calls looks at ferror(). */
void roofline_draw(const struct roofline *roofline, FILE *file);

#endif
