/* Augmentation as training meets it: what [augment] may say, that the draws have the distributions
 * that docs/config.md promises, and what the network then sees and is scored by. The seeds are
 * fixed: a bound that a right program would miss once in thirty thousand times is never missed.
 */
#include "engine/data/dataset.h"
#include "engine/graph/graph.h"
#include "engine/nodes/augment.h"
#include "tests/unit/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct node_type node_loss;

/* --- settings --- */

static struct config *parse(const char *text)
{
    struct config *config = NULL;
    struct colonnade_error error = {0};
    cr_assert_eq(config_parse(&config, "x.ini", text, &error), COLONNADE_OK, "%s", error.message);
    return config;
}

static struct augment read_augment(const char *keys)
{
    char text[512];
    struct augment augment = {0};
    struct colonnade_error error = {0};
    snprintf(text, sizeof text, "[augment]\n%s\n", keys);
    struct config *config = parse(text);
    cr_assert_eq(augment_read(&augment, config, &error), COLONNADE_OK, "%s", error.message);
    config_destroy(config);
    return augment;
}

#define NETWORK "[fc]\ntype = dense\nunits = 4\n"
#define ALTERED                                                                                    \
    "flip = horizontal\ncrop = 2\nrotate = 30\nscale = 0.3\ntranslate = 0.2\nbrightness = 0.4\n"   \
    "contrast = 0.5\nerase = 0.5\n"
#define ALL ALTERED "mixup = 0.4\n"

static enum colonnade_status make_graph(struct graph **graph, const char *keys, struct shape shape,
                                        struct colonnade_error *error)
{
    char text[512];
    snprintf(text, sizeof text, "[augment]\n\n%s\n" NETWORK, keys);
    struct config *config = parse(text);
    enum colonnade_status status = graph_create(graph, config, shape, 4, error);
    if (status == COLONNADE_OK)
        status = config_check_all_read(config, error);
    config_destroy(config);
    return status;
}

static void assert_refused(const char *keys, const char *message)
{
    struct graph *graph = NULL;
    struct colonnade_error error = {0};
    cr_expect_eq(make_graph(&graph, keys, (struct shape){1, 8, 6}, &error), COLONNADE_USAGE, "%s",
                 keys);
    cr_expect(strncmp(error.message, "x.ini:3: ", 9) == 0, "'%s'", error.message);
    cr_expect_not_null(strstr(error.message, message), "'%s' is not in '%s'", message,
                       error.message);
    graph_destroy(graph);
}

Test(augmentation, a_mistake_is_told_with_its_line)
{
    assert_refused("flip = vertical", "horizontal");
    assert_refused("flip = true", "horizontal");
    assert_refused("crop = -1", "at least 0");
    assert_refused("crop = 1.5", "whole number");
    assert_refused("crop = 6", "crop is 6; it must be below the images' shorter side, 6");
    assert_refused("crop = 100000", "at most 65536");
    assert_refused("rotate = -1", "at least 0");
    assert_refused("rotate = 181", "at most 180");
    assert_refused("rotate = nan", "number");
    assert_refused("scale = -0.1", "at least 0");
    assert_refused("scale = 1", "at most 0.9");
    assert_refused("translate = -0.1", "at least 0");
    assert_refused("translate = 1.1", "at most 1");
    assert_refused("brightness = -1", "at least 0");
    assert_refused("brightness = 1.5", "at most 1");
    assert_refused("contrast = -1", "at least 0");
    assert_refused("contrast = 2", "at most 1");
    assert_refused("erase = -0.5", "at least 0");
    assert_refused("erase = 1.01", "at most 1");
    assert_refused("mixup = -1", "at least 0");
    assert_refused("mixup = 101", "at most 100");
    assert_refused("mixup = 1e-9", "0 or at least 0.001");
    assert_refused("rotat = 5", "did you mean 'rotate'?");
}

Test(augmentation, without_keys_there_is_none)
{
    struct augment augment = read_augment("flip = none\nmixup = 0\n");
    cr_expect_not(augment_alters(&augment));
    augment = read_augment("mixup = 0.2\n");
    cr_expect(augment_alters(&augment));
}

/* --- distributions --- */

enum { BINS = 25, DRAWS = 200 * BINS };

