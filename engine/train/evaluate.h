/* Scoring, for those who do it more than once with one plan. */
#ifndef ENGINE_TRAIN_EVALUATE_H
#define ENGINE_TRAIN_EVALUATE_H

#include "engine/data/dataset.h"
#include "engine/train/run.h"

#include <signal.h>

struct evaluator;
struct plan;

/* `host` (NULL: none) as in plan_create(). */
enum colonnade_status evaluator_create(struct evaluator **evaluator, const struct run *run,
                                       int threads, const struct plan *host,
                                       struct colonnade_error *error);
void evaluator_destroy(struct evaluator *evaluator);

/* What was made of one sample. */
struct verdict {
    double loss, probability; /* the latter of the predicted class */
    int predicted;
};

/* As evaluate(), of `model`, which is one of the run's; `stop` as in train(): on a signal nothing
 * is scored and the status says so. `verdicts` is [samples of the part], or NULL. */
enum colonnade_status evaluator_run(struct evaluator *evaluator, const struct model *model,
                                    const struct dataset *data, enum part part,
                                    const volatile sig_atomic_t *stop,
                                    struct evaluation *evaluation, struct verdict *verdicts,
                                    struct colonnade_error *error);

/* Raises where the loss of that part is no finite number. */
enum colonnade_status evaluation_check(const struct evaluation *evaluation, enum part part,
                                       struct colonnade_error *error);

/* COLONNADE_OK, or the status of the signal that has come. */
enum colonnade_status check_stop(const volatile sig_atomic_t *stop, struct colonnade_error *error);

#endif
