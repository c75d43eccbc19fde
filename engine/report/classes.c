/* The test split by class: precision, recall and F1, and which classes were taken for which. Up to
 * TABLE_CLASSES classes the confusion matrix is a table of numbers, above that a picture; the
 * pairs confused most stand below both.
 */
#include "engine/report/html.h"
#include "engine/report/image.h"
#include "engine/report/sections.h"

#include "engine/base/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_CLASSES = 30, MISTAKES = 15 };

/* Images of class `actual` that were taken for `predicted`. */
struct mistake {
    int actual, predicted;
    int64_t count;
};

static int64_t confusion_at(const struct evaluation *evaluation, int actual, int predicted)
{
    return evaluation->confusion[(size_t)actual * (size_t)evaluation->classes + (size_t)predicted];
}

static int64_t images_of(const struct evaluation *evaluation, int actual)
{
    int64_t sum = 0;
    for (int predicted = 0; predicted < evaluation->classes; predicted++)
        sum += confusion_at(evaluation, actual, predicted);
    return sum;
}

static double share_of(int64_t count, int64_t images)
{
    return images > 0 ? (double)count / (double)images : 0;
}

enum colonnade_status section_classes(FILE *page, const struct run *run,
                                      struct colonnade_error *error)
{
    const struct evaluation *test = &run->evaluation;
    if (!run->evaluated) {
        fputs("<p class=\"note\">The test split has not been scored yet.</p>\n", page);
        return COLONNADE_OK;
    }
    html_table_begin(page, "Classes", "numbers sortable classes");
    fputs("<thead><tr><th scope=\"col\">class</th><th scope=\"col\">images</th>"
          "<th scope=\"col\">precision</th><th scope=\"col\">recall</th>"
          "<th scope=\"col\">F1</th></tr></thead>\n<tbody>\n",
          page);
    for (int i = 0; i < test->classes; i++) {
        fputs("<tr><th scope=\"row\">", page);
        html_text(page, run->data.class_names[i]);
        fputs("</th>", page);
        html_cell_count(page, (uint64_t)images_of(test, i));
        html_cell(page, test->precision[i], html_percent);
        html_cell(page, test->recall[i], html_percent);
        html_cell_share(page, test->f1[i], html_percent, test->f1[i]);
        fputs("</tr>\n", page);
    }
    fputs("</tbody>\n", page);
    html_table_end(page);
    return COLONNADE_OK;
}

/* How strongly a share of a row is coloured. The root keeps a few mistakes in a thousand visible.
 */
static double shade(double share)
{
    return sqrt(share);
}

static void write_cell(FILE *page, const struct run *run, int actual, int predicted, int64_t images)
{
    int64_t count = confusion_at(&run->evaluation, actual, predicted);
    double shaded = shade(share_of(count, images));
    fputs("<td", page);
    if (count)
        fprintf(page, " class=\"%s %s\" style=\"--shade:%.3f\"",
                actual == predicted ? "right" : "wrong", html_shade_class(shaded), shaded);
    fputs(" title=\"", page);
    html_text(page, run->data.class_names[actual]);
    fputs(" taken for ", page);
    html_text(page, run->data.class_names[predicted]);
    fprintf(page, ": %" PRId64 " of %" PRId64 "\" data-value=\"%" PRId64 "\">", count, images,
            count);
    html_count(page, (uint64_t)count);
    fputs("</td>", page);
}

static void write_matrix(FILE *page, const struct run *run)
{
    const struct evaluation *test = &run->evaluation;
    html_table_begin(page, "Confusion matrix", "confusion");
    fputs("<thead><tr><td class=\"corner\">true ↓ predicted →</td>", page);
    for (int i = 0; i < test->classes; i++) {
        fputs("<th scope=\"col\"><span>", page);
        html_text(page, run->data.class_names[i]);
        fputs("</span></th>", page);
    }
    fputs("</tr></thead>\n<tbody>\n", page);
    for (int actual = 0; actual < test->classes; actual++) {
        int64_t images = images_of(test, actual);
        fputs("<tr><th scope=\"row\">", page);
        html_text(page, run->data.class_names[actual]);
        fputs("</th>", page);
        for (int predicted = 0; predicted < test->classes; predicted++)
            write_cell(page, run, actual, predicted, images);
        fputs("</tr>\n", page);
    }
    fputs("</tbody>\n", page);
    html_table_end(page);
}

