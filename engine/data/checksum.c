/* What training images are known by: a checksum, so that a run goes on with the images that it was
 * begun with. Of images that are read while they are used a few are taken, of more than fit into
 * MOST_BYTES so many: a start is not to wait for it.
 */
#include "engine/base/memory.h"
#include "engine/data/dataset.h"

#include <stdlib.h>
#include <zlib.h>

static const size_t MOST_BYTES = (size_t)256 << 20; /* a tenth of a second of CRC-32 */
static const size_t MOST_FILES = 64;                /* to be decoded */

size_t dataset_checksum_images(const struct dataset *data)
{
    const size_t fit = MOST_BYTES / dataset_image_bytes(data);
    const size_t most = !data->train.images ? MOST_FILES : fit > 0 ? fit : 1;
    return data->train.count < most ? data->train.count : most;
}

/* Of `images` images, evenly spread over the split, to checksums [images]. */
static enum colonnade_status sum_images(const struct dataset *data, size_t images,
                                        uint32_t *checksums, struct colonnade_error *error)
{
    const struct split *split = &data->train;
    const size_t bytes = dataset_image_bytes(data);
    enum colonnade_status status = COLONNADE_OK;
    size_t failed = SIZE_MAX; /* the first image that could not be read */
#pragma omp parallel num_threads(data->threads)
    {
        struct colonnade_error reason = {0};
        uint8_t *buffer = NULL;
        const uint8_t *image;
        enum colonnade_status ready = memory_allocate(&buffer, bytes, 1, "an image", &reason);
#pragma omp for schedule(dynamic, 16)
        for (size_t i = 0; i < images; i++) {
            const size_t index = i * split->count / images;
            enum colonnade_status done = ready;
            if (done == COLONNADE_OK)
                done = dataset_image(data, split, index, buffer, &image, &reason);
            if (done == COLONNADE_OK) {
                checksums[i] = (uint32_t)crc32_z(0, image, bytes);
                continue;
            }
#pragma omp critical(sum_images)
            if (i < failed) {
                failed = i;
                status = error_set(error, done, "%s", reason.message);
            }
        }
        free(buffer);
    }
    return status;
}

enum colonnade_status dataset_checksum(const struct dataset *data, size_t images,
                                       uint32_t *checksum, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct split *split = &data->train;
    uint32_t *checksums = NULL;
    TRY(memory_allocate(&checksums, images, sizeof *checksums, "checksums of images", error));
    TRY(sum_images(data, images, checksums, error));
    uint32_t sum = (uint32_t)crc32_z(0, (const unsigned char *)split->labels,
                                     split->count * sizeof *split->labels);
    *checksum =
        (uint32_t)crc32_z(sum, (const unsigned char *)checksums, images * sizeof *checksums);
out:
    free(checksums);
    return status;
}
