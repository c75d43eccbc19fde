/* Runs made up for the tests of the report. The numbers are formulas of their index, so that a
 * test may say what the page has to show.
 */
#include "tests/report/made.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char small[] = "[conv1]\ntype = conv\nfilters = 6\nkernel = 5\npadding = same\n"
                            "activation = relu\n[pool1]\ntype = maxpool\nkernel = 2\n"
                            "[conv2]\ntype = conv\nfilters = 16\nkernel = 5\nactivation = relu\n"
                            "[pool2]\ntype = maxpool\nkernel = 2\n"
                            "[fc1]\ntype = dense\nunits = 120\nactivation = relu\n"
                            "[fc2]\ntype = dense\nunits = 84\nactivation = relu\n"
                            "[fc3]\ntype = dense\nunits = classes\n";

static const char residual[] =
    "[stem]\ntype = conv\nfilters = 32\nkernel = 5\npadding = same\nbias = false\n"
    "[norm]\ntype = batchnorm\n[rectified]\ntype = relu\n"
    "[left]\ntype = conv\nfilters = 32\nkernel = 3\npadding = same\nstride = 2\n"
    "[right]\ntype = conv\nfilters = 32\nkernel = 1\nstride = 2\ninputs = rectified\n"
    "[sum]\ntype = add\ninputs = left, right\n"
    "[pool]\ntype = globalavgpool\n[fc]\ntype = dense\nunits = classes\n";

static const char stacked[] = "[conv]\ntype = conv\nfilters = 300\nkernel = 3\n"
                              "[pool]\ntype = globalavgpool\n"
                              "[fc]\ntype = dense\nunits = classes\n";

static const char dense[] = "[fc]\ntype = dense\nunits = classes\n";

static const char *const clothes[] = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                                      "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};

static const char *const hostile_names[] = {
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "{{title}}",
    "\"quoted\" & 'single'",
    "broken \xff\xc3( bytes",
    "ünïcödé 漢字",
    "-->",
    "&amp;lt;",
    "a very long name that goes on and on without any end in sight for a narrow screen",
    "averyverylongnamewithoutasinglespacethatcannotbebrokenanywhereatallbutmustbe"};

const struct made made_runs[] = {
    {"plain", small, {1, 28, 28}, 10, 12, 240, true, true, clothes, NULL, false},
    {"colour", residual, {3, 32, 32}, 10, 30, 30000, true, true, NULL, NULL, true},
    {"many", stacked, {4, 16, 16}, 100, 8, 80, false, true, NULL, NULL, false},
    {"long", small, {1, 28, 28}, 10, 1000, 938000, true, true, NULL, NULL, false},
    {"hostile",
     small,
     {1, 28, 28},
     10,
     2,
     20,
     true,
     true,
     hostile_names,
     "/data/<script>alert(3)</script>",
     false},
    {"begun", dense, {1, 8, 8}, 10, 0, 0, false, false, NULL, NULL, false},
    {.name = NULL},
};

const struct made *made_find(const char *name)
{
    for (const struct made *made = made_runs; made->name; made++)
        if (strcmp(made->name, name) == 0)
            return made;
    return NULL;
}

static void *zeroed(size_t count, size_t size)
{
    void *block = calloc(count ? count : 1, size);
    if (!block) {
        fprintf(stderr, "no memory for a made-up run\n");
        exit(1);
    }
    return block;
}

static void need(enum colonnade_status status, const struct colonnade_error *error)
{
    if (status != COLONNADE_OK) {
        fprintf(stderr, "%s\n", error->message);
        exit(1);
    }
}

static void make_graph(struct run *run, const struct made *made)
{
    struct colonnade_error error;
    char text[4096], path[64];
    snprintf(path, sizeof path, "configs/%s.ini", made->name);
    snprintf(text, sizeof text,
             "[run]\noutput = runs/%s.h5\n[data]\nsource = idx\npath = %s\n"
             "[train]\nepochs = %d\n%s",
             made->name, made->path ? made->path : "/data/digits", made->epochs, made->network);
    need(config_parse(&run->config, path, text, &error), &error);
    need(graph_create(&run->graph, run->config, made->shape, made->classes, &error), &error);
    need(model_create(&run->model, run->graph, 1, &error), &error);
    const struct section *section = config_section(run->config, "run");
    run->settings.output = config_entry(section, "output")->value;
    run->settings.seed = 1;
    run->settings.epochs = made->epochs;
    run->settings.batch = 64;
}

