/* Data: what each source reads, that every damaged file is an error and never a crash, the
 * validation split, mean and deviation, the order of an epoch. The files are made here.
 */
#include "engine/data/dataset.h"
#include "engine/data/libvips.h"
#include "tests/unit/support.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <hdf5.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static char folder[] = "/tmp/colonnade-data-XXXXXX";

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    remove_tree(folder);
}

TestSuite(data, .init = make_folder, .fini = remove_folder);

/* ---- helpers ---- */

static const char *in_folder(const char *name)
{
    static char path[4][512];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", folder, name);
    return path[next];
}

/* Always a new file: emptying an old one makes some file systems wait for the disk. */
static void write_file(const char *name, const void *bytes, size_t count)
{
    unlink(in_folder(name));
    FILE *file = fopen(in_folder(name), "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, count, file), count);
    cr_assert_eq(fclose(file), 0);
}

static void write_gzip(const char *name, const void *bytes, size_t count)
{
    gzFile file = gzopen(in_folder(name), "wb");
    cr_assert_not_null(file);
    cr_assert_eq(gzwrite(file, bytes, (unsigned)count), (int)count);
    cr_assert_eq(gzclose(file), Z_OK);
}

static size_t read_whole(const char *name, uint8_t *bytes, size_t capacity)
{
    FILE *file = fopen(in_folder(name), "rb");
    cr_assert_not_null(file);
    size_t count = fread(bytes, 1, capacity, file);
    cr_assert_lt(count, capacity);
    fclose(file);
    return count;
}

static struct config *parse(const char *keys)
{
    struct config *config = NULL;
    struct colonnade_error error = {0};
    char text[1024];
    snprintf(text, sizeof text, "[data]\n%s", keys);
    cr_assert_eq(config_parse(&config, "x.ini", text, &error), COLONNADE_OK, "%s", error.message);
    return config;
}

/* `keys` are lines; "path = FOLDER/`file`" is added where `file` is not NULL. */
static enum colonnade_status try_open(struct dataset **data, const char *file, const char *keys,
                                      struct colonnade_error *error)
{
    char text[1024];
    snprintf(text, sizeof text, "%s%s%s\n", keys, file ? "path = " : "",
             file ? in_folder(file) : "");
    struct config *config = parse(text);
    const struct data_request request = {.seed = 1, .threads = 2};
    enum colonnade_status status = dataset_open(data, config, &request, error);
    config_destroy(config);
    return status;
}

static struct dataset *open_data(const char *file, const char *keys)
{
    struct dataset *data = NULL;
    struct colonnade_error error = {0};
    cr_assert_eq(try_open(&data, file, keys, &error), COLONNADE_OK, "%s", error.message);
    return data;
}

/* The message must hold each of the pieces, which end with NULL. */
static void assert_fails(enum colonnade_status wanted, const char *file, const char *keys, ...)
{
    struct dataset *data = NULL;
    struct colonnade_error error = {0};
    cr_expect_eq(try_open(&data, file, keys, &error), wanted, "%s: %s", keys, error.message);
    cr_expect_null(data);
    va_list pieces;
    va_start(pieces, keys);
    for (const char *piece; (piece = va_arg(pieces, const char *));)
        cr_expect(strstr(error.message, piece) != NULL, "'%s' lacks '%s'", error.message, piece);
    va_end(pieces);
}

/* ---- idx ---- */

enum { TRAIN = 6, TEST = 3, HEIGHT = 3, WIDTH = 2, PIXELS = HEIGHT * WIDTH };

struct bytes {
    uint8_t data[512];
    size_t count;
};

static uint8_t pixel(size_t i)
{
    return (uint8_t)(i * 37 + 11);
}

static void put_word(struct bytes *bytes, uint32_t word)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        bytes->data[bytes->count++] = (uint8_t)(word >> shift);
}

static struct bytes idx_images(uint32_t count, uint32_t h, uint32_t w)
{
    struct bytes bytes = {.count = 0};
    put_word(&bytes, 0x803);
    put_word(&bytes, count);
    put_word(&bytes, h);
    put_word(&bytes, w);
    for (size_t i = 0; i < count * h * w; i++)
        bytes.data[bytes.count++] = pixel(i);
    return bytes;
}

/* Labels 0, 1, 2, 0, 1, ... */
static struct bytes idx_labels(uint32_t count)
{
    struct bytes bytes = {.count = 0};
    put_word(&bytes, 0x801);
    put_word(&bytes, count);
    for (size_t i = 0; i < count; i++)
        bytes.data[bytes.count++] = (uint8_t)(i % 3);
    return bytes;
}

