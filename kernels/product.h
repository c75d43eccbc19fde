/* Matrix products through cblas_sgemm, row-major.
 *
 * OpenBLAS packs its operands, which pays where matrices are large. Its AVX-512 kernels multiply
 * small matrices (m * n * k up to a million) as they lie, a quarter to a third faster when the
 * second one stays in the cache; a large product may be cut into such pieces. Whether that pays is
 * a matter of the BLAS kernel and of n and k, so it is decided here, once and by shape.
 */
#ifndef KERNELS_PRODUCT_H
#define KERNELS_PRODUCT_H

#include <stdbool.h>

/* c [m, n] = op(a) b, or c += op(a) b with `add`: a is [m, k], or [k, m] where `transposed`; b is
 * [k, n]. lda, ldb, ldc: floats from row to row. */
struct product {
    bool transposed, add;
    int m, n, k;
    const float *a;
    int lda;
    const float *b;
    int ldb;
    float *c;
    int ldc;
};

/* Whether the BLAS in use multiplies small matrices without packing them. */
bool product_small_is_fast(void);

/* One product; in pieces where `pieces` (product_small_is_fast()) and the shape is one for it. */
void product(const struct product *p, bool pieces);

#endif
