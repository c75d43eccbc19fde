/* Training images as the network saw them: what scaling, cropping and [augment] made of the files.
 */
#include "engine/report/sections.h"

#include "engine/report/html.h"
#include "engine/report/image.h"

static enum colonnade_status write_sample(FILE *page, const struct run *run, int index,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct shape shape = run->data.shape;
    const char *name = run->data.class_names[run->samples.labels[index]];
    const uint8_t *image = run->samples.images + (size_t)index * shape_size(shape);
    fprintf(page, "<li><figure><img alt=\"sample %d\" style=\"--columns:%d;--rows:%d\" src=\"",
            index, shape.w, shape.h);
    TRY(image_small_uri(page, image, shape.w, shape.h, shape.c, error));
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
    if (run->samples.n == 0) {
        fputs("<p class=\"note\">The run file holds none.</p>\n", page);
        goto out;
    }
    fprintf(page,
            "<p class=\"note\">The first %d of the training, as the network saw them%s.</p>\n"
            "<ul class=\"samples\">\n",
            run->samples.n,
            run->data.shape.c == 1 || run->data.shape.c == 3 ? "" : "; the first channel");
    for (int i = 0; i < run->samples.n; i++)
        TRY(write_sample(page, run, i, error));
    fputs("</ul>\n", page);
out:
    return status;
}
