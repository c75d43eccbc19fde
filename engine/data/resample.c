#include "engine/data/resample.h"

#include "engine/base/memory.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* What an output sample is made of: `count` samples from `first` on, by as many of the weights. */
struct window {
    int first, count;
    float *weights;
};

struct windows {
    struct window *items; /* one an output sample, whose ends never go back */
    float *weights;       /* of all of them */
};

struct resample {
    struct resample_axis x, y;
    int bands;
    struct windows across, down;
    bool down_first; /* where that axis shrinks: fewer rows go across then, else less is added up */
    int row, next;   /* the input's row that comes, the output's that is not yet full */
    int lines;       /* output rows that are open at a time */
    float *sums;     /* [lines, down_first ? x.from : x.to, bands] */
    float *samples;  /* [x.from, bands]: the input's row */
    float *line;     /* [x.to, bands]: one that went across */
};

/* --- filters --- */

static double sinc(double x)
{
    return x == 0 ? 1 : sin(M_PI * x) / (M_PI * x);
}

static double lanczos(double x)
{
    return fabs(x) < 3 ? sinc(x) * sinc(x / 3) : 0;
}

static double cubic(double x)
{
    x = fabs(x);
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/* --- windows --- */

/* The axis's samples up to `reach` from `centre`; their weights sum to one. */
static void fill_window(struct window *window, int samples, double centre, double step,
                        double reach)
{
    const int low = (int)ceil(centre - reach), high = (int)floor(centre + reach);
    double sum = 0;
    window->first = low > 0 ? low : 0;
    window->count = (high < samples ? high + 1 : samples) - window->first;
    for (int pass = 0; pass < 2; pass++) /* the first finds the sum */
        for (int i = 0; i < window->count; i++) {
            const double distance = (window->first + i - centre) / step;
            const double weight = step > 1 ? lanczos(distance) : cubic(distance);
            if (pass == 0)
                sum += weight;
            else
                window->weights[i] = (float)(weight / sum);
        }
}

static enum colonnade_status make_windows(struct windows *windows, const struct resample_axis *axis,
                                          const char *what, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const double ratio = (double)axis->from / axis->scaled, step = fmax(1, ratio);
    const double reach = ratio > 1 ? 3 * step : ratio < 1 ? 2 : 0;
    const size_t most = 2 * (size_t)reach + 3;
    TRY(memory_allocate(&windows->items, (size_t)axis->to, sizeof *windows->items, what, error));
    TRY(memory_allocate(&windows->weights, size_multiply((size_t)axis->to, most),
                        sizeof *windows->weights, what, error));
    for (int i = 0; i < axis->to; i++) {
        windows->items[i].weights = windows->weights + (size_t)i * most;
        fill_window(&windows->items[i], axis->from, (axis->offset + i + 0.5) * ratio - 0.5, step,
                    reach);
    }
out:
    return status;
}

static int window_end(const struct window *window)
{
    return window->first + window->count;
}

/* The most output rows that are open at a time: begun, and not yet full. */
static int count_lines(const struct windows *down, int rows)
{
    int most = 1;
    for (int i = 0, open = 0; i < rows; i++) {
        /* When the last row for `i` comes, the rows before it have begun all up to `open`. */
        while (open < rows && down->items[open].first < window_end(&down->items[i]) - 1)
            open++;
        most = open - i > most ? open - i : most;
    }
    return most;
}

/* --- images --- */

enum colonnade_status resample_new(struct resample **resample, struct resample_axis x,
                                   struct resample_axis y, int bands, const char *what,
                                   struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t wide = (size_t)x.from * (size_t)bands, narrow = (size_t)x.to * (size_t)bands;
    struct resample *made;
    TRY(memory_allocate(resample, 1, sizeof **resample, what, error));
    made = *resample;
    made->x = x;
    made->y = y;
    made->bands = bands;
    made->down_first = y.scaled < y.from;
    TRY(make_windows(&made->across, &x, what, error));
    TRY(make_windows(&made->down, &y, what, error));
    made->lines = count_lines(&made->down, y.to);
    TRY(memory_allocate(&made->sums, (size_t)made->lines * (made->down_first ? wide : narrow),
                        sizeof *made->sums, what, error));
    TRY(memory_allocate(&made->samples, wide, sizeof *made->samples, what, error));
    TRY(memory_allocate(&made->line, narrow, sizeof *made->line, what, error));
out:
    return status;
}

void resample_free(struct resample *resample)
{
    if (!resample)
        return;
    free(resample->across.items);
    free(resample->across.weights);
    free(resample->down.items);
    free(resample->down.weights);
    free(resample->sums);
    free(resample->samples);
    free(resample->line);
    free(resample);
}

static inline void across(const struct resample *resample, const float *samples, int bands)
{
    float *line = resample->line;
    for (int x = 0; x < resample->x.to; x++, line += bands) {
        const struct window *window = &resample->across.items[x];
        const float *sample = samples + (size_t)window->first * (size_t)bands;
        float sums[3] = {0};
        for (int i = 0; i < window->count; i++, sample += bands)
            for (int b = 0; b < bands; b++)
                sums[b] += window->weights[i] * sample[b];
        for (int b = 0; b < bands; b++)
            line[b] = sums[b];
    }
}

/* Samples [x.from, bands] to the resample's line, which is returned. */
static const float *go_across(const struct resample *resample, const float *samples)
{
    if (resample->bands == 1) /* the loops are unrolled by it */
        across(resample, samples, 1);
    else
        across(resample, samples, 3);
    return resample->line;
}

static void round_samples(const float *samples, size_t count, uint8_t *pixels)
{
    for (size_t i = 0; i < count; i++) {
        const float sample = samples[i] + 0.5f;
        pixels[i] = (uint8_t)(sample < 0 ? 0 : sample > 255 ? 255 : sample);
    }
}

void resample_row(struct resample *resample, const uint8_t *row, uint8_t *pixels)
{
    const size_t bands = (size_t)resample->bands;
    const size_t wide = (size_t)resample->x.from * bands, narrow = (size_t)resample->x.to * bands;
    const size_t pitch = resample->down_first ? wide : narrow;
    const float *line = resample->samples;
    for (size_t j = 0; j < wide; j++)
        resample->samples[j] = (float)row[j];
    if (!resample->down_first)
        line = go_across(resample, line);
    for (int i = resample->next; i < resample->y.to; i++) {
        const struct window *window = &resample->down.items[i];
        float *sums = resample->sums + (size_t)(i % resample->lines) * pitch;
        if (window->first > resample->row)
            break;
        const float weight = window->weights[resample->row - window->first];
        for (size_t j = 0; j < pitch; j++)
            sums[j] += weight * line[j];
        if (window_end(window) - 1 > resample->row)
            continue;
        round_samples(resample->down_first ? go_across(resample, sums) : sums, narrow,
                      pixels + (size_t)i * narrow);
        memset(sums, 0, pitch * sizeof *sums);
        resample->next = i + 1;
    }
    resample->row++;
}
