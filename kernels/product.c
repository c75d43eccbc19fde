/* Products in pieces. */
#include "product.h"

#include <cblas.h>
#include <stddef.h>
#include <string.h>

enum {
    NARROW_N = 64,   /* with so few columns a piece has */
    NARROW_K = 256,  /* so many terms, */
    NARROW_B = 8192, /* but no more than 32 KB of b, */
    PIECE_N = 128,   /* else 96 KB, */
    PIECE_K = 192,
    TRANSPOSED_K = 64, /* or 32 KB where a is transposed and strides are long */
    LARGE_N = 512,     /* above this in n and */
    LARGE_K = 192,     /* this in k packing costs nothing */
    UNIT_M = 8,        /* pieces have a multiple of so many rows */
    UNIT_N = 64        /* and columns: four vectors, the kernels' widest step */
};

bool product_small_is_fast(void)
{
#ifdef WITH_OPENBLAS
    static const char *const names[] = {"SkylakeX", "Cooperlake", "Sapphirerapids"};
    const char *name = openblas_get_corename();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
#endif
    return false;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Where op(matrix)'s element [row, column] lies. */
static const float *at(const struct matrix *matrix, int row, int column)
{
    size_t line = (size_t)(matrix->transposed ? column : row);
    size_t place = (size_t)(matrix->transposed ? row : column);
    return matrix->data + line * (size_t)matrix->stride + place;
}

static CBLAS_TRANSPOSE form(const struct matrix *matrix)
{
    return matrix->transposed ? CblasTrans : CblasNoTrans;
}

static void multiply(const struct product *p, int m0, int m, int n0, int n, int k0, int k)
{
    cblas_sgemm(CblasRowMajor, form(&p->a), form(&p->b), m, n, k, 1.0f, at(&p->a, m0, k0),
                p->a.stride, at(&p->b, k0, n0), p->b.stride, p->add || k0 > 0 ? 1.0f : 0.0f,
                p->c + (size_t)m0 * (size_t)p->stride + (size_t)n0, p->stride);
}

/* `total` in equal pieces of at most `most`, rounded up to a multiple of `unit`. */
static int piece(int total, int most, int unit)
{
    int pieces = (total + most - 1) / most;
    int size = (total + pieces - 1) / pieces;
    return (size + unit - 1) / unit * unit;
}

static int narrow_terms(int n)
{
    return least(NARROW_K, NARROW_B / n);
}

static void multiply_pieces(const struct product *p)
{
    int n_size = piece(p->n, p->n <= NARROW_N ? NARROW_N : PIECE_N, UNIT_N);
    int k_most = p->n <= NARROW_N ? narrow_terms(p->n) : p->a.transposed ? TRANSPOSED_K : PIECE_K;
    int k_size = piece(p->k, k_most, 1);
    int m_most = PRODUCT_SMALL / (least(n_size, p->n) * k_size) / UNIT_M * UNIT_M;
    int m_size = piece(p->m, m_most, UNIT_M);
    for (int m = 0; m < p->m; m += m_size)
        for (int n = 0; n < p->n; n += n_size)
            for (int k = 0; k < p->k; k += k_size)
                multiply(p, m, least(m_size, p->m - m), n, least(n_size, p->n - n), k,
                         least(k_size, p->k - k));
}

/* One piece already. */
static bool is_small(const struct product *p)
{
    return (double)p->m * p->n * p->k <= PRODUCT_SMALL &&
           (p->n > NARROW_N || p->k <= narrow_terms(p->n));
}

void product(struct product p, bool pieces)
{
    bool large = p.n > LARGE_N && p.k > LARGE_K;
    if (pieces && !is_small(&p) && !large && !p.b.transposed)
        multiply_pieces(&p);
    else
        multiply(&p, 0, p.m, 0, p.n, 0, p.k);
}
