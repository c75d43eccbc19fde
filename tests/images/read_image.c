/* Reads images for the tests beside it: image_read() as a program.
 *
 *   read_image                 for each line "C H W crop|pad|stretch FILE" of standard input a line
 *                              "HEIGHT WIDTH BANDS" and the bytes [H, W, C], or "error: MESSAGE"
 *   read_image prefixes FILE   every true prefix of FILE, as FILE.cut: prints how many could be
 *                              read, and how many of those gave other pixels than FILE
 */
#include "engine/data/image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const fits[] = {
    [IMAGE_CROP] = "crop", [IMAGE_PAD] = "pad", [IMAGE_STRETCH] = "stretch"};

static int read_image(const char *path, const struct image_target *target)
{
    struct colonnade_error error = {0};
    struct image_facts facts;
    const size_t bytes = (size_t)target->c * (size_t)target->h * (size_t)target->w;
    uint8_t *pixels = malloc(bytes);
    if (!pixels)
        return 1;
    if (image_read(path, target, pixels, &facts, &error) == COLONNADE_OK) {
        printf("%d %d %d\n", facts.height, facts.width, facts.bands);
        fwrite(pixels, 1, bytes, stdout);
    } else {
        printf("error: %s\n", error.message);
    }
    free(pixels);
    return fflush(stdout);
}

static int read_images(void)
{
    char line[8192], fit[16];
    while (fgets(line, sizeof line, stdin)) {
        struct image_target target = {0};
        int path = 0;
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%d %d %d %15s %n", &target.c, &target.h, &target.w, fit, &path) != 4)
            return 1;
        while (strcmp(fits[target.fit], fit) != 0)
            target.fit++;
        if (read_image(line + path, &target) != 0)
            return 1;
    }
    return 0;
}

static int write_prefix(const char *path, const char *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");
    return file && fwrite(bytes, 1, count, file) == count && fclose(file) == 0 ? 0 : 1;
}

static int read_prefixes(const char *path)
{
    static char bytes[1 << 16], cut[4096];
    static const struct image_target target = {3, 8, 8, IMAGE_CROP};
    uint8_t whole[3 * 8 * 8], pixels[3 * 8 * 8];
    size_t readable = 0, other = 0;
    FILE *file = fopen(path, "rb");
    if (!file || image_read(path, &target, whole, NULL, NULL) != COLONNADE_OK)
        return 1;
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    snprintf(cut, sizeof cut, "%s.cut", path);
    for (size_t count = size; count-- > 0;) {
        struct colonnade_error error = {0};
        if (write_prefix(cut, bytes, count) != 0)
            return 1;
        if (image_read(cut, &target, pixels, NULL, &error) == COLONNADE_OK) {
            readable++;
            other += memcmp(pixels, whole, sizeof whole) != 0;
        } else if (strncmp(error.message, cut, strlen(cut)) != 0) {
            return 1;
        }
    }
    remove(cut);
    printf("%zu %zu\n", readable, other);
    return 0;
}

int main(int count, char **arguments)
{
    if (count == 3 && strcmp(arguments[1], "prefixes") == 0)
        return read_prefixes(arguments[2]);
    return count == 1 ? read_images() : 2;
}
