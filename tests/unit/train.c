/* Training: settings, schedules, optimizers over slices, and whole runs on a small network: that
 * threads and interruptions change no bit, that scores are what the logits say, and that numbers
 * gone non-finite are told.
 */
#include "engine/train/train.h"
#include "engine/base/memory.h"
#include "engine/data/libvips.h"
#include "engine/experiment.h"
#include "engine/plan/plan.h"
#include "engine/plan/trace.h"
#include "engine/train/worst.h"
#include "tests/unit/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct config *parse(const char *text)
{
    struct config *config = NULL;
    struct colonnade_error error = {0};
    cr_assert_eq(config_parse(&config, "dir/x.ini", text, &error), COLONNADE_OK, "%s",
                 error.message);
    return config;
}

/* --- settings --- */

static void assert_settings_refused(const char *text, const char *message)
{
    struct config *config = parse(text);
    struct settings settings;
    struct colonnade_error error = {0};
    cr_expect_eq(settings_read(&settings, config, &error), COLONNADE_USAGE, "'%s'", text);
    cr_expect_not_null(strstr(error.message, message), "'%s' is not in '%s'", message,
                       error.message);
    config_destroy(config);
}

Test(settings, a_mistake_is_told_with_its_line)
{
    assert_settings_refused("[train]\nlr = -1\n", "dir/x.ini:2: ");
    assert_settings_refused("[train]\nlr = 0.1\nbatch = 0\n", "dir/x.ini:3: ");
    assert_settings_refused("[train]\nbeta1 = 1\n", "dir/x.ini:2: beta1 is 1");
    assert_settings_refused("[train]\nbeta2 = 1\n", "dir/x.ini:2: beta2 is 1");
    assert_settings_refused("[train]\nnesterov = true\n", "dir/x.ini:2: nesterov");
    assert_settings_refused("[train]\n\noptimizer = adm\n", "dir/x.ini:3: ");
    assert_settings_refused("[train]\nschedule = cosin\n", "cosine");
    assert_settings_refused("[train]\nstep_epochs = 0\n", "dir/x.ini:2: ");
    assert_settings_refused("[train]\nlabel_smoothing = 1.5\n", "dir/x.ini:2: ");
    assert_settings_refused("[train]\nmomentum = nan\n", "dir/x.ini:2: ");
    assert_settings_refused("[run]\nsead = 1\n", "seed");
    assert_settings_refused("[run]\nthreads = -1\n", "dir/x.ini:2: ");
}

Test(settings, the_average_and_early_stop_are_checked)
{
    assert_settings_refused("[train]\nema = 1\n", "dir/x.ini:2: ");
    assert_settings_refused("[train]\nearly_stop = 3\n", "dir/x.ini:2: ");
    assert_settings_refused("[data]\nvalidation = 0.0\n[train]\nearly_stop = 3\n", "dir/x.ini:4: ");
}

static struct settings read_settings(const char *text)
{
    struct config *config = parse(text);
    struct settings settings;
    struct colonnade_error error = {0};
    cr_assert_eq(settings_read(&settings, config, &error), COLONNADE_OK, "%s", error.message);
    settings.output = NULL; /* goes with the config */
    config_destroy(config);
    return settings;
}

Test(settings, defaults_follow_the_optimizer)
{
    struct settings sgd = read_settings("");
    cr_expect_eq(sgd.lr, 0.01);
    cr_expect_eq(sgd.weight_decay, 0);
    cr_expect_eq(sgd.batch, 64);
    cr_expect_eq(sgd.seed, 1);
    struct settings adam = read_settings("[train]\noptimizer = adam\n");
    cr_expect_eq(adam.lr, 0.001);
    cr_expect_eq(adam.beta1, 0.9);
    cr_expect_eq(adam.beta2, 0.999);
    cr_expect_eq(adam.eps, 1e-8);
    cr_expect_eq(adam.weight_decay, 0);
    struct settings adamw = read_settings("[train]\noptimizer = adamw\n");
    cr_expect_eq(adamw.weight_decay, 0.01);
    struct settings rmsprop = read_settings("[train]\noptimizer = rmsprop\n");
    cr_expect_eq(rmsprop.lr, 0.01);
    cr_expect_eq(rmsprop.beta2, 0.99);
    struct settings given =
        read_settings("[train]\noptimizer = adamw\nlr = 0\nweight_decay = 0\nbeta2 = 0\n");
    cr_expect(given.lr == 0 && given.weight_decay == 0 && given.beta2 == 0);
}

Test(settings, the_output_is_named_after_the_config_and_stands_in_it)
{
    struct config *given = parse("[run]\noutput = a/b.h5\n"), *config = parse("");
    struct settings settings;
    char *text;
    cr_assert_eq(settings_read(&settings, given, NULL), COLONNADE_OK);
    cr_expect_str_eq(settings.output, "a/b.h5");
    cr_assert_eq(settings_read(&settings, config, NULL), COLONNADE_OK);
    cr_expect_str_eq(settings.output, "runs/x.h5");
    cr_assert_eq(config_print(config, &text, NULL), COLONNADE_OK);
    cr_expect_not_null(strstr(text, "output = runs/x.h5"));
    free(text);
    config_destroy(config);
    config_destroy(given);
}

Test(settings, threads_are_those_asked_for_or_those_of_the_environment)
{
    cr_expect_eq(thread_count(3), 3);
    setenv("OMP_NUM_THREADS", "5,2", 1);
    cr_expect_eq(thread_count(0), 5);
    cr_expect_eq(thread_count(2), 2);
    setenv("OMP_NUM_THREADS", "nonsense", 1);
    cr_expect_geq(thread_count(0), 1);
}

/* --- schedules --- */

/* Tables are of numbers near 1, given to ten digits. */
static void assert_schedule(const char *keys, size_t batches_an_epoch, const double *want,
                            long steps)
{
    char text[512];
    snprintf(text, sizeof text, "[train]\nlr = 1\n%s", keys);
    struct settings settings = read_settings(text);
    for (long step = 0; step < steps; step++) {
        double lr = schedule_lr(&settings, step, batches_an_epoch);
        cr_expect(fabs(lr - want[step]) < 1e-10, "%s: step %ld: %.12g instead of %.12g", keys, step,
                  lr, want[step]);
    }
}

#define ASSERT_SCHEDULE(keys, batches, ...)                                                        \
    do {                                                                                           \
        const double want_[] = {__VA_ARGS__};                                                      \
        assert_schedule((keys), (batches), want_, (long)(sizeof want_ / sizeof *want_));           \
    } while (0)

Test(schedule, constant)
{
    ASSERT_SCHEDULE("epochs = 2", 2, 1, 1, 1, 1);
    ASSERT_SCHEDULE("epochs = 2\nwarmup = 1.5", 3, 0.2, 0.4, 0.6, 0.8, 1, 1); /* W = 4.5 -> 5 */
}

