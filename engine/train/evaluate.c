/* Scores a part of the data: loss, accuracy, top-5, and what was taken for what. Sums run over the
 * samples in their order, so that the number of threads changes none of them.
 */
#include "engine/train/evaluate.h"

#include "engine/base/memory.h"
#include "engine/plan/plan.h"
#include "engine/train/train.h"
#include "engine/train/views.h"

#include <math.h>
#include <stdlib.h>

static const char *const part_names[] = {
    [PART_TRAINING] = "training", [PART_VALIDATION] = "validation", [PART_TEST] = "test"};

struct evaluator {
    const struct run *run;
    struct plan *plan;
    float *logits; /* [batch, classes] */
    double *loss;  /* [batch] */
    int32_t *rank; /* [batch] */
};

enum colonnade_status check_stop(const volatile sig_atomic_t *stop, struct colonnade_error *error)
{
    if (!stop || *stop == 0)
        return COLONNADE_OK;
    if (*stop == SIGTERM)
        return error_set(error, COLONNADE_TERMINATED, "terminated by SIGTERM");
    return error_set(error, COLONNADE_INTERRUPTED, "interrupted by SIGINT");
}

enum colonnade_status evaluator_create(struct evaluator **evaluator, const struct run *run,
                                       int threads, const struct plan *host,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct evaluator *made = NULL;
    size_t batch = (size_t)run->settings.batch;
    TRY(memory_allocate(&made, 1, sizeof *made, "an evaluation", error));
    made->run = run;
    TRY(memory_allocate(&made->logits, batch * (size_t)run->graph->classes, sizeof *made->logits,
                        "logits", error));
    TRY(memory_allocate(&made->loss, batch, sizeof *made->loss, "losses", error));
    TRY(memory_allocate(&made->rank, batch, sizeof *made->rank, "ranks", error));
    TRY(plan_create(&made->plan, run->graph, PLAN_INFERENCE, run->settings.batch, threads, host,
                    error));
    *evaluator = made;
    made = NULL;
out:
    evaluator_destroy(made);
    return status;
}

void evaluator_destroy(struct evaluator *evaluator)
{
    if (!evaluator)
        return;
    plan_destroy(evaluator->plan);
    free(evaluator->logits);
    free(evaluator->loss);
    free(evaluator->rank);
    free(evaluator);
}

/* The likeliest class; ties go to the lower index. */
static int predicted_class(const float *logits, int classes)
{
    int best = 0;
    for (int i = 1; i < classes; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

/* Adds a mini-batch that the plan has run; loss, accuracy and top5 are sums until the end. Of the
 * `verdicts` (NULL: not wanted) those of the batch are the first. */
static void score_batch(struct evaluator *evaluator, const struct batch *batch,
                        struct evaluation *evaluation, struct verdict *verdicts)
{
    int classes = evaluation->classes;
    const float *logits = evaluator->logits;
    kernels_best()->softmax_cross_entropy(batch->n, classes, logits, batch->labels, NULL, NULL, 0,
                                          1, evaluator->loss, evaluator->rank, NULL);
    for (int i = 0; i < batch->n; i++) {
        size_t row = (size_t)batch->labels[i] * (size_t)classes;
        const float *values = logits + (size_t)i * (size_t)classes;
        int predicted = predicted_class(values, classes);
        if (verdicts) {
            /* loss = log(sum of exp) - the true class's logit */
            const double true_logit = (double)values[batch->labels[i]];
            const double ahead = (double)values[predicted] - true_logit;
            verdicts[i] =
                (struct verdict){evaluator->loss[i], exp(ahead - evaluator->loss[i]), predicted};
        }
        evaluation->confusion[row + (size_t)predicted]++;
        evaluation->loss += evaluator->loss[i];
        evaluation->accuracy += evaluator->rank[i] == 0;
        evaluation->top5 += evaluator->rank[i] < 5;
    }
    evaluation->count += (size_t)batch->n;
}

static double ratio(int64_t part, int64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

static void score_classes(struct evaluation *evaluation)
{
    size_t n = (size_t)evaluation->classes;
    for (size_t label = 0; label < n; label++) {
        int64_t hits = evaluation->confusion[label * n + label], actual = 0, predicted = 0;
        for (size_t other = 0; other < n; other++) {
            actual += evaluation->confusion[label * n + other];
            predicted += evaluation->confusion[other * n + label];
        }
        evaluation->precision[label] = ratio(hits, predicted);
        evaluation->recall[label] = ratio(hits, actual);
        evaluation->f1[label] = ratio(2 * hits, actual + predicted);
    }
}

enum colonnade_status evaluator_run(struct evaluator *evaluator, const struct model *model,
                                    const struct dataset *data, enum part part,
                                    const volatile sig_atomic_t *stop,
                                    struct evaluation *evaluation, struct verdict *verdicts,
                                    struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct run *run = evaluator->run;
    struct evaluation made = {0};
    struct sampler *sampler = NULL;
    TRY(evaluation_init(&made, run->graph->classes, error));
    TRY(sampler_create(&sampler, data, part, run->settings.batch, error));
    sampler_begin(sampler, 1, 0);
    for (size_t i = 0; i < sampler_batches(sampler); i++) {
        TRY(check_stop(stop, error));
        const struct batch *batch;
        TRY(sampler_batch(sampler, i, &batch, error));
        views_run(evaluator->plan, model, batch, run->settings.seed, data->tta, evaluator->logits);
        score_batch(evaluator, batch, &made, verdicts ? verdicts + made.count : NULL);
    }
    if (made.count) {
        made.loss /= (double)made.count;
        made.accuracy /= (double)made.count;
        made.top5 /= (double)made.count;
    }
    score_classes(&made);
    *evaluation = made;
    made = (struct evaluation){0};
out:
    evaluation_finish(&made);
    sampler_destroy(sampler);
    return status;
}

enum colonnade_status evaluation_check(const struct evaluation *evaluation, enum part part,
                                       struct colonnade_error *error)
{
    if (isfinite(evaluation->loss))
        return COLONNADE_OK;
    return error_set(error, COLONNADE_FAILURE,
                     "the loss of the %s split is %g, no finite number: the weights are of no use; "
                     "a lower lr or clip_norm may help in training",
                     part_names[part],
                     isnan(evaluation->loss) ? NAN : evaluation->loss); /* without its sign */
}

enum colonnade_status evaluate(const struct run *run, const struct dataset *data, enum part part,
                               int threads, struct evaluation *evaluation,
                               struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct evaluator *evaluator = NULL;
    struct evaluation made = {0};
    TRY(evaluator_create(&evaluator, run, threads, NULL, error));
    TRY(evaluator_run(evaluator, run_weights(run), data, part, NULL, &made, NULL, error));
    TRY(evaluation_check(&made, part, error));
    *evaluation = made;
    made = (struct evaluation){0};
out:
    evaluation_finish(&made);
    evaluator_destroy(evaluator);
    return status;
}
