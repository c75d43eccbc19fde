/* What the rows of a combination come to. Knows nothing of how they came about. */
#include "engine/base/memory.h"
#include "engine/sweep/sweep.h"

#include <math.h>

double student_t(size_t degrees)
{
    static const double table[] = {
        12.7062047362, 4.3026527297, 3.1824463053, 2.7764451052, 2.5705818356, 2.4469118511,
        2.3646242516,  2.3060041352, 2.2621571628, 2.2281388520, 2.2009851601, 2.1788128297,
        2.1603686565,  2.1447866879, 2.1314495456, 2.1199052992, 2.1098155778, 2.1009220402,
        2.0930240544,  2.0859634473, 2.0796138447, 2.0738730679, 2.0686576104, 2.0638985616,
        2.0595385528,  2.0555294386, 2.0518305165, 2.0484071418, 2.0452296421, 2.0422724563};
    if (degrees == 0)
        return NAN;
    if (degrees <= COUNT_OF(table))
        return table[degrees - 1];
    /* Abramowitz and Stegun, 26.7.5, to the third order. */
    const double z = 1.959963984540054, z2 = z * z, n = (double)degrees;
    return z * (1 + (z2 + 1) / (4 * n) + ((5 * z2 + 16) * z2 + 3) / (96 * n * n) +
                (((3 * z2 + 19) * z2 + 17) * z2 - 15) / (384 * n * n * n));
}

static double at(const struct sweep_row *row, size_t offset)
{
    return *(const double *)(const void *)((const char *)row + offset);
}

/* Over those of `count` rows that are complete and have the figure. */
static struct sweep_figure summarize(const struct sweep_row *rows, size_t count, size_t offset)
{
    struct sweep_figure figure = {.mean = NAN, .sd = NAN, .interval = NAN};
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++)
        if (rows[i].status == SWEEP_COMPLETE && !isnan(at(&rows[i], offset))) {
            sum += at(&rows[i], offset);
            figure.count++;
        }
    const double n = (double)figure.count;
    if (figure.count)
        figure.mean = sum / n;
    for (size_t i = 0; i < count; i++)
        if (rows[i].status == SWEEP_COMPLETE && !isnan(at(&rows[i], offset)))
            squares += pow(at(&rows[i], offset) - figure.mean, 2);
    if (figure.count > 1) {
        figure.sd = sqrt(squares / (n - 1));
        figure.interval = student_t(figure.count - 1) * figure.sd / sqrt(n);
    }
    return figure;
}

struct sweep_summary sweep_summarize(const struct sweep *sweep, size_t combination)
{
    static const enum sweep_row_status weight[] = {SWEEP_INVALID, SWEEP_FAILED, SWEEP_WAITING,
                                                   SWEEP_COMPLETE}; /* the later one wins */
    const size_t seeds = sweep->grid.seed_count;
    const struct sweep_row *rows = sweep_row(sweep, combination, 0);
#define FIGURE(name) .name = summarize(rows, seeds, offsetof(struct sweep_row, name))
    struct sweep_summary summary = {.reason = "",
                                    FIGURE(test_accuracy),
                                    FIGURE(test_loss),
                                    FIGURE(train_loss),
                                    FIGURE(images_per_second),
                                    FIGURE(step_ms)};
#undef FIGURE
    for (size_t i = 0; i < COUNT_OF(weight); i++)
        for (size_t seed = 0; seed < seeds; seed++)
            if (rows[seed].status == weight[i])
                summary.status = weight[i];
    for (size_t seed = seeds; seed-- > 0;)
        if (rows[seed].reason[0])
            summary.reason = rows[seed].reason;
    return summary;
}

struct sweep_threads sweep_count_threads(const struct sweep *sweep)
{
    struct sweep_threads threads = {0, 0};
    for (size_t i = 0; i < sweep->grid.combinations * sweep->grid.seed_count; i++) {
        const uint64_t count = sweep->rows[i].threads;
        if (count && (threads.least == 0 || count < threads.least))
            threads.least = count;
        if (count > threads.most)
            threads.most = count;
    }
    return threads;
}

bool sweep_is_efficient(const struct sweep_summary *summaries, size_t count, size_t combination)
{
    const double accuracy = summaries[combination].test_accuracy.mean;
    const double time = summaries[combination].step_ms.mean;
    if (isnan(accuracy) || isnan(time))
        return false;
    for (size_t i = 0; i < count; i++) {
        const double other = summaries[i].test_accuracy.mean, its_time = summaries[i].step_ms.mean;
        if (other >= accuracy && its_time <= time && (other > accuracy || its_time < time))
            return false;
    }
    return true;
}