Test(schedule, step_changes_after_every_step_epochs)
{
    ASSERT_SCHEDULE("epochs = 4\nschedule = step\nstep_epochs = 1\ngamma = 0.5", 2, 1, 1, 0.5, 0.5,
                    0.25, 0.25, 0.125, 0.125);
    ASSERT_SCHEDULE("epochs = 4\nschedule = step\nstep_epochs = 1.5\ngamma = 0.5", 2, 1, 1, 1, 0.5,
                    0.5, 0.5, 0.25, 0.25);
    ASSERT_SCHEDULE("epochs = 3\nschedule = step\nstep_epochs = 2\ngamma = 0.1\nwarmup = 1", 2, 0.5,
                    1, 1, 1, 0.1, 0.1); /* epochs of the warmup count */
}

Test(schedule, cosine_falls_step_by_step)
{
    /* (1 + cos(pi t / 4)) / 2 */
    ASSERT_SCHEDULE("epochs = 2\nschedule = cosine", 2, 1, 0.85355339059, 0.5, 0.14644660941);
    ASSERT_SCHEDULE("epochs = 4\nschedule = cosine\nwarmup = 2", 2, 0.25, 0.5, 0.75, 1, 1,
                    0.85355339059, 0.5, 0.14644660941);
}

Test(schedule, linear_falls_step_by_step)
{
    ASSERT_SCHEDULE("epochs = 2\nschedule = linear", 2, 1, 0.75, 0.5, 0.25);
    ASSERT_SCHEDULE("epochs = 3\nschedule = linear\nwarmup = 1", 2, 0.5, 1, 1, 0.75, 0.5, 0.25);
}

Test(schedule, onecycle_rises_and_falls)
{
    /* N = 10: the peak is at step 0.3 * 10 - 1 = 2, the end at 9, 7 steps after. 1/25, the middle
     * of it and 1, 1; then 4e-6 + (1 - 4e-6) / 2 * (1 + cos(pi k / 7)). */
    ASSERT_SCHEDULE("epochs = 5\nschedule = onecycle", 2, 0.04, 0.52, 1, 0.950484632025,
                    0.811745653949, 0.611262021885, 0.388741978115, 0.188258346051, 0.049519367975,
                    0.000004);
    ASSERT_SCHEDULE("epochs = 6\nschedule = onecycle\nwarmup = 1", 2, 0.02, 0.04, 0.04, 0.52, 1,
                    0.950484632025);
}

Test(schedule, max_steps_cuts_and_does_not_bend)
{
    ASSERT_SCHEDULE("epochs = 2\nschedule = linear\nmax_steps = 2", 2, 1, 0.75);
}

Test(schedule, a_warmup_longer_than_the_run_is_a_ramp)
{
    static const char *const names[] = {"constant", "step", "cosine", "linear"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char keys[128];
        snprintf(keys, sizeof keys, "epochs = 1\nwarmup = 2\nschedule = %s", names[i]);
        ASSERT_SCHEDULE(keys, 2, 0.25, 0.5);
    }
}

/* --- optimizers --- */

enum { COUNT = 5 * 16384 + 17 }; /* several slices, the last one short */

struct parameters {
    float *weights, *gradients;
    double norms[3];
};

/* Three updates from the same numbers each time. */
static struct parameters three_steps(int type, double clip_norm, int threads)
{
    const struct optimizer_settings settings = {
        .lr = 0.05,
        .momentum = 0.9,
        .weight_decay = 0.01,
        .beta1 = 0.9,
        .beta2 = 0.99,
        .eps = 1e-8,
    };
    struct parameters made = {guarded_floats(COUNT), guarded_floats(COUNT), {0}};
    struct optimizer *optimizer;
    cr_assert_eq(optimizer_create(&optimizer, type, COUNT, NULL), COLONNADE_OK);
    fill_random(made.weights, COUNT, 1);
    for (long step = 1; step <= 3; step++) {
        fill_random(made.gradients, COUNT, 1 + (uint32_t)step);
        made.norms[step - 1] = optimizer_step(optimizer, &settings, clip_norm, step, threads,
                                              made.gradients, made.weights);
    }
    optimizer_destroy(optimizer);
    return made;
}

static void free_parameters(struct parameters *parameters)
{
    guarded_free(parameters->weights);
    guarded_free(parameters->gradients);
}

Test(optimizer, the_number_of_threads_changes_no_bit)
{
    static const int threads[] = {2, 3, 7};
    static const double clips[] = {0, 1.5};
    for (int type = 0; optimizer_types[type]; type++)
        for (size_t clip = 0; clip < 2; clip++) {
            struct parameters one = three_steps(type, clips[clip], 1);
            for (size_t i = 0; i < 3; i++) {
                struct parameters more = three_steps(type, clips[clip], threads[i]);
                cr_expect_arr_eq(one.weights, more.weights, COUNT * sizeof(float), "%s on %d",
                                 optimizer_names[type], threads[i]);
                cr_expect_arr_eq(one.norms, more.norms, sizeof one.norms, "%s on %d",
                                 optimizer_names[type], threads[i]);
                free_parameters(&more);
            }
            free_parameters(&one);
        }
}

Test(optimizer, every_slice_is_updated_as_one_call_of_the_kernel_would)
{
    const struct optimizer_settings settings = {.lr = 0.05, .momentum = 0.9, .weight_decay = 0.01};
    struct parameters sliced = three_steps(0, 0, 2);
    float *weights = guarded_floats(COUNT), *gradients = guarded_floats(COUNT);
    float *velocity = guarded_floats(COUNT);
    fill_random(weights, COUNT, 1);
    for (long step = 1; step <= 3; step++) {
        fill_random(gradients, COUNT, 1 + (uint32_t)step);
        kernels_best()->sgd_step(&settings, step, COUNT, gradients, weights, velocity, NULL);
    }
    /* A slice's end may take the kernel's scalar way, which need not round as its vectors do:
     * a few units in the last place of numbers below 2. */
    for (size_t i = 0; i < COUNT; i++)
        cr_assert(fabsf(weights[i] - sliced.weights[i]) <= 1e-6f, "weight %zu", i);
    guarded_free(weights);
    guarded_free(gradients);
    guarded_free(velocity);
    free_parameters(&sliced);
}

Test(optimizer, the_norm_is_that_of_all_gradients_before_clipping)
{
    float *gradients = guarded_floats(COUNT);
    double sum = 0;
    fill_random(gradients, COUNT, 2); /* the first step's */
    for (size_t i = 0; i < COUNT; i++)
        sum += (double)gradients[i] * (double)gradients[i];
    struct parameters plain = three_steps(0, 0, 2), clipped = three_steps(0, 1.5, 2);
    /* COUNT additions in double, in another order: 1e5 * 1e-16. */
    cr_expect(fabs(plain.norms[0] - sqrt(sum)) <= 1e-11 * sqrt(sum));
    cr_expect_eq(plain.norms[0], clipped.norms[0]);
    guarded_free(gradients);
    free_parameters(&plain);
    free_parameters(&clipped);
}

