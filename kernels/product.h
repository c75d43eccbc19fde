/* Matrix products: the one place that calls cblas_sgemm. Matrices are row-major.
 *
 * OpenBLAS packs its operands, which pays where matrices are large. Its AVX-512 kernels multiply
 * small matrices (m * n * k up to PRODUCT_SMALL) as they lie, a quarter to a third faster when the
 * second one stays in the cache; a large product may be cut into such pieces. Whether that pays is
 * a matter of the BLAS kernel and of n and k, so it is decided here, once and by shape.
 */
#ifndef KERNELS_PRODUCT_H
#define KERNELS_PRODUCT_H

#include <stdbool.h>

enum { PRODUCT_SMALL = 1000000 };

/* An operand as it lies in memory: `stride` floats from row to row; with `transposed` the product
 * takes its transpose. */
struct matrix {
    const float *data;
    int stride;
    bool transposed;
};

/* c [m, n] = a [m, k] b [k, n], or c += that with `add`. */
struct product {
    int m, n, k;
    struct matrix a, b;
    bool add;
    float *c;
    int stride; /* of c */
};

/* Whether the BLAS in use multiplies small matrices without packing them. */
bool product_small_is_fast(void);

/* In one call, or, where `pieces` (product_small_is_fast()) and the shape is one for it, in pieces;
 * a transposed b never is in pieces: OpenBLAS's small kernels are poor at it. */
void product(struct product p, bool pieces);

#endif
