/* colonnade verify: the sample outputs that a run file holds, computed anew. */
#include "engine/cli/cli.h"

#include "engine/base/memory.h"
#include "engine/store/store.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Other BLAS kernels sum in another order. With n terms in float32 that is of the order of
 * sqrt(n) * 6e-8 of their size, a layer: for n = 10^4 and some tens of layers below 1e-4. */
static const double tolerance = 1e-4;

static enum colonnade_status compare(const char *path, const float *stored, const float *computed,
                                     size_t count, double *largest, struct colonnade_error *error)
{
    *largest = 0;
    for (size_t i = 0; i < count; i++) {
        double want = stored[i], got = computed[i], difference = fabs(got - want);
        double allowed = tolerance * fmax(1, fabs(want));
        if (!(difference <= allowed))
            return error_set(error, COLONNADE_FAILURE,
                             "%s: logit %zu is %.9g and was %.9g when the file was written: "
                             "they may differ by %.1g",
                             path, i, got, want, allowed);
        *largest = fmax(*largest, difference);
    }
    return COLONNADE_OK;
}

enum colonnade_status verb_verify(const struct options *options, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const char *path = options->operands[0];
    struct run *run = NULL;
    float *logits = NULL;
    double largest;
    TRY(run_load(&run, path, error));
    const struct golden *golden = &run->golden;
    if (golden->n == 0)
        RAISE(COLONNADE_FAILURE,
              "%s holds no sample outputs: its status is %s, and they are "
              "kept when a run is complete",
              path, run_status_names[run->status]);
    const size_t count = size_multiply((size_t)golden->n, (size_t)run->graph->classes);
    TRY(memory_allocate(&logits, count, sizeof *logits, "logits", error));
    TRY(infer(run, golden->n, golden->input, experiment_threads(options, &run->settings), logits,
              error));
    TRY(compare(path, golden->logits, logits, count, &largest, error));
    if (memcmp(golden->logits, logits, count * sizeof *logits) == 0)
        printf("%s: ok: %zu logits of %d samples are the same to the last bit\n", path, count,
               golden->n);
    else
        printf("%s: ok: %zu logits of %d samples differ by %.2g at the most, below %.0e (another "
               "machine or BLAS kernel wrote them)\n",
               path, count, golden->n, largest, tolerance);
out:
    free(logits);
    run_destroy(run);
    return status;
}
