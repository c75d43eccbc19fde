/* Training images as the network saw them: what scaling, cropping and [augment] made of the files.
 */
#include "engine/report/sections.h"

#include "engine/base/memory.h"
#include "engine/report/html.h"
#include "engine/report/image.h"

#include <stdlib.h>

/* [h, w, c] as red, green, blue, opacity; of other than three channels the first, in grey. */
static void paint(const uint8_t *image, struct shape shape, unsigned char *pixels)
{
    const bool colour = shape.c == 3;
    for (int i = 0; i < shape_pixels(shape); i++, image += shape.c, pixels += 4) {
        for (int channel = 0; channel < 3; channel++)
            pixels[channel] = image[colour ? channel : 0];
        pixels[3] = 255;
    }
}

static enum colonnade_status write_sample(FILE *page, const struct run *run, int index,
                                          unsigned char *pixels, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct shape shape = run->data.shape;
    const char *name = run->data.class_names[run->samples.labels[index]];
    paint(run->samples.images + (size_t)index * shape_size(shape), shape, pixels);
    fprintf(page, "<li><figure><img alt=\"sample %d\" style=\"--columns:%d;--rows:%d\" src=\"",
            index, shape.w, shape.h);
    TRY(image_uri(page, pixels, shape.w, shape.h, error));
    fputs("\"><figcaption>", page);
    html_text(page, name);
    fputs("</figcaption></figure></li>\n", page);
out:
    return status;
}

enum colonnade_status section_samples(FILE *page, const struct run *run,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    unsigned char *pixels = NULL;
    if (run->samples.n == 0) {
        fputs("<p class=\"note\">The run file holds none.</p>\n", page);
        goto out;
    }
    TRY(memory_allocate(&pixels, (size_t)shape_pixels(run->data.shape), 4, "a picture", error));
    fprintf(page,
            "<p class=\"note\">The first %d of the training, as the network saw them%s.</p>\n"
            "<ul class=\"samples\">\n",
            run->samples.n,
            run->data.shape.c == 1 || run->data.shape.c == 3 ? "" : "; the first channel");
    for (int i = 0; i < run->samples.n; i++)
        TRY(write_sample(page, run, i, pixels, error));
    fputs("</ul>\n", page);
out:
    free(pixels);
    return status;
}
