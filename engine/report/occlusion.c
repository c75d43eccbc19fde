/* Occlusion maps (Zeiler and Fergus, 2014): which parts of an image an answer rests on, by how much
 * less likely it gets when they are covered. Unlike a class activation map this needs no gradients
 * and no convolution, so that it means the same for every network; it takes one forward pass a
 * place, and places are as many as the network is cheap.
 */
#include "engine/report/occlusion.h"

#include "engine/base/memory.h"
#include "engine/report/html.h"
#include "engine/report/image.h"
#include "engine/report/looks.h"
#include "engine/report/sections.h"
#include "engine/train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GOLDEN = 4, WORST = 4, GRID_MOST = 14, GRID_LEAST = 5 };
static const double macs_most = 1e11; /* of all passes together: half a second on two cores */

/* Pixels [from, to) of a side that the place `index` of `grid` covers: a quarter of the side around
 * the middle of its share. */
static void covered(int index, int grid, int side, int *from, int *to)
{
    const int patch = (side + 3) / 4, middle = (2 * index + 1) * side / (2 * grid);
    *from = middle - patch / 2 > 0 ? middle - patch / 2 : 0;
    *to = middle - patch / 2 + patch < side ? middle - patch / 2 + patch : side;
}

static void cover(struct shape shape, int grid, int place, float *values)
{
    int top, bottom, left, right;
    covered(place / grid, grid, shape.h, &top, &bottom);
    covered(place % grid, grid, shape.w, &left, &right);
    for (int c = 0; c < shape.c; c++)
        for (int y = top; y < bottom; y++)
            for (int x = left; x < right; x++)
                values[(c * shape.h + y) * shape.w + x] = 0; /* the training split's mean */
}

/* map [h, w]: the mean of `drops` [grid, grid] over the places that cover the pixel. */
static void spread(struct shape shape, int grid, const double *drops, float *map)
{
    for (int i = 0; i < shape_pixels(shape); i++) {
        const int y = i / shape.w, x = i % shape.w;
        double sum = 0;
        int count = 0;
        for (int place = 0; place < grid * grid; place++) {
            int top, bottom, left, right;
            covered(place / grid, grid, shape.h, &top, &bottom);
            covered(place % grid, grid, shape.w, &left, &right);
            if (y >= top && y < bottom && x >= left && x < right) {
                sum += drops[place];
                count++;
            }
        }
        map[i] = (float)(count ? sum / count : 0);
    }
}

enum colonnade_status occlusion_map(const struct run *run, const float *input, int class, int grid,
                                    int threads, float *map, double *least,
                                    struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct shape shape = run->data.shape;
    const int classes = run->graph->classes;
    const size_t size = shape_size(shape), places = (size_t)grid * (size_t)grid;
    float *inputs = NULL, *logits = NULL;
    double *drops = NULL;
    TRY(memory_allocate(&inputs, (places + 1) * size, sizeof *inputs, "covered images", error));
    TRY(memory_allocate(&logits, (places + 1) * (size_t)classes, sizeof *logits, "logits", error));
    TRY(memory_allocate(&drops, places, sizeof *drops, "an occlusion map", error));
    for (size_t i = 0; i <= places; i++) {
        memcpy(inputs + i * size, input, size * sizeof *inputs);
        if (i < places) /* the last one is whole */
            cover(shape, grid, (int)i, inputs + i * size);
    }
    TRY(infer(run, places + 1, inputs, threads, logits, error));
    const double whole = look_probability(logits + places * (size_t)classes, classes, class);
    *least = whole;
    for (size_t i = 0; i < places; i++) {
        const double left = look_probability(logits + i * (size_t)classes, classes, class);
        drops[i] = whole - left;
        *least = fmin(*least, left);
    }
    spread(shape, grid, drops, map);
out:
    free(inputs);
    free(logits);
    free(drops);
    return status;
}

/* The finest grid that all images can have, else the coarsest for fewer of them. */
static int choose_grid(uint64_t macs, size_t *images)
{
    const double passes = macs_most / fmax((double)macs, 1);
    int grid = GRID_MOST;
    while (grid > GRID_LEAST && (double)(grid * grid) * (double)*images > passes)
        grid--;
    const double affordable = passes / (grid * grid);
    if ((double)*images > affordable)
        *images = (size_t)affordable;
    return grid;
}