/* One step of plain sgd at rate 1 from zero: weights are what became of the gradients, negated. */
static void clip_pair(double clip_norm, double *first, double *second)
{
    const struct optimizer_settings settings = {.lr = 1};
    float gradients[] = {3, 4}, weights[] = {0, 0};
    struct optimizer *optimizer;
    cr_assert_eq(optimizer_create(&optimizer, 0, 2, NULL), COLONNADE_OK);
    cr_expect_eq(optimizer_step(optimizer, &settings, clip_norm, 1, 1, gradients, weights), 5);
    optimizer_destroy(optimizer);
    *first = (double)-weights[0];
    *second = (double)-weights[1];
}

Test(optimizer, clipping_scales_down_and_never_up)
{
    double first, second;
    clip_pair(1, &first, &second); /* 3, 4 by 1 / (5 + 1e-6); float rounding of numbers below 1 */
    cr_expect(fabs(first - 3 / 5.000001) < 1e-7 && fabs(second - 4 / 5.000001) < 1e-7);
    clip_pair(6, &first, &second);
    cr_expect(first == 3 && second == 4);
    clip_pair(0, &first, &second);
    cr_expect(first == 3 && second == 4);
}

/* --- whole runs --- */

#define DATA                                                                                       \
    "[data]\nsource = synthetic\nshape = 1x8x8\nclasses = 7\ncount = 150\nvalidation = 0.2\n"
#define NETWORK                                                                                    \
    DATA "[conv1]\ntype = conv\nfilters = 5\nkernel = 3\nactivation = relu\n"                      \
         "[bn1]\ntype = batchnorm\n[pool1]\ntype = maxpool\nkernel = 2\n"                          \
         "[drop1]\ntype = dropout\nrate = 0.2\n[fc1]\ntype = dense\nunits = classes\n"
/* Computes the same in training as in inference. */
#define PLAIN_NETWORK DATA "[fc1]\ntype = dense\nunits = classes\n"

struct experiment {
    struct run *run;
    struct dataset *data;
};

static struct experiment open_network(const char *keys, const char *network)
{
    struct experiment made = {0};
    struct colonnade_error error = {0};
    char text[2048];
    snprintf(text, sizeof text, "[train]\n%s\n%s\n%s", strstr(keys, "batch =") ? "" : "batch = 16",
             keys, network);
    struct config *config = parse(text);
    const struct data_request request = {.seed = 1, .threads = 1};
    cr_assert_eq(dataset_open(&made.data, config, &request, &error), COLONNADE_OK, "%s",
                 error.message);
    struct data_facts facts = experiment_facts(made.data);
    cr_assert_eq(run_create(&made.run, config, &facts, &error), COLONNADE_OK, "%s", error.message);
    return made;
}

#define AUGMENTED                                                                                  \
    "[augment]\nflip = horizontal\ncrop = 1\nrotate = 10\nscale = 0.1\ntranslate = 0.1\n"          \
    "brightness = 0.2\ncontrast = 0.2\nerase = 0.2\nmixup = 0.2\n"

static struct experiment open_experiment(const char *keys)
{
    return open_network(keys, NETWORK);
}

static void close_experiment(struct experiment *experiment)
{
    run_destroy(experiment->run);
    dataset_destroy(experiment->data);
}

/* What a run tells, counted; and a signal after some step. */
struct listener {
    int begun, steps, epochs, checkpoints;
    long stop_after; /* 0: never */
    volatile sig_atomic_t stop;
    enum run_status last_status; /* at the last checkpoint */
    int failures;
    bool sound;                 /* at the last of them */
    int refused;                /* the epoch whose record is not taken; 0: none */
    bool refuses_interruptions; /* checkpoints of them */
};

static enum colonnade_status heard_begin(void *context, const struct run *run, size_t batches,
                                         struct colonnade_error *error)
{
    ((struct listener *)context)->begun++;
    return COLONNADE_OK;
}

static enum colonnade_status heard_step(void *context, const struct run *run,
                                        const struct step_record *record,
                                        struct colonnade_error *error)
{
    struct listener *listener = context;
    listener->steps++;
    if (record->step == listener->stop_after)
        listener->stop = SIGTERM;
    return COLONNADE_OK;
}

static enum colonnade_status heard_epoch(void *context, const struct run *run,
                                         const struct epoch_record *record,
                                         struct colonnade_error *error)
{
    struct listener *listener = context;
    listener->epochs++;
    return record->epoch == listener->refused
               ? error_set(error, COLONNADE_FAILURE, "nobody listens")
               : COLONNADE_OK;
}

static enum colonnade_status heard_checkpoint(void *context, const struct run *run,
                                              struct colonnade_error *error)
{
    struct listener *listener = context;
    listener->checkpoints++;
    listener->last_status = run->status;
    return listener->refuses_interruptions && run->status == RUN_INTERRUPTED
               ? error_set(error, COLONNADE_FAILURE, "no room")
               : COLONNADE_OK;
}

static void heard_failure(void *context, const struct run *run, bool sound, const char *reason)
{
    struct listener *listener = context;
    listener->failures++;
    listener->sound = sound;
    cr_expect_eq(run->status, RUN_FAILED);
    cr_expect_str_eq(run->reason, reason);
}

static enum colonnade_status train_with(struct experiment *experiment, int threads,
                                        struct listener *listener, struct colonnade_error *error)
{
    const struct sink sink = {listener,    heard_begin,      heard_step,
                              heard_epoch, heard_checkpoint, heard_failure};
    const struct sink *sinks[] = {&sink};
    return train(experiment->run, experiment->data, threads, sinks, 1, &listener->stop, error);
}

static void train_on(struct experiment *experiment, int threads)
{
    struct listener listener = {0};
    struct colonnade_error error = {0};
    cr_assert_eq(train_with(experiment, threads, &listener, &error), COLONNADE_OK, "%s",
                 error.message);
}

/* All that training computes; clocks apart. */
static void assert_same_run(const struct run *a, const struct run *b)
{
    const struct graph *graph = a->graph;
    cr_expect_arr_eq(a->model->parameters, b->model->parameters,
                     graph->parameter_length * sizeof(float));
    cr_expect_arr_eq(a->model->buffers, b->model->buffers, graph->buffer_length * sizeof(float));
    for (int i = 0; i < OPTIMIZER_STATES && a->optimizer->type->states[i]; i++)
        cr_expect_arr_eq(a->optimizer->states[i], b->optimizer->states[i],
                         graph->parameter_length * sizeof(float));
    cr_assert_eq(a->metrics.step_count, b->metrics.step_count);
    cr_expect_arr_eq(a->metrics.steps, b->metrics.steps,
                     a->metrics.step_count * sizeof *a->metrics.steps);
    cr_assert_eq(a->metrics.epoch_count, b->metrics.epoch_count);
    for (size_t i = 0; i < a->metrics.epoch_count; i++) {
        const struct epoch_record *x = &a->metrics.epochs[i], *y = &b->metrics.epochs[i];
        cr_expect(x->epoch == y->epoch && x->train_loss == y->train_loss &&
                  x->train_accuracy == y->train_accuracy && x->val_loss == y->val_loss &&
                  x->val_accuracy == y->val_accuracy && x->lr == y->lr);
    }
    cr_expect_eq(a->evaluation.loss, b->evaluation.loss);
    cr_expect_eq(a->golden.n, b->golden.n);
    cr_expect_arr_eq(a->golden.logits, b->golden.logits,
                     (size_t)(a->golden.n * a->data.classes) * sizeof(float));
}

