/* Reading of image files: the only caller of libvips. Knows nothing of datasets. */
#include "engine/data/image.h"

#include "engine/base/memory.h"
#include "engine/data/headers.h"
#include "engine/data/libvips.h"
#include "engine/data/netpbm.h"
#include "engine/data/resample.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the file --- */

struct file {
    const char *path;
    uint8_t *bytes;
    size_t count;
};

static enum colonnade_status open_file(const char *path, int *descriptor, size_t *bytes,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct stat facts;
    /* Without waiting: a pipe that nobody writes to would hold up all. */
    *descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (*descriptor < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
        RAISE(COLONNADE_FAILURE, "cannot open %s: %s", path, strerror(errno));
    if (*descriptor < 0 || fstat(*descriptor, &facts) != 0)
        RAISE(COLONNADE_FAILURE, "%s: %s", path, strerror(errno));
    if (!S_ISREG(facts.st_mode))
        RAISE(COLONNADE_FAILURE, "%s: is %s, not an image file", path,
              S_ISDIR(facts.st_mode) ? "a folder" : "a pipe or a device");
    if (facts.st_size == 0)
        RAISE(COLONNADE_FAILURE, "%s: is empty", path);
    if (facts.st_size > IMAGE_MAX_FILE_BYTES)
        RAISE(COLONNADE_FAILURE, "%s: has %" PRIdMAX " bytes; an image file may have %d", path,
              (intmax_t)facts.st_size, IMAGE_MAX_FILE_BYTES);
    *bytes = (size_t)facts.st_size;
out:
    return status;
}

/* Read, not mapped: a file that shrinks meanwhile is an error then, and no SIGBUS. */
static enum colonnade_status read_file(struct file *file, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    int descriptor = -1;
    size_t size = 0;
    TRY(open_file(file->path, &descriptor, &size, error));
    TRY(memory_allocate(&file->bytes, size, 1, file->path, error));
    while (file->count < size) {
        const ssize_t got = read(descriptor, file->bytes + file->count, size - file->count);
        if (got < 0 && errno != EINTR)
            RAISE(COLONNADE_FAILURE, "%s: %s", file->path, strerror(errno));
        if (got == 0)
            RAISE(COLONNADE_FAILURE, "%s: ends after %zu of %zu bytes: it has changed meanwhile",
                  file->path, file->count, size);
        file->count += got > 0 ? (size_t)got : 0;
    }
out:
    if (descriptor >= 0)
        close(descriptor);
    return status;
}

/* --- formats --- */

enum format_id { JPEG, PNG, WEBP, GIF, TIFF, BMP, NETPBM };

static const struct format {
    enum format_id id;
    const char *name;
    size_t count; /* of the first bytes: */
    const char *start;
    const char *inner; /* the bytes at INNER_AT; NULL: any */
} formats[] = {
    {JPEG, "JPEG", 3, "\xff\xd8\xff", NULL},
    {PNG, "PNG", 8, "\x89PNG\r\n\x1a\n", NULL},
    {WEBP, "WebP", 4, "RIFF", "WEBP"},
    {GIF, "GIF", 4, "GIF8", NULL},
    {TIFF, "TIFF", 4, "II*\0", NULL},
    {TIFF, "TIFF", 4, "MM\0*", NULL},
    {TIFF, "TIFF", 4, "II+\0", NULL},
    {TIFF, "TIFF", 4, "MM\0+", NULL},
    {BMP, "BMP", 2, "BM", NULL},
    {NETPBM, "PGM", 2, "P2", NULL},
    {NETPBM, "PPM", 2, "P3", NULL},
    {NETPBM, "PGM", 2, "P5", NULL},
    {NETPBM, "PPM", 2, "P6", NULL},
};

enum { FORMAT_COUNT = sizeof formats / sizeof *formats, INNER_AT = 8, INNER_BYTES = 4 };

bool image_is_named(const char *name)
{
    static const char *const suffixes[] = {"jpg",  "jpeg", "png", "webp", "bmp", "tif",
                                           "tiff", "gif",  "pgm", "ppm",  "pnm"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof suffixes / sizeof *suffixes; i++)
        if (strcasecmp(dot + 1, suffixes[i]) == 0)
            return true;
    return false;
}

static const struct format *find_format(const struct file *file)
{
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        const struct format *format = &formats[i];
        if (file->count < format->count || memcmp(file->bytes, format->start, format->count) != 0)
            continue;
        if (!format->inner || (file->count >= INNER_AT + INNER_BYTES &&
                               memcmp(file->bytes + INNER_AT, format->inner, INNER_BYTES) == 0))
            return format;
    }
    return NULL;
}