static void make_facts(struct run *run, const struct made *made)
{
    struct data_facts *facts = &run->data;
    *facts = (struct data_facts){
        .source = strdup("idx"), .shape = made->shape, .classes = made->classes};
    facts->class_names = zeroed((size_t)made->classes, sizeof *facts->class_names);
    for (int i = 0; i < made->classes; i++) {
        char name[32];
        snprintf(name, sizeof name, "class %d", i);
        facts->class_names[i] = strdup(made->class_names ? made->class_names[i] : name);
    }
    facts->mean = zeroed((size_t)made->shape.c, sizeof(float));
    facts->std = zeroed((size_t)made->shape.c, sizeof(float));
    for (int c = 0; c < made->shape.c; c++) {
        facts->mean[c] = 0.25F + 0.125F * (float)c;
        facts->std[c] = 0.5F;
    }
}

/* Between -1 and 1, without pattern to the eye. */
static double noise(long i)
{
    double x = sin((double)i * 12.9898) * 43758.5453;
    return 2 * (x - floor(x)) - 1;
}

static void make_metrics(struct run *run, const struct made *made)
{
    struct metrics *metrics = &run->metrics;
    metrics->epoch_count = (size_t)made->epochs;
    metrics->step_count = (size_t)made->steps;
    metrics->epochs = zeroed(metrics->epoch_count, sizeof *metrics->epochs);
    metrics->steps = zeroed(metrics->step_count, sizeof *metrics->steps);
    for (int i = 0; i < made->epochs; i++) {
        double done = (double)(i + 1) / made->epochs, loss = 0.15 + 1.4 * exp(-4 * done);
        metrics->epochs[i] = (struct epoch_record){
            .epoch = i + 1,
            .train_loss = loss + 0.01 * noise(i),
            .train_accuracy = 1 - 0.3 * loss + 0.004 * noise(i + 7),
            .val_loss = made->validation ? loss + 0.08 + 0.03 * noise(i + 99) : NAN,
            .val_accuracy = made->validation ? 0.98 - 0.3 * loss + 0.01 * noise(i + 5) : NAN,
            .lr = 0.025 * (1 + cos(3.14159265 * (done - 1.0 / made->epochs))),
            .images_per_second = 120000 + 4000 * noise(i + 3) - (i == 0 ? 30000 : 0),
            .seconds = 0.5 + 0.02 * noise(i + 3),
        };
    }
    for (long i = 0; i < made->steps; i++) {
        double done = (double)i / (double)made->steps, loss = 0.15 + 1.9 * exp(-6 * done);
        metrics->steps[i] =
            (struct step_record){.step = i + 1,
                                 .loss = loss * (1 + 0.25 * noise(i)),
                                 .lr = 0.05,
                                 .gradient_norm = 0.4 + loss * (1 + 0.4 * noise(i + 31))};
    }
    run->progress = (struct progress){
        .step = made->steps, .epoch = made->epochs, .total_seconds = 0.53 * made->epochs};
}

/* 100 images a class; class i is taken for its neighbours and, if odd, for class 0. */
static void make_evaluation(struct run *run, const struct made *made)
{
    struct evaluation *test = &run->evaluation;
    int classes = made->classes;
    *test = (struct evaluation){
        .count = (size_t)classes * 100, .classes = classes, .loss = 0.3125, .top5 = 0.9925};
    test->confusion = zeroed((size_t)classes * (size_t)classes, sizeof *test->confusion);
    test->precision = zeroed((size_t)classes, sizeof(double));
    test->recall = zeroed((size_t)classes, sizeof(double));
    test->f1 = zeroed((size_t)classes, sizeof(double));
    int64_t right = 0;
    for (int i = 0; i < classes; i++) {
        int64_t *row = test->confusion + (size_t)i * (size_t)classes;
        row[i] = 100;
        int taken[3] = {(i + 1) % classes, (i + classes - 1) % classes, i % 2 ? 0 : i};
        for (int j = 0; j < 3; j++) {
            int64_t moved = taken[j] == i ? 0 : 1 + (i * 5 + j * 3) % 9;
            row[i] -= moved;
            row[taken[j]] += moved;
        }
        right += row[i];
    }
    for (int i = 0; i < classes; i++) {
        int64_t column = 0, hit = test->confusion[(size_t)i * (size_t)classes + (size_t)i];
        for (int j = 0; j < classes; j++)
            column += test->confusion[(size_t)j * (size_t)classes + (size_t)i];
        test->precision[i] = (double)hit / (double)column;
        test->recall[i] = (double)hit / 100;
        test->f1[i] =
            2 * test->precision[i] * test->recall[i] / (test->precision[i] + test->recall[i]);
    }
    test->accuracy = (double)right / (double)test->count;
    run->evaluated = true;
}