#define MOMENTUM "epochs = 3\nlr = 0.05\nmomentum = 0.9\nschedule = cosine\nclip_norm = 2"

static void check_threads(const char *network)
{
    static const int threads[] = {2, 3, 4, 7};
    struct experiment one = open_network(MOMENTUM, network);
    train_on(&one, 1);
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        struct experiment more = open_network(MOMENTUM, network);
        train_on(&more, threads[i]);
        assert_same_run(one.run, more.run);
        close_experiment(&more);
    }
    close_experiment(&one);
}

Test(train, the_number_of_threads_changes_no_bit)
{
    check_threads(NETWORK);
}

Test(train, the_number_of_threads_changes_no_bit_of_augmented_training)
{
    check_threads(AUGMENTED NETWORK);
}

/* 120 images to train on in mini-batches of 16: 8 steps an epoch. */
static void check_interruptions(const char *network)
{
    struct experiment whole = open_network(MOMENTUM, network);
    train_on(&whole, 2);
    static const long stops[] = {1, 5, 8, 11, 16, 24}; /* 8, 16 and 24 end an epoch */
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        const long step = stops[i];
        struct experiment broken = open_network(MOMENTUM, network);
        struct listener listener = {.stop_after = step};
        struct colonnade_error error = {0};
        cr_assert_eq(train_with(&broken, 2, &listener, &error), COLONNADE_TERMINATED);
        cr_expect_eq(listener.last_status, RUN_INTERRUPTED);
        cr_expect_eq(broken.run->progress.step, step);
        train_on(&broken, 2);
        assert_same_run(whole.run, broken.run);
        close_experiment(&broken);
    }
    close_experiment(&whole);
}

Test(train, an_interruption_anywhere_changes_no_bit)
{
    check_interruptions(NETWORK);
}

Test(train, an_interruption_anywhere_changes_no_bit_of_augmented_training)
{
    check_interruptions(AUGMENTED NETWORK);
}

Test(train, augmented_training_learns)
{
    struct experiment experiment =
        open_network("epochs = 30\nlr = 0.05\nmomentum = 0.9", AUGMENTED NETWORK);
    train_on(&experiment, 2);
    const struct metrics *metrics = &experiment.run->metrics;
    cr_expect_lt(metrics->epochs[29].train_loss, 0.8 * metrics->epochs[0].train_loss);
    cr_expect_gt(experiment.run->evaluation.accuracy, 0.5); /* of 7 classes */
    close_experiment(&experiment);
}

/* Equal weights score equally, whatever the training does to its images. */
Test(train, evaluation_is_of_the_images_as_they_are)
{
    static const enum part parts[] = {PART_TRAINING, PART_VALIDATION, PART_TEST};
    struct experiment plain = open_experiment(""), augmented = open_network("", AUGMENTED NETWORK);
    for (size_t i = 0; i < 3; i++) {
        struct evaluation a = {0}, b = {0};
        cr_assert_eq(evaluate(plain.run, plain.data, parts[i], 2, &a, NULL), COLONNADE_OK);
        cr_assert_eq(evaluate(augmented.run, augmented.data, parts[i], 2, &b, NULL), COLONNADE_OK);
        cr_expect_eq(a.loss, b.loss);
        evaluation_finish(&a);
        evaluation_finish(&b);
    }
    close_experiment(&plain);
    close_experiment(&augmented);
}

Test(train, sinks_hear_every_record)
{
    struct experiment experiment = open_experiment("epochs = 5\ncheckpoint_every = 2");
    struct listener listener = {0};
    cr_assert_eq(train_with(&experiment, 2, &listener, NULL), COLONNADE_OK);
    cr_expect_eq(listener.begun, 1);
    cr_expect_eq(listener.steps, 40);
    cr_expect_eq(listener.epochs, 5);
    cr_expect_eq(listener.checkpoints, 3); /* after 2, 4, and at the end */
    cr_expect_eq(listener.last_status, RUN_COMPLETE);
    cr_expect(experiment.run->evaluated);
    close_experiment(&experiment);
}

Test(train, max_steps_ends_it_and_going_on_gives_what_would_have_been)
{
    struct experiment whole = open_experiment(MOMENTUM);
    struct experiment cut = open_experiment(MOMENTUM "\nmax_steps = 11");
    train_on(&whole, 2);
    train_on(&cut, 2);
    cr_expect_eq(cut.run->progress.step, 11);
    cr_assert_eq(cut.run->metrics.epoch_count, 2);
    cr_expect_eq(cut.run->metrics.epochs[1].epoch, 2);
    cr_expect_eq(cut.run->status, RUN_COMPLETE);
    train_on(&cut, 2); /* at the limit there is nothing to do but the records */
    cr_expect_eq(cut.run->progress.step, 11);
    cr_expect_eq(cut.run->metrics.epoch_count, 2);
    cut.run->settings.max_steps = 0;
    train_on(&cut, 2);
    assert_same_run(whole.run, cut.run);
    close_experiment(&whole);
    close_experiment(&cut);
}

Test(train, an_interruption_at_the_limit_leaves_the_record_to_be_made)
{
    struct experiment cut = open_experiment(MOMENTUM "\nmax_steps = 11");
    struct listener listener = {.stop_after = 11};
    cr_assert_eq(train_with(&cut, 2, &listener, NULL), COLONNADE_TERMINATED);
    cr_expect_eq(cut.run->metrics.epoch_count, 1);
    train_on(&cut, 2);
    cr_expect_eq(cut.run->metrics.epoch_count, 2);
    cr_expect_eq(cut.run->progress.step, 11);
    close_experiment(&cut);
}

Test(train, no_epochs_keep_the_initial_weights)
{
    struct experiment fresh = open_experiment("epochs = 0"), run = open_experiment("epochs = 0");
    train_on(&run, 2);
    cr_expect_arr_eq(run.run->model->parameters, fresh.run->model->parameters,
                     fresh.run->graph->parameter_length * sizeof(float));
    cr_expect_eq(run.run->status, RUN_COMPLETE);
    close_experiment(&fresh);
    close_experiment(&run);
}