/* Other programs take these for images: how the file's first box begins, and what it is. */
static enum colonnade_status raise_no_format(const struct file *file, struct colonnade_error *error)
{
    static const struct {
        const char *box, *name;
    } others[] = {
        {"ftypheic", "HEIC"}, {"ftypheix", "HEIC"}, {"ftypheim", "HEIC"}, {"ftypheis", "HEIC"},
        {"ftyphevc", "HEIC"}, {"ftyphevx", "HEIC"}, {"ftypmif1", "HEIF"}, {"ftypmsf1", "HEIF"},
        {"ftypavif", "AVIF"}, {"ftypavis", "AVIF"},
    };
    enum { BOX_AT = 4, BOX_BYTES = 8 };
    for (size_t i = 0; i < COUNT_OF(others) && file->count >= BOX_AT + BOX_BYTES; i++)
        if (memcmp(file->bytes + BOX_AT, others[i].box, BOX_BYTES) == 0)
            return error_set(error, COLONNADE_FAILURE,
                             "%s: is %s, which is not read here: convert it to JPEG or PNG",
                             file->path, others[i].name);
    return error_set(error, COLONNADE_FAILURE,
                     "%s: is no image: neither JPEG, PNG, WebP, BMP, TIFF, GIF, PGM nor PPM",
                     file->path);
}

/* --- decoding --- */

/* One image on its way. No pixel is made before it is asked for at the end, a few rows at a time:
 * libvips then runs all steps in one pass over the file. */
struct decoding {
    const struct libvips *lib;
    const struct file *file;
    const struct format *format;
    const struct image_target *target;
    bool strict; /* image_read_strictly() */
    VipsSource *source;
    VipsImage *image;
    uint16_t *samples; /* what the image is made of, where it is not libvips that reads it */
    int white;         /* the largest value of a sample */
    int orientation;   /* EXIF's, 1 to 8 */
    uint8_t *pixels;   /* [h, w, bands] of its final size, as stored, not yet turned */
    int h, w, bands;   /* bands: 1 or 3 */
};

static void close_image(struct decoding *decoding)
{
    if (decoding->image)
        decoding->lib->g_object_unref(decoding->image);
    if (decoding->source)
        decoding->lib->g_object_unref(decoding->source);
    decoding->image = NULL;
    decoding->source = NULL;
}

/* What libvips said of it last, on one line. */
static enum colonnade_status decode_error(const struct decoding *decoding,
                                          struct colonnade_error *error)
{
    char reason[512];
    snprintf(reason, sizeof reason, "%s", decoding->lib->vips_error_buffer());
    size_t length = strlen(reason);
    while (length > 0 && strchr(" \n", reason[length - 1]))
        reason[--length] = '\0';
    for (char *end = strchr(reason, '\n'); end; end = strchr(end, '\n'))
        *end = ';';
    return error_set(error, COLONNADE_FAILURE, "%s: is damaged, cut short or no %s%s%s",
                     decoding->file->path, decoding->format->name, length > 0 ? ": " : "", reason);
}

/* After a step of libvips's that returned `failed`, `next` takes the image's place. */
static enum colonnade_status take(struct decoding *decoding, int failed, VipsImage *next,
                                  struct colonnade_error *error)
{
    if (failed)
        return decode_error(decoding, error);
    decoding->lib->g_object_unref(decoding->image);
    decoding->image = next;
    return COLONNADE_OK;
}

static enum colonnade_status open_netpbm(struct decoding *decoding, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct file *file = decoding->file;
    struct netpbm netpbm = {0};
    free(decoding->samples);
    status = netpbm_read(&netpbm, file->path, file->bytes, file->count, error);
    decoding->samples = netpbm.samples;
    decoding->white = netpbm.white;
    if (status != COLONNADE_OK)
        return status;
    decoding->image = decoding->lib->vips_image_new_from_memory(
        netpbm.samples,
        sizeof *netpbm.samples * (size_t)netpbm.width * (size_t)netpbm.height *
            (size_t)netpbm.bands,
        netpbm.width, netpbm.height, netpbm.bands, VIPS_FORMAT_USHORT);
    return decoding->image ? COLONNADE_OK : decode_error(decoding, error);
}

