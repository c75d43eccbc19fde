/* This machine's sgemm rate, called as the engine calls it: one BLAS thread a call, a call on
 * each OpenMP thread. What a network's rate is set against.
 */
#include "engine/cli/cli.h"

#include "engine/base/memory.h"

#include <cblas.h>
#include <omp.h>
#include <stdlib.h>

enum { SIDE = 1024 }; /* of square matrices: large enough for the full rate, 4 MB each */

struct peak {
    int threads;
    float *a, *b; /* [SIDE, SIDE], read by all threads */
    float *c;     /* [threads, SIDE, SIDE] */
};

enum colonnade_status peak_create(struct peak **peak, int threads, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct peak *made = NULL;
    const size_t count = (size_t)SIDE * SIDE;
    TRY(memory_allocate(&made, 1, sizeof *made, "the sgemm measurement", error));
    made->threads = threads;
    TRY(memory_allocate(&made->a, count, sizeof(float), "the sgemm measurement", error));
    TRY(memory_allocate(&made->b, count, sizeof(float), "the sgemm measurement", error));
    TRY(memory_allocate(&made->c, size_multiply(count, (size_t)threads), sizeof(float),
                        "the sgemm measurement", error));
    for (size_t i = 0; i < count; i++) {
        made->a[i] = (float)(i * 7919 % 1021) / 1021 - 0.5f;
        made->b[i] = (float)(i * 6101 % 1019) / 1019 - 0.5f;
    }
    *peak = made;
    made = NULL;
out:
    peak_destroy(made);
    return status;
}

void peak_destroy(struct peak *peak)
{
    if (!peak)
        return;
    free(peak->a);
    free(peak->b);
    free(peak->c);
    free(peak);
}

/* Each thread multiplies until the time is over; each thread's rate is taken over its own time. */
double peak_measure(struct peak *peak, double seconds)
{
    double rate = 0;
    /* A team of one is no parallel region to OpenBLAS, which would take all of OpenMP's threads. */
    const int threads = omp_get_max_threads();
    omp_set_num_threads(peak->threads);
#pragma omp parallel num_threads(peak->threads) reduction(+ : rate)
    {
        float *c = peak->c + (size_t)omp_get_thread_num() * SIDE * SIDE;
        double products = 0;
#pragma omp barrier
        double start = seconds_now(), elapsed;
        do {
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, SIDE, SIDE, SIDE, 1, peak->a,
                        SIDE, peak->b, SIDE, 0, c, SIDE);
            products++;
            elapsed = seconds_now() - start;
        } while (elapsed < seconds);
        rate += 2.0 * SIDE * SIDE * SIDE * products / elapsed * 1e-9;
    }
    omp_set_num_threads(threads);
    return rate;
}
