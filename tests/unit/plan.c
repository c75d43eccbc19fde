/* The plan's promises: the same bits on any number of threads, nothing allocated in a step. Whole
 * configs of the project, steps of training as the trainer makes them. */
#include "engine/plan/plan.h"
#include "engine/base/memory.h"
#include "engine/data/dataset.h"
#include "engine/train/optimizer.h"

#include <criterion/criterion.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every allocation of the process is counted, but for OpenBLAS's own: its unpacked kernels take a
 * buffer for a moment where the columns are no multiple of a vector. The C library's functions
 * stand behind these. A sanitizer brings its own, so there only the bits are tested. */
#if defined(__SANITIZE_ADDRESS__)
#define COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COUNTS_ALLOCATIONS 0
#endif
#endif
#ifndef COUNTS_ALLOCATIONS
#define COUNTS_ALLOCATIONS 1
#endif

static atomic_long allocations;

#if COUNTS_ALLOCATIONS
/* Where libopenblas lies; both 0 before find_openblas(). */
static uintptr_t openblas_from, openblas_to;

static int find_openblas(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size, (void)unused;
    if (!strstr(info->dlpi_name, "blas"))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD) {
            uintptr_t from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            if (openblas_from == 0)
                openblas_from = from;
            openblas_to = from + info->dlpi_phdr[i].p_memsz;
        }
    return 1;
}

static void count_allocation(const void *caller)
{
    if ((uintptr_t)caller < openblas_from || (uintptr_t)caller >= openblas_to)
        atomic_fetch_add(&allocations, 1);
}

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
    count_allocation(__builtin_return_address(0));
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    count_allocation(__builtin_return_address(0));
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    count_allocation(__builtin_return_address(0));
    return __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    count_allocation(__builtin_return_address(0));
    return __libc_memalign(alignment, size);
}
#endif

struct training {
    struct config *config;
    struct dataset *data;
    struct graph *graph;
    struct model *model;
    struct plan *plan;
    struct optimizer *optimizer;
    struct sampler *sampler;
    float *gradients;
    int threads;
};

/* All that [augment] has. */
static const char *const augmented[] = {"augment.flip=horizontal", "augment.crop=4",
                                        "augment.rotate=15",       "augment.scale=0.2",
                                        "augment.translate=0.1",   "augment.brightness=0.2",
                                        "augment.contrast=0.2",    "augment.erase=0.5",
                                        "augment.mixup=0.2",       NULL};
static const char *const plain[] = {NULL};

static struct training start(const char *name, const char *const *overrides, int batch, int threads)
{
    struct training t = {.threads = threads};
    struct colonnade_error error = {0};
    char path[512];
    snprintf(path, sizeof path, SOURCE_ROOT "/configs/bench/%s.ini", name);
    cr_assert_eq(config_load(&t.config, path, &error), 0, "%s", error.message);
    cr_assert_eq(config_override(t.config, "data.count=40", &error), 0);
    for (; *overrides; overrides++)
        cr_assert_eq(config_override(t.config, *overrides, &error), 0);
    const struct data_request request = {.seed = 7, .threads = 1};
    cr_assert_eq(dataset_open(&t.data, t.config, &request, &error), 0, "%s", error.message);
    struct shape shape = {t.data->c, t.data->h, t.data->w};
    cr_assert_eq(graph_create(&t.graph, t.config, shape, t.data->classes, &error), 0, "%s",
                 error.message);
    cr_assert_eq(model_create(&t.model, t.graph, 7, &error), 0);
    cr_assert_eq(plan_create(&t.plan, t.graph, PLAN_TRAINING, batch, threads, NULL, &error), 0,
                 "%s", error.message);
    cr_assert_eq(optimizer_create(&t.optimizer, 0, t.graph->parameter_length, &error), 0);
    cr_assert_eq(sampler_create(&t.sampler, t.data, PART_TRAINING, batch, &error), 0);
    cr_assert_eq(memory_allocate(&t.gradients, t.graph->parameter_length, sizeof(float), "", NULL),
                 0);
    sampler_begin(t.sampler, 1, 0);
    return t;
}

static void step(struct training *t, int index)
{
    struct plan_options options = {.seed = 7, .step = (uint32_t)index};
    struct optimizer_settings settings = {.lr = 0.02, .momentum = 0.9};
    const struct batch *batch;
    cr_assert_eq(sampler_batch(t->sampler, (size_t)index, &batch, NULL), COLONNADE_OK);
    plan_run(t->plan, t->model, batch, &options, t->gradients);
    optimizer_step(t->optimizer, &settings, 0.0, index + 1, t->threads, t->gradients,
                   t->model->parameters);
}

static void stop(struct training *t)
{
    free(t->gradients);
    sampler_destroy(t->sampler);
    optimizer_destroy(t->optimizer);
    plan_destroy(t->plan);
    model_destroy(t->model);
    graph_destroy(t->graph);
    dataset_destroy(t->data);
    config_destroy(t->config);
}