/* What chi-square of so many degrees of freedom exceeds once in 31,574 times: Wilson and Hilferty's
 * approximation at four standard deviations. */
static double chi_square_bound(int freedom)
{
    const double ninth = 2 / (9.0 * freedom);
    return freedom * pow(1 - ninth + 4 * sqrt(ninth), 3);
}

/* Of values that should be uniform in [0, 1). */
struct bins {
    int count[BINS], total;
};

static void add_to_bins(struct bins *bins, double value)
{
    cr_assert(value >= 0 && value <= 1, "%g is not within 0 and 1", value);
    bins->count[value < 1 ? (int)(value * BINS) : BINS - 1]++;
    bins->total++;
}

static void assert_even(const char *what, const struct bins *bins, int used)
{
    double sum = 0, each = (double)bins->total / used;
    for (int i = 0; i < used; i++)
        sum += (bins->count[i] - each) * (bins->count[i] - each) / each;
    cr_expect(sum < chi_square_bound(used - 1), "%s: chi-square %.1f of %d bins", what, sum, used);
}

static void assert_uniform(const char *what, const struct bins *bins)
{
    assert_even(what, bins, BINS);
}

static const struct shape shape = {3, 40, 30};

/* Of one epoch's samples, or of one sample's epochs. */
static struct augment_draw draw_number(const struct augment *augment, int i, bool epochs)
{
    return augment_draw(augment, shape, 11, epochs ? (uint32_t)i : 3, epochs ? 5 : (uint32_t)i);
}

Test(augmentation, flips_are_half)
{
    const struct augment augment = read_augment("flip = horizontal");
    for (int epochs = 0; epochs < 2; epochs++) {
        int flips = 0;
        for (int i = 0; i < DRAWS; i++)
            flips += draw_number(&augment, i, epochs).flip;
        /* four standard deviations of a binomial */
        cr_expect(abs(2 * flips - DRAWS) < 4 * sqrt(DRAWS), "%d of %d", flips, DRAWS);
    }
}

Test(augmentation, crops_are_uniform_over_all_places)
{
    const struct augment augment = read_augment("crop = 2");
    for (int epochs = 0; epochs < 2; epochs++) {
        struct bins bins = {0};
        for (int i = 0; i < DRAWS; i++) {
            const struct augment_draw draw = draw_number(&augment, i, epochs);
            cr_assert(abs(draw.top) <= 2 && abs(draw.left) <= 2);
            bins.count[(draw.top + 2) * 5 + draw.left + 2]++;
            bins.total++;
        }
        assert_uniform("crop", &bins);
    }
}

/* The numbers drawn, each brought to 0 to 1. */
static const struct amount {
    const char *name;
    int levels; /* equally likely ones that tell all of it apart, or some of it */
} amounts[] = {{"flip", 2},  {"top", 5},  {"left", 5},       {"rotate", 5},  {"scale", 5},
               {"right", 5}, {"down", 5}, {"brightness", 5}, {"contrast", 5}};

enum { AMOUNTS = sizeof amounts / sizeof *amounts, WHOLE_AMOUNTS = 3 /* the first */ };

/* Of a draw by ALL. */
static void measure(const struct augment_draw *draw, double values[AMOUNTS])
{
    const double reach = 30 * 3.14159265358979323846 / 180;
    const double measured[AMOUNTS] = {
        (draw->flip + 0.5) / 2,
        (draw->top + 2.5) / 5,
        (draw->left + 2.5) / 5,
        (draw->angle + reach) / (2 * reach),
        (draw->scale - 0.7) / 0.6,
        (draw->right + 0.2 * 30) / (2 * 0.2 * 30),
        (draw->down + 0.2 * 40) / (2 * 0.2 * 40),
        (draw->brightness - 0.6) / 0.8,
        (draw->contrast - 0.5) / 1.0,
    };
    memcpy(values, measured, sizeof measured);
}

Test(augmentation, amounts_are_uniform_within_their_ranges)
{
    const struct augment augment = read_augment(ALL);
    struct bins bins[AMOUNTS] = {{{0}, 0}};
    for (int i = 0; i < DRAWS; i++) {
        const struct augment_draw draw = draw_number(&augment, i, i % 2);
        double values[AMOUNTS];
        measure(&draw, values);
        for (int a = WHOLE_AMOUNTS; a < AMOUNTS; a++)
            add_to_bins(&bins[a], values[a]);
    }
    for (int a = WHOLE_AMOUNTS; a < AMOUNTS; a++)
        assert_uniform(amounts[a].name, &bins[a]);
}

