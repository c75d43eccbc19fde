/* The test images that were taken for another class, as the run file keeps them. All stand in the
 * page; gallery.js shows those of a class or of a cell of the confusion matrix.
 */
#include "engine/report/html.h"
#include "engine/report/image.h"
#include "engine/report/sections.h"

#include <inttypes.h>

static enum colonnade_status write_image(FILE *page, const struct run *run, size_t index,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct shape shape = run->data.shape;
    const struct worst_image *record = &run->worst.records[index];
    fprintf(page,
            "<li data-actual=\"%d\" data-predicted=\"%d\"><figure><img alt=\"mistake %zu\" "
            "title=\"",
            record->actual, record->predicted, index);
    if (run->worst.files) {
        html_text(page, run->worst.files[index]);
        fputs(", ", page);
    }
    fprintf(page, "test image %ld, loss %.4g\" style=\"--columns:%d;--rows:%d\" src=\"",
            record->sample, record->loss, shape.w, shape.h);
    TRY(image_small_uri(page, run->worst.pixels + index * shape_size(shape), shape.w, shape.h,
                        shape.c, error));
    fputs("\"><figcaption><b>", page);
    html_text(page, run->data.class_names[record->actual]);
    fputs("</b> <small>taken for</small> ", page);
    html_text(page, run->data.class_names[record->predicted]);
    fprintf(page, ", <span data-value=\"%.9g\">", record->probability);
    html_percent(page, record->probability);
    fputs("</span></figcaption></figure></li>\n", page);
out:
    return status;
}

static uint64_t count_mistakes(const struct evaluation *test)
{
    uint64_t right = 0;
    for (size_t i = 0; i < (size_t)test->classes; i++)
        right += (uint64_t)test->confusion[i * (size_t)test->classes + i];
    return test->count - right;
}

enum colonnade_status section_worst(FILE *page, const struct run *run,
                                    struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    if (!run->evaluated || run->worst.n == 0)
        goto out;
    fputs("<div class=\"gallery\">\n<h3>Worst mistakes</h3>\n<p class=\"note\">", page);
    html_count(page, run->worst.n);
    fputs(" of ", page);
    html_count(page, count_mistakes(&run->evaluation));
    fputs(" mistakes, the greatest loss first: the worst of all, of each class, and of each pair "
          "of classes. Beside what an image was taken for: how sure the network was of it.</p>\n"
          "<ul class=\"samples worst\">\n",
          page);
    for (size_t i = 0; i < run->worst.n; i++)
        TRY(write_image(page, run, i, error));
    fputs("</ul>\n</div>\n", page);
out:
    return status;
}