Test(train, a_loss_gone_non_finite_is_told_with_its_place)
{
    struct experiment experiment = open_experiment("epochs = 3\nlr = 1e30");
    struct listener listener = {0};
    struct colonnade_error error = {0};
    cr_expect_eq(train_with(&experiment, 2, &listener, &error), COLONNADE_FAILURE);
    cr_expect_not_null(strstr(error.message, "epoch 1, step "), "%s", error.message);
    cr_expect_not_null(strstr(error.message, "no finite number; a lower lr"), "%s", error.message);
    cr_expect_eq(experiment.run->status, RUN_FAILED);
    cr_expect_eq(listener.checkpoints, 0);
    cr_expect(listener.failures == 1 && !listener.sound);
    close_experiment(&experiment);
}

Test(train, a_loss_of_a_split_gone_non_finite_is_told_with_its_name)
{
    /* The one step of the epoch is sound; what comes of it is not. */
    struct experiment experiment = open_experiment("epochs = 1\nbatch = 1000\nlr = 1e30");
    struct listener listener = {0};
    struct colonnade_error error = {0};
    cr_expect_eq(train_with(&experiment, 2, &listener, &error), COLONNADE_FAILURE);
    cr_expect_not_null(strstr(error.message, "the loss of the validation split is "), "%s",
                       error.message);
    cr_expect(listener.failures == 1 && !listener.sound && listener.checkpoints == 0);
    close_experiment(&experiment);
}

Test(train, after_a_failure_of_a_sink_the_run_goes_on_to_the_same_bits)
{
    struct experiment whole = open_experiment("epochs = 3"), parts = open_experiment("epochs = 3");
    struct listener listener = {.refused = 2};
    train_on(&whole, 2);
    cr_expect_eq(train_with(&parts, 2, &listener, NULL), COLONNADE_FAILURE);
    cr_expect_str_eq(parts.run->reason, "nobody listens");
    cr_expect(listener.failures == 1 && listener.sound);
    cr_expect_eq(parts.run->progress.epoch, 2);
    train_on(&parts, 2);
    cr_expect_null(parts.run->reason);
    assert_same_run(whole.run, parts.run);
    close_experiment(&whole);
    close_experiment(&parts);
}

Test(train, an_interruption_that_cannot_be_kept_is_a_failure)
{
    struct experiment experiment = open_experiment("epochs = 3");
    struct listener listener = {.stop_after = 2, .refuses_interruptions = true};
    struct colonnade_error error = {0};
    cr_expect_eq(train_with(&experiment, 2, &listener, &error), COLONNADE_FAILURE);
    cr_expect_str_eq(error.message, "no room");
    cr_expect(listener.failures == 1 && listener.sound);
    close_experiment(&experiment);
}

Test(train, an_epochs_record_is_the_mean_over_its_samples)
{
    struct experiment experiment = open_experiment("epochs = 1\nbatch = 50"); /* 50, 50, 20 */
    train_on(&experiment, 2);
    const struct metrics *metrics = &experiment.run->metrics;
    cr_assert_eq(metrics->step_count, 3);
    double mean =
        (50 * metrics->steps[0].loss + 50 * metrics->steps[1].loss + 20 * metrics->steps[2].loss) /
        120;
    cr_expect(fabs(metrics->epochs[0].train_loss - mean) < 1e-12);
    close_experiment(&experiment);
}

/* With a rate of 0 nothing changes, and both see the same. */
Test(train, an_epochs_record_is_the_score_of_its_images)
{
    struct experiment experiment = open_network("epochs = 1\nlr = 0", PLAIN_NETWORK);
    struct evaluation evaluation;
    train_on(&experiment, 2);
    const struct epoch_record *record = &experiment.run->metrics.epochs[0];
    cr_assert_eq(evaluate(experiment.run, experiment.data, PART_TRAINING, 2, &evaluation, NULL),
                 COLONNADE_OK);
    cr_expect_eq(record->train_accuracy, evaluation.accuracy);
    /* Float logits of two cuts of the work: 1e-6 of numbers about 1. */
    cr_expect(fabs(record->train_loss - evaluation.loss) < 1e-5);
    evaluation_finish(&evaluation);
    cr_assert_eq(evaluate(experiment.run, experiment.data, PART_VALIDATION, 2, &evaluation, NULL),
                 COLONNADE_OK);
    cr_expect_eq(record->val_accuracy, evaluation.accuracy);
    cr_expect_eq(record->val_loss, evaluation.loss);
    evaluation_finish(&evaluation);
    close_experiment(&experiment);
}

Test(train, every_epoch_draws_its_own_dropout)
{
    struct experiment experiment =
        open_network("epochs = 2\nlr = 0\nbatch = 200",
                     DATA "shuffle = false\n[drop1]\ntype = dropout\nrate = 0.5\n"
                          "[fc1]\ntype = dense\nunits = classes\n");
    train_on(&experiment, 2);
    const struct step_record *steps = experiment.run->metrics.steps;
    cr_expect_neq(steps[0].loss, steps[1].loss);
    close_experiment(&experiment);
}

/* --- scores --- */

/* log(sum exp(row)) - row[label], in double. */
static double cross_entropy(const float *row, int classes, int label)
{
    double sum = 0;
    for (int i = 0; i < classes; i++)
        sum += exp((double)row[i] - (double)row[label]);
    return log(sum);
}

Test(evaluate, scores_are_what_the_logits_say)
{
    struct experiment experiment = open_experiment("epochs = 1\nlr = 0.002");
    train_on(&experiment, 2);
    const struct run *run = experiment.run;
    const struct split *test = &experiment.data->test;
    const size_t n = test->count;
    struct evaluation evaluation;
    float *values, *logits;
    double loss = 0;
    size_t hits = 0, near = 0, confused = 0;
    cr_assert_eq(memory_allocate(&values, n * 64, sizeof *values, "values", NULL), COLONNADE_OK);
    cr_assert_eq(memory_allocate(&logits, n * 7, sizeof *logits, "logits", NULL), COLONNADE_OK);
    cr_assert_eq(normalize(&run->data, n, test->images, values, NULL), COLONNADE_OK);
    cr_assert_eq(infer(run, n, values, 2, logits, NULL), COLONNADE_OK);
    cr_assert_eq(evaluate(run, experiment.data, PART_TEST, 2, &evaluation, NULL), COLONNADE_OK);
    for (size_t i = 0; i < n; i++) {
        int above = 0, label = test->labels[i];
        for (int j = 0; j < 7; j++)
            above += logits[i * 7 + (size_t)j] > logits[i * 7 + (size_t)label];
        hits += above == 0;
        near += above < 5;
        loss += cross_entropy(logits + i * 7, 7, label);
    }
    for (int i = 0; i < 7 * 7; i++)
        confused += (size_t)evaluation.confusion[i];
    cr_expect_eq(evaluation.count, n);
    cr_expect_eq(confused, n);
    cr_expect_eq(evaluation.accuracy, (double)hits / (double)n);
    cr_expect_eq(evaluation.top5, (double)near / (double)n);
    /* Logits of other cuts of the work differ in their last bits: 1e-6 of numbers about 1, ten
     * times that for the exponentials of the kernel. */
    cr_expect(fabs(evaluation.loss - loss / (double)n) < 1e-5, "%g instead of %g", evaluation.loss,
              loss / (double)n);
    cr_expect_eq(evaluation.loss, run->evaluation.loss);
    free(values);
    free(logits);
    evaluation_finish(&evaluation);
    close_experiment(&experiment);
}

