/* colonnade verify: what a run file says of itself, looked at: loading it has compared its
 * checksums; the sample outputs that it holds are computed anew. */
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

/* A run that has not ended has no outputs to compare, and weights that can be damaged all the
 * same. */
static enum colonnade_status verify_weights(const char *path, const struct run *run,
                                            struct colonnade_error *error)
{
    const char *name = run_status_names[run->status];
    if (!run->weights_checked)
        return error_set(error, COLONNADE_FAILURE,
                         "%s holds nothing to verify it by: no sample outputs, which are kept when "
                         "a run is complete (its status is %s), and no checksum of its weights",
                         path, name);
    printf("%s: ok: the weights agree with their checksum; there are no sample outputs to compute "
           "anew, for they are kept when a run is complete, and its status is %s\n",
           path, name);
    return COLONNADE_OK;
}

static enum colonnade_status verify_outputs(const char *path, const struct run *run, int threads,
                                            struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct golden *golden = &run->golden;
    const char *weights = run->weights_checked ? "the weights agree with their checksum"
                                               : "the weights have no checksum";
    float *logits = NULL;
    double largest;
    const size_t count = size_multiply((size_t)golden->n, (size_t)run->graph->classes);
    TRY(memory_allocate(&logits, count, sizeof *logits, "logits", error));
    TRY(infer(run, (size_t)golden->n, golden->input, threads, logits, error));
    TRY(compare(path, golden->logits, logits, count, &largest, error));
    if (memcmp(golden->logits, logits, count * sizeof *logits) == 0)
        printf("%s: ok: %s; %zu logits of %d sample%s are the same to the last bit\n", path,
               weights, count, golden->n, plural(golden->n));
    else
        printf(
            "%s: ok: %s; %zu logits of %d sample%s differ by %.2g at the most, below %.0e (another "
            "machine or BLAS kernel wrote them)\n",
            path, weights, count, golden->n, plural(golden->n), largest, tolerance);
out:
    free(logits);
    return status;
}

enum colonnade_status verb_verify(const struct options *options, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const char *path = options->operands[0];
    struct run *run = NULL;
    TRY(run_load(&run, path, error));
    if (run->golden.n == 0)
        TRY(verify_weights(path, run, error));
    else
        TRY(verify_outputs(path, run, experiment_threads(options, &run->settings), error));
    TRY(output_flush(error));
out:
    run_destroy(run);
    return status;
}
