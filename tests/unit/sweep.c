/* What a sweep's figures over seeds are, the grid's order, the combinations on its front, and the
 * curves of its rows, kept in its file.
 */
#include "engine/sweep/sweep.h"
#include "engine/base/memory.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char network[] = "[data]\nsource = synthetic\nshape = 1x8x8\n"
                              "[fc]\ntype = dense\nunits = classes\n";

static struct sweep *make(const char *lines)
{
    char text[1024];
    struct config *config = NULL;
    struct sweep *sweep = NULL;
    struct colonnade_error error = {0};
    snprintf(text, sizeof text, "%s[sweep]\n%s", network, lines);
    cr_assert_eq(config_parse(&config, "x.ini", text, &error), COLONNADE_OK, "%s", error.message);
    cr_assert_eq(sweep_create(&sweep, config, &error), COLONNADE_OK, "%s", error.message);
    return sweep;
}

Test(sweep, the_last_list_turns_fastest)
{
    struct sweep *sweep = make("train.lr = 1, 2\ndata.classes = 3, 4, 5\nseeds = 7, 8\n");
    const struct sweep_grid *grid = &sweep->grid;
    cr_assert_eq(grid->combinations, 6);
    cr_assert_eq(grid->seed_count, 2);
    for (size_t i = 0; i < 6; i++) {
        const char *const rates[] = {"1", "2"}, *const classes[] = {"3", "4", "5"};
        cr_expect_str_eq(sweep_value(grid, i, 0), rates[i / 3]);
        cr_expect_str_eq(sweep_value(grid, i, 1), classes[i % 3]);
        cr_expect_eq(sweep_data_index(grid, i), i % 3);
    }
    sweep_destroy(sweep);
}

Test(sweep, the_config_of_a_row_has_its_values_and_no_grid)
{
    struct sweep *sweep = make("train.lr = 1, 2\nseeds = 7, 8\n");
    struct config *config = NULL;
    struct settings settings;
    cr_assert_eq(sweep_config(&config, sweep->config, &sweep->grid, 1, 1, NULL), COLONNADE_OK);
    cr_assert_eq(settings_read(&settings, config, NULL), COLONNADE_OK);
    cr_expect_eq(settings.lr, 2);
    cr_expect_eq(settings.seed, 8);
    cr_expect_null(config_section(config, "sweep"));
    config_destroy(config);
    sweep_destroy(sweep);
}

Test(sweep, of_combinations_that_do_not_read_a_key_the_first_is_to_be_trained)
{
    struct sweep *sweep = make("train.optimizer = adam, sgd\ntrain.momentum = 0.5, 0.9\n"
                               "train.nesterov = true, false\n");
    static const bool repeats[] = {false, true, true, true, false, false, false, false};
    for (size_t i = 0; i < 8; i++) {
        struct config *one = NULL;
        struct colonnade_error error = {0};
        cr_assert_eq(sweep_config(&one, sweep->config, &sweep->grid, i, 0, NULL), COLONNADE_OK);
        cr_expect_eq(config_entry(config_find(one, "train"), "momentum") == NULL, i < 4);
        cr_expect_eq(sweep_check_read(one, sweep->config, &sweep->grid, i, &error),
                     repeats[i] ? COLONNADE_USAGE : COLONNADE_OK, "combination %zu", i);
        if (i == 3)
            cr_expect_str_eq(error.message, "x.ini:9: the same training as with train.momentum = "
                                            "0.5, train.nesterov = true, which this combination "
                                            "does not read");
        config_destroy(one);
    }
    sweep_destroy(sweep);
}

Test(sweep, without_lists_there_is_one_combination_with_the_configs_seed)
{
    struct sweep *sweep = make("skip_invalid = no\n");
    cr_expect_eq(sweep->grid.combinations, 1);
    cr_expect_eq(sweep->grid.seed_count, 1);
    cr_expect_eq(sweep->grid.seeds[0], 1);
    cr_expect_not(sweep->grid.skip_invalid);
    sweep_destroy(sweep);
}

