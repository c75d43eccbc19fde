/* npz: NumPy's arrays in a zip archive, as numpy.load() reads them. Every weight under its full
 * name in PyTorch's shape; and under names with a slash, which no weight has, what else one needs
 * to use them: data/classes, data/mean, data/std, golden/input, golden/logits.
 *
 * An array is a .npy of version 1.0: magic, the header's length, a Python dictionary, then values
 * in this machine's byte order, which the dictionary states. The archive is stored, not
 * compressed: weights hardly shrink. It has no times of day, so equal weights make equal bytes.
 */
#include "engine/base/memory.h"
#include "engine/base/utf8.h"
#include "engine/export/formats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    HEADER_BYTES = 512, /* of a .npy, at the most */
    NPY_ALIGNMENT = 64,
    ENTRIES_MOST = 65534,
    LOCAL_BYTES = 30, /* of an entry's headers, before the name */
    CENTRAL_BYTES = 46,
    END_BYTES = 22,
};

static const uint64_t archive_most = 0xfffffffe;   /* larger ones are another format, zip64 */
static const uint32_t local_magic = 0x04034b50;    /* "PK\3\4" */
static const char classes_name[] = "data/classes"; /* of the first array: npz_recognizes() */

struct archive_entry {
    char *name;
    uint32_t crc, bytes, offset;
};

struct archive {
    FILE *stream;
    const char *path;
    struct archive_entry *entries;
    size_t count, capacity;
    uint64_t bytes; /* written */
};

/* Little-endian numbers of a header. */
static unsigned char *put(unsigned char *at, int bytes, uint32_t value)
{
    for (int i = 0; i < bytes; i++)
        *at++ = (unsigned char)(value >> 8 * i);
    return at;
}

/* What a local and a central header have in common, from the version needed on. */
static unsigned char *put_entry(unsigned char *at, const struct archive_entry *entry)
{
    enum { VERSION = 20, STORED = 0, MIDNIGHT = 0, FIRST_OF_1980 = 1 << 5 | 1 };
    at = put(at, 2, VERSION);
    at = put(at, 2, 0);
    at = put(at, 2, STORED);
    at = put(at, 2, MIDNIGHT);
    at = put(at, 2, FIRST_OF_1980);
    at = put(at, 4, entry->crc);
    at = put(at, 4, entry->bytes);
    at = put(at, 4, entry->bytes);
    at = put(at, 2, (uint32_t)strlen(entry->name));
    return put(at, 2, 0);
}

static void write_bytes(struct archive *archive, const void *bytes, size_t count)
{
    fwrite(bytes, 1, count, archive->stream);
    archive->bytes += count;
}

static uint32_t checksum(uint32_t crc, const void *bytes, size_t count)
{
    const size_t piece = (size_t)1 << 30; /* zlib counts in 32 bits */
    const unsigned char *at = bytes;
    for (; count > piece; count -= piece, at += piece)
        crc = (uint32_t)crc32(crc, at, (unsigned)piece);
    return (uint32_t)crc32(crc, at, (unsigned)count);
}

/* NAME.npy, made of a header and values. */
static enum colonnade_status add_entry(struct archive *archive, const char *name,
                                       const char *header, size_t header_bytes, const void *values,
                                       size_t bytes, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    unsigned char local[LOCAL_BYTES];
    TRY(memory_grow(&archive->entries, &archive->capacity, archive->count + 1,
                    sizeof *archive->entries, "an archive", error));
    const uint64_t headers = LOCAL_BYTES + CENTRAL_BYTES + 2 * (strlen(name) + sizeof ".npy");
    if (archive->count == ENTRIES_MOST || bytes > archive_most ||
        archive->bytes + bytes + header_bytes + (archive->count + 1) * headers > archive_most)
        RAISE(COLONNADE_FAILURE, "%s: an npz holds at most %d arrays and 4 GB", archive->path,
              ENTRIES_MOST);
    struct archive_entry *entry = &archive->entries[archive->count];
    *entry =
        (struct archive_entry){.crc = checksum(checksum(0, header, header_bytes), values, bytes),
                               .bytes = (uint32_t)(header_bytes + bytes),
                               .offset = (uint32_t)archive->bytes};
    TRY(memory_allocate(&entry->name, strlen(name) + sizeof ".npy", 1, "a name", error));
    sprintf(entry->name, "%s.npy", name);
    archive->count++;
    put_entry(put(local, 4, local_magic), entry);
    write_bytes(archive, local, sizeof local);
    write_bytes(archive, entry->name, strlen(entry->name));
    write_bytes(archive, header, header_bytes);
    write_bytes(archive, values, bytes);
out:
    return status;
}

static void finish_archive(struct archive *archive)
{
    const uint32_t start = (uint32_t)archive->bytes;
    for (size_t i = 0; i < archive->count; i++) {
        const struct archive_entry *entry = &archive->entries[i];
        unsigned char central[CENTRAL_BYTES] = "PK\1\2\24"; /* made by version 2.0 on MS-DOS */
        unsigned char *at = put_entry(central + 6, entry);
        put(at + 10, 4, entry->offset); /* after no comment, disk 0, no attributes */
        write_bytes(archive, central, sizeof central);
        write_bytes(archive, entry->name, strlen(entry->name));
    }
    unsigned char end[END_BYTES] = "PK\5\6";
    unsigned char *at = put(end + 8, 2, (uint32_t)archive->count);
    at = put(at, 2, (uint32_t)archive->count);
    at = put(at, 4, (uint32_t)archive->bytes - start);
    put(at, 4, start);
    write_bytes(archive, end, sizeof end);
}