/* Of those that have been trained: no two images alike. */
static void make_samples(struct run *run, const struct made *made)
{
    enum { SAMPLES = 12 };
    const size_t size = shape_size(made->shape);
    run->samples.n = SAMPLES;
    run->samples.images = zeroed(SAMPLES, size);
    run->samples.labels = zeroed(SAMPLES, sizeof *run->samples.labels);
    for (size_t i = 0; i < SAMPLES * size; i++)
        run->samples.images[i] = (uint8_t)(i * 5 + i / size * 50);
    for (int i = 0; i < SAMPLES; i++)
        run->samples.labels[i] = i % made->classes;
}

/* Three of each mistake that the matrix counts, where it counts three, up to 300: no two alike. */
static void make_worst(struct run *run, const struct made *made)
{
    enum { MOST = 300, EACH = 3 };
    const size_t size = shape_size(made->shape);
    struct worst *worst = &run->worst;
    worst->records = zeroed(MOST, sizeof *worst->records);
    worst->pixels = zeroed(MOST, size);
    for (int i = 0; i < EACH * made->classes * made->classes && worst->n < MOST; i++) {
        const int pair = i % (made->classes * made->classes);
        const int actual = pair / made->classes, predicted = pair % made->classes;
        if (actual == predicted ||
            run->evaluation.confusion[pair] <= i / made->classes / made->classes)
            continue;
        worst->records[worst->n] = (struct worst_image){
            .sample = (long)i * 3,
            .actual = actual,
            .predicted = predicted,
            .loss = 9 - 0.01 * (double)worst->n,
            .probability = 0.999 - 0.001 * (double)worst->n,
        };
        for (size_t j = 0; j < size; j++)
            worst->pixels[worst->n * size + j] = (uint8_t)(j * 3 + worst->n * 7);
        worst->n++;
    }
}

/* What the network says to them is not looked at. */
static void make_golden(struct run *run, const struct made *made)
{
    const size_t size = shape_size(made->shape);
    run->golden.n = 3;
    run->golden.input = zeroed(3 * size, sizeof(float));
    run->golden.logits = zeroed(3 * (size_t)made->classes, sizeof(float));
    for (size_t i = 0; i < 3 * size; i++)
        run->golden.input[i] = (float)noise((long)i);
}

/* Node i takes i + 1 ms forward and twice that backward of each of 50 steps, on two threads. */
static void make_profile(struct run *run)
{
    struct colonnade_error error;
    need(profile_create(&run->profile, run->graph, 2, &error), &error);
    run->profile->steps = 50;
    for (int i = 0; i <= run->graph->declared_count; i++) {
        const int node = i ? run->graph->declared[i - 1] : 0;
        run->profile->nodes[node].forward.seconds = 1e-3 * (i + 1) * 50 * 2;
        run->profile->nodes[node].backward.seconds = 2e-3 * (i + 1) * 50 * 2;
    }
}

struct run *made_create(const struct made *made)
{
    struct run *run = zeroed(1, sizeof *run);
    make_graph(run, made);
    make_facts(run, made);
    make_metrics(run, made);
    if (made->steps > 0)
        make_samples(run, made);
    if (made->evaluated)
        make_evaluation(run, made);
    if (made->evaluated)
        make_worst(run, made);
    if (made->evaluated)
        make_golden(run, made);
    if (made->profiled)
        make_profile(run);
    run->status = made->evaluated ? RUN_COMPLETE : RUN_TRAINING;
    return run;
}

void made_destroy(struct run *run)
{
    for (int i = 0; i < run->data.classes; i++)
        free(run->data.class_names[i]);
    free(run->data.class_names);
    free(run->data.source);
    free(run->data.mean);
    free(run->data.std);
    samples_finish(&run->samples);
    worst_finish(&run->worst);
    profile_destroy(run->profile);
    free(run->golden.input);
    free(run->golden.logits);
    free(run->metrics.epochs);
    free(run->metrics.steps);
    free(run->evaluation.confusion);
    free(run->evaluation.precision);
    free(run->evaluation.recall);
    free(run->evaluation.f1);
    model_destroy(run->model);
    graph_destroy(run->graph);
    config_destroy(run->config);
    free(run);
}