/* One pixel a pair of classes; its opacity is the shade, so that it suits any background. */
static enum colonnade_status write_picture(FILE *page, const struct run *run,
                                           struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    static const unsigned char right[3] = {49, 114, 214}, wrong[3] = {222, 112, 24};
    const struct evaluation *test = &run->evaluation;
    int classes = test->classes;
    unsigned char *pixels = NULL;
    TRY(memory_allocate(&pixels, size_multiply((size_t)classes, (size_t)classes), 4,
                        "a confusion matrix", error));
    for (int actual = 0; actual < classes; actual++) {
        int64_t images = images_of(test, actual);
        for (int predicted = 0; predicted < classes; predicted++) {
            size_t at = (size_t)actual * (size_t)classes + (size_t)predicted;
            memcpy(pixels + 4 * at, actual == predicted ? right : wrong, 3);
            double share = share_of(confusion_at(test, actual, predicted), images);
            pixels[4 * at + 3] = (unsigned char)lround(255 * shade(share));
        }
    }
    fprintf(page,
            "<figure class=\"heat\"><img class=\"pixels\" width=\"%d\" height=\"%d\" "
            "alt=\"Confusion matrix of %d classes; the pairs confused most are listed below\" "
            "src=\"",
            classes, classes, classes);
    TRY(image_uri(page, pixels, classes, classes, 4, error));
    fputs("\"><figcaption>Rows: the true class, from the first at the top. Columns: the predicted "
          "one.</figcaption></figure>\n",
          page);
out:
    free(pixels);
    return status;
}

/* The `MISTAKES` most frequent, most frequent first; among equals the first in the matrix. */
static int find_mistakes(const struct evaluation *evaluation, struct mistake mistakes[MISTAKES])
{
    int found = 0;
    for (int actual = 0; actual < evaluation->classes; actual++)
        for (int predicted = 0; predicted < evaluation->classes; predicted++) {
            struct mistake one = {actual, predicted, confusion_at(evaluation, actual, predicted)};
            if (actual == predicted || one.count == 0 ||
                (found == MISTAKES && mistakes[found - 1].count >= one.count))
                continue;
            int place = found < MISTAKES ? found++ : found - 1;
            for (; place > 0 && mistakes[place - 1].count < one.count; place--)
                mistakes[place] = mistakes[place - 1];
            mistakes[place] = one;
        }
    return found;
}

static void write_mistakes(FILE *page, const struct run *run)
{
    struct mistake mistakes[MISTAKES];
    int count = find_mistakes(&run->evaluation, mistakes);
    if (count == 0) {
        fputs("<p class=\"note\">No test image was taken for another class.</p>\n", page);
        return;
    }
    fputs("<div><h3>Confused most</h3>\n", page);
    html_table_begin(page, "Confused most", "numbers sortable mistakes");
    fputs(
        "<thead><tr><th scope=\"col\">true class</th><th scope=\"col\">taken for</th>"
        "<th scope=\"col\">images</th><th scope=\"col\">of the class</th></tr></thead>\n<tbody>\n",
        page);
    for (int i = 0; i < count; i++) {
        int64_t images = images_of(&run->evaluation, mistakes[i].actual);
        fprintf(page, "<tr data-actual=\"%d\" data-predicted=\"%d\"><th scope=\"row\">",
                mistakes[i].actual, mistakes[i].predicted);
        html_text(page, run->data.class_names[mistakes[i].actual]);
        fputs("</th><td class=\"text\">", page);
        html_text(page, run->data.class_names[mistakes[i].predicted]);
        fputs("</td>", page);
        html_cell_count(page, (uint64_t)mistakes[i].count);
        html_cell(page, share_of(mistakes[i].count, images), html_percent);
        fputs("</tr>\n", page);
    }
    fputs("</tbody>\n", page);
    html_table_end(page);
    fputs("</div>\n", page);
}

enum colonnade_status section_confusion(FILE *page, const struct run *run,
                                        struct colonnade_error *error)
{
    if (!run->evaluated) {
        fputs("<p class=\"note\">The test split has not been scored yet.</p>\n", page);
        return COLONNADE_OK;
    }
    fputs("<p class=\"note\">The shade is the square root of a cell's share of its row: <span "
          "class=\"key right\">right</span> <span class=\"key wrong\">wrong</span></p>\n"
          "<div class=\"pair\">\n",
          page);
    if (run->evaluation.classes <= TABLE_CLASSES)
        write_matrix(page, run);
    else {
        enum colonnade_status status = write_picture(page, run, error);
        if (status != COLONNADE_OK)
            return status;
    }
    write_mistakes(page, run);
    fputs("</div>\n", page);
    return COLONNADE_OK;
}
