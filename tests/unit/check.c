/* Datasets of files, made here: what cannot be read, what is blank, copies of other sizes, and
 * forms that tell the class. Arrays are looked at from outside, in tests/cli/test_check.py.
 */
#include "engine/check/check.h"

#include <criterion/criterion.h>
#include <Random123/philox.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TRAIN = 24, TEST = 8, ALL = TRAIN + TEST, SIDE = 32, CLASSES = 2 };

/* A folder of files, two classes in turn, and the dataset of them. */
struct album {
    char folder[32];
    char paths[ALL][64];
    char *files[ALL];
    int32_t labels[ALL];
    struct dataset data;
};

/* A picture of 8x8 patches that `number` decides. */
static uint8_t patch(int number, int y, int x)
{
    const philox2x32_ctr_t counter = {{(uint32_t)(y * 8 + x), (uint32_t)number}};
    const philox2x32_key_t key = {{7}};
    return (uint8_t)philox2x32(counter, key).v[0];
}

/* PGM or PPM, of `side`. */
static void write_picture(const char *path, int number, int channels, int side)
{
    unlink(path);
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    fprintf(file, "P%d\n%d %d\n255\n", channels == 1 ? 5 : 6, side, side);
    for (int i = 0; i < side * side; i++)
        for (int c = 0; c < channels; c++)
            putc(patch(number, i / side * 8 / side, i % side * 8 / side), file);
    cr_assert_eq(fclose(file), 0);
}

static void open_album(struct album *album)
{
    memset(album, 0, sizeof *album);
    strcpy(album->folder, "/tmp/colonnade-check-XXXXXX");
    cr_assert_not_null(mkdtemp(album->folder));
    for (int i = 0; i < ALL; i++) {
        snprintf(album->paths[i], sizeof album->paths[i], "%s/%d.pnm", album->folder, i);
        album->files[i] = album->paths[i];
        album->labels[i] = i % CLASSES;
        write_picture(album->paths[i], i, 1, SIDE);
    }
    album->data = (struct dataset){
        .source = "folder",
        .c = 1,
        .h = SIDE,
        .w = SIDE,
        .classes = CLASSES,
        .train = {.count = TRAIN, .files = album->files, .labels = album->labels},
        .test = {.count = TEST, .files = album->files + TRAIN, .labels = album->labels + TRAIN},
    };
}

static void close_album(struct album *album)
{
    for (int i = 0; i < ALL; i++)
        unlink(album->files[i]);
    cr_assert_eq(rmdir(album->folder), 0);
}

/* Looks, and expects kinds and numbers as "kind:count kind:count". */
static struct check *look(const struct album *album, const char *expected)
{
    char found[512] = "";
    struct check *check;
    struct colonnade_error error;
    cr_assert_eq(check_create(&check, &album->data, 2, &error), COLONNADE_OK, "%s", error.message);
    for (int i = 0; i < CHECK_KINDS; i++)
        if (check->found[i] > 0)
            snprintf(found + strlen(found), sizeof found - strlen(found), "%s%s:%zu",
                     *found ? " " : "", check_kinds[i].name, check->found[i]);
    cr_assert_str_eq(found, expected);
    return check;
}

Test(check, is_silent_about_clean_files)
{
    struct album album;
    open_album(&album);
    struct check *check = look(&album, "");
    cr_assert_eq(check->facts[3].width, SIDE);
    cr_assert_eq(check->properties[CHECK_CHANNELS].distinct, 1);
    check_destroy(check);
    close_album(&album);
}

