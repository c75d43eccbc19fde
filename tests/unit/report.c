/* The report's own arithmetic: escaping, numbers, pictures, whole files. What a browser makes of
 * the page is tests/report/.
 */
#include "engine/report/report.h"
#include "engine/plan/trace.h"
#include "engine/report/html.h"
#include "engine/report/image.h"
#include "engine/report/occlusion.h"
#include "tests/report/made.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define ASSERT_WRITES(expected, call)                                                              \
    do {                                                                                           \
        char *text_ = NULL;                                                                        \
        size_t count_;                                                                             \
        FILE *page = open_memstream(&text_, &count_);                                              \
        call;                                                                                      \
        fclose(page);                                                                              \
        cr_assert_str_eq(text_, expected);                                                         \
        free(text_);                                                                               \
    } while (0)

#define REPLACED "\xef\xbf\xbd"

Test(report, markup_in_texts_is_shown_as_it_is)
{
    ASSERT_WRITES("&lt;img src=&quot;x&quot; onerror=&#39;a&amp;b&#39;&gt;",
                  html_text(page, "<img src=\"x\" onerror='a&b'>"));
    ASSERT_WRITES("a\tb\nünï 漢 \xf0\x9f\x98\x80",
                  html_text(page, "a\tb\nünï 漢 \xf0\x9f\x98\x80"));
    ASSERT_WRITES("", html_text(page, ""));
}

Test(report, bytes_that_are_not_utf8_are_replaced_one_by_one)
{
    ASSERT_WRITES("a" REPLACED "b", html_text(page, "a\xff"
                                                    "b"));
    ASSERT_WRITES(REPLACED "(", html_text(page, "\xc3("));         /* cut short */
    ASSERT_WRITES(REPLACED, html_text(page, "\xe6"));              /* by the end */
    ASSERT_WRITES(REPLACED REPLACED, html_text(page, "\xc0\xbc")); /* overlong < */
    ASSERT_WRITES(REPLACED REPLACED REPLACED, html_text(page, "\xe0\x80\xbc"));
    ASSERT_WRITES(REPLACED REPLACED REPLACED, html_text(page, "\xed\xa0\x80")); /* surrogate */
    ASSERT_WRITES(REPLACED REPLACED REPLACED REPLACED, html_text(page, "\xf4\x90\x80\x80"));
    ASSERT_WRITES(REPLACED "[31m" REPLACED, html_text(page, "\x1b[31m\x7f"));
}

Test(report, numbers_are_grouped_rounded_and_absent_ones_dashed)
{
    ASSERT_WRITES("0", html_count(page, 0));
    ASSERT_WRITES("999", html_count(page, 999));
    ASSERT_WRITES("1,000", html_count(page, 1000));
    ASSERT_WRITES("18,446,744,073,709,551,615", html_count(page, UINT64_MAX));
    ASSERT_WRITES("98.12%", html_percent(page, 0.98123));
    ASSERT_WRITES("–", html_percent(page, NAN));
    ASSERT_WRITES("0.3125", html_number(page, 0.3125));
    ASSERT_WRITES("119,972", html_rate(page, 119971.7));
    ASSERT_WRITES("12.35", html_rate(page, 12.345678));
    ASSERT_WRITES("inf", html_rate(page, INFINITY));
    ASSERT_WRITES("<td data-value=\"0.123456789\">12.35%</td>",
                  html_cell(page, 0.123456789, html_percent));
    ASSERT_WRITES("<td>–</td>", html_cell(page, NAN, html_number));
}

Test(report, durations_change_unit_where_rounding_does)
{
    ASSERT_WRITES("0.0 s", html_duration(page, 0));
    ASSERT_WRITES("9.9 s", html_duration(page, 9.94));
    ASSERT_WRITES("10 s", html_duration(page, 9.96));
    ASSERT_WRITES("59 s", html_duration(page, 59.4));
    ASSERT_WRITES("1 min 00 s", html_duration(page, 59.6));
    ASSERT_WRITES("59 min 59 s", html_duration(page, 3599.4));
    ASSERT_WRITES("1 h 00 min", html_duration(page, 3599.6));
    ASSERT_WRITES("26 h 05 min", html_duration(page, 26 * 3600 + 5 * 60));
    ASSERT_WRITES("–", html_duration(page, NAN));
}