Test(worst, mistakes_are_kept_with_their_images_and_what_was_made_of_them)
{
    struct experiment experiment = open_experiment("epochs = 1\nlr = 0.002");
    train_on(&experiment, 2);
    const struct run *run = experiment.run;
    const struct worst *worst = &run->worst;
    int64_t right = 0;
    for (size_t i = 0; i < 7; i++)
        right += run->evaluation.confusion[i * 8];
    cr_assert_geq(worst->n, 10);
    cr_expect_eq(worst->n, run->evaluation.count - (size_t)right); /* there are fewer than 240 */
    for (size_t i = 0; i < worst->n; i++) {
        const struct worst_image *record = &worst->records[i];
        const struct split *test = &experiment.data->test;
        const uint8_t *image = worst->pixels + i * 64;
        float chances[7];
        cr_assert_eq(predict(run, 1, image, 1, chances, NULL), COLONNADE_OK);
        cr_expect_arr_eq(image, test->images + record->sample * 64, 64);
        cr_expect_eq(record->actual, test->labels[record->sample]);
        for (int j = 0; j < 7; j++)
            cr_expect_leq(chances[j], chances[record->predicted]);
        cr_expect_neq(record->predicted, record->actual);
        /* Float logits of two cuts of the work: 1e-6 of numbers about 1. */
        const double difference = record->probability - (double)chances[record->predicted];
        cr_expect(fabs(difference) < 1e-5);
        cr_expect(fabs(record->loss + log((double)chances[record->actual])) < 1e-5);
        cr_expect(i == 0 || worst->records[i - 1].loss >= record->loss);
    }
    close_experiment(&experiment);
}

enum { MADE_TESTS = 3000, MADE_CLASSES = 16 };

/* Which test images are to be kept, by counting those before them: `kept` [MADE_TESTS]. */
static void keep_by_counting(const int32_t *labels, const struct verdict *verdicts, bool *kept)
{
    size_t count = 0;
    for (int turn = -1; count < 240; turn++)
        for (int i = 0; i < MADE_TESTS && count < 240; i++) { /* losses fall with i */
            size_t all = 0, class = 0, pair = 0;
            if (verdicts[i].predicted == labels[i] || kept[i])
                continue;
            for (int j = 0; j < i; j++) {
                const bool wrong = verdicts[j].predicted != labels[j];
                const bool same = wrong && labels[j] == labels[i];
                all += wrong;
                class += same;
                pair += same && verdicts[j].predicted == verdicts[i].predicted;
            }
            if (turn < 0)
                kept[i] = all < 24;
            else if (turn < 8)
                kept[i] = class == (size_t)turn;
            else
                kept[i] = pair == (size_t)turn - 8;
            count += kept[i];
        }
}

Test(worst, the_worst_of_all_come_first_then_those_of_classes_then_those_of_pairs)
{
    static uint8_t images[MADE_TESTS];
    static int32_t labels[MADE_TESTS];
    static struct verdict verdicts[MADE_TESTS];
    static bool kept[MADE_TESTS];
    struct dataset data = {.c = 1, .h = 1, .w = 1, .test = {MADE_TESTS, images, NULL, labels}};
    struct run run = {.data = {.shape = {1, 1, 1}}};
    struct worst worst = {0};
    for (int i = 0; i < MADE_TESTS; i++) {
        images[i] = (uint8_t)(i % 251);
        /* Losses fall; the first hundreds are all of one pair. */
        labels[i] = i < 300 ? 0 : i * 31 / 13 % MADE_CLASSES;
        const int by = i < 300 ? 1 : 1 + i * 17 / 7 % (MADE_CLASSES - 1);
        const int predicted = (labels[i] + by) % MADE_CLASSES;
        verdicts[i] = (struct verdict){9.0 - 1e-3 * i, 0.5, i % 3 ? predicted : labels[i]};
    }
    keep_by_counting(labels, verdicts, kept);
    cr_assert_eq(worst_take(&worst, &run, &data, verdicts, NULL), COLONNADE_OK);
    cr_assert_eq(worst.n, 240);
    for (int i = 0, at = 0; i < MADE_TESTS; i++)
        if (kept[i]) {
            cr_expect_eq(worst.records[at].sample, i);
            cr_expect_eq(worst.pixels[at++], images[i]);
        }
    worst_finish(&worst);
    cr_expect_eq(worst_count((struct shape){3, 224, 224}, SIZE_MAX), 13);
    cr_expect_eq(worst_count((struct shape){3, 1000, 1000}, SIZE_MAX), 4);
    cr_expect_eq(worst_count((struct shape){3, 1000, 1000}, 3), 3);
    cr_expect_eq(worst_count((struct shape){3, 4096, 2048}, SIZE_MAX), 0);
}

Test(evaluate, classes_are_scored_by_the_confusion_matrix)
{
    struct experiment experiment = open_experiment("epochs = 1\nlr = 0.002");
    train_on(&experiment, 2);
    const struct evaluation *scores = &experiment.run->evaluation;
    for (int label = 0; label < 7; label++) {
        double hits = (double)scores->confusion[label * 7 + label], actual = 0, predicted = 0;
        for (int other = 0; other < 7; other++) {
            actual += (double)scores->confusion[label * 7 + other];
            predicted += (double)scores->confusion[other * 7 + label];
        }
        double precision = predicted > 0 ? hits / predicted : 0;
        double recall = actual > 0 ? hits / actual : 0;
        double f1 = hits > 0 ? 2 * precision * recall / (precision + recall) : 0;
        cr_expect_eq(scores->precision[label], precision);
        cr_expect_eq(scores->recall[label], recall);
        cr_expect(fabs(scores->f1[label] - f1) < 1e-14);
    }
    close_experiment(&experiment);
}

Test(infer, bytes_and_their_values_give_the_same)
{
    struct experiment experiment = open_experiment("epochs = 1");
    train_on(&experiment, 2);
    const struct run *run = experiment.run;
    enum { N = 67 }; /* a batch, and a rest */
    float *values = guarded_floats(N * 64), *logits = guarded_floats(N * 7);
    float *probabilities = guarded_floats(N * 7), *again = guarded_floats(N * 7);
    const uint8_t *images = experiment.data->train.images;
    cr_assert_eq(normalize(&run->data, N, images, values, NULL), COLONNADE_OK);
    cr_assert_eq(infer(run, N, values, 1, logits, NULL), COLONNADE_OK);
    cr_assert_eq(infer(run, N, values, 3, again, NULL), COLONNADE_OK);
    cr_expect_arr_eq(logits, again, N * 7 * sizeof *logits);
    cr_assert_eq(predict(run, N, images, 3, probabilities, NULL), COLONNADE_OK);
    /* The kernel's float exponentials: a few units in the last place of numbers up to 1. */
    for (int i = 0; i < N * 7; i++) {
        double want = exp(-cross_entropy(logits + i / 7 * 7, 7, i % 7));
        cr_assert(fabs((double)probabilities[i] - want) < 1e-5, "%d: %g instead of %g", i,
                  (double)probabilities[i], want);
    }
    guarded_free(values);
    guarded_free(logits);
    guarded_free(probabilities);
    guarded_free(again);
    close_experiment(&experiment);
}