static double bell(double x, double degrees)
{
    return pow(1 + x * x / degrees, -(degrees + 1) / 2);
}

/* The quantile holds 95 % of the density between its negative and itself: Simpson's rule, over
 * x = tan(u), under which the density is smooth to both ends. */
static double share_within(double t, double degrees)
{
    enum { PARTS = 20000 };
    double inner = 0, whole = 0;
    const double edge = atan(t), end = acos(0);
    for (int i = 0; i <= PARTS; i++) {
        const double weight = i == 0 || i == PARTS ? 1 : i % 2 ? 4 : 2;
        const double u = edge * i / PARTS, v = end * i / PARTS * (1 - 1e-9);
        inner += weight * edge * bell(tan(u), degrees) / pow(cos(u), 2);
        whole += weight * end * bell(tan(v), degrees) / pow(cos(v), 2);
    }
    return inner / whole;
}

Test(sweep, the_quantile_of_t_holds_95_percent)
{
    cr_expect(isnan(student_t(0)));
    for (size_t degrees = 1; degrees <= 60; degrees++) {
        /* Simpson's error is below 1e-7 here, as halving the parts shows; the table has 10 digits,
         * and the first term that the
         * series beyond it leaves out is 2e-7 of the share. */
        const double share = share_within(student_t(degrees), (double)degrees);
        cr_expect(fabs(share - 0.95) < 1e-6, "%zu degrees: %.9f", degrees, share);
    }
    cr_expect(fabs(student_t(1000000) - 1.959966) < 1e-6);
}

static void complete(struct sweep *sweep, size_t row, double accuracy, double step_ms)
{
    sweep->rows[row].status = SWEEP_COMPLETE;
    sweep->rows[row].test_accuracy = accuracy;
    sweep->rows[row].step_ms = step_ms;
}

Test(sweep, figures_are_of_the_seeds_that_are_complete)
{
    struct sweep *sweep = make("seeds = 1, 2, 3, 4\n");
    complete(sweep, 0, 0.5, 1);
    complete(sweep, 2, 0.75, 2);
    complete(sweep, 3, 1.0, 3);
    sweep_row_end(&sweep->rows[1], SWEEP_FAILED, "why");
    const struct sweep_summary summary = sweep_summarize(sweep, 0);
    cr_expect_eq(summary.status, SWEEP_COMPLETE);
    cr_expect_str_eq(summary.reason, "why");
    cr_expect_eq(summary.test_accuracy.count, 3);
    cr_expect_eq(summary.test_accuracy.mean, 0.75);
    cr_expect_eq(summary.test_accuracy.sd, 0.25);
    cr_expect_float_eq(summary.test_accuracy.interval, 4.3026527297 * 0.25 / sqrt(3), 1e-9);
    cr_expect_eq(summary.step_ms.mean, 2);
    cr_expect_eq(summary.test_loss.count, 0);
    cr_expect(isnan(summary.test_loss.mean));
    sweep_destroy(sweep);
}

Test(sweep, one_seed_has_a_mean_and_no_spread)
{
    struct sweep *sweep = make("seeds = 1, 2\n");
    complete(sweep, 1, 0.5, 1);
    const struct sweep_summary summary = sweep_summarize(sweep, 0);
    cr_expect_eq(summary.status, SWEEP_COMPLETE);
    cr_expect_eq(summary.test_accuracy.mean, 0.5);
    cr_expect(isnan(summary.test_accuracy.sd) && isnan(summary.test_accuracy.interval));
    sweep_destroy(sweep);
}

Test(sweep, the_front_has_what_nothing_beats_in_both)
{
    static const struct {
        double accuracy, step_ms;
        bool efficient;
    } cases[] = {{0.9, 2, true},  {0.8, 1, true}, {0.9, 3, false},
                 {0.7, 2, false}, {0.9, 2, true}, {NAN, 1, false}};
    struct sweep_summary summaries[sizeof cases / sizeof *cases] = {0};
    const size_t count = sizeof cases / sizeof *cases;
    for (size_t i = 0; i < count; i++) {
        summaries[i].test_accuracy.mean = cases[i].accuracy;
        summaries[i].step_ms.mean = cases[i].step_ms;
    }
    for (size_t i = 0; i < count; i++)
        cr_expect_eq(sweep_is_efficient(summaries, count, i), cases[i].efficient, "case %zu", i);
}