Test(check, names_unreadable_and_truncated_files_and_goes_on)
{
    struct album album;
    open_album(&album);
    cr_assert_eq(truncate(album.files[2], 500), 0);
    cr_assert_eq(truncate(album.files[TRAIN + 1], 0), 0);
    unlink(album.files[5]);
    write_picture(album.files[7], 6, 1, SIDE);
    struct check *check = look(&album, "unreadable:3 same_with_two_labels:1");
    for (int i = 0; i < ALL; i++) {
        const bool bad = i == 2 || i == 5 || i == TRAIN + 1;
        cr_assert_eq(check->unreadable[i] != NULL, bad, "%d", i);
        if (bad)
            cr_assert_not_null(strstr(check->unreadable[i], album.files[i]));
    }
    check_destroy(check);
    close_album(&album);
}

Test(check, finds_copies_of_other_sizes)
{
    struct album album;
    open_album(&album);
    write_picture(album.files[10], 4, 1, 2 * SIDE);
    write_picture(album.files[TRAIN], 3, 1, 3 * SIDE);
    struct check *check = look(&album, "near_in_train_and_test:1 near:1");
    cr_assert_eq(check->copies[0].image, 10);
    cr_assert_eq(check->copies[0].original, 4);
    cr_assert_eq(check->copies[1].image, TRAIN);
    cr_assert_eq(check->copies[1].original, 3);
    check_destroy(check);
    close_album(&album);
}

/* The grey of an RGB file without colours is the grey file's, so this is the same image. */
Test(check, takes_one_and_three_components_for_the_same_image)
{
    struct album album;
    open_album(&album);
    write_picture(album.files[TRAIN + 2], 6, 3, SIDE);
    check_destroy(look(&album, "same_in_train_and_test:1"));
    close_album(&album);
}

static void expect_leak(const struct check *check, enum check_property_kind kind)
{
    cr_assert(check->properties[kind].leak, "%s", check_property_name(kind));
    cr_assert_float_eq(check->properties[kind].accuracy, 1, 1e-9);
    cr_assert_float_eq(check->properties[kind].chance, 0.5, 1e-9);
}

Test(check, finds_that_channels_tell_the_class)
{
    struct album album;
    open_album(&album);
    for (int i = 1; i < ALL; i += 2)
        write_picture(album.files[i], i, 3, SIDE);
    struct check *check = look(&album, "leak:1");
    expect_leak(check, CHECK_CHANNELS);
    const struct check_value *grey = &check->properties[CHECK_CHANNELS].values[0];
    cr_assert_eq(grey->count, ALL / 2);
    cr_assert(strcmp(grey->text, "1") == 0 || strcmp(grey->text, "3") == 0);
    check_destroy(check);
    close_album(&album);
}

Test(check, finds_that_sizes_tell_the_class)
{
    struct album album;
    open_album(&album);
    for (int i = 0; i < ALL; i += 2)
        write_picture(album.files[i], i, 1, 2 * SIDE);
    struct check *check = look(&album, "leak:2");
    expect_leak(check, CHECK_SIZE);
    expect_leak(check, CHECK_AREA);
    check_destroy(check);
    close_album(&album);
}

Test(check, finds_that_file_names_tell_the_class)
{
    struct album album;
    open_album(&album);
    for (int i = 0; i < ALL; i += 2) {
        unlink(album.files[i]);
        strcpy(strrchr(album.files[i], '.'), ".PGM");
        write_picture(album.files[i], i, 1, SIDE);
    }
    struct check *check = look(&album, "leak:1");
    expect_leak(check, CHECK_SUFFIX);
    check_destroy(check);
    close_album(&album);
}

/* As photographs have it: almost every one a size of its own, which tells nothing of the next. */
Test(check, does_not_take_sizes_seen_once_for_a_leak)
{
    struct album album;
    open_album(&album);
    for (int i = 0; i < ALL; i++)
        write_picture(album.files[i], i, 1, SIDE + 8 * i);
    struct check *check = look(&album, "");
    cr_assert_eq(check->properties[CHECK_SIZE].distinct, ALL);
    cr_assert_eq(check->properties[CHECK_SIZE].value_count, CHECK_VALUES);
    check_destroy(check);
    close_album(&album);
}