Test(infer, golden_samples_are_the_first_test_images)
{
    struct experiment experiment = open_experiment("epochs = 1");
    train_on(&experiment, 2);
    const struct golden *golden = &experiment.run->golden;
    const struct dataset *data = experiment.data;
    cr_assert_eq(golden->n, 8);
    for (int i = 0; i < 8 * 64; i++) {
        double want =
            ((double)data->test.images[i] / 255 - (double)data->mean[0]) / (double)data->std[0];
        cr_expect(fabs((double)golden->input[i] - want) < 1e-5); /* floats of numbers up to 10 */
    }
    float logits[8 * 7];
    cr_assert_eq(infer(experiment.run, 8, golden->input, 1, logits, NULL), COLONNADE_OK);
    cr_expect_arr_eq(logits, golden->logits, sizeof logits);
    close_experiment(&experiment);
}

#define WRITTEN_NETWORK                                                                            \
    DATA "[conv1]\ntype = conv\nfilters = 4\nkernel = 3\npadding = same\nactivation = relu\n"      \
         "[pool1]\ntype = maxpool\nkernel = 3\nstride = 2\n"                                       \
         "[conv2]\ntype = conv\nfilters = 4\nkernel = 3\npadding = same\nbias = false\n"           \
         "activation = prelu\n[norm]\ntype = batchnorm\n[rectified]\ntype = relu\n"                \
         "[pool2]\ntype = maxpool\nkernel = 3\nstride = 1\npadding = same\n"                       \
         "[sum]\ntype = add\ninputs = pool1, pool2\n[fc1]\ntype = dense\nunits = classes\n"

/* The greatest of x [4, size, size] in windows of `kernel`, as far as the image goes. */
static float greatest(const float *x, int size, int c, int top, int left, int kernel)
{
    float most = -INFINITY;
    for (int i = 0; i < kernel * kernel; i++) {
        const int y = top + i / kernel, z = left + i % kernel;
        if (y >= 0 && y < size && z >= 0 && z < size)
            most = fmaxf(most, x[(c * size + y) * size + z]);
    }
    return most;
}

Test(trace, nodes_give_what_they_were_written_to_give)
{
    struct experiment experiment = open_network("epochs = 1\nlr = 0.01", WRITTEN_NETWORK);
    train_on(&experiment, 2);
    const struct run *run = experiment.run;
    const struct graph *graph = run->graph;
    cr_assert_geq(graph->nodes[graph_find(graph, "rectified")].moved, 1); /* the hard cases */
    cr_assert_eq(graph->nodes[graph_find(graph, "conv1")].out.h, 7);
    for (int i = 0; i < run->golden.n; i++) {
        struct trace trace;
        const float *input = run->golden.input + i * 64;
        cr_assert_eq(trace_init(&trace, run_weights(run), input, NULL), COLONNADE_OK);
#define OUTPUT(name) trace.outputs[graph_find(graph, name)]
        const float *conv1 = OUTPUT("conv1"), *pool1 = OUTPUT("pool1"), *norm = OUTPUT("norm");
        const float *pool2 = OUTPUT("pool2"), *rectified = OUTPUT("rectified"),
                    *sum = OUTPUT("sum");
        cr_expect_arr_eq(trace.outputs[0], input, 64 * sizeof *input);
        for (int j = 0; j < 4 * 64; j++)
            cr_expect_geq(conv1[j], 0);
        for (int j = 0; j < 4 * 9; j++) {
            const int c = j / 9, y = j / 3 % 3, x = j % 3;
            cr_expect_eq(pool1[j], greatest(conv1, 8, c, 2 * y, 2 * x, 3));
            cr_expect_eq(rectified[j], fmaxf(norm[j], 0));
            cr_expect_eq(pool2[j], greatest(rectified, 3, c, y - 1, x - 1, 3));
            cr_expect_eq(sum[j], pool1[j] + pool2[j]);
        }
        /* Of other cuts of the work: 1e-6 of numbers of a few units. */
        for (int j = 0; j < 7; j++)
            cr_expect(fabsf(OUTPUT("fc1")[j] - run->golden.logits[i * 7 + j]) < 1e-4F);
        trace_finish(&trace);
    }
    close_experiment(&experiment);
}

Test(train, its_memory_is_known_beforehand)
{
    struct experiment experiment = open_experiment(MOMENTUM);
    const struct graph *graph = experiment.run->graph;
    size_t small, large;
    struct settings settings = experiment.run->settings;
    cr_assert_eq(train_bytes(graph, &settings, 2, &small, NULL), COLONNADE_OK);
    settings.batch *= 4;
    cr_assert_eq(train_bytes(graph, &settings, 2, &large, NULL), COLONNADE_OK);
    cr_expect_geq(small, 3 * graph->parameter_length * sizeof(float)); /* with the momentum */
    cr_expect_gt(large, small);
    close_experiment(&experiment);
}

/* --- images that are read from files --- */

enum { PICTURES = 20, HELD_BACK = 4, BATCH = 4, AHEAD = 3 * BATCH };

/* How many files had been read by the end of each epoch, with what is read ahead by then. */
struct reading {
    int watch, epochs, files[2];
};

static enum colonnade_status count_files(void *context, const struct run *run,
                                         const struct epoch_record *record,
                                         struct colonnade_error *error)
{
    struct reading *reading = context;
    const int wanted = record->epoch == 1 ? PICTURES + AHEAD : PICTURES - AHEAD;
    reading->files[reading->epochs++] = files_read(reading->watch, wanted);
    return COLONNADE_OK;
}

Test(train, an_epoch_is_read_ahead_while_the_one_before_is_judged)
{
    char folder[] = "/tmp/colonnade-train-XXXXXX", path[64], text[512];
    const char *reason;
    struct colonnade_error error = {0};
    if (!libvips_open(&reason))
        cr_skip_test("libvips is not there: %s", reason);
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/test", folder);
    make_pictures(path, 1);
    snprintf(path, sizeof path, "%s/train", folder);
    make_pictures(path, PICTURES);
    snprintf(text, sizeof text,
             "[data]\nsource = folder\npath = %s\nsize = 512\nchannels = 1\nmemory = 1\n"
             "mean = 0\nstd = 1\nvalidation = 0.2\n[fc1]\ntype = dense\nunits = classes\n",
             folder);
    struct experiment experiment = open_network("batch = 4\nepochs = 2\nlr = 0.1", text);
    struct reading reading = {.watch = watch_pictures(path)};
    const struct sink sink = {.context = &reading, .epoch = count_files};
    const struct sink *sinks[] = {&sink};
    cr_assert_eq(train(experiment.run, experiment.data, 1, sinks, 1, NULL, &error), COLONNADE_OK,
                 "%s", error.message);
    cr_expect_eq(reading.files[0], PICTURES + AHEAD, "%d", reading.files[0]);
    cr_expect_eq(reading.files[1], PICTURES - AHEAD, "%d", reading.files[1]);
    close(reading.watch);
    close_experiment(&experiment);
    remove_tree(folder);
}