/* Reads the header. `shrink` (1, 2, 4, 8): how much smaller JPEG's decoder makes the image. */
static enum colonnade_status open_image(struct decoding *decoding, int shrink,
                                        struct colonnade_error *error)
{
    const struct libvips *lib = decoding->lib;
    const struct file *file = decoding->file;
    const enum format_id id = decoding->format->id;
    int (*const load[])(VipsSource *, VipsImage **, ...) = {
        [JPEG] = lib->vips_jpegload_source, [PNG] = lib->vips_pngload_source,
        [WEBP] = lib->vips_webpload_source, [GIF] = lib->vips_gifload_source,
        [TIFF] = lib->vips_tiffload_source,
    };
    int failed;
    close_image(decoding);
    if (id == NETPBM)
        return open_netpbm(decoding, error);
    if (id == BMP) {
        failed = lib->vips_magickload_buffer(file->bytes, file->count, &decoding->image, "access",
                                             VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_ERROR,
                                             NULL);
        return failed ? decode_error(decoding, error) : COLONNADE_OK;
    }
    decoding->source = lib->vips_source_new_from_memory(file->bytes, file->count);
    failed =
        !decoding->source ||
        load[id](decoding->source, &decoding->image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on",
                 decoding->strict && id == JPEG ? VIPS_FAIL_ON_WARNING : VIPS_FAIL_ON_ERROR,
                 shrink > 1 ? "shrink" : NULL, shrink, NULL);
    return failed ? decode_error(decoding, error) : COLONNADE_OK;
}

/* --- what libvips takes for something else --- */

static bool tiff_comes_out_right(const struct tiff_header *header)
{
    switch (header->photometric) {
    case TIFF_WHITE_IS_ZERO:
    case TIFF_BLACK_IS_ZERO:
    case TIFF_RGB:
    case TIFF_PALETTE:
    case TIFF_SEPARATED:
        return true;
    case TIFF_YCBCR: /* JPEG's decoder makes RGB of it */
        return header->compression == TIFF_JPEG;
    default:
        return false;
    }
}

/* It passes on samples of any other kind as they are, takes CIELab's white for D65, and any further
 * sample for alpha. */
static enum colonnade_status settle_tiff(struct decoding *decoding, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct tiff_header header =
        tiff_read_header(decoding->file->bytes, decoding->file->count);
    VipsImage *next = NULL;
    int failed;
    if (!tiff_comes_out_right(&header))
        RAISE(COLONNADE_FAILURE,
              "%s: its photometric interpretation is %" PRId64 "%s; a TIFF may be grey, RGB, CMYK, "
              "of a palette, or YCbCr compressed as JPEG",
              decoding->file->path, header.photometric,
              header.photometric == TIFF_YCBCR    ? " (YCbCr)"
              : header.photometric == TIFF_CIELAB ? " (CIELab)"
                                                  : "");
    if (header.extra_sample == TIFF_UNSPECIFIED && decoding->image->Bands > 1) {
        failed = decoding->lib->vips_extract_band(decoding->image, &next, 0, "n",
                                                  decoding->image->Bands - 1, NULL);
        TRY(take(decoding, failed, next, error));
    }
out:
    return status;
}

/* It has black where the first frame, which its canvas always holds, does not reach. */
static enum colonnade_status settle_gif(struct decoding *decoding, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct libvips *lib = decoding->lib;
    const struct gif_frame frame = gif_first_frame(decoding->file->bytes, decoding->file->count);
    const int canvas_w = decoding->image->Xsize, canvas_h = decoding->image->Ysize;
    VipsImage *next = NULL;
    int failed;
    if (frame.width == canvas_w && frame.height == canvas_h)
        goto out;
    failed = lib->vips_crop(decoding->image, &next, frame.left, frame.top, frame.width,
                            frame.height, NULL);
    TRY(take(decoding, failed, next, error));
    failed = lib->vips_embed(decoding->image, &next, frame.left, frame.top, canvas_w, canvas_h,
                             "extend", VIPS_EXTEND_WHITE, NULL);
    TRY(take(decoding, failed, next, error));
out:
    return status;
}

static enum colonnade_status settle(struct decoding *decoding, struct colonnade_error *error)
{
    switch (decoding->format->id) {
    case TIFF:
        return settle_tiff(decoding, error);
    case GIF:
        return settle_gif(decoding, error);
    default:
        return COLONNADE_OK;
    }
}

static bool is_turned(const struct decoding *decoding)
{
    return decoding->orientation >= 5;
}