static int level(int amount, double value)
{
    const int level = (int)(value * amounts[amount].levels);
    return level < amounts[amount].levels ? level : amounts[amount].levels - 1;
}

/* One amount of each image beside another amount of the image `later` ones after it. */
static void check_pair(const struct augment *augment, int a, int b, int later, bool epochs)
{
    struct bins bins = {0};
    char what[96];
    for (int i = 0; i < DRAWS; i++) {
        const struct augment_draw draw = draw_number(augment, i, epochs);
        const struct augment_draw next = draw_number(augment, i + later, epochs);
        double values[AMOUNTS], next_values[AMOUNTS];
        measure(&draw, values);
        measure(&next, next_values);
        bins.count[level(a, values[a]) * amounts[b].levels + level(b, next_values[b])]++;
        bins.total++;
    }
    snprintf(what, sizeof what, "%s beside %s, %d %s later", amounts[a].name, amounts[b].name,
             later, epochs ? "epochs" : "samples");
    assert_even(what, &bins, amounts[a].levels * amounts[b].levels);
}

Test(augmentation, amounts_know_nothing_of_each_other)
{
    const struct augment augment = read_augment(ALTERED);
    for (int a = 0; a < AMOUNTS; a++)
        for (int b = a + 1; b < AMOUNTS; b++)
            check_pair(&augment, a, b, 0, false);
}

Test(augmentation, amounts_know_nothing_of_the_next_sample_and_epoch)
{
    const struct augment augment = read_augment(ALTERED);
    for (int a = 0; a < AMOUNTS; a++) {
        check_pair(&augment, a, a, 1, false);
        check_pair(&augment, a, a, 1, true);
    }
}

/* On a side of 1,000 pixels whole rows and columns hardly matter. */
Test(augmentation, erased_rectangles_have_the_promised_shares)
{
    static const struct shape large = {1, 1000, 1000};
    const struct augment augment = read_augment("erase = 0.4");
    struct bins areas = {0}, ratios = {0}, rows = {0}, columns = {0};
    int erased = 0;
    for (int i = 0; i < DRAWS; i++) {
        const struct area a = augment_draw(&augment, large, 2, 1, (uint32_t)i).erased;
        erased += a.h > 0;
        if (a.h == 0)
            continue;
        cr_assert(a.top >= 0 && a.left >= 0 && a.top + a.h <= 1000 && a.left + a.w <= 1000);
        /* rounding half a row of at least 77, the shortest side of the smallest rectangle */
        const double area = fmin(fmax(a.h * a.w * 1e-6, 0.02), 0.33);
        const double ratio = fmin(fmax((double)a.h / a.w, 0.3), 3.3);
        add_to_bins(&areas, (area - 0.02) / 0.31);
        add_to_bins(&ratios, log(ratio / 0.3) / log(11));
        add_to_bins(&rows, a.top / (1000.0 - a.h));
        add_to_bins(&columns, a.left / (1000.0 - a.w));
    }
    cr_expect(fabs(erased - 0.4 * DRAWS) < 4 * sqrt(0.4 * 0.6 * DRAWS), "%d erased", erased);
    assert_uniform("rows", &rows);
    assert_uniform("columns", &columns);
    /* A rectangle of a third is drawn again where its ratio is above 3.03: once in sixty. */
    assert_uniform("areas", &areas);
    assert_uniform("ratios", &ratios);
}

Test(augmentation, an_image_too_small_to_cover_in_part_is_left)
{
    const struct augment augment = read_augment("erase = 1");
    for (uint32_t i = 0; i < 50; i++)
        cr_expect_eq(augment_draw(&augment, (struct shape){1, 1, 1}, 2, 1, i).erased.h, 0);
}

Test(augmentation, one_more_changes_no_draw_of_the_others)
{
    const struct augment all = read_augment(ALL), one = read_augment("rotate = 30");
    for (int i = 0; i < 20; i++) {
        const struct augment_draw a = draw_number(&all, i, false), b = draw_number(&one, i, false);
        cr_expect_eq(a.angle, b.angle);
        cr_expect(b.scale == 1 && b.right == 0 && b.brightness == 1 && !b.flip && b.erased.h == 0);
    }
}