/* --- through the library's own door --- */

/* A folder of its own with a config, and what is trained in it. */
struct door {
    char folder[32], config[64], output[128]; /* the last: "run.output=FILE" */
};

static struct door make_door(void)
{
    static const char text[] = "[data]\nsource = synthetic\nshape = 1x4x4\nclasses = 2\n"
                               "count = 64\n[train]\nepochs = 3\nschedule = step\n"
                               "step_epochs = 1\ngamma = 1e30\nbatch = 8\nlr = 0.1\n"
                               "[fc1]\ntype = dense\nunits = 5\nactivation = relu\n"
                               "[fc2]\ntype = dense\nunits = classes\n";
    struct door door = {"/tmp/colonnade-library-XXXXXX", "", ""};
    cr_assert_not_null(mkdtemp(door.folder));
    snprintf(door.config, sizeof door.config, "%s/x.ini", door.folder);
    snprintf(door.output, sizeof door.output, "run.output=%s/x.h5", door.folder);
    FILE *file = fopen(door.config, "w");
    cr_assert(fputs(text, file) >= 0 && fclose(file) == 0);
    return door;
}

static enum colonnade_status train_door(const struct door *door, const char *override, bool resume,
                                        struct colonnade_error *error)
{
    const char *overrides[] = {door->output, override, NULL};
    const struct colonnade_training training = {.threads = 1, .resume = resume};
    struct colonnade_experiment *experiment = NULL;
    cr_assert_eq(colonnade_experiment_open(&experiment, door->config, overrides, error),
                 COLONNADE_OK, "%s", error->message);
    enum colonnade_status status = colonnade_experiment_train(experiment, &training, error);
    colonnade_experiment_destroy(experiment);
    return status;
}

static void close_door(const struct door *door)
{
    remove_tree(door->folder);
}

Test(library, a_run_that_fails_says_so_in_its_file)
{
    const struct door door = make_door();
    const char *path = strchr(door.output, '=') + 1;
    struct colonnade_error error = {0};
    struct run *run = NULL;
    cr_expect_eq(train_door(&door, NULL, false, &error), COLONNADE_FAILURE);
    cr_expect_not_null(strstr(error.message, "no finite number"), "%s", error.message);
    cr_assert_eq(run_load(&run, path, NULL), COLONNADE_OK);
    cr_expect_eq(run->status, RUN_FAILED);
    cr_expect_str_eq(run->reason, error.message);
    cr_expect_eq(run->progress.epoch, 1);
    run_destroy(run);
    cr_assert_eq(train_door(&door, "train.epochs=1", true, &error), COLONNADE_OK, "%s",
                 error.message);
    cr_expect_eq(train_door(&door, "train.epochs=2", true, &error), COLONNADE_FAILURE);
    cr_assert_eq(run_load(&run, path, NULL), COLONNADE_OK);
    cr_expect_eq(run->status, RUN_FAILED, "after it had been complete");
    run_destroy(run);
    close_door(&door);
}

static bool train_within(void *context, const struct colonnade_epoch *epoch)
{
    struct colonnade_error error = {0};
    const struct door *door = context;
    cr_expect_eq(train_door(door, "train.epochs=1", false, &error), COLONNADE_FAILURE);
    cr_expect_not_null(strstr(error.message, "/x.h5 is being trained by another process"), "%s",
                       error.message);
    return true;
}

Test(library, a_second_training_into_a_run_file_is_refused)
{
    struct door door = make_door();
    const char *overrides[] = {door.output, "train.epochs=1", NULL};
    const struct colonnade_training training = {.progress = train_within, .context = &door};
    struct colonnade_experiment *experiment = NULL;
    struct colonnade_error error = {0};
    cr_assert_eq(colonnade_experiment_open(&experiment, door.config, overrides, &error),
                 COLONNADE_OK);
    for (int i = 0; i < 2; i++)
        cr_expect_eq(colonnade_experiment_train(experiment, &training, &error), COLONNADE_OK, "%s",
                     error.message);
    colonnade_experiment_destroy(experiment);
    close_door(&door);
}

Test(library, a_file_that_is_no_run_file_is_not_replaced)
{
    const struct door door = make_door();
    const char *path = strchr(door.output, '=') + 1;
    struct colonnade_error error = {0};
    struct stat facts;
    FILE *file = fopen(path, "w");
    cr_assert(fputs("precious", file) >= 0 && fclose(file) == 0);
    for (int resume = 0; resume <= 1; resume++) {
        cr_expect_eq(train_door(&door, "train.epochs=1", resume, &error), COLONNADE_FAILURE);
        cr_expect_not_null(strstr(error.message, path), "%s", error.message);
        cr_expect(stat(path, &facts) == 0 && facts.st_size == 8);
    }
    unlink(path);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_expect_eq(train_door(&door, "train.epochs=1", false, &error), COLONNADE_FAILURE);
    cr_expect_not_null(strstr(error.message, "it is not a file"), "%s", error.message);
    close_door(&door);
}

Test(library, a_key_that_the_optimizer_does_not_read_is_refused)
{
    char path[] = "/tmp/colonnade-library-XXXXXX";
    static const char text[] = "[data]\nsource = synthetic\nshape = 1x2x2\nclasses = 2\n"
                               "[train]\nmomentum = 0.9\n[fc1]\ntype = dense\nunits = classes\n";
    const char *unread[] = {"train.beta1=0.9", NULL};
    const char *replaced[] = {"train.optimizer=adam", "train.beta1=0.9", NULL};
    struct colonnade_experiment *experiment = NULL;
    struct colonnade_error error = {0};
    const int descriptor = mkstemp(path);
    cr_assert_eq(write(descriptor, text, sizeof text - 1), (ssize_t)sizeof text - 1);
    close(descriptor);
    cr_expect_eq(colonnade_experiment_open(&experiment, path, unread, &error), COLONNADE_USAGE);
    cr_expect_not_null(strstr(error.message, "beta1 is only for optimizer = adam, adamw"), "%s",
                       error.message);
    cr_assert_eq(colonnade_experiment_open(&experiment, path, replaced, &error), COLONNADE_OK, "%s",
                 error.message);
    colonnade_experiment_destroy(experiment);
    unlink(path);
}