static enum colonnade_status check_header(struct decoding *decoding, struct image_facts *facts,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const char *path = decoding->file->path;
    const VipsImage *image = decoding->image;
    const int width = image->Xsize, height = image->Ysize;
    if (width > IMAGE_MAX_SIDE || height > IMAGE_MAX_SIDE)
        RAISE(COLONNADE_FAILURE, "%s: has %dx%d pixels; a side may have %d", path, height, width,
              IMAGE_MAX_SIDE);
    if ((int64_t)width * height > IMAGE_MAX_PIXELS)
        RAISE(COLONNADE_FAILURE, "%s: has %dx%d pixels; an image may have %d", path, height, width,
              IMAGE_MAX_PIXELS);
    if (image->BandFmt != VIPS_FORMAT_UCHAR && image->BandFmt != VIPS_FORMAT_USHORT)
        RAISE(COLONNADE_FAILURE, "%s: its samples are no whole numbers of at most 16 bits", path);
    decoding->orientation = decoding->lib->vips_image_get_orientation(decoding->image);
    if (facts)
        *facts = (struct image_facts){
            .width = is_turned(decoding) ? height : width,
            .height = is_turned(decoding) ? width : height,
            .bands = image->Bands,
            .white = image->BandFmt == VIPS_FORMAT_UCHAR ? UINT8_MAX : decoding->white,
        };
out:
    return status;
}

/* Takes all of the image, which is opened anew then. */
static enum colonnade_status find_largest(struct decoding *decoding, struct image_facts *facts,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct libvips *lib = decoding->lib;
    VipsImage *colours = NULL;
    double largest;
    if (lib->vips_image_hasalpha(decoding->image)) {
        const int failed = lib->vips_extract_band(decoding->image, &colours, 0, "n",
                                                  decoding->image->Bands - 1, NULL);
        TRY(take(decoding, failed, colours, error));
    }
    if (lib->vips_max(decoding->image, &largest, NULL))
        TRY(decode_error(decoding, error));
    facts->largest = (int)largest;
    TRY(open_image(decoding, 1, error));
    TRY(settle(decoding, error));
out:
    return status;
}

/* --- how it comes to the target --- */

/* Where of a stored pixel goes, as EXIF numbers it: what is flipped of the stored axes. */
static const struct {
    bool x, y;
} flips[9] = {
    [2] = {true, false}, [3] = {true, true}, [4] = {false, true},
    [6] = {false, true}, [7] = {true, true}, [8] = {true, false},
};

/* Of the stored image's two axes, by which an image that is turned is fitted, too. */
struct scale {
    double x, y; /* target pixels a pixel */
    int w, h;    /* the target */
};

static struct scale find_scale(const struct decoding *decoding)
{
    const struct image_target *target = decoding->target;
    const bool turned = is_turned(decoding);
    struct scale scale = {.w = turned ? target->h : target->w, .h = turned ? target->w : target->h};
    scale.x = (double)scale.w / decoding->image->Xsize;
    scale.y = (double)scale.h / decoding->image->Ysize;
    if (target->fit == IMAGE_CROP)
        scale.x = scale.y = fmax(scale.x, scale.y);
    if (target->fit == IMAGE_PAD)
        scale.x = scale.y = fmin(scale.x, scale.y);
    return scale;
}

/* JPEG's decoder averages blocks, which is quick. It leaves at least a factor of two to the better
 * filter. */
static enum colonnade_status shrink_on_load(struct decoding *decoding,
                                            struct colonnade_error *error)
{
    const struct scale scale = find_scale(decoding);
    int shrink = 8;
    while (shrink > 1 && 2 * shrink * fmax(scale.x, scale.y) > 1)
        shrink /= 2;
    if (decoding->format->id != JPEG || shrink == 1)
        return COLONNADE_OK;
    return open_image(decoding, shrink, error);
}

/* --- colour --- */

static bool is_grey_or_rgb(const VipsImage *image)
{
    switch (image->Type) {
    case VIPS_INTERPRETATION_B_W:
    case VIPS_INTERPRETATION_GREY16:
    case VIPS_INTERPRETATION_RGB:
    case VIPS_INTERPRETATION_RGB16:
    case VIPS_INTERPRETATION_sRGB:
    case VIPS_INTERPRETATION_MULTIBAND:
        return true;
    default:
        return false;
    }
}