Test(augmentation, draws_differ_by_seed_epoch_and_sample)
{
    const struct augment augment = read_augment("rotate = 30");
    const double angle = augment_draw(&augment, shape, 1, 1, 1).angle;
    cr_expect_eq(augment_draw(&augment, shape, 1, 1, 1).angle, angle);
    cr_expect_neq(augment_draw(&augment, shape, 2, 1, 1).angle, angle);
    cr_expect_neq(augment_draw(&augment, shape, 1, 2, 1).angle, angle);
    cr_expect_neq(augment_draw(&augment, shape, 1, 1, 2).angle, angle);
}

/* --- mixup --- */

static double uniform_law(double x)
{
    return x;
}

static double arcsine_law(double x)
{
    return 2 / 3.14159265358979323846 * asin(sqrt(x));
}

static double law_of_2(double x)
{
    return x * x * (3 - 2 * x);
}

static struct mixture mixture_of(const struct augment *augment, int i)
{
    static const uint32_t samples[] = {4, 9, 2, 7, 1};
    const struct batch batch = {.n = 5, .samples = samples, .epoch = (uint32_t)i / 5};
    return augment_mixture(augment, 3, &batch, i % 5);
}

Test(augmentation, shares_follow_the_beta_law)
{
    static const struct {
        const char *keys;
        double (*law)(double);
    } cases[] = {{"mixup = 0.5", arcsine_law}, {"mixup = 1", uniform_law}, {"mixup = 2", law_of_2}};
    for (size_t c = 0; c < 3; c++) {
        const struct augment augment = read_augment(cases[c].keys);
        struct bins bins = {0};
        for (int i = 0; i < DRAWS; i++)
            add_to_bins(&bins, cases[c].law((double)mixture_of(&augment, i).share));
        assert_uniform(cases[c].keys, &bins);
    }
}

Test(augmentation, extreme_alphas_give_shares)
{
    const struct augment least = read_augment("mixup = 0.001"), most = read_augment("mixup = 100");
    int ends = 0;
    for (int i = 0; i < 1000; i++) {
        const double share = (double)mixture_of(&least, i).share;
        cr_assert(share >= 0 && share <= 1);
        ends += share < 1e-6 || share > 1 - 1e-6;
        /* Beta(100, 100) has the deviation 0.035: six of them. */
        cr_assert(fabs((double)mixture_of(&most, i).share - 0.5) < 0.22);
    }
    /* Near 0 Beta(0.001, 0.001) has the density 0.0005 / x: 0.0005 * ln(0.5 / 1e-6) * 2 = 1.3 % lie
     * between, 13 of 1,000; four standard deviations more are 27. */
    cr_expect_gt(ends, 1000 - 27);
}

Test(augmentation, partners_are_all_others_in_turn)
{
    const struct augment augment = read_augment("mixup = 1");
    int distances[5] = {0};
    for (int first = 0; first < 5000; first += 5) {
        bool taken[5] = {false};
        for (int i = 0; i < 5; i++) {
            const int partner = mixture_of(&augment, first + i).partner;
            cr_assert(partner >= 0 && partner < 5 && partner != i && !taken[partner]);
            taken[partner] = true;
        }
        distances[mixture_of(&augment, first).partner]++;
    }
    for (int i = 1; i < 5; i++) /* four standard deviations of a binomial of a quarter */
        cr_expect(abs(distances[i] - 250) < 4 * sqrt(1000 * 0.25 * 0.75), "%d", distances[i]);
    const struct batch alone = {.n = 1, .epoch = 1};
    cr_expect_eq(augment_mixture(&augment, 3, &alone, 0).partner, 0);
}

/* --- geometry --- */

/* Backwards step by step: the mirror, the crop, the move, then turn and size about the middle. */
static void trace_back(const struct augment_draw *draw, struct shape of, double *x, double *y)
{
    const double middle_x = (of.w - 1) / 2.0, middle_y = (of.h - 1) / 2.0;
    *x = draw->flip ? of.w - 1 - *x : *x;
    *x += draw->left;
    *y += draw->top;
    *x -= draw->right + middle_x;
    *y -= draw->down + middle_y;
    const double across = cos(draw->angle) * *x - sin(draw->angle) * *y;
    const double down = sin(draw->angle) * *x + cos(draw->angle) * *y;
    *x = across / draw->scale + middle_x;
    *y = down / draw->scale + middle_y;
}