/* A value of an epoch that no other has. */
static double made_value(size_t row, size_t epoch, int column)
{
    return (double)(100 * row + 10 * epoch) + column + 0.1;
}

static void add_epochs(struct sweep *sweep, size_t row, size_t count)
{
    struct sweep_row *made = &sweep->rows[row];
    cr_assert_eq(memory_allocate(&made->epochs, count, sizeof *made->epochs, "epochs", NULL),
                 COLONNADE_OK);
    made->epoch_count = count;
    for (size_t i = 0; i < count; i++)
        made->epochs[i] = (struct sweep_epoch){made_value(row, i, 0), made_value(row, i, 1),
                                               row == 1 ? NAN : made_value(row, i, 2),
                                               row == 1 ? NAN : made_value(row, i, 3)};
}

static void expect_epochs(const struct sweep *sweep, size_t row, size_t count)
{
    const struct sweep_row *found = &sweep->rows[row];
    cr_assert_eq(found->epoch_count, count, "row %zu", row);
    for (size_t i = 0; i < count; i++) {
        cr_expect_eq(found->epochs[i].train_loss, made_value(row, i, 0));
        cr_expect_eq(found->epochs[i].train_accuracy, made_value(row, i, 1));
        if (row == 1)
            cr_expect(isnan(found->epochs[i].val_loss) && isnan(found->epochs[i].val_accuracy));
        else
            cr_expect(found->epochs[i].val_loss == made_value(row, i, 2) &&
                      found->epochs[i].val_accuracy == made_value(row, i, 3));
    }
}

Test(sweep, curves_of_any_length_come_back_and_a_resumed_sweep_takes_those_of_complete_rows)
{
    static const size_t lengths[] = {3, 1, 0, 2};
    char path[] = "/tmp/colonnade-sweep-XXXXXX";
    const char *const lines = "seeds = 1, 2, 3, 4\n";
    struct colonnade_error error = {0};
    struct sweep *sweep = make(lines), *loaded = NULL, *resumed = make(lines);
    close(mkstemp(path));
    for (size_t i = 0; i < 4; i++) {
        complete(sweep, i, 0.5, 1);
        add_epochs(sweep, i, lengths[i]);
    }
    sweep_row_end(&sweep->rows[3], SWEEP_FAILED, "why");
    cr_assert_eq(sweep_save(sweep, path, &error), COLONNADE_OK, "%s", error.message);
    cr_assert_eq(sweep_load(&loaded, path, &error), COLONNADE_OK, "%s", error.message);
    cr_assert_eq(sweep_resume(resumed, path, &error), COLONNADE_OK, "%s", error.message);
    for (size_t i = 0; i < 4; i++) {
        expect_epochs(loaded, i, lengths[i]);
        expect_epochs(resumed, i, i == 3 ? 0 : lengths[i]);
    }
    unlink(path);
    sweep_destroy(sweep);
    sweep_destroy(loaded);
    sweep_destroy(resumed);
}

Test(sweep, a_sweep_of_which_nothing_is_trained_has_empty_curves)
{
    char path[] = "/tmp/colonnade-sweep-XXXXXX";
    struct colonnade_error error = {0};
    struct sweep *sweep = make("seeds = 1, 2\n"), *loaded = NULL;
    close(mkstemp(path));
    cr_assert_eq(sweep_save(sweep, path, &error), COLONNADE_OK, "%s", error.message);
    cr_assert_eq(sweep_load(&loaded, path, &error), COLONNADE_OK, "%s", error.message);
    expect_epochs(loaded, 0, 0);
    unlink(path);
    sweep_destroy(sweep);
    sweep_destroy(loaded);
}