static const char *const idx_names[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                        "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};

static struct bytes idx_file(int i)
{
    uint32_t count = i < 2 ? TRAIN : TEST;
    return i % 2 == 0 ? idx_images(count, HEIGHT, WIDTH) : idx_labels(count);
}

static void write_idx(void)
{
    for (int i = 0; i < 4; i++) {
        struct bytes bytes = idx_file(i);
        write_file(idx_names[i], bytes.data, bytes.count);
    }
}

static void write_bytes(const char *name, struct bytes bytes)
{
    write_file(name, bytes.data, bytes.count);
}

static void assert_idx(const struct dataset *data)
{
    cr_assert_str_eq(data->source, "idx");
    cr_assert(data->c == 1 && data->h == HEIGHT && data->w == WIDTH && data->classes == 3);
    cr_assert_str_eq(data->class_names[2], "2");
    cr_assert(data->train.count == TRAIN && data->test.count == TEST);
    for (size_t i = 0; i < TRAIN * PIXELS; i++)
        cr_assert_eq(data->train.images[i], pixel(i));
    for (size_t i = 0; i < TEST * PIXELS; i++)
        cr_assert_eq(data->test.images[i], pixel(i));
    for (size_t i = 0; i < TRAIN; i++)
        cr_assert_eq(data->train.labels[i], (int)(i % 3));
    for (size_t i = 0; i < TEST; i++)
        cr_assert_eq(data->test.labels[i], (int)(i % 3));
    cr_assert_eq(data->bytes, (TRAIN + TEST) * (PIXELS + 4) + TRAIN * 4);
}

Test(data, idx_reads_plain_and_gzip_files_under_both_names)
{
    static const char *const endings[] = {"-idx", ".idx", "-idx", ".idx"};
    for (int variant = 0; variant < 4; variant++) {
        for (int i = 0; i < 4; i++) {
            struct bytes bytes = idx_file(i);
            char name[64];
            const char *dash = strstr(idx_names[i], "-idx");
            snprintf(name, sizeof name, "%.*s%s%s%s", (int)(dash - idx_names[i]), idx_names[i],
                     endings[variant], dash + 4, variant < 2 ? "" : ".gz");
            (variant < 2 ? write_file : write_gzip)(name, bytes.data, bytes.count);
        }
        struct dataset *data = open_data("", "source = idx\n");
        assert_idx(data);
        dataset_destroy(data);
        remove_folder();
        cr_assert_eq(mkdir(folder, 0700), 0);
    }
}

Test(data, limits_keep_the_first_images_and_all_classes)
{
    write_idx();
    struct dataset *data = open_data("", "source = idx\nlimit_train = 2\nlimit_test = 1\n");
    cr_assert(data->train.count == 2 && data->training_count == 2 && data->test.count == 1);
    cr_assert_eq(data->classes, 3);
    for (size_t i = 0; i < 2 * PIXELS; i++)
        cr_assert_eq(data->train.images[i], pixel(i));
    dataset_destroy(data);
    data = open_data("", "source = idx\nlimit_train = 1000\n");
    cr_assert_eq(data->train.count, TRAIN);
    dataset_destroy(data);
}

Test(data, shift_test_moves_test_images_in_the_four_directions_in_turn)
{
    enum { C = 3, H = 5, W = 7 };
    static const int down[] = {0, 0, 1, -1}, right[] = {1, -1, 0, 0};
    const char *const keys = "source = synthetic\nshape = 3x5x7\nclasses = 2\ncount = 32\n";
    struct dataset *still = open_data(NULL, keys);
    for (int pixels = 0; pixels < H; pixels++) {
        char moved_keys[128];
        snprintf(moved_keys, sizeof moved_keys, "%sshift_test = %d\n", keys, pixels);
        struct dataset *moved = open_data(NULL, moved_keys);
        cr_assert_arr_eq(moved->train.images, still->train.images, 32 * C * H * W);
        for (int n = 0; n < 8; n++)
            for (int i = 0; i < H; i++)
                for (int j = 0; j < W; j++) {
                    const int y = i - down[n % 4] * pixels, x = j - right[n % 4] * pixels;
                    const bool inside = y >= 0 && y < H && x >= 0 && x < W;
                    for (int c = 0; c < C; c++) {
                        const size_t image = (size_t)n * C * H * W;
                        const uint8_t from =
                            inside ? still->test.images[image + (size_t)((y * W + x) * C + c)] : 0;
                        cr_assert_eq(moved->test.images[image + (size_t)((i * W + j) * C + c)],
                                     from);
                    }
                }
        dataset_destroy(moved);
    }
    dataset_destroy(still);
    assert_fails(COLONNADE_USAGE, NULL,
                 "source = synthetic\nshape = 3x5x7\nclasses = 2\nshift_test = 5\n",
                 "shift_test = 5", "5x7", NULL);
}

Test(data, idx_of_which_any_header_byte_changed_is_an_error)
{
    write_idx();
    for (int i = 0; i < 4; i++) {
        struct bytes good = idx_file(i);
        for (size_t at = 0; at < (i % 2 == 0 ? 16 : 8); at++)
            for (int change = 1; change < 256; change++) {
                struct bytes bad = good;
                bad.data[at] ^= (uint8_t)change;
                write_bytes(idx_names[i], bad);
                assert_fails(COLONNADE_FAILURE, "", "source = idx\n", idx_names[i], NULL);
            }
        write_bytes(idx_names[i], good);
    }
}

Test(data, idx_cut_at_any_byte_is_an_error, .timeout = 60)
{
    write_idx();
    for (int i = 0; i < 4; i++) {
        struct bytes good = idx_file(i);
        for (size_t count = 0; count < good.count; count++) {
            write_file(idx_names[i], good.data, count);
            assert_fails(COLONNADE_FAILURE, "", "source = idx\n", idx_names[i], NULL);
        }
        write_bytes(idx_names[i], good);
    }
}

Test(data, gzip_idx_cut_at_any_byte_is_an_error_even_where_a_limit_needs_less, .timeout = 60)
{
    write_idx();
    for (int i = 0; i < 4; i++) {
        struct bytes good = idx_file(i);
        uint8_t packed[1024];
        char name[64];
        snprintf(name, sizeof name, "%s.gz", idx_names[i]);
        write_gzip(name, good.data, good.count);
        size_t packed_count = read_whole(name, packed, sizeof packed);
        unlink(in_folder(idx_names[i]));
        for (size_t count = 0; count < packed_count; count++) {
            write_file(name, packed, count);
            assert_fails(COLONNADE_FAILURE, "", "source = idx\nlimit_train = 1\nlimit_test = 1\n",
                         name, NULL);
        }
        unlink(in_folder(name));
        write_bytes(idx_names[i], good);
    }
}

Test(data, gzip_idx_with_a_wrong_checksum_is_an_error)
{
    write_idx();
    struct bytes good = idx_file(0);
    uint8_t packed[1024];
    write_gzip("train-images-idx3-ubyte.gz", good.data, good.count);
    size_t count = read_whole("train-images-idx3-ubyte.gz", packed, sizeof packed);
    packed[count - 8] ^= 1;
    write_file("train-images-idx3-ubyte.gz", packed, count);
    unlink(in_folder("train-images-idx3-ubyte"));
    assert_fails(COLONNADE_FAILURE, "", "source = idx\n", "train-images-idx3-ubyte.gz: ", NULL);
}

Test(data, idx_size_errors_name_file_expected_and_found_bytes)
{
    write_idx();
    struct bytes bytes = idx_file(0); /* 16 + 36 bytes */
    bytes.count++;
    write_bytes(idx_names[0], bytes);
    assert_fails(COLONNADE_FAILURE, "", "source = idx\n",
                 "/train-images-idx3-ubyte: the header promises 52 bytes in all; the file has 53",
                 NULL);
    unlink(in_folder(idx_names[0]));
    write_gzip("train-images-idx3-ubyte.gz", bytes.data, bytes.count);
    assert_fails(COLONNADE_FAILURE, "", "source = idx\n",
                 "ubyte.gz: the header promises 52 bytes in all; the file has 53", NULL);
    write_gzip("train-images-idx3-ubyte.gz", bytes.data, bytes.count - 2);
    assert_fails(COLONNADE_FAILURE, "", "source = idx\n",
                 "ubyte.gz: the header promises 52 bytes in all; the file has 51", NULL);
    write_file(idx_names[0], bytes.data, 10);
    assert_fails(COLONNADE_FAILURE, "", "source = idx\n", "ends after 10 bytes", NULL);
}

Test(data, idx_with_absurd_sizes_is_an_error_before_anything_is_allocated)
{
    write_idx();
    struct bytes bytes = {.count = 0};
    put_word(&bytes, 0x803);
    for (int i = 0; i < 3; i++)
        put_word(&bytes, UINT32_MAX);
    write_bytes(idx_names[0], bytes);
    assert_fails(COLONNADE_FAILURE, "", "source = idx\n", "promises", NULL);
    unlink(in_folder(idx_names[0]));
    write_gzip("train-images-idx3-ubyte.gz", bytes.data, bytes.count);
    assert_fails(COLONNADE_FAILURE, "", "source = idx\n", "promises", "compressed", NULL);
}

Test(data, idx_splits_must_fit_each_other)
{
    write_idx();
    write_bytes(idx_names[1], idx_labels(TRAIN - 1));
    assert_fails(COLONNADE_FAILURE, "", "source = idx\n", "train-labels-idx1-ubyte: 5 labels;",
                 "has 6 images", NULL);
    write_idx();
    write_bytes(idx_names[2], idx_images(TEST, WIDTH, HEIGHT));
    assert_fails(COLONNADE_FAILURE, "", "source = idx\n", "t10k-images-idx3-ubyte: images of 2x3",
                 "are 3x2", NULL);
    write_idx();
    struct bytes labels = idx_labels(TEST);
    labels.data[8 + 1] = 7;
    write_bytes(idx_names[3], labels);
    assert_fails(COLONNADE_FAILURE, "", "source = idx\n",
                 "t10k-labels-idx1-ubyte: label 7 at index 1; labels here are 0 to 2", NULL);
    write_idx();
    write_bytes(idx_names[2], idx_images(0, HEIGHT, WIDTH));
    write_bytes(idx_names[3], idx_labels(0));
    assert_fails(COLONNADE_FAILURE, "", "source = idx\n", "t10k-images-idx3-ubyte: holds no images",
                 NULL);
    write_bytes(idx_names[2], idx_images(TEST, 0, WIDTH));
    assert_fails(COLONNADE_FAILURE, "", "source = idx\n", "images of 0x2", NULL);
}

Test(data, idx_files_that_are_not_there_are_named)
{
    write_idx();
    unlink(in_folder(idx_names[3]));
    assert_fails(COLONNADE_FAILURE, "", "source = idx\n", folder,
                 "has no t10k-labels-idx1-ubyte (nor t10k-labels.idx1-ubyte", NULL);
    assert_fails(COLONNADE_FAILURE, "nowhere", "source = idx\n", "/nowhere: No such file", NULL);
    assert_fails(COLONNADE_FAILURE, idx_names[0], "source = idx\n", "is not a folder", NULL);
    cr_assert_eq(mkdir(in_folder(idx_names[3]), 0700), 0);
    assert_fails(COLONNADE_FAILURE, "", "source = idx\n", "t10k-labels-idx1-ubyte: ", NULL);
}

/* ---- hdf5 ---- */

struct h5 {
    hid_t image_type, label_type;
    int rank; /* of the images */
    hsize_t train[4], test[4], train_labels, test_labels;
    int64_t labels[TRAIN]; /* train's; test's are the first of them, but for: */
    int64_t last_test_label;
    int label_rank;
    int names; /* 0: no /classes */
    enum { NAMES_VARIABLE, NAMES_FIXED, NAMES_UTF8, NAMES_FIXED_UTF8, NAMES_INTEGER } kind;
    const char *without; /* a dataset that is left out */
    bool compressed;
};

static struct h5 good_h5(void)
{
    return (struct h5){
        .image_type = H5T_NATIVE_UINT8,
        .label_type = H5T_NATIVE_INT64,
        .rank = 4,
        .train = {TRAIN, HEIGHT, WIDTH, 3},
        .test = {TEST, HEIGHT, WIDTH, 3},
        .train_labels = TRAIN,
        .test_labels = TEST,
        .labels = {0, 1, 2, 0, 1, 2},
        .last_test_label = 2,
        .label_rank = 1,
    };
}

static void put_array(hid_t file, const struct h5 *h5, const char *path, hid_t type, int rank,
                      const hsize_t *sizes, hid_t memory_type, const void *elements)
{
    if (h5->without && !strcmp(h5->without, path))
        return;
    hid_t space = H5Screate_simple(rank, sizes, NULL), creation = H5Pcreate(H5P_DATASET_CREATE);
    if (h5->compressed) {
        H5Pset_chunk(creation, rank, sizes);
        H5Pset_deflate(creation, 9);
    }
    hid_t set = H5Dcreate2(file, path, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    cr_assert(H5Dwrite(set, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, elements) >= 0);
    H5Dclose(set);
    H5Pclose(creation);
    H5Sclose(space);
}

static void put_names(hid_t file, const struct h5 *h5)
{
    static const char *const variable[] = {"cat", "dog", "gr\xc3\xbcn", "more"};
    static const char fixed[][5] = {"cat", "dog", "gr\xc3\xbcn",
                                    "more"}; /* unterminated: 5 bytes */
    hsize_t count = (hsize_t)h5->names;
    const bool is_fixed = h5->kind == NAMES_FIXED || h5->kind == NAMES_FIXED_UTF8;
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, is_fixed ? sizeof fixed[0] : H5T_VARIABLE);
    if (is_fixed)
        H5Tset_strpad(type, H5T_STR_NULLPAD);
    if (h5->kind == NAMES_UTF8 || h5->kind == NAMES_FIXED_UTF8)
        H5Tset_cset(type, H5T_CSET_UTF8);
    if (h5->kind == NAMES_INTEGER)
        put_array(file, h5, "/classes", H5T_NATIVE_INT64, 1, &count, H5T_NATIVE_INT64, h5->labels);
    else if (count > 0)
        put_array(file, h5, "/classes", type, 1, &count, type,
                  is_fixed ? (const void *)fixed : (const void *)variable);
    H5Tclose(type);
}

static void write_h5(const struct h5 *h5)
{
    uint8_t pixels[TRAIN * PIXELS * 4];
    int64_t test_labels[TRAIN];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = pixel(i);
    memcpy(test_labels, h5->labels, sizeof test_labels);
    test_labels[TEST - 1] = h5->last_test_label;
    hid_t file = H5Fcreate(in_folder("data.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    cr_assert(file >= 0);
    H5Gclose(H5Gcreate2(file, "/train", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Gclose(H5Gcreate2(file, "/test", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    hsize_t train_labels[2] = {h5->train_labels, 1}, test_count[2] = {h5->test_labels, 1};
    put_array(file, h5, "/train/images", h5->image_type, h5->rank, h5->train, H5T_NATIVE_UINT8,
              pixels);
    put_array(file, h5, "/test/images", h5->image_type, h5->rank, h5->test, H5T_NATIVE_UINT8,
              pixels);
    put_array(file, h5, "/train/labels", h5->label_type, h5->label_rank, train_labels,
              H5T_NATIVE_INT64, h5->labels);
    put_array(file, h5, "/test/labels", h5->label_type, h5->label_rank, test_count,
              H5T_NATIVE_INT64, test_labels);
    put_names(file, h5);
    cr_assert(H5Fclose(file) >= 0);
}

static const char h5_keys[] = "source = hdf5\n";

static void assert_h5(const struct dataset *data, int c)
{
    cr_assert_str_eq(data->source, "hdf5");
    cr_assert(data->c == c && data->h == HEIGHT && data->w == WIDTH && data->classes == 3);
    cr_assert(data->train.count == TRAIN && data->test.count == TEST);
    for (size_t i = 0; i < TRAIN * PIXELS * (size_t)c; i++)
        cr_assert_eq(data->train.images[i], pixel(i));
    for (size_t i = 0; i < TEST * PIXELS * (size_t)c; i++)
        cr_assert_eq(data->test.images[i], pixel(i));
    for (size_t i = 0; i < TRAIN; i++)
        cr_assert_eq(data->train.labels[i], (int)(i % 3));
    for (size_t i = 0; i < TEST; i++)
        cr_assert_eq(data->test.labels[i], (int)(i % 3));
}

Test(data, hdf5_reads_grey_and_colour_with_labels_of_any_integer_type)
{
    const hid_t types[] = {H5T_STD_I8LE,  H5T_STD_U8LE,  H5T_STD_I16BE,
                           H5T_STD_I32LE, H5T_STD_U64BE, H5T_STD_I64LE};
    for (int c = 1; c <= 4; c++)
        for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
            struct h5 h5 = good_h5();
            h5.train[3] = h5.test[3] = (hsize_t)c;
            h5.rank = c == 1 && i % 2 == 0 ? 3 : 4;
            h5.label_type = types[i];
            h5.compressed = i % 3 == 0;
            write_h5(&h5);
            struct dataset *data = open_data("data.h5", h5_keys);
            assert_h5(data, c);
            cr_assert_str_eq(data->class_names[1], "1");
            dataset_destroy(data);
        }
}

Test(data, hdf5_reads_class_names_of_fixed_and_of_variable_length)
{
    for (int kind = NAMES_VARIABLE; kind <= NAMES_FIXED_UTF8; kind++) {
        struct h5 h5 = good_h5();
        h5.names = 3;
        h5.kind = kind;
        write_h5(&h5);
        struct dataset *data = open_data("data.h5", h5_keys);
        assert_h5(data, 3);
        cr_assert_str_eq(data->class_names[0], "cat");
        cr_assert_str_eq(data->class_names[2], "gr\xc3\xbcn");
        dataset_destroy(data);
    }
}

Test(data, hdf5_names_may_be_more_than_the_labels_that_occur)
{
    struct h5 h5 = good_h5();
    h5.names = 4;
    write_h5(&h5);
    struct dataset *data = open_data("data.h5", h5_keys);
    cr_assert_eq(data->classes, 4);
    cr_assert_str_eq(data->class_names[3], "more");
    dataset_destroy(data);
}

Test(data, hdf5_limits_keep_the_first_images)
{
    struct h5 h5 = good_h5();
    write_h5(&h5);
    struct dataset *data = open_data("data.h5", "source = hdf5\nlimit_train = 2\nlimit_test = 1\n");
    cr_assert(data->train.count == 2 && data->test.count == 1 && data->classes == 3);
    for (size_t i = 0; i < 2 * PIXELS * 3; i++)
        cr_assert_eq(data->train.images[i], pixel(i));
    cr_assert_eq(data->test.labels[0], 0);
    dataset_destroy(data);
}

static void assert_h5_fails(struct h5 h5, const char *piece)
{
    write_h5(&h5);
    assert_fails(COLONNADE_FAILURE, "data.h5", h5_keys, "/data.h5: ", piece, NULL);
}

Test(data, hdf5_mistakes_name_dataset_and_value)
{
    static const char *const paths[] = {"/train/images", "/train/labels", "/test/images",
                                        "/test/labels"};
    struct h5 h5;
    for (int i = 0; i < 4; i++) {
        char message[64];
        snprintf(message, sizeof message, "%s: there is no such dataset", paths[i]);
        h5 = good_h5(), h5.without = paths[i];
        assert_h5_fails(h5, message);
    }
    h5 = good_h5(), h5.image_type = H5T_NATIVE_INT8;
    assert_h5_fails(h5, "/train/images: is not of type uint8");
    h5 = good_h5(), h5.image_type = H5T_NATIVE_UINT16;
    assert_h5_fails(h5, "/train/images: is not of type uint8");
    h5 = good_h5(), h5.image_type = H5T_NATIVE_FLOAT;
    assert_h5_fails(h5, "/train/images: is not of type uint8");
    h5 = good_h5(), h5.rank = 2;
    assert_h5_fails(h5, "/train/images: has 2 dimensions; images are [N, H, W] or [N, H, W, C]");
    h5 = good_h5(), h5.label_type = H5T_NATIVE_DOUBLE;
    assert_h5_fails(h5, "/train/labels: is not of an integer type");
    h5 = good_h5(), h5.label_rank = 2;
    assert_h5_fails(h5, "/train/labels: has 2 dimensions; labels are [N]");
    h5 = good_h5(), h5.train_labels--;
    assert_h5_fails(h5, "/train/labels: 5 labels; there are 6 images");
    h5 = good_h5(), h5.test_labels--;
    assert_h5_fails(h5, "/test/labels: 2 labels; there are 3 images");
    h5 = good_h5(), h5.test[1]--;
    assert_h5_fails(h5, "/test/images: images of 2x2 with 3 channels; the training images are 3x2");
    h5 = good_h5(), h5.test[3] = 1;
    assert_h5_fails(h5, "/test/images: images of 3x2 with 1 channel; ");
    h5 = good_h5(), h5.test[0] = h5.test_labels = 0;
    assert_h5_fails(h5, "/test/images: holds no images");
}

Test(data, hdf5_labels_out_of_range_name_index_and_value)
{
    struct h5 h5;
    h5 = good_h5(), h5.labels[4] = -1;
    assert_h5_fails(h5, "/train/labels: label -1 at index 4; labels here are 0 to 65535");
    h5 = good_h5(), h5.labels[4] = INT64_MAX;
    assert_h5_fails(h5, "/train/labels: label 9223372036854775807 at index 4");
    h5 = good_h5(), h5.labels[4] = DATA_MAX_CLASSES;
    assert_h5_fails(h5, "/train/labels: label 65536 at index 4");
    h5 = good_h5(), h5.last_test_label = 3;
    assert_h5_fails(h5, "/test/labels: label 3 at index 2; labels here are 0 to 2");
    h5 = good_h5(), h5.names = 2;
    assert_h5_fails(h5, "/train/labels: label 2 at index 2; labels here are 0 to 1");
    h5 = good_h5(), h5.names = 3, h5.kind = NAMES_INTEGER;
    assert_h5_fails(h5, "/classes: is not a list of strings");
}

Test(data, hdf5_cut_at_any_byte_is_an_error, .timeout = 120)
{
    static uint8_t bytes[1 << 16];
    struct h5 h5 = good_h5();
    h5.names = 3;
    write_h5(&h5);
    size_t count = read_whole("data.h5", bytes, sizeof bytes);
    for (size_t cut = 0; cut < count; cut++) {
        write_file("data.h5", bytes, cut);
        assert_fails(COLONNADE_FAILURE, "data.h5", h5_keys, "/data.h5: ", NULL);
    }
}

Test(data, hdf5_file_that_is_none_is_an_error)
{
    assert_fails(COLONNADE_FAILURE, "data.h5", h5_keys, "/data.h5: No such file", NULL);
    write_file("data.h5", "hello", 5);
    assert_fails(COLONNADE_FAILURE, "data.h5", h5_keys, "/data.h5: is not an HDF5 file", NULL);
    assert_fails(COLONNADE_FAILURE, "", h5_keys, "is not an HDF5 file", NULL);
}

Test(data, hdf5_prints_no_errors_of_its_own_and_its_caller_still_can)
{
    struct h5 h5 = good_h5();
    H5E_auto2_t before, after;
    void *argument;
    h5.without = "/test/labels";
    write_h5(&h5);
    H5Eget_auto2(H5E_DEFAULT, &before, &argument);
    cr_assert_not_null(before);
    cr_redirect_stderr();
    assert_fails(COLONNADE_FAILURE, "data.h5", h5_keys, "/test/labels", NULL);
    fflush(stderr);
    cr_assert_stderr_eq_str("");
    H5Eget_auto2(H5E_DEFAULT, &after, &argument);
    cr_assert(before == after);
}

/* Such a file is small: what was never written takes no room. */
Test(data, hdf5_with_absurd_sizes_is_an_error_before_anything_is_allocated)
{
    const hsize_t sizes[] = {(hsize_t)1 << 31, 1 << 15, 1 << 15}, chunk[] = {1, 32, 32};
    hid_t file = H5Fcreate(in_folder("data.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t space = H5Screate_simple(3, sizes, NULL), list = H5Screate_simple(1, sizes, NULL);
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE), links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    H5Pset_chunk(creation, 3, chunk);
    H5Dclose(
        H5Dcreate2(file, "/train/images", H5T_NATIVE_UINT8, space, links, creation, H5P_DEFAULT));
    H5Pset_chunk(creation, 1, chunk);
    H5Dclose(
        H5Dcreate2(file, "/train/labels", H5T_NATIVE_INT64, list, links, creation, H5P_DEFAULT));
    H5Pclose(creation);
    H5Pclose(links);
    H5Sclose(list);
    H5Sclose(space);
    cr_assert(H5Fclose(file) >= 0);
    assert_fails(COLONNADE_FAILURE, "data.h5", h5_keys, "/train/images: takes 2305843009213693952 ",
                 "bytes of memory; there are", NULL);
}

/* ---- cifar ---- */

enum { CIFAR_PIXELS = 32 * 32, CIFAR_IMAGE = 3 * CIFAR_PIXELS };

/* `count` records from `from` on, of `labels` bytes and [3, 32, 32] each; the last label is the
 * record's number. */
static void write_cifar(const char *name, size_t labels, size_t from, size_t count)
{
    static uint8_t bytes[4 * (2 + CIFAR_IMAGE)];
    size_t at = 0;
    for (size_t i = from; i < from + count; i++) {
        if (labels == 2)
            bytes[at++] = 99;
        bytes[at++] = (uint8_t)i;
        for (size_t p = 0; p < CIFAR_IMAGE; p++)
            bytes[at++] = pixel(i * CIFAR_IMAGE + p);
    }
    write_file(name, bytes, at);
}

static void write_cifar10(void)
{
    for (int i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "data_batch_%d.bin", i + 1);
        write_cifar(name, 1, 2 * (size_t)i, 2);
    }
    write_cifar("test_batch.bin", 1, 0, 3);
}

static void assert_cifar(const struct split *split, size_t count)
{
    cr_assert_eq(split->count, count);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(split->labels[i], (int)i);
        for (size_t p = 0; p < CIFAR_PIXELS; p++)
            for (size_t c = 0; c < 3; c++)
                cr_assert_eq(split->images[i * CIFAR_IMAGE + p * 3 + c],
                             pixel(i * CIFAR_IMAGE + c * CIFAR_PIXELS + p));
    }
}

Test(data, cifar10_reads_the_batches_in_order_and_interleaves_the_channels)
{
    write_cifar10();
    struct dataset *data = open_data("", "source = cifar10\n");
    cr_assert(data->c == 3 && data->h == 32 && data->w == 32 && data->classes == 10);
    cr_assert_str_eq(data->class_names[9], "9");
    assert_cifar(&data->train, 10);
    assert_cifar(&data->test, 3);
    dataset_destroy(data);
    data = open_data("", "source = cifar10\nlimit_train = 3\nlimit_test = 1\n");
    assert_cifar(&data->train, 3);
    assert_cifar(&data->test, 1);
    dataset_destroy(data);
}

Test(data, cifar100_takes_the_fine_labels)
{
    write_cifar("train.bin", 2, 0, 4);
    write_cifar("test.bin", 2, 0, 2);
    struct dataset *data = open_data("", "source = cifar100\n");
    cr_assert_eq(data->classes, 100);
    assert_cifar(&data->train, 4);
    assert_cifar(&data->test, 2);
    dataset_destroy(data);
}

Test(data, cifar_reads_class_names_where_they_are)
{
    static const char names[] = "airplane\nb\nc\nd\ne\nf\ng\nh\ni\ntruck\r\n\n";
    write_cifar10();
    write_file("batches.meta.txt", names, sizeof names - 1);
    struct dataset *data = open_data("", "source = cifar10\n");
    cr_assert_str_eq(data->class_names[0], "airplane");
    cr_assert_str_eq(data->class_names[9], "truck");
    dataset_destroy(data);
    write_file("batches.meta.txt", names, 11);
    assert_fails(COLONNADE_FAILURE, "", "source = cifar10\n",
                 "/batches.meta.txt: 2 class names; there are 10 classes", NULL);
    write_file("batches.meta.txt", "\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n", 26);
    assert_fails(COLONNADE_FAILURE, "", "source = cifar10\n", "11 class names", NULL);
}

Test(data, cifar_mistakes_name_the_file)
{
    write_cifar10();
    write_cifar("data_batch_3.bin", 1, 9, 2);
    assert_fails(COLONNADE_FAILURE, "", "source = cifar10\n",
                 "/data_batch_3.bin: label 10 at index 1; labels here are 0 to 9", NULL);
    write_file("data_batch_3.bin", "1234", 4);
    assert_fails(COLONNADE_FAILURE, "", "source = cifar10\n",
                 "/data_batch_3.bin: 4 bytes; it must be a file of whole records of 3073", NULL);
    write_file("data_batch_3.bin", "", 0);
    assert_fails(COLONNADE_FAILURE, "", "source = cifar10\n", "/data_batch_3.bin: 0 bytes", NULL);
    unlink(in_folder("data_batch_3.bin"));
    assert_fails(COLONNADE_FAILURE, "", "source = cifar10\n", "/data_batch_3.bin: No such file",
                 NULL);
}

/* ---- synthetic ---- */

static struct dataset *synthetic(uint64_t seed, const char *keys)
{
    struct dataset *data = NULL;
    struct colonnade_error error = {0};
    char text[256];
    snprintf(text, sizeof text, "source = synthetic\n%s", keys);
    struct config *config = parse(text);
    const struct data_request request = {.seed = seed, .threads = 1};
    cr_assert_eq(dataset_open(&data, config, &request, &error), COLONNADE_OK, "%s", error.message);
    config_destroy(config);
    return data;
}

static size_t image_bytes(const struct dataset *data)
{
    return (size_t)data->h * (size_t)data->w * (size_t)data->c;
}

Test(data, synthetic_has_the_shape_classes_and_counts_asked_for)
{
    struct dataset *data = synthetic(1, "shape = 3x5x7\n");
    cr_assert(data->c == 3 && data->h == 5 && data->w == 7 && data->classes == 10);
    cr_assert(data->train.count == 1024 && data->test.count == 256);
    dataset_destroy(data);
    data = synthetic(1, "shape = 1x1x1\nclasses = 3\ncount = 5\n");
    cr_assert(data->train.count == 5 && data->test.count == 2 && data->classes == 3);
    cr_assert_eq(data->train.labels[4], 1);
    dataset_destroy(data);
}

Test(data, synthetic_depends_on_the_seed_alone)
{
    struct dataset *a = synthetic(1, "shape = 3x5x7\n");
    struct dataset *b = synthetic(1, "shape = 3x5x7\nlimit_train = 9\n");
    struct dataset *other = synthetic(2, "shape = 3x5x7\n");
    size_t bytes = image_bytes(a);
    cr_expect_eq(b->train.count, 9);
    cr_expect_eq(memcmp(a->train.images, b->train.images, 9 * bytes), 0);
    cr_expect_eq(memcmp(a->test.images, b->test.images, a->test.count * bytes), 0);
    cr_expect_neq(memcmp(a->train.images, other->train.images, bytes), 0);
    cr_expect_neq(memcmp(a->train.images, a->test.images, bytes), 0, "test repeats train");
    cr_expect_neq(memcmp(a->train.images, a->train.images + 10 * bytes, bytes), 0,
                  "images of a class are equal");
    dataset_destroy(a);
    dataset_destroy(b);
    dataset_destroy(other);
}

/* The nearest of the classes' mean images. */
static int nearest_mean(const double *means, int classes, const uint8_t *image, size_t bytes)
{
    int nearest = 0;
    double least = INFINITY;
    for (int k = 0; k < classes; k++) {
        double distance = 0;
        for (size_t i = 0; i < bytes; i++)
            distance += pow(image[i] - means[(size_t)k * bytes + i], 2);
        if (distance < least) {
            least = distance;
            nearest = k;
        }
    }
    return nearest;
}

Test(data, synthetic_classes_can_be_learnt)
{
    struct dataset *data = synthetic(3, "shape = 1x8x8\nclasses = 10\ncount = 400\n");
    enum { BYTES = 64, CLASSES = 10 };
    double means[CLASSES * BYTES] = {0};
    for (size_t i = 0; i < data->train.count; i++)
        for (size_t p = 0; p < BYTES; p++)
            means[(size_t)data->train.labels[i] * BYTES + p] +=
                data->train.images[i * BYTES + p] / 40.0;
    size_t right = 0;
    for (size_t i = 0; i < data->test.count; i++)
        right += nearest_mean(means, CLASSES, data->test.images + i * BYTES, BYTES) ==
                 data->test.labels[i];
    cr_expect_eq(right, data->test.count, "%zu of %zu", right, data->test.count);
    dataset_destroy(data);
}

Test(data, synthetic_beyond_memory_is_an_error)
{
    assert_fails(COLONNADE_FAILURE, NULL,
                 "source = synthetic\nshape = 65536x65536x65536\ncount = 4294967295\n",
                 "source = synthetic: takes ", NULL);
}

/* ---- settings ---- */

Test(data, settings_that_cannot_be_are_errors_with_their_line)
{
    static const struct {
        const char *keys, *message;
    } cases[] = {
        {"", "x.ini:1: [data] needs the key 'source'"},
        {"source = tape\n", "x.ini:2: [data] source = tape: must be one of idx, "},
        {"source = folder\npath = .\n", "x.ini:2: [data] source = folder needs the key 'size'"},
        {"source = idx\n", "x.ini:2: [data] source = idx needs the key 'path'"},
        {"source = synthetic\n", "x.ini:2: [data] source = synthetic needs the key 'shape'"},
        {"source = idx\npath = .\nshape = 1x2x2\n",
         "x.ini:4: [data] shape is only for source = synthetic; it means nothing to idx"},
        {"source = hdf5\npath = .\nclasses = 2\n", "x.ini:4: [data] classes is only for"},
        {"source = hdf5\npath = .\ncount = 2\n", "x.ini:4: [data] count is only for"},
        {"source = synthetic\nshape = 1x2x2\npath = .\n",
         "x.ini:4: [data] path is only for source = idx, cifar10, cifar100, folder, hdf5; it "
         "means nothing to synthetic"},
        {"source = idx\npaht = .\n", "x.ini:3: [data] unknown key 'paht'; did you mean 'path'?"},
        {"source = synthetic\nshape = 1x0x2\n", "x.ini:3: [data] shape = 1x0x2"},
        {"source = synthetic\nshape = 1x2x2\nstd = 0\n", "x.ini:4: [data] std = 0"},
        {"source = synthetic\nshape = 1x2x2\nstd = -1\n", "x.ini:4: [data] std = -1"},
        {"source = synthetic\nshape = 1x2x2\nmean = 127\n", "x.ini:4: [data] mean = 127"},
        {"source = synthetic\nshape = 1x2x2\nlimit_train = 0\n", "x.ini:4: [data] limit_train"},
        {"source = synthetic\nshape = 1x2x2\nvalidation = -0.1\n", "x.ini:4: [data] validation"},
        {"source = synthetic\nshape = 3x2x2\nmean = 0.5, 0.5\n",
         "x.ini:4: [data] mean has 2 numbers; the images have 3 channels"},
        {"source = synthetic\nshape = 1x2x2\nstd = 0.5, 0.5, 0.5\n",
         "x.ini:4: [data] std has 3 numbers; the images have 1 channel:"},
        {"source = synthetic\nshape = 1x2x2\ncount = 9\nvalidation = 0.1\n",
         "x.ini:5: [data] validation = 0.1 of 9 training images holds back none"},
        {"source = synthetic\nshape = 1x2x2\nvalidation = 1\n",
         "x.ini:4: [data] validation = 1 of 1024 training images holds back all"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_fails(COLONNADE_USAGE, NULL, cases[i].keys, cases[i].message, NULL);
}

Test(data, names_of_sources_stand_in_the_order_of_their_types)
{
    size_t i = 0;
    for (; source_types[i]; i++)
        cr_expect_str_eq(source_names[i], source_types[i]->name);
    cr_expect_null(source_names[i]);
}

Test(data, keys_of_sources_are_keys_of_data)
{
    for (size_t i = 0; source_types[i]; i++)
        for (const char *const *name = source_types[i]->keys; *name; name++) {
            size_t k = 0;
            while (k < data_key_count && strcmp(data_keys[k].name, *name))
                k++;
            cr_expect_lt(k, data_key_count, "%s of %s", *name, source_types[i]->name);
        }
}

Test(data, describing_gives_shape_and_classes_and_no_images)
{
    write_idx();
    struct h5 h5 = good_h5();
    h5.names = 3;
    write_h5(&h5);
    static const char *const keys[] = {"source = idx\npath = ", "source = hdf5\npath = ",
                                       "source = synthetic\nclasses = 3\nshape = 1x3x2 # "};
    for (int i = 0; i < 3; i++) {
        char text[1024];
        snprintf(text, sizeof text, "%s%s\n", keys[i], in_folder(i == 1 ? "data.h5" : ""));
        struct config *config = parse(text);
        struct dataset *data = NULL;
        struct colonnade_error error = {0};
        cr_assert_eq(dataset_describe(&data, config, &error), COLONNADE_OK, "%s", error.message);
        cr_expect(data->c == (i == 1 ? 3 : 1) && data->h == HEIGHT && data->w == WIDTH);
        cr_expect_eq(data->classes, 3);
        cr_expect_str_eq(data->class_names[1], i == 1 ? "dog" : "1");
        cr_expect(data->train.count == 0 && data->test.count == 0);
        dataset_destroy(data);
        config_destroy(config);
    }
}

Test(data, training_split_is_left_unread_where_nothing_needs_it)
{
    write_idx();
    for (int given = 0; given < 2; given++) {
        char text[1024];
        snprintf(text, sizeof text, "source = idx\nmean = 0.5\n%spath = %s\n",
                 given ? "std = 0.25\n" : "", folder);
        struct config *config = parse(text);
        struct dataset *data = NULL;
        struct colonnade_error error = {0};
        const struct data_request request = {.seed = 1, .threads = 1, .test_alone = true};
        cr_assert_eq(dataset_open(&data, config, &request, &error), COLONNADE_OK, "%s",
                     error.message);
        cr_expect_eq(data->train.count, given ? 0 : TRAIN);
        cr_expect_eq(data->training_count, given ? 0 : TRAIN);
        cr_expect_eq(data->test.count, TEST);
        cr_expect_eq(data->classes, 3);
        cr_expect_eq(data->mean[0], 0.5f);
        dataset_destroy(data);
        config_destroy(config);
    }
}

/* ---- mean and deviation ---- */

/* By the definition, in double, over the images trained on. */
static void naive_moments(const struct dataset *data, size_t channel, double *mean, double *std)
{
    const size_t c = (size_t)data->c, pixels = (size_t)data->h * (size_t)data->w;
    const double n = (double)(data->training_count * pixels);
    *mean = *std = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < data->training_count; i++)
            for (size_t p = 0; p < pixels; p++) {
                double x = data->train.images[(data->training[i] * pixels + p) * c + channel];
                if (pass == 0)
                    *mean += x / 255 / n;
                else
                    *std += pow(x / 255 - *mean, 2) / n;
            }
    *std = sqrt(*std);
}

/* The figures are exact up to one rounding to float, 2^-24 of their size; the naive sums over some
 * 1e4 terms in double are good to 1e-12. */
static void assert_moments(const struct dataset *data)
{
    for (size_t channel = 0; channel < (size_t)data->c; channel++) {
        double mean, std;
        naive_moments(data, channel, &mean, &std);
        cr_expect(fabs(data->mean[channel] - mean) <= 6.1e-8 * mean, "%.9g %.9g",
                  (double)data->mean[channel], mean);
        cr_expect(fabs(data->std[channel] - std) <= 6.1e-8 * std, "%.9g %.9g",
                  (double)data->std[channel], std);
    }
}

Test(data, mean_and_std_are_of_each_channel_over_the_images_trained_on)
{
    struct dataset *all = synthetic(5, "shape = 3x7x5\ncount = 40\n");
    struct dataset *part = synthetic(5, "shape = 3x7x5\ncount = 40\nvalidation = 0.5\n");
    struct dataset *words = synthetic(5, "shape = 3x7x5\ncount = 40\nmean = auto\nstd = auto\n");
    assert_moments(all);
    assert_moments(part);
    cr_expect_neq(all->mean[0], part->mean[0]);
    cr_expect_neq(all->mean[0], all->mean[1]);
    cr_expect_eq(all->mean[2], words->mean[2]);
    cr_expect_eq(all->std[2], words->std[2]);
    dataset_destroy(all);
    dataset_destroy(part);
    dataset_destroy(words);
}

Test(data, given_mean_and_std_are_spread_or_one_a_channel)
{
    struct dataset *data = synthetic(1, "shape = 3x2x2\ncount = 4\nmean = 0.25\nstd = 0.5, 2, 4\n");
    for (int i = 0; i < 3; i++)
        cr_expect_eq(data->mean[i], 0.25f);
    cr_expect(data->std[0] == 0.5f && data->std[1] == 2.0f && data->std[2] == 4.0f);
    dataset_destroy(data);
    data = synthetic(1, "shape = 3x2x2\ncount = 4\nmean = 0.25\n");
    double mean, std;
    naive_moments(data, 1, &mean, &std);
    cr_expect_eq(data->mean[1], 0.25f);
    cr_expect(fabs(data->std[1] - std) <= 6.1e-8 * std);
    dataset_destroy(data);
}

/* Images beyond what 32-bit sums hold, all white but for one pixel that is 254. */
static void write_white(size_t side, bool spot)
{
    const size_t bytes = 16 + 2 * side * side;
    uint8_t *images = malloc(bytes);
    const struct bytes labels = idx_labels(2);
    struct bytes header = {.count = 0};
    put_word(&header, 0x803);
    put_word(&header, 2);
    put_word(&header, (uint32_t)side);
    put_word(&header, (uint32_t)side);
    memset(images, 255, bytes);
    memcpy(images, header.data, header.count);
    images[bytes - 1] = spot ? 254 : 255;
    for (int i = 0; i < 4; i++)
        write_file(idx_names[i], i % 2 == 0 ? images : labels.data,
                   i % 2 == 0 ? bytes : labels.count);
    free(images);
}

Test(data, sums_over_large_white_images_do_not_wrap)
{
    write_white(300, true);
    struct dataset *data = open_data("", "source = idx\n");
    /* Of n numbers one is smaller by 1 / 255: the mean by 1 / 255n, the variance is
     * (n - 1) / (255n)^2. */
    const double n = 2 * 300 * 300;
    cr_expect_eq(data->mean[0], (float)(1 - 1 / (255 * n)));
    cr_expect(fabs(data->std[0] - sqrt(n - 1) / (255 * n)) <= 6.1e-8 * sqrt(n - 1) / (255 * n));
    dataset_destroy(data);
}

Test(data, constant_images_need_a_std)
{
    write_white(3, false);
    assert_fails(COLONNADE_FAILURE, "", "source = idx\n",
                 "every pixel of channel 0 of the training images is 255", "give [data] std", NULL);
    struct dataset *data = open_data("", "source = idx\nstd = 1\n");
    cr_expect_eq(data->mean[0], 1.0f);
    dataset_destroy(data);
}

/* ---- validation ---- */

static void assert_parts(const struct dataset *data, size_t held)
{
    const size_t count = data->train.count;
    bool *seen = calloc(count, sizeof *seen);
    cr_assert_eq(data->validation_count, held);
    cr_assert_eq(data->training_count, count - held);
    for (size_t i = 0; i < held; i++) {
        cr_assert(data->validation[i] < count && !seen[data->validation[i]]);
        cr_assert(i == 0 || data->validation[i - 1] < data->validation[i]);
        seen[data->validation[i]] = true;
    }
    for (size_t i = 0; i < count - held; i++) {
        cr_assert(data->training[i] < count && !seen[data->training[i]]);
        cr_assert(i == 0 || data->training[i - 1] < data->training[i]);
        seen[data->training[i]] = true;
    }
    free(seen);
}

Test(data, validation_and_training_share_no_image_and_leave_none_out)
{
    static const struct {
        const char *keys;
        size_t held;
    } cases[] = {
        {"count = 103\n", 0},
        {"count = 103\nvalidation = 0\n", 0},
        {"count = 103\nvalidation = 0.1\n", 10},
        {"count = 100\nvalidation = 0.29\n", 29}, /* 28.999999999999996 in double */
        {"count = 103\nvalidation = 0.999\n", 102},
        {"count = 103\nvalidation = 0.5\nlimit_train = 9\n", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char keys[128];
        snprintf(keys, sizeof keys, "shape = 1x2x2\n%s", cases[i].keys);
        struct dataset *data = synthetic(1, keys);
        assert_parts(data, cases[i].held);
        dataset_destroy(data);
    }
}

Test(data, validation_is_chosen_by_the_seed)
{
    static const char keys[] = "shape = 1x2x2\ncount = 100\nvalidation = 0.2\n";
    struct dataset *a = synthetic(1, keys), *b = synthetic(1, keys), *other = synthetic(2, keys);
    const size_t bytes = 20 * sizeof *a->validation;
    cr_expect_eq(memcmp(a->validation, b->validation, bytes), 0);
    cr_expect_neq(memcmp(a->validation, other->validation, bytes), 0);
    cr_expect_gt(a->validation[19], 50, "not spread over the images");
    dataset_destroy(a);
    dataset_destroy(b);
    dataset_destroy(other);
}

/* ---- sampler ---- */

static struct sampler *sample(const struct dataset *data, enum part part, int batch)
{
    struct sampler *sampler = NULL;
    struct colonnade_error error = {0};
    cr_assert_eq(sampler_create(&sampler, data, part, batch, &error), COLONNADE_OK, "%s",
                 error.message);
    return sampler;
}

static const struct batch *take_batch(struct sampler *sampler, size_t index)
{
    const struct batch *batch;
    struct colonnade_error error = {0};
    cr_assert_eq(sampler_batch(sampler, index, &batch, &error), COLONNADE_OK, "%s", error.message);
    return batch;
}

/* An epoch's samples in `order`; checks that images and labels are theirs. */
static void collect_epoch(struct sampler *sampler, const struct dataset *data,
                          const struct split *split, uint32_t epoch, uint32_t *order)
{
    size_t at = 0;
    sampler_begin(sampler, epoch, 0);
    for (size_t i = 0; i < sampler_batches(sampler); i++) {
        const struct batch *batch = take_batch(sampler, i);
        cr_assert_eq(batch->epoch, epoch);
        cr_assert_null(batch->values);
        for (size_t s = 0; s < (size_t)batch->n; s++) {
            cr_assert_eq(batch->images[s], split->images + batch->samples[s] * image_bytes(data));
            cr_assert_eq(batch->labels[s], split->labels[batch->samples[s]]);
            order[at++] = batch->samples[s];
        }
    }
    cr_assert_eq(at, sampler_samples(sampler));
}

static const char sampled[] = "shape = 3x2x2\ncount = 103\nvalidation = 0.3\n"; /* 73 + 30 */

Test(data, last_batch_is_short)
{
    struct dataset *data = synthetic(1, sampled);
    static const struct {
        int batch;
        size_t batches;
        int last;
    } cases[] = {{10, 8, 3}, {73, 1, 73}, {72, 2, 1}, {74, 1, 73}, {1, 73, 1}, {1000, 1, 73}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sampler *sampler = sample(data, PART_TRAINING, cases[i].batch);
        sampler_begin(sampler, 1, 0);
        cr_expect_eq(sampler_samples(sampler), 73);
        cr_assert_eq(sampler_batches(sampler), cases[i].batches);
        cr_expect_eq(take_batch(sampler, cases[i].batches - 1)->n, cases[i].last);
        if (cases[i].batches > 1)
            cr_expect_eq(take_batch(sampler, 0)->n, cases[i].batch);
        cr_expect_gt(sampler_bytes(sampler), 73 * 4);
        sampler_destroy(sampler);
    }
    dataset_destroy(data);
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

Test(data, training_epochs_are_permutations_that_depend_on_seed_and_epoch_alone)
{
    struct dataset *data = synthetic(1, sampled), *other = synthetic(2, sampled);
    struct sampler *sampler = sample(data, PART_TRAINING, 10), *again = sample(data, 0, 7);
    struct sampler *other_seed = sample(other, PART_TRAINING, 10);
    uint32_t first[73], second[73], repeated[73], sorted[73], different[73];
    collect_epoch(sampler, data, &data->train, 1, first);
    collect_epoch(sampler, data, &data->train, 2, second);
    collect_epoch(again, data, &data->train, 2, repeated);
    collect_epoch(other_seed, other, &other->train, 1, different);
    cr_expect_neq(memcmp(first, second, sizeof first), 0);
    cr_expect_eq(memcmp(second, repeated, sizeof second), 0, "epoch 2 without and after epoch 1");
    collect_epoch(sampler, data, &data->train, 1, repeated);
    cr_expect_eq(memcmp(first, repeated, sizeof first), 0, "epoch 1 again");
    for (int epoch = 0; epoch < 2; epoch++) {
        memcpy(sorted, epoch == 0 ? first : second, sizeof sorted);
        cr_expect_neq(memcmp(sorted, data->training, sizeof sorted), 0, "not shuffled");
        qsort(sorted, 73, sizeof *sorted, compare);
        cr_expect_eq(memcmp(sorted, data->training, sizeof sorted), 0, "not a permutation");
    }
    cr_expect_neq(memcmp(first, different, sizeof first), 0);
    sampler_destroy(sampler);
    sampler_destroy(again);
    sampler_destroy(other_seed);
    dataset_destroy(data);
    dataset_destroy(other);
}

Test(data, batches_can_be_taken_in_any_order)
{
    struct dataset *data = synthetic(1, sampled);
    struct sampler *sampler = sample(data, PART_TRAINING, 10);
    uint32_t order[73];
    collect_epoch(sampler, data, &data->train, 3, order);
    for (size_t i = 8; i-- > 0;) {
        const struct batch *batch = take_batch(sampler, i);
        cr_expect_eq(memcmp(batch->samples, order + 10 * i, (size_t)batch->n * sizeof *order), 0);
    }
    sampler_destroy(sampler);
    dataset_destroy(data);
}

Test(data, parts_without_shuffle_come_as_stored_in_every_epoch)
{
    struct dataset *data =
        synthetic(1, "shape = 1x2x2\ncount = 103\nvalidation = 0.3\nshuffle = no\n");
    struct dataset *shuffled = synthetic(1, sampled);
    uint32_t order[103];
    for (uint32_t epoch = 1; epoch <= 2; epoch++) {
        struct sampler *training = sample(data, PART_TRAINING, 10);
        collect_epoch(training, data, &data->train, epoch, order);
        cr_expect_eq(memcmp(order, data->training, 73 * sizeof *order), 0);
        sampler_destroy(training);
        struct sampler *validation = sample(shuffled, PART_VALIDATION, 10);
        collect_epoch(validation, shuffled, &shuffled->train, epoch, order);
        cr_expect_eq(memcmp(order, shuffled->validation, 30 * sizeof *order), 0);
        sampler_destroy(validation);
        struct sampler *test = sample(shuffled, PART_TEST, 10);
        collect_epoch(test, shuffled, &shuffled->test, epoch, order);
        cr_expect_eq(sampler_samples(test), 26);
        for (uint32_t i = 0; i < 26; i++)
            cr_expect_eq(order[i], i);
        sampler_destroy(test);
    }
    dataset_destroy(data);
    dataset_destroy(shuffled);
}

Test(data, empty_part_has_no_batches)
{
    struct dataset *data = synthetic(1, "shape = 1x2x2\n");
    struct sampler *sampler = sample(data, PART_VALIDATION, 10);
    sampler_begin(sampler, 1, 0);
    cr_expect_eq(sampler_samples(sampler), 0);
    cr_expect_eq(sampler_batches(sampler), 0);
    sampler_destroy(sampler);
    dataset_destroy(data);
}

/* byte * scale + shift against (byte / 255 - mean) / std: scale and shift carry a rounding of 2^-24
 * each, of terms of at most 1 / std and mean / std; product and sum one more each. */
Test(data, scale_and_shift_of_a_batch_are_those_of_mean_and_std)
{
    struct dataset *data =
        synthetic(1, "shape = 3x2x2\ncount = 4\nmean = 0.1, 0.5, 1\nstd = 0.3\n");
    struct sampler *sampler = sample(data, PART_TEST, 1);
    sampler_begin(sampler, 1, 0);
    const struct batch *batch = take_batch(sampler, 0);
    for (int channel = 0; channel < 3; channel++)
        for (int byte = 0; byte < 256; byte++) {
            double want = (byte / 255.0 - (double)data->mean[channel]) / (double)data->std[channel];
            float got = (float)byte * batch->scale[channel] + batch->shift[channel];
            cr_expect(fabs(got - want) <= 4 * 0x1p-24 / 0.3, "%d: %g %g", byte, (double)got, want);
        }
    sampler_destroy(sampler);
    dataset_destroy(data);
}

/* ---- read while they are used ---- */

enum { PICTURES = 40, PICTURE_SIDE = 512 }; /* the whole has 10 MB */

static struct dataset *open_pictures(int threads)
{
    const char *reason;
    if (!libvips_open(&reason))
        cr_skip_test("libvips is not there: %s", reason);
    make_pictures(in_folder("train"), PICTURES);
    make_pictures(in_folder("test"), 1);
    struct dataset *data = open_data("", "source = folder\nsize = 512\nchannels = 1\nmemory = 1\n"
                                         "mean = 0\nstd = 1\nshuffle = false\n");
    cr_assert(data->streams && !data->train.images && data->test.images);
    data->threads = threads;
    return data;
}

/* From the beginning of an epoch, before anything is asked for; then `ahead` batches are there,
 * though their files are gone. */
static void assert_read_ahead(int threads, int batch, size_t first, size_t ahead)
{
    struct dataset *data = open_pictures(threads);
    struct sampler *sampler = sample(data, PART_TRAINING, batch);
    struct colonnade_error error = {0};
    const struct batch *taken;
    const int watch = watch_pictures(in_folder("train"));
    const int wanted = (int)ahead * batch;
    sampler_begin(sampler, 1, first);
    cr_expect_eq(files_read(watch, wanted), wanted);
    close(watch);
    remove_folder();
    for (size_t i = first; i < first + ahead; i++) {
        taken = take_batch(sampler, i);
        for (int j = 0; j < batch; j++) {
            const uint8_t grey = (uint8_t)(i * (size_t)batch + (size_t)j);
            cr_expect_eq(taken->samples[j], grey);
            cr_expect_eq(taken->images[j][PICTURE_SIDE * PICTURE_SIDE - 1], grey);
        }
    }
    cr_expect_eq(sampler_batch(sampler, first + ahead, &taken, &error), COLONNADE_FAILURE);
    cr_expect_not_null(strstr(error.message, "No such file"), "%s", error.message);
    sampler_destroy(sampler);
    dataset_destroy(data);
}

Test(data, an_epoch_is_read_ahead_from_its_beginning)
{
    assert_read_ahead(2, 4, 0, 3);
}

Test(data, an_epoch_is_read_ahead_from_where_it_goes_on)
{
    assert_read_ahead(2, 4, 5, 3);
}

Test(data, of_small_batches_so_many_are_read_ahead_that_no_reader_waits)
{
    assert_read_ahead(4, 2, 1, 9); /* four samples a reader, and the batch in use */
}

Test(data, whether_images_are_left_in_files_is_told_without_reading_one)
{
    dataset_destroy(open_pictures(1));
    const int watch = watch_pictures(in_folder("train"));
    for (int memory = 10; memory <= 11; memory++) {
        char text[1024];
        struct colonnade_error error = {0};
        bool streams;
        snprintf(text, sizeof text,
                 "source = folder\npath = %s\nsize = 512\nchannels = 1\n"
                 "memory = %d\n",
                 folder, memory);
        struct config *config = parse(text);
        cr_assert_eq(dataset_streams(&streams, config, &error), COLONNADE_OK, "%s", error.message);
        cr_expect_eq(streams, memory == 10); /* 40 * 512 * 512 bytes are 10.5 million, 41 10.7 */
        config_destroy(config);
    }
    cr_expect_eq(files_read(watch, 0), 0);
    close(watch);
}

#ifndef __SANITIZE_ADDRESS__ /* which ends a program that asks for too much memory */
static void count_skipped(void *context, const char *reason)
{
    cr_expect_not_null(strstr(reason, "train/a/00.pgm: is no image"), "%s", reason);
    ++*(int *)context;
}

/* A file larger than what may be taken: the machine's fault, and so nothing to be passed over. */
Test(data, an_image_that_there_is_no_memory_for_is_no_bad_one)
{
    enum { FILE_BYTES = 160 << 20, ROOM = 80 << 20 };
    dataset_destroy(open_pictures(1));
    FILE *file = fopen(in_folder("train/a/00.pgm"), "w");
    cr_assert(file && ftruncate(fileno(file), FILE_BYTES) == 0);
    fclose(file);
    char text[1024];
    snprintf(text, sizeof text,
             "source = folder\npath = %s\nsize = 512\nchannels = 1\non_bad_image = skip\n", folder);
    for (int limited = 0; limited < 2; limited++) {
        struct dataset *data = NULL;
        struct colonnade_error error = {0};
        int skipped = 0;
        const struct data_request request = {
            .seed = 1, .threads = 1, .skipped = {count_skipped, &skipped}};
        struct config *config = parse(text);
        struct rlimit limit = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
        long pages;
        FILE *statm = fopen("/proc/self/statm", "r");
        cr_assert(statm && fscanf(statm, "%ld", &pages) == 1);
        fclose(statm);
        if (limited)
            limit.rlim_cur = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + ROOM;
        cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
        const enum colonnade_status status = dataset_open(&data, config, &request, &error);
        limit.rlim_cur = RLIM_INFINITY;
        setrlimit(RLIMIT_AS, &limit);
        cr_expect_eq(status, limited ? COLONNADE_FAILURE : COLONNADE_OK, "%s", error.message);
        cr_expect_eq(skipped, !limited);
        cr_expect(!limited || strncmp(error.message, "no memory for ", 14) == 0, "%s",
                  error.message);
        config_destroy(config);
        dataset_destroy(data);
    }
}
#endif

Test(data, processes_that_share_memory_take_a_part_of_it_each)
{
    dataset_destroy(open_pictures(1));
    for (int sharers = 1; sharers <= 2; sharers++) {
        char text[1024];
        struct dataset *data = NULL;
        struct colonnade_error error = {0};
        const struct data_request request = {.seed = 1, .threads = 2, .sharers = sharers};
        snprintf(text, sizeof text,
                 "source = folder\npath = %s\nsize = 512\nchannels = 1\n"
                 "memory = 11\nmean = 0\nstd = 1\n",
                 folder);
        struct config *config = parse(text);
        cr_assert_eq(dataset_open(&data, config, &request, &error), COLONNADE_OK, "%s",
                     error.message);
        cr_expect_eq(data->streams, sharers == 2);
        config_destroy(config);
        dataset_destroy(data);
    }
}

Test(data, destroying_nothing_is_fine)
{
    dataset_destroy(NULL);
    sampler_destroy(NULL);
}

/* ---- Debian's dataset-fashion-mnist, where it is installed ---- */

Test(data, fashion_mnist_has_its_published_mean_and_std)
{
    static const char path[] = "/usr/share/datasets/fashion-mnist";
    if (access(path, R_OK) != 0)
        cr_skip_test("%s is not there (Debian: dataset-fashion-mnist)", path);
    struct dataset *data =
        open_data(NULL, "source = idx\npath = /usr/share/datasets/fashion-mnist\n");
    cr_expect(data->train.count == 60000 && data->test.count == 10000 && data->classes == 10);
    cr_expect(fabs(data->mean[0] - 0.2860) < 5e-5 && fabs(data->std[0] - 0.3530) < 5e-5);
    dataset_destroy(data);
}