Test(augmentation, geometry_is_one_map_of_all_its_steps)
{
    const struct augment augment = read_augment(ALL);
    for (int i = 0; i < 200; i++) {
        const struct augment_draw draw = draw_number(&augment, i, false);
        const struct affine map = augment_map(&draw, shape);
        for (int corner = 0; corner < 4; corner++) {
            double x = corner % 2 ? shape.w - 1 : 0, y = corner / 2 ? shape.h - 1 : 0;
            const double column = (double)map.xx * x + (double)map.xy * y + (double)map.x0;
            const double row = (double)map.yx * x + (double)map.yy * y + (double)map.y0;
            trace_back(&draw, shape, &x, &y);
            /* three terms of at most 40 / 0.7 + 40, each a float */
            cr_assert(fabs(column - x) < 3 * 100 * 0x1p-24 && fabs(row - y) < 3 * 100 * 0x1p-24,
                      "%g, %g instead of %g, %g", column, row, x, y);
        }
    }
}

/* A quarter turn anticlockwise leads the right end of the middle row to the top of the middle
 * column; enlarged twice, a point lies twice as far from the middle. */
Test(augmentation, pictures_turn_anticlockwise_and_grow)
{
    static const struct shape square = {1, 9, 9};
    struct augment_draw draw = {.angle = 3.14159265358979323846 / 2, .scale = 1};
    struct affine map = augment_map(&draw, square);
    cr_expect(fabsf(map.xx * 4 + map.xy * 0 + map.x0 - 8) < 1e-5f);
    cr_expect(fabsf(map.yx * 4 + map.yy * 0 + map.y0 - 4) < 1e-5f);
    draw = (struct augment_draw){.scale = 2};
    map = augment_map(&draw, square);
    cr_expect(fabsf(map.xx * 8 + map.x0 - 6) < 1e-5f);
    draw = (struct augment_draw){.scale = 1, .right = 2, .down = -1};
    map = augment_map(&draw, square);
    cr_expect(map.x0 == -2 && map.y0 == 1);
}

/* --- what the network sees --- */

enum { IMAGES = 6, SIDE = 8 };

struct view {
    struct graph *graph;
    struct batch batch;
    struct tile tile;
    const uint8_t *images[IMAGES];
    uint8_t *bytes;
    float *y, *scratch;
    size_t size; /* of an image */
};

static const float scales[] = {0.01f, 0.02f, 0.03f, 0.01f, 0.02f, 0.03f, 0.01f, 0.02f, 0.03f};
static const float shifts[] = {-0.5f, -0.6f, -0.7f, 0.5f, 0.6f, 0.7f, 0, 0.1f, 0.2f};
static const int32_t labels[] = {0, 1, 2, 3, 1, 0};

/* The input node over made-up images of c channels. */
static struct view *open_view(const char *keys, int c)
{
    static const uint32_t samples[] = {31, 4, 15, 9, 26, 5};
    struct view *view = calloc(1, sizeof *view);
    struct colonnade_error error = {0};
    struct node_plan wants = {0};
    const struct shape image = {c, SIDE, SIDE};
    view->size = shape_size(image);
    cr_assert_eq(make_graph(&view->graph, keys, image, &error), COLONNADE_OK, "%s", error.message);
    view->graph->nodes[0].type->plan(&view->graph->nodes[0], &wants);
    view->scratch = guarded_floats(wants.scratch);
    view->y = guarded_floats(IMAGES * view->size);
    view->bytes = malloc(IMAGES * view->size);
    for (size_t i = 0; i < IMAGES * view->size; i++)
        view->bytes[i] = (uint8_t)(i * i * 31 + i * 7 + i / view->size);
    for (int i = 0; i < IMAGES; i++)
        view->images[i] = view->bytes + (size_t)i * view->size;
    view->batch = (struct batch){.n = IMAGES,
                                 .images = view->images,
                                 .scale = scales,
                                 .shift = shifts,
                                 .labels = labels,
                                 .samples = samples,
                                 .epoch = 2};
    view->tile = (struct tile){.kernels = kernels_best(),
                               .n = IMAGES,
                               .training = true,
                               .batch = &view->batch,
                               .y = view->y,
                               .seed = 8,
                               .scratch = view->scratch};
    return view;
}