/* Any to 8 bits of grey or RGB. */
static enum colonnade_status convert_colours(struct decoding *decoding,
                                             struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct libvips *lib = decoding->lib;
    const double white = 255;
    VipsImage *next = NULL;
    int failed;
    if (!is_grey_or_rgb(decoding->image)) {
        failed = lib->vips_colourspace(decoding->image, &next, VIPS_INTERPRETATION_sRGB, NULL);
        TRY(take(decoding, failed, next, error));
    }
    if (decoding->image->BandFmt == VIPS_FORMAT_USHORT) {
        failed = lib->vips_linear1(decoding->image, &next, white / decoding->white, 0.5, "uchar",
                                   TRUE, NULL);
        TRY(take(decoding, failed, next, error));
    }
    if (lib->vips_image_hasalpha(decoding->image)) {
        VipsArrayDouble *background = lib->vips_array_double_new(&white, 1);
        /* It would go by what the image was: deeper ones have 8 bits by now. */
        failed = lib->vips_flatten(decoding->image, &next, "background", background, "max_alpha",
                                   white, NULL);
        lib->vips_area_unref((VipsArea *)background);
        TRY(take(decoding, failed, next, error));
    }
    const VipsImage *image = decoding->image;
    if ((image->Bands != 1 && image->Bands != 3) || image->BandFmt != VIPS_FORMAT_UCHAR)
        RAISE(COLONNADE_FAILURE, "%s: is neither grey, RGB nor CMYK: it has %d bands",
              decoding->file->path, image->Bands);
out:
    return status;
}

/* --- pixels --- */

/* An axis scaled, what stands over the target left out. Where that is an odd number of pixels, the
 * one more goes from the turned image's start, which is the stored one's end if it is `flipped`. */
static struct resample_axis scaled_axis(int size, double scale, int target, bool flipped)
{
    const int scaled = (int)fmax(1, rint(size * scale));
    const int over = scaled > target ? scaled - target : 0;
    return (struct resample_axis){.from = size,
                                  .scaled = scaled,
                                  .offset = flipped ? over / 2 : over - over / 2,
                                  .to = scaled - over};
}

/* Takes the image as it comes, some rows at a time and all of them: damage may be in the last. */
static enum colonnade_status resample_image(struct decoding *decoding, struct resample *resample,
                                            struct colonnade_error *error)
{
    enum { ROWS = 16 };
    enum colonnade_status status = COLONNADE_OK;
    const struct libvips *lib = decoding->lib;
    const int width = decoding->image->Xsize, height = decoding->image->Ysize;
    VipsRegion *region = lib->vips_region_new(decoding->image);
    if (!region)
        TRY(decode_error(decoding, error));
    for (int top = 0; top < height; top += ROWS) {
        const int rows = height - top < ROWS ? height - top : ROWS;
        const VipsRect strip = {.left = 0, .top = top, .width = width, .height = rows};
        if (lib->vips_region_prepare(region, &strip))
            TRY(decode_error(decoding, error));
        for (int i = 0; i < rows; i++)
            resample_row(resample, region->data + (top + i - region->valid.top) * region->bpl,
                         decoding->pixels);
    }
out:
    if (region)
        lib->g_object_unref(region);
    return status;
}

static enum colonnade_status scale_image(struct decoding *decoding, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct scale scale = find_scale(decoding);
    const char *path = decoding->file->path;
    const struct resample_axis x =
        scaled_axis(decoding->image->Xsize, scale.x, scale.w, flips[decoding->orientation].x);
    const struct resample_axis y =
        scaled_axis(decoding->image->Ysize, scale.y, scale.h, flips[decoding->orientation].y);
    struct resample *resample = NULL;
    decoding->w = x.to;
    decoding->h = y.to;
    decoding->bands = decoding->image->Bands;
    free(decoding->pixels);
    TRY(memory_allocate(&decoding->pixels, (size_t)x.to * (size_t)y.to, (size_t)decoding->bands,
                        path, error));
    TRY(resample_new(&resample, x, y, decoding->bands, path, error));
    TRY(resample_image(decoding, resample, error));
out:
    resample_free(resample);
    return status;
}

static enum colonnade_status decode(struct decoding *decoding, struct image_facts *facts,
                                    struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(open_image(decoding, 1, error));
    TRY(settle(decoding, error));
    TRY(check_header(decoding, facts, error));
    if (facts && facts->white > UINT8_MAX)
        TRY(find_largest(decoding, facts, error));
    TRY(shrink_on_load(decoding, error));
    TRY(convert_colours(decoding, error));
    TRY(scale_image(decoding, error));
out:
    return status;
}

/* Decodings run side by side, and libvips keeps what it says of failures in one place for all. So
 * one that fails is repeated alone, which tells its own reason. */
