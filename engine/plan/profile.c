/* Where the time of a plan's steps goes: by node, and within a node how much of it lies in matrix
 * products and in gathering and scattering their columns. A profiled plan runs with a table of
 * kernels of its own, in which those entries take the time around the real ones; so the same bits
 * come out, and a plan that is not profiled knows nothing of it. Changes no result.
 */
#include "engine/base/clock.h"
#include "engine/plan/internal.h"

#include <string.h>

/* The pass that this thread is in. */
static _Thread_local struct {
    const struct kernels *kernels; /* the real ones */
    double im2col, sgemm;          /* seconds */
} under_way;

static void timed_product(struct product p, bool pieces)
{
    const double start = seconds_now();
    under_way.kernels->product(p, pieces);
    under_way.sgemm += seconds_now() - start;
}

static void timed_im2col_pixels(const struct window *window, enum layout layout, size_t row0,
                                size_t rows, int k0, int k1, int c0, int c1, const float *x,
                                float *columns)
{
    const double start = seconds_now();
    under_way.kernels->im2col_pixels(window, layout, row0, rows, k0, k1, c0, c1, x, columns);
    under_way.im2col += seconds_now() - start;
}

static void timed_col2im_pixels(const struct window *window, enum layout layout, size_t row0,
                                size_t rows, int k0, int k1, int c0, int c1, const float *columns,
                                float *dx)
{
    const double start = seconds_now();
    under_way.kernels->col2im_pixels(window, layout, row0, rows, k0, k1, c0, c1, columns, dx);
    under_way.im2col += seconds_now() - start;
}

static void timed_im2col_taps(const struct window *window, enum layout layout, int y0, int y1,
                              int c0, int c1, const float *x, float *columns)
{
    const double start = seconds_now();
    under_way.kernels->im2col_taps(window, layout, y0, y1, c0, c1, x, columns);
    under_way.im2col += seconds_now() - start;
}

static void timed_col2im_taps(const struct window *window, enum layout layout, int y0, int y1,
                              int c0, int c1, const float *columns, float *dx)
{
    const double start = seconds_now();
    under_way.kernels->col2im_taps(window, layout, y0, y1, c0, c1, columns, dx);
    under_way.im2col += seconds_now() - start;
}

void plan_profile_start(struct plan *plan)
{
    const size_t passes = (size_t)plan->threads * (size_t)plan->count;
    memset(plan->times, 0, passes * sizeof *plan->times);
    plan->timed = *kernels_best();
    plan->timed.product = timed_product;
    plan->timed.im2col_pixels = timed_im2col_pixels;
    plan->timed.col2im_pixels = timed_col2im_pixels;
    plan->timed.im2col_taps = timed_im2col_taps;
    plan->timed.col2im_taps = timed_col2im_taps;
    plan->kernels = &plan->timed;
    plan->profiling = true;
}

double profile_begin(void)
{
    under_way.kernels = kernels_best();
    under_way.im2col = under_way.sgemm = 0;
    return seconds_now();
}

void profile_end(struct plan *plan, const struct step *step, int thread, double start)
{
    struct node_time *time = &plan->times[thread * plan->count + step->node];
    struct pass_time *pass = is_backward(step->phase) ? &time->backward : &time->forward;
    pass->seconds += seconds_now() - start;
    pass->im2col += under_way.im2col;
    pass->sgemm += under_way.sgemm;
}

static void pass_add(struct pass_time *sum, const struct pass_time *pass)
{
    sum->seconds += pass->seconds;
    sum->im2col += pass->im2col;
    sum->sgemm += pass->sgemm;
}

void node_time_add(struct node_time *sum, const struct node_time *time)
{
    pass_add(&sum->forward, &time->forward);
    pass_add(&sum->backward, &time->backward);
}

void plan_profile(const struct plan *plan, struct node_time *times)
{
    memset(times, 0, ((size_t)plan->graph->count + 1) * sizeof *times);
    for (int i = 0; i < plan->count; i++)
        for (int t = 0; t < plan->threads; t++)
            node_time_add(&times[i], &plan->times[t * plan->count + i]);
}