static void see(struct view *view)
{
    view->graph->nodes[0].type->forward(&view->graph->nodes[0], &view->tile);
}

static void close_view(struct view *view)
{
    graph_destroy(view->graph);
    guarded_free(view->scratch);
    guarded_free(view->y);
    free(view->bytes);
    free(view);
}

static double seen(const struct view *view, int i, int c, int row, int column)
{
    const struct node *node = &view->graph->nodes[0];
    return (double)view->y[at(node->out_layout, node_extent_out(node), i, c, row * SIDE + column)];
}

/* A byte of an image, 0 outside of it. */
static double byte_at(const struct view *view, int i, int c, int row, int column)
{
    const bool inside = row >= 0 && row < SIDE && column >= 0 && column < SIDE;
    const int channels = view->graph->nodes[0].in.c;
    return inside ? view->images[i][(row * SIDE + column) * channels + c] : 0;
}

static double original(const struct view *view, int i, int c, int row, int column)
{
    return byte_at(view, i, c, row, column) * (double)scales[c] + (double)shifts[c];
}

/* Values below 10, a product and a sum. */
static const double rounding = 2 * 10 * 0x1p-24;

static void check_crop_and_flip(int channels)
{
    struct view *view = open_view("flip = horizontal\ncrop = 3", channels);
    const struct augment *augment = view->graph->nodes[0].settings;
    see(view);
    for (int i = 0; i < IMAGES; i++) {
        const struct augment_draw draw =
            augment_draw(augment, view->graph->nodes[0].in, 8, 2, view->batch.samples[i]);
        for (int c = 0; c < channels; c++)
            for (int row = 0; row < SIDE; row++)
                for (int column = 0; column < SIDE; column++) {
                    const int from = (draw.flip ? SIDE - 1 - column : column) + draw.left;
                    cr_assert(fabs(seen(view, i, c, row, column) -
                                   original(view, i, c, row + draw.top, from)) <= rounding);
                }
    }
    close_view(view);
}

Test(augmentation, crop_and_flip_move_whole_pixels_in_every_layout)
{
    check_crop_and_flip(1);
    check_crop_and_flip(3);
    check_crop_and_flip(9); /* NHWC */
}

static void check_image_view(const char *keys, int channels)
{
    struct view *view = open_view(keys, channels);
    const struct image_view shown = {.top = -1, .left = 2, .flip = true};
    view->tile.training = false;
    view->batch.view = shown;
    see(view);
    for (int i = 0; i < IMAGES; i++)
        for (int c = 0; c < channels; c++)
            for (int row = 0; row < SIDE; row++)
                for (int column = 0; column < SIDE; column++) {
                    const int from = SIDE - 1 - column + shown.left;
                    cr_assert(fabs(seen(view, i, c, row, column) -
                                   original(view, i, c, row + shown.top, from)) <= rounding);
                }
    close_view(view);
}

Test(augmentation, a_batch_has_its_view_outside_of_training_in_every_layout)
{
    check_image_view("crop = 3\nerase = 1", 1);
    check_image_view("rotate = 3", 3);
    check_image_view("crop = 3\nmixup = 1", 9); /* NHWC */
    check_image_view("", 9);
}

/* --- against a slow reference --- */

static double between_bytes(const struct view *view, int i, int c, double row, double column)
{
    const int top = (int)floor(row), left = (int)floor(column);
    double sum = 0;
    for (int y = top; y < top + 2; y++)
        for (int x = left; x < left + 2; x++)
            sum += (1 - fabs(row - y)) * (1 - fabs(column - x)) * byte_at(view, i, c, y, x);
    return sum;
}

static double kept_within_bytes(double value)
{
    return fmin(fmax(value, 0), 255);
}