/* `kind` is NumPy's: "f4", "U12". */
static enum colonnade_status add_array(struct archive *archive, const char *name, const char *kind,
                                       size_t element_bytes, int rank, const int *dims,
                                       const void *values, struct colonnade_error *error)
{
    const char *order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? "<" : ">";
    char header[HEADER_BYTES] = "\x93NUMPY\1";
    const int start = 10;
    int used = start;
    size_t bytes = element_bytes;
    used += snprintf(header + used, sizeof header - (size_t)used,
                     "{'descr': '%s%s', 'fortran_order': False, 'shape': (", order, kind);
    for (int i = 0; i < rank; i++) {
        used += snprintf(header + used, sizeof header - (size_t)used, "%d,%s", dims[i],
                         i + 1 < rank ? " " : "");
        bytes = size_multiply(bytes, (size_t)dims[i]);
    }
    used += snprintf(header + used, sizeof header - (size_t)used, "), }");
    const int padded = (used + NPY_ALIGNMENT) / NPY_ALIGNMENT * NPY_ALIGNMENT;
    memset(header + used, ' ', (size_t)(padded - used));
    header[padded - 1] = '\n';
    put((unsigned char *)header + start - 2, 2, (uint32_t)(padded - start));
    return add_entry(archive, name, header, (size_t)padded, values, bytes, error);
}

/* Texts as NumPy's: characters of 32 bits, as many as the longest has. */
static enum colonnade_status add_texts(struct archive *archive, const char *name,
                                       char *const *texts, int count, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    uint32_t *characters = NULL;
    size_t longest = 1;
    char kind[24];
    for (int i = 0; i < count; i++) {
        size_t length = 0;
        for (const char *at = texts[i]; utf8_next(&at);)
            length++;
        longest = length > longest ? length : longest;
    }
    TRY(memory_allocate(&characters, size_multiply((size_t)count, longest), sizeof *characters,
                        "texts", error));
    for (int i = 0; i < count; i++) {
        uint32_t *to = characters + (size_t)i * longest, character;
        for (const char *at = texts[i]; (character = utf8_next(&at));)
            *to++ = character;
    }
    snprintf(kind, sizeof kind, "U%zu", longest);
    TRY(add_array(archive, name, kind, longest * sizeof *characters, 1, &count, characters, error));
out:
    free(characters);
    return status;
}

static enum colonnade_status add_all(struct archive *archive, const struct network *network,
                                     struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct data_facts *data = &network->run->data;
    const struct golden *golden = &network->run->golden;
    const struct shape shape = data->shape;
    TRY(add_texts(archive, classes_name, network->class_names, data->classes, error));
    for (int i = 0; i < network->count; i++)
        for (int j = 0; j < network->layers[i].weight_count; j++) {
            const struct weight *weight = &network->layers[i].weights[j];
            TRY(add_array(archive, weight->name, "f4", sizeof(float), weight->rank, weight->dims,
                          weight->values, error));
        }
    TRY(add_array(archive, "data/mean", "f4", sizeof(float), 1, &shape.c, data->mean, error));
    TRY(add_array(archive, "data/std", "f4", sizeof(float), 1, &shape.c, data->std, error));
    if (golden->n == 0)
        goto out;
    TRY(add_array(archive, "golden/input", "f4", sizeof(float), 4,
                  (int[]){golden->n, shape.c, shape.h, shape.w}, golden->input, error));
    TRY(add_array(archive, "golden/logits", "f4", sizeof(float), 2,
                  (int[]){golden->n, data->classes}, golden->logits, error));
out:
    return status;
}

EXPORT_MAKER(npz_make)
{
    enum colonnade_status status = COLONNADE_OK;
    struct archive archive = {.path = path};
    char *bytes = NULL;
    size_t count = 0;
    bool failed = true;
    archive.stream = open_memstream(&bytes, &count);
    if (!archive.stream)
        RAISE(COLONNADE_FAILURE, "%s: no memory for an archive", path);
    TRY(add_all(&archive, network, error));
    finish_archive(&archive);
    failed = ferror(archive.stream);
out:
    if (archive.stream && (fclose(archive.stream) != 0 || failed) && status == COLONNADE_OK)
        status = error_set(error, COLONNADE_FAILURE, "%s: no memory for an archive", path);
    *file = (struct export_file){bytes, count};
    for (size_t i = 0; i < archive.count; i++)
        free(archive.entries[i].name);
    free(archive.entries);
    return status;
}

bool npz_recognizes(const char *path)
{
    return file_holds(path, 0, "PK\3\4", 4) &&
           file_holds(path, LOCAL_BYTES, classes_name, strlen(classes_name));
}