/* The image in grey, half as strong, under orange where the answer rests and blue where it would be
 * likelier without. */
static void paint(struct shape shape, const uint8_t *image, const float *map, unsigned char *pixels)
{
    static const double rests[3] = {255, 122, 0}, hinders[3] = {40, 120, 255};
    double greatest = 0;
    for (int i = 0; i < shape_pixels(shape); i++)
        greatest = fmax(greatest, fabs((double)map[i]));
    for (int i = 0; i < shape_pixels(shape); i++) {
        const double *colour = map[i] > 0 ? rests : hinders;
        const double share = greatest > 0 ? fabs((double)map[i]) / greatest : 0;
        double grey = image[i * shape.c];
        if (shape.c == 3)
            grey = 0.299 * image[3 * i] + 0.587 * image[3 * i + 1] + 0.114 * image[3 * i + 2];
        for (int c = 0; c < 3; c++)
            pixels[3 * i + c] = (unsigned char)lround(0.5 * grey * (1 - share) +
                                                      share * (0.25 * grey + 0.75 * colour[c]));
    }
}

static enum colonnade_status write_pictures(FILE *page, const struct run *run, size_t index,
                                            const struct look *look, const float *map,
                                            struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct shape shape = run->data.shape;
    unsigned char *pixels = NULL;
    TRY(memory_allocate(&pixels, (size_t)shape_pixels(shape), 3, "a picture", error));
    paint(shape, look->pixels, map, pixels);
    fprintf(page, "<img alt=\"image %zu\" style=\"--columns:%d;--rows:%d\" src=\"", index, shape.w,
            shape.h);
    TRY(image_small_uri(page, look->pixels, shape.w, shape.h, shape.c, error));
    fprintf(page, "\"><img alt=\"occlusion %zu\" style=\"--columns:%d;--rows:%d\" src=\"", index,
            shape.w, shape.h);
    TRY(image_small_uri(page, pixels, shape.w, shape.h, 3, error));
    fputs("\">", page);
out:
    free(pixels);
    return status;
}

static enum colonnade_status write_look(FILE *page, const struct run *run, size_t index,
                                        const struct look *look, int grid, float *map,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    double least;
    TRY(occlusion_map(run, look->values, look->predicted, grid, thread_count(run->settings.threads),
                      map, &least, error));
    fputs("<li><figure>", page);
    TRY(write_pictures(page, run, index, look, map, error));
    fputs("<figcaption>", page);
    look_write_name(page, run, look);
    fprintf(page, "; covered, down to <span data-value=\"%.9g\">", least);
    html_percent(page, least);
    fputs("</span></figcaption></figure></li>\n", page);
out:
    return status;
}

enum colonnade_status section_occlusion(FILE *page, const struct run *run,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct looks looks = {0};
    float *map = NULL;
    TRY(looks_init(&looks, run, GOLDEN, WORST, error));
    size_t images = looks.n;
    const int grid = choose_grid(run->graph->macs, &images);
    if (images == 0) {
        fputs(looks.n ? "<p class=\"note\">The network is too large for a page to cover images "
                        "piece by piece.</p>\n"
                      : "<p class=\"note\">The run file holds no test images yet.</p>\n",
              page);
        goto out;
    }
    TRY(memory_allocate(&map, (size_t)shape_pixels(run->data.shape), sizeof *map, "a map", error));
    fprintf(page,
            "<p class=\"note\">A patch of the training images' mean, a quarter of the image's "
            "side, covers %d×%d places in turn. Orange: covered, the answer gets less likely; "
            "blue: likelier. The strongest shade is each image's own greatest change.</p>\n"
            "<ul class=\"occlusion\">\n",
            grid, grid);
    for (size_t i = 0; i < images; i++)
        TRY(write_look(page, run, i, &looks.items[i], grid, map, error));
    fputs("</ul>\n", page);
out:
    free(map);
    looks_finish(&looks);
    return status;
}