/* What docs/config.md says becomes of an image, step by step: `want` [c, h, w]. */
static void alter_slowly(const struct view *view, int i, const struct augment_draw *draw,
                         double *want)
{
    static const double colour[] = {0.2989, 0.587, 0.114};
    const struct shape image = view->graph->nodes[0].in;
    const int hw = image.h * image.w;
    double grey = 0;
    for (int j = 0; j < image.c * hw; j++) {
        double x = j % image.w, y = j % hw / image.w;
        trace_back(draw, image, &x, &y);
        want[j] = kept_within_bytes(draw->brightness * between_bytes(view, i, j / hw, y, x));
        grey += want[j] * (image.c == 3 ? colour[j / hw] : 1.0 / image.c) / hw;
    }
    for (int j = 0; j < image.c * hw; j++) {
        const int c = j / hw, row = j % hw / image.w, column = j % image.w;
        const struct area *area = &draw->erased;
        const bool erased = row >= area->top && row < area->top + area->h && column >= area->left &&
                            column < area->left + area->w;
        want[j] = kept_within_bytes(draw->contrast * want[j] + (1 - draw->contrast) * grey);
        want[j] = erased ? 0 : want[j] * (double)scales[c] + (double)shifts[c];
    }
}

/* Coordinates up to 3 sides, three terms of a float each, are off by 9 sides * 2^-24 at the most,
 * where a pixel differs by 255 from the next in two directions; brightness and contrast may enlarge
 * that by 1.4 * 1.5, and the mean grey, off likewise, adds half as much again. */
static const double slow_tolerance = 2 * 255 * 9 * SIDE * 0x1p-24 * 1.4 * 1.5 * 1.5 * 0.03 + 1e-6;

static void check_slowly(const char *keys, int channels)
{
    struct view *view = open_view(keys, channels);
    double *want = calloc(view->size, sizeof *want);
    int changed = 0;
    see(view);
    for (int i = 0; i < IMAGES; i++) {
        const struct augment_draw draw = augment_draw(
            view->graph->nodes[0].settings, view->graph->nodes[0].in, 8, 2, view->batch.samples[i]);
        alter_slowly(view, i, &draw, want);
        for (int j = 0; j < (int)view->size; j++) {
            const int c = j / (SIDE * SIDE), pixel = j % (SIDE * SIDE);
            const double got = seen(view, i, c, pixel / SIDE, pixel % SIDE);
            cr_assert(fabs(got - want[j]) <= slow_tolerance,
                      "%s, %d channels: image %d, channel %d, pixel %d: %g instead of %g", keys,
                      channels, i, c, pixel, got, want[j]);
            changed += fabs(got - original(view, i, c, pixel / SIDE, pixel % SIDE)) > 0.01;
        }
    }
    cr_expect(changed > 0, "%s changes nothing", keys);
    free(want);
    close_view(view);
}

Test(augmentation, every_key_does_what_a_slow_reference_does)
{
    static const char *const keys[] = {
        "flip = horizontal", "crop = 3",       "rotate = 30", "scale = 0.3", "translate = 0.2",
        "brightness = 0.4",  "contrast = 0.5", "erase = 1",   ALTERED,
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        check_slowly(keys[i], 1);
        check_slowly(keys[i], 3);
        check_slowly(keys[i], 9); /* NHWC */
    }
}

/* The same samples in the opposite order. */
Test(augmentation, a_sample_is_altered_alike_wherever_it_stands)
{
    struct view *one = open_view(ALTERED, 3), *other = open_view(ALTERED, 3);
    uint32_t samples[IMAGES];
    for (int i = 0; i < IMAGES; i++) {
        samples[i] = one->batch.samples[IMAGES - 1 - i];
        other->images[i] = one->images[IMAGES - 1 - i];
    }
    other->batch.samples = samples;
    see(one);
    see(other);
    for (size_t i = 0; i < IMAGES; i++)
        cr_assert_arr_eq(other->y + i * other->size, one->y + (IMAGES - 1 - i) * one->size,
                         one->size * sizeof(float), "image %zu", i);
    close_view(one);
    close_view(other);
}

Test(augmentation, evaluation_sees_the_images_as_they_are)
{
    struct view *view = open_view(ALL, 3);
    view->tile.training = false;
    see(view);
    for (int i = 0; i < IMAGES; i++)
        for (int c = 0; c < 3; c++)
            for (int pixel = 0; pixel < SIDE * SIDE; pixel++)
                cr_assert(fabs(seen(view, i, c, pixel / SIDE, pixel % SIDE) -
                               original(view, i, c, pixel / SIDE, pixel % SIDE)) <= rounding);
    close_view(view);
}