static enum colonnade_status decode_beside_others(struct decoding *decoding,
                                                  struct image_facts *facts,
                                                  struct colonnade_error *error)
{
    static pthread_rwlock_t running = PTHREAD_RWLOCK_INITIALIZER;
    pthread_rwlock_rdlock(&running);
    enum colonnade_status status = decode(decoding, facts, NULL);
    pthread_rwlock_unlock(&running);
    if (status == COLONNADE_OK)
        return status;
    pthread_rwlock_wrlock(&running);
    decoding->lib->vips_error_clear();
    status = decode(decoding, facts, error);
    pthread_rwlock_unlock(&running);
    return status;
}

/* --- the result --- */

static uint8_t luma(const uint8_t *rgb)
{
    return (uint8_t)((299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] + 500) / 1000);
}

/* One pixel of 1 or 3 bands to 1 or 3 channels. */
static void put_pixel(uint8_t *pixel, int c, const uint8_t *stored, int bands)
{
    if (c == 1)
        *pixel = bands == 1 ? *stored : luma(stored);
    else
        for (int i = 0; i < c; i++)
            pixel[i] = stored[bands == 1 ? 0 : i];
}

/* Turns the image, puts it into the target's middle, and leaves black what it does not cover. */
static void lay_out(const struct decoding *decoding, uint8_t *pixels)
{
    const struct image_target *target = decoding->target;
    const int bands = decoding->bands;
    const bool turned = is_turned(decoding);
    const int w = turned ? decoding->h : decoding->w, h = turned ? decoding->w : decoding->h;
    const int left = (target->w - w) / 2, top = (target->h - h) / 2;
    memset(pixels, 0, (size_t)target->h * (size_t)target->w * (size_t)target->c);
    for (int y = 0; y < target->h; y++)
        for (int x = 0; x < target->w; x++, pixels += target->c) {
            if (y < top || y - top >= h || x < left || x - left >= w)
                continue;
            int stored_x = turned ? y - top : x - left, stored_y = turned ? x - left : y - top;
            if (flips[decoding->orientation].x)
                stored_x = decoding->w - 1 - stored_x;
            if (flips[decoding->orientation].y)
                stored_y = decoding->h - 1 - stored_y;
            const size_t at = (size_t)stored_y * (size_t)decoding->w + (size_t)stored_x;
            put_pixel(pixels, target->c, decoding->pixels + at * (size_t)bands, bands);
        }
}

static enum colonnade_status check_zeros(const struct decoding *decoding,
                                         struct colonnade_error *error)
{
    const struct file *file = decoding->file;
    const size_t zeros = decoding->strict && decoding->format->id == JPEG
                             ? jpeg_lost_bytes(file->bytes, file->count)
                             : 0;
    return zeros == 0 ? COLONNADE_OK
                      : error_set(error, COLONNADE_FAILURE,
                                  "%s: is damaged: %zu bytes in a row of its image data are zero",
                                  file->path, zeros);
}

static enum colonnade_status read_image(const char *path, const struct image_target *target,
                                        bool strict, uint8_t *pixels, struct image_facts *facts,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const char *reason;
    struct file file = {.path = path};
    struct decoding decoding = {
        .file = &file, .target = target, .strict = strict, .white = UINT16_MAX};
    TRY(read_file(&file, error));
    decoding.format = find_format(&file);
    if (!decoding.format)
        TRY(raise_no_format(&file, error));
    decoding.lib = libvips_open(&reason);
    if (!decoding.lib)
        RAISE(COLONNADE_FAILURE, "libvips, which reads images, does not load: %s", reason);
    TRY(decode_beside_others(&decoding, facts, error));
    TRY(check_zeros(&decoding, error));
    lay_out(&decoding, pixels);
out:
    if (decoding.lib)
        close_image(&decoding);
    free(decoding.pixels);
    free(decoding.samples);
    free(file.bytes);
    return status;
}

enum colonnade_status image_read(const char *path, const struct image_target *target,
                                 uint8_t *pixels, struct image_facts *facts,
                                 struct colonnade_error *error)
{
    return read_image(path, target, false, pixels, facts, error);
}

bool image_is_bad(const char *path, const struct colonnade_error *error)
{
    return strncmp(error->message, path, strlen(path)) == 0;
}

enum colonnade_status image_read_strictly(const char *path, const struct image_target *target,
                                          uint8_t *pixels, struct image_facts *facts,
                                          struct colonnade_error *error)
{
    return read_image(path, target, true, pixels, facts, error);
}