static void check_bits(const char *name, const char *const *overrides, int batch)
{
    static const int threads[] = {1, 2, 3, 7};
    struct training one = start(name, overrides, batch, threads[0]);
    step(&one, 0);
    step(&one, 1);
    for (size_t i = 1; i < sizeof threads / sizeof threads[0]; i++) {
        struct training more = start(name, overrides, batch, threads[i]);
        step(&more, 0);
        step(&more, 1);
        cr_assert_arr_eq(more.model->parameters, one.model->parameters,
                         one.graph->parameter_length * sizeof(float),
                         "%s: weights differ between 1 and %d threads", name, threads[i]);
        cr_assert_arr_eq(more.model->buffers, one.model->buffers,
                         one.graph->buffer_length * sizeof(float),
                         "%s: statistics differ between 1 and %d threads", name, threads[i]);
        stop(&more);
    }
    stop(&one);
}

Test(plan, lenet5_has_the_same_bits_on_1_2_3_and_7_threads)
{
    check_bits("lenet5", plain, 27); /* the second mini-batch is short */
}

Test(plan, augmented_lenet5_has_the_same_bits_on_1_2_3_and_7_threads)
{
    check_bits("lenet5", augmented, 27);
}

Test(plan, typical_has_the_same_bits_on_1_2_3_and_7_threads)
{
    check_bits("typical", plain, 27);
}

Test(plan, resnet18_cifar_has_the_same_bits_on_1_2_3_and_7_threads, .timeout = 300)
{
    check_bits("resnet18-cifar", plain, 11);
}

/* Taking the time changes no bit, and a node's parts are no more than the whole. */
Test(plan, a_profiled_plan_has_the_same_bits)
{
    struct training one = start("resnet18-cifar", plain, 3, 2);
    struct training timed = start("resnet18-cifar", plain, 3, 2);
    const int count = timed.graph->count;
    struct node_time *times = calloc((size_t)count + 1, sizeof *times);
    plan_profile_start(timed.plan);
    step(&one, 0);
    step(&timed, 0);
    cr_assert_arr_eq(timed.model->parameters, one.model->parameters,
                     one.graph->parameter_length * sizeof(float));
    plan_profile(timed.plan, times);
    for (int i = 0; i < count; i++) {
        const struct node *node = &timed.graph->nodes[i];
        const struct pass_time *passes[] = {&times[i].forward, &times[i].backward};
        const bool convolution = strcmp(node->type->name, "conv") == 0;
        const bool multiplies = convolution || strcmp(node->type->name, "dense") == 0;
        for (int pass = 0; pass < 2; pass++) {
            cr_expect_leq(passes[pass]->im2col + passes[pass]->sgemm, passes[pass]->seconds, "%s",
                          node->name);
            cr_expect_eq(passes[pass]->sgemm > 0, multiplies, "%s, pass %d", node->name, pass);
            cr_expect(passes[pass]->im2col == 0 || convolution, "%s, pass %d", node->name, pass);
        }
    }
    cr_expect_gt(times[1].forward.im2col, 0, "%s", timed.graph->nodes[1].name);
    cr_expect_gt(times[count].forward.seconds, 0, "the loss");
    free(times);
    stop(&one);
    stop(&timed);
}

static void check_allocations(const char *name, const char *const *overrides, int batch,
                              int warm_up)
{
    if (!COUNTS_ALLOCATIONS)
        cr_skip_test("a sanitizer counts its own allocations");
#if COUNTS_ALLOCATIONS
    dl_iterate_phdr(find_openblas, NULL);
#endif
    struct training t = start(name, overrides, batch, 2);
    /* Until both threads have run every kind of product OpenBLAS makes buffers for them. */
    for (int i = 0; i < warm_up; i++)
        step(&t, i % 2);
    long before = atomic_load(&allocations);
    step(&t, 1);
    step(&t, 2);
    cr_assert_eq(atomic_load(&allocations), before, "%s: %ld allocations in two steps", name,
                 atomic_load(&allocations) - before);
    stop(&t);
}

Test(plan, a_step_of_lenet5_allocates_nothing)
{
    check_allocations("lenet5", plain, 13, 30);
}

Test(plan, a_step_of_augmented_lenet5_allocates_nothing)
{
    check_allocations("lenet5", augmented, 13, 30);
}

Test(plan, a_step_of_resnet18_cifar_allocates_nothing)
{
    check_allocations("resnet18-cifar", plain, 13, 2);
}

Test(plan, allocations_are_counted)
{
    if (!COUNTS_ALLOCATIONS)
        cr_skip_test("a sanitizer counts its own allocations");
    long before = atomic_load(&allocations);
    void *volatile block = malloc(1);
    free(block);
    cr_assert_gt(atomic_load(&allocations), before);
}