/* Every way of cutting a mini-batch into tiles. */
Test(augmentation, tiles_of_any_size_see_the_same_bits)
{
    for (int channels = 3; channels <= 9; channels += 6) {
        struct view *whole = open_view(ALL, channels), *parts = open_view(ALL, channels);
        see(whole);
        for (int n = 1; n < IMAGES; n++) {
            for (int first = 0; first < IMAGES; first += n) {
                parts->tile.first = first;
                parts->tile.n = IMAGES - first < n ? IMAGES - first : n;
                parts->tile.y = parts->y + (size_t)first * parts->size;
                see(parts);
            }
            cr_assert_arr_eq(parts->y, whole->y, IMAGES * whole->size * sizeof(float), "%d", n);
        }
        close_view(whole);
        close_view(parts);
    }
}

Test(augmentation, an_erased_rectangle_is_the_mean)
{
    struct view *view = open_view("erase = 1", 3);
    const struct augment *augment = view->graph->nodes[0].settings;
    see(view);
    for (int i = 0; i < IMAGES; i++) {
        const struct area area =
            augment_draw(augment, view->graph->nodes[0].in, 8, 2, view->batch.samples[i]).erased;
        for (int row = area.top; row < area.top + area.h; row++)
            for (int column = area.left; column < area.left + area.w; column++)
                for (int c = 0; c < 3; c++)
                    cr_assert_eq(seen(view, i, c, row, column), 0);
    }
    close_view(view);
}

Test(augmentation, mixup_adds_the_partner_as_it_is_seen_itself)
{
    struct view *mixed = open_view(ALL, 3), *plain = open_view(ALTERED, 3);
    see(mixed);
    see(plain);
    for (int i = 0; i < IMAGES; i++) {
        const struct mixture m =
            augment_mixture(mixed->graph->nodes[0].settings, 8, &mixed->batch, i);
        for (size_t j = 0; j < mixed->size; j++) {
            const double want =
                (double)m.share * (double)plain->y[(size_t)i * plain->size + j] +
                (1 - (double)m.share) * (double)plain->y[(size_t)m.partner * plain->size + j];
            cr_assert(fabs((double)mixed->y[(size_t)i * mixed->size + j] - want) <= 2 * rounding);
        }
    }
    close_view(mixed);
    close_view(plain);
}

Test(augmentation, the_loss_is_of_both_labels_by_their_shares)
{
    enum { CLASSES = 4 };
    struct view *view = open_view("mixup = 1", 1);
    const struct node node = {.type = &node_loss,
                              .settings = view->graph->nodes[0].settings,
                              .in = {CLASSES, 1, 1},
                              .out = {CLASSES, 1, 1}};
    float logits[IMAGES * CLASSES], gradient[IMAGES * CLASSES];
    double loss[IMAGES];
    int32_t rank[IMAGES];
    fill_random(logits, IMAGES * CLASSES, 1);
    for (int first = 0; first < IMAGES; first += 2) { /* in tiles, whose partners are anywhere */
        view->tile.first = first;
        view->tile.n = 2;
        view->tile.x[0] = logits + first * CLASSES;
        view->tile.y = gradient + first * CLASSES;
        view->tile.loss = loss + first;
        view->tile.rank = rank + first;
        node_loss.forward(&node, &view->tile);
    }
    for (int i = 0; i < IMAGES; i++) {
        const struct mixture m = augment_mixture(node.settings, 8, &view->batch, i);
        const float *row = logits + i * CLASSES;
        double sum = 0;
        int above = 0;
        for (int c = 0; c < CLASSES; c++) {
            sum += exp((double)row[c]);
            above += row[c] > row[labels[i]];
        }
        const double own = log(sum) - (double)row[labels[i]];
        const double other = log(sum) - (double)row[labels[m.partner]];
        /* logits below 1 in size, exponentials in float */
        cr_expect(fabs(loss[i] - (double)m.share * own - (1 - (double)m.share) * other) < 1e-6);
        cr_expect_eq(rank[i], above);
        for (int c = 0; c < CLASSES; c++) {
            const double target = (double)m.share * (c == labels[i]) +
                                  (1 - (double)m.share) * (c == labels[m.partner]);
            const double want = (exp((double)row[c]) / sum - target) / IMAGES;
            cr_expect(fabs((double)gradient[i * CLASSES + c] - want) < 1e-6);
        }
    }
    close_view(view);
}
