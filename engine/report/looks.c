/* Test images out of the run file, with what the run's weights make of them here and now. */
#include "engine/report/looks.h"

#include "engine/base/memory.h"
#include "engine/report/html.h"
#include "engine/train/samples.h"
#include "engine/train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double look_probability(const float *logits, int classes, int class)
{
    double sum = 0;
    for (int i = 0; i < classes; i++)
        sum += exp((double)logits[i] - (double)logits[class]);
    return 1 / sum;
}

void looks_finish(struct looks *looks)
{
    for (size_t i = 0; i < looks->n; i++) {
        free(looks->items[i].values);
        free(looks->items[i].pixels);
    }
    free(looks->items);
    *looks = (struct looks){0};
}

static enum colonnade_status make_room(struct look *look, size_t size,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(memory_allocate(&look->values, size, sizeof *look->values, "an image", error));
    TRY(memory_allocate(&look->pixels, size, 1, "an image", error));
out:
    return status;
}

/* In double, and first among equals. */
static enum colonnade_status judge(struct look *look, const struct run *run,
                                   struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const int classes = run->graph->classes;
    float *logits = NULL;
    TRY(memory_allocate(&logits, (size_t)classes, sizeof *logits, "logits", error));
    TRY(infer(run, 1, look->values, 1, logits, error));
    for (int i = 1; i < classes; i++)
        if (logits[i] > logits[look->predicted])
            look->predicted = i;
    look->probability = look_probability(logits, classes, look->predicted);
out:
    free(logits);
    return status;
}

enum colonnade_status looks_init(struct looks *looks, const struct run *run, size_t golden,
                                 size_t worst, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t size = shape_size(run->data.shape);
    const size_t first = golden < (size_t)run->golden.n ? golden : (size_t)run->golden.n;
    const size_t count = first + (worst < run->worst.n ? worst : run->worst.n);
    *looks = (struct looks){0};
    TRY(memory_allocate(&looks->items, count, sizeof *looks->items, "images", error));
    looks->n = count;
    for (size_t i = 0; i < count; i++) {
        struct look *look = &looks->items[i];
        TRY(make_room(look, size, error));
        if (i < first) {
            look->sample = (long)i;
            look->actual = -1;
            memcpy(look->values, run->golden.input + i * size, size * sizeof *look->values);
            samples_bytes(&run->data, LAYOUT_NCHW, look->values, look->pixels);
        } else {
            look->sample = run->worst.records[i - first].sample;
            look->actual = run->worst.records[i - first].actual;
            memcpy(look->pixels, run->worst.pixels + (i - first) * size, size);
            TRY(normalize(&run->data, 1, look->pixels, look->values, error));
        }
        TRY(judge(look, run, error));
    }
out:
    return status;
}

void look_write_name(FILE *page, const struct run *run, const struct look *look)
{
    fprintf(page, "test image %ld: ", look->sample);
    if (look->actual >= 0) {
        html_text(page, run->data.class_names[look->actual]);
        fputs(" ", page);
    }
    fputs("taken for <b>", page);
    html_text(page, run->data.class_names[look->predicted]);
    fprintf(page, "</b>, <span data-value=\"%.9g\">", look->probability);
    html_percent(page, look->probability);
    fputs("</span>", page);
}