static size_t base64_decode(const char *text, unsigned char *bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t count = 0;
    uint32_t bits = 0;
    for (size_t i = 0; text[i] && strchr(digits, text[i]); i++) {
        bits = bits << 6 | (uint32_t)(strchr(digits, text[i]) - digits);
        if (i % 4 > 0)
            bytes[count++] = (unsigned char)(bits >> (6 - i % 4 * 2));
    }
    return count;
}

static uint32_t read32(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Fails unless `uri` begins a PNG of that size; pixels [height, width, channels]. */
static void read_picture(const char *uri, uint32_t width, uint32_t height, uint32_t channels,
                         unsigned char *pixels)
{
    static const char start[] = "data:image/png;base64,";
    cr_assert_eq(strncmp(uri, start, strlen(start)), 0);
    unsigned char *png = malloc(strlen(uri)), rows[65536];
    size_t count = base64_decode(uri + strlen(start), png);
    cr_assert_eq(memcmp(png, "\x89PNG\r\n\x1a\n", 8), 0);
    cr_assert_eq(read32(png + 16), width);
    cr_assert_eq(read32(png + 20), height);
    cr_assert_eq(png[25], channels == 1 ? 0 : channels == 3 ? 2 : 6);
    uLongf row_bytes = sizeof rows;
    for (size_t at = 8; at < count; at += 12 + read32(png + at)) {
        uint32_t length = read32(png + at);
        cr_assert_eq(crc32(0, png + at + 4, length + 4), read32(png + at + 8 + length));
        if (memcmp(png + at + 4, "IDAT", 4) == 0)
            cr_assert_eq(uncompress(rows, &row_bytes, png + at + 8, length), Z_OK);
    }
    const uint32_t row = channels * width;
    cr_assert_eq(row_bytes, (row + 1) * height);
    for (uint32_t y = 0; y < height; y++)
        memcpy(pixels + row * y, rows + (row + 1) * y + 1, row);
    free(png);
}

Test(report, a_picture_holds_its_pixels)
{
    for (int i = 0; i < 12; i++) {
        const int width = 1 + i / 3, channels = (int[]){1, 3, 4}[i % 3]; /* base64 ends each way */
        unsigned char pixels[4 * 4 * 3], got[4 * 4 * 3];
        char *uri = NULL;
        size_t count;
        for (size_t j = 0; j < sizeof pixels; j++)
            pixels[j] = (unsigned char)(j * 37 + (size_t)width);
        FILE *page = open_memstream(&uri, &count);
        cr_assert_eq(image_uri(page, pixels, width, 3, channels, NULL), COLONNADE_OK);
        fclose(page);
        read_picture(uri, (uint32_t)width, 3, (uint32_t)channels, got);
        cr_assert_eq(memcmp(got, pixels, (size_t)channels * (size_t)width * 3), 0);
        free(uri);
    }
}

/* 300 by 5 pixels in squares of 3: the last row of squares is of two pixels' height. */
Test(report, a_large_image_is_shown_by_the_means_of_squares)
{
    enum { W = 300, H = 5, C = 3 };
    unsigned char *image = malloc(W * H * C), got[100 * 2 * C];
    char *uri = NULL;
    size_t count;
    for (size_t i = 0; i < W * H * C; i++)
        image[i] = (unsigned char)(i * i / 7);
    FILE *page = open_memstream(&uri, &count);
    cr_assert_eq(image_small_uri(page, image, W, H, C, NULL), COLONNADE_OK);
    fclose(page);
    read_picture(uri, 100, 2, C, got);
    for (int i = 0; i < 100 * 2 * C; i++) {
        const int c = i % C, x = i / C % 100 * 3, y = i / C / 100 * 3;
        double sum = 0;
        for (int j = 0; j < 9; j++)
            if (y + j / 3 < H)
                sum += image[((y + j / 3) * W + x + j % 3) * C + c];
        cr_assert_leq(fabs(got[i] - sum / (y ? 6 : 9)), 0.5, "%d", i);
    }
    free(uri);
    free(image);
}

static char *page_of(struct run *run)
{
    char *html;
    size_t count;
    struct colonnade_error error;
    cr_assert_eq(report_html(run, &html, &count, &error), COLONNADE_OK, "%s", error.message);
    cr_assert_eq(strlen(html), count);
    return html;
}

/* The picture that is called so, [height, width, channels]. */
static void read_named(const char *html, const char *what, int index, int width, int height,
                       int channels, unsigned char *pixels)
{
    char alt[64];
    snprintf(alt, sizeof alt, "alt=\"%s %d\"", what, index);
    const char *image = strstr(html, alt);
    cr_assert_not_null(image);
    read_picture(strstr(image, "data:"), (uint32_t)width, (uint32_t)height, (uint32_t)channels,
                 pixels);
}

static void read_filter(const char *html, int index, int width, int height, unsigned char *pixels)
{
    read_named(html, "filter", index, width, height, 4, pixels);
}

/* Pixels are within half a level, and the rounding of one float division, of their formula. */
static void assert_level(unsigned char level, float weight, float greatest)
{
    double exact = 127.5 + 127.5 * (double)weight / (double)greatest;
    cr_assert(fabs(level - exact) <= 0.5 + 1e-4, "%d instead of %g", level, exact);
}

static void assert_filters(const char *name, const char *node, int shown_channels)
{
    struct run *run = made_create(made_find(name));
    const struct parameter *weight = &run->graph->nodes[graph_find(run->graph, node)].parameters[0];
    const int *dims = weight->dims, area = dims[2] * dims[3];
    float *values = malloc(weight->count * sizeof *values), greatest = 0;
    parameter_export(weight, run->model->parameters, values);
    for (size_t i = 0; i < weight->count; i++)
        greatest = fmaxf(greatest, fabsf(values[i]));
    char *html = page_of(run);
    int width = shown_channels * (dims[3] + 1) - 1;
    for (int oc = 0; oc < dims[0] && oc < 256; oc++) {
        unsigned char pixels[65536];
        read_filter(html, oc, width, dims[2], pixels);
        for (int c = 0; c < dims[1]; c++)
            for (int i = 0; i < area; i++) {
                int x = i % dims[3], y = i / dims[3];
                int at = shown_channels == 1 ? 4 * i + (dims[1] == 3 ? c : 0)
                                             : 4 * (y * width + c * (dims[3] + 1) + x);
                assert_level(pixels[at], values[(oc * dims[1] + c) * area + i], greatest);
            }
    }
    free(values);
    free(html);
    made_destroy(run);
}

Test(report, filters_are_pictures_of_the_weights)
{
    assert_filters("plain", "conv1", 1);
    assert_filters("colour", "stem", 1);
    assert_filters("many", "conv", 4);
}

/* `images` [n, h, w, c]. */
static void assert_images(const char *html, const char *what, int n, const uint8_t *images,
                          struct shape shape)
{
    const int channels = shape.c == 3 ? 3 : 1;
    cr_assert_gt(n, 0);
    for (int i = 0; i < n; i++) {
        const uint8_t *image = images + (size_t)i * shape_size(shape);
        unsigned char pixels[65536];
        read_named(html, what, i, shape.w, shape.h, channels, pixels);
        for (int j = 0; j < channels * shape_pixels(shape); j++)
            cr_assert_eq(pixels[j], image[j / channels * shape.c + j % channels]);
    }
}

static void assert_samples(const char *name)
{
    struct run *run = made_create(made_find(name));
    char *html = page_of(run);
    assert_images(html, "sample", run->samples.n, run->samples.images, run->data.shape);
    assert_images(html, "mistake", (int)run->worst.n, run->worst.pixels, run->data.shape);
    free(html);
    made_destroy(run);
}

Test(report, samples_are_the_images_that_the_run_holds)
{
    assert_samples("plain");
    assert_samples("colour");
    assert_samples("many");
}

/* Maps of a row of up to eight, of up to 32 pixels a side, with a clear pixel between. */
static void assert_maps(const char *html, const struct run *run, const char *name, int look)
{
    const int index = graph_find(run->graph, name);
    const struct shape shape = run->graph->nodes[index].declared;
    const int across = shape.c < 8 ? shape.c : 8, down = shape.c > 8 ? 2 : 1;
    const int width = across * (shape.w + 1) - 1, height = down * (shape.h + 1) - 1;
    char alt[64];
    unsigned char pixels[65536];
    snprintf(alt, sizeof alt, "alt=\"maps of image %d, %s\"", look, name);
    const char *image = strstr(html, alt);
    cr_assert_not_null(image, "%s", alt);
    read_picture(strstr(image, "data:"), (uint32_t)width, (uint32_t)height, 4, pixels);

    struct trace trace;
    const float *input = run->golden.input + (size_t)look * shape_size(run->data.shape);
    cr_assert_eq(trace_init(&trace, run->model, input, NULL), COLONNADE_OK);
    const float *maps = trace.outputs[index];
    const int count = across * down * shape_pixels(shape);
    float least = INFINITY, greatest = -INFINITY;
    for (int i = 0; i < count; i++) {
        least = fminf(least, maps[i]);
        greatest = fmaxf(greatest, maps[i]);
    }
    for (int i = 0; i < width * height; i++) {
        const int x = i % width, y = i / width, column = x % (shape.w + 1), row = y % (shape.h + 1);
        const int map = y / (shape.h + 1) * across + x / (shape.w + 1);
        const bool clear = column == shape.w || row == shape.h;
        cr_assert_eq(pixels[4 * i + 3], clear ? 0 : 255);
        if (clear)
            continue;
        const double value = (double)maps[map * shape_pixels(shape) + row * shape.w + column];
        const double want = 255 * (value - (double)least) / (double)(greatest - least);
        cr_assert(fabs(pixels[4 * i] - want) <= 0.5 + 1e-4);
    }
    trace_finish(&trace);
}

Test(report, feature_maps_are_pictures_of_what_the_nodes_give)
{
    struct run *run = made_create(made_find("plain"));
    char *html = page_of(run);
    for (int look = 0; look < 3; look++) {
        assert_maps(html, run, "conv1", look);
        assert_maps(html, run, "pool1", look);
        assert_maps(html, run, "conv2", look);
    }
    free(html);
    made_destroy(run);
}

/* Of a network of one dense node, in double; rows and columns [from, to) covered. */
static double dense_probability(const struct run *run, const float *input, int class, int top,
                                int bottom, int left, int right)
{
    const struct node *node = &run->graph->nodes[graph_find(run->graph, "fc")];
    float weight[10 * 64];
    double logits[10] = {0}, sum = 0;
    parameter_export(&node->parameters[0], run->model->parameters, weight);
    for (int i = 0; i < 10; i++)
        for (int j = 0; j < 64; j++)
            if (j / 8 < top || j / 8 >= bottom || j % 8 < left || j % 8 >= right)
                logits[i] += (double)weight[i * 64 + j] * (double)input[j];
    for (int i = 0; i < 10; i++)
        sum += exp(logits[i] - logits[class]);
    return 1 / sum;
}

/* 8 by 8 pixels: a patch is of 2, its middles are the odd numbers below 8 for a grid of 4. */
Test(report, an_occlusion_map_says_what_covering_costs)
{
    struct run *run = made_create(made_find("begun")); /* biases are 0 */
    float input[64], map[64];
    double want[64], least, want_least = 1;
    for (int i = 0; i < 64; i++)
        input[i] = (float)sin(i * i);
    const double whole = dense_probability(run, input, 3, 0, 0, 0, 0);
    for (int i = 0; i < 16; i++) {
        const int top = 2 * (i / 4), left = 2 * (i % 4);
        const double left_over = dense_probability(run, input, 3, top, top + 2, left, left + 2);
        want_least = fmin(want_least, left_over);
        for (int j = 0; j < 4; j++)
            want[(top + j / 2) * 8 + left + j % 2] = whole - left_over;
    }
    cr_assert_eq(occlusion_map(run, input, 3, 4, 2, map, &least, NULL), COLONNADE_OK);
    /* Float logits of about 1: 1e-6. */
    cr_expect(fabs(least - want_least) < 1e-5);
    for (int i = 0; i < 64; i++)
        cr_expect(fabs((double)map[i] - want[i]) < 1e-5, "%d: %g instead of %g", i, (double)map[i],
                  want[i]);
    /* One place: the middle quarter of the side. */
    cr_assert_eq(occlusion_map(run, input, 3, 1, 1, map, &least, NULL), COLONNADE_OK);
    cr_expect(fabs(least - fmin(whole, dense_probability(run, input, 3, 3, 5, 3, 5))) < 1e-5);
    cr_expect(map[0] == 0 && map[63] == 0);
    made_destroy(run);
}

Test(report, weights_that_are_zero_or_not_finite_do_not_break_the_filters)
{
    struct run *run = made_create(made_find("plain"));
    const struct parameter *weight =
        &run->graph->nodes[graph_find(run->graph, "conv1")].parameters[0];
    unsigned char pixels[65536];
    float zeros[6 * 25] = {0};
    cr_assert_eq(weight->count, sizeof zeros / sizeof *zeros);
    parameter_import(weight, zeros, run->model->parameters);
    char *html = page_of(run);
    read_filter(html, 0, 5, 5, pixels);
    cr_assert_eq(pixels[0], 128);
    free(html);
    zeros[0] = NAN;
    zeros[1] = INFINITY;
    zeros[2] = 1;
    parameter_import(weight, zeros, run->model->parameters);
    html = page_of(run);
    read_filter(html, 0, 5, 5, pixels);
    cr_assert_eq(pixels[0], 128);
    cr_assert_eq(pixels[4], 128);
    cr_assert_eq(pixels[8], 255);
    free(html);
    made_destroy(run);
}

Test(report, every_slot_of_the_template_is_filled)
{
    for (const struct made *made = made_runs; made->name; made++) {
        struct run *run = made_create(made);
        char *html = page_of(run);
        const char *left = strstr(html, "{{");
        if (made->class_names && strcmp(made->class_names[2], "{{title}}") == 0)
            cr_assert_not_null(left, "a class's name was taken for a slot");
        else
            cr_assert_null(left, "%s: %.20s", made->name, left);
        cr_assert_not_null(strstr(html, "</html>"));
        free(html);
        made_destroy(run);
    }
}

Test(report, a_page_is_written_whole_or_not_at_all)
{
    char folder[] = "/tmp/report-XXXXXX", path[64], below[80];
    struct colonnade_error error;
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/page.html", folder);
    snprintf(below, sizeof below, "%s/page.html", path);
    struct run *run = made_create(made_find("begun"));
    cr_assert_eq(report_write(run, path, &error), COLONNADE_OK);
    char *html = page_of(run), *written = calloc(strlen(html) + 2, 1);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file);
    cr_assert_eq(fread(written, 1, strlen(html) + 1, file), strlen(html));
    fclose(file);
    cr_assert_str_eq(written, html);
    cr_assert_eq(report_write(run, below, &error), COLONNADE_FAILURE); /* a file is no folder */
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(folder), 0, "something else was left behind");
    free(html);
    free(written);
    made_destroy(run);
}
