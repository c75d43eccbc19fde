/* The places where results will be written: looked at before there is a result, so that a wrong
 * path fails in the first second and not after hours. What killed programs left there is taken
 * away.
 */
#include "engine/base/memory.h"
#include "engine/store/store.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool file_is_hdf5(const char *path)
{
    static const char signature[8] = "\211HDF\r\n\032\n";
    char start[sizeof signature] = {0};
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    size_t count = fread(start, 1, sizeof start, file);
    fclose(file);
    return count == sizeof start && memcmp(start, signature, sizeof start) == 0;
}

/* The longest part of `path` that exists, which `path` is cut to; "." for none. Returns the length
 * of that part in `path`. */
static size_t cut_to_existing(char *path)
{
    while (!file_exists(path)) {
        char *slash = strrchr(path, '/');
        if (!slash) {
            strcpy(path, ".");
            return 0;
        }
        slash[slash == path] = '\0'; /* the root keeps its slash */
    }
    return strlen(path);
}

enum colonnade_status destination_resolve(char **resolved, const char *path,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char *target = NULL, *existing = NULL, *real = NULL;
    TRY(file_target(&target, path, error));
    TRY(memory_allocate(&existing, strlen(target) + 2, 1, "a path", error));
    strcpy(existing, target);
    const char *rest = target + cut_to_existing(existing);
    real = realpath(existing, NULL);
    if (!real)
        RAISE(COLONNADE_FAILURE, "%s: %s", path, strerror(errno));
    char *joined;
    TRY(memory_allocate(&joined, strlen(real) + strlen(rest) + 2, 1, "a path", error));
    strcpy(joined, real);
    for (const char *part = rest; *part;) {
        part += strspn(part, "/");
        size_t length = strcspn(part, "/");
        if (length && !(length == 1 && *part == '.'))
            sprintf(joined + strlen(joined), "/%.*s", (int)length, part);
        part += length;
    }
    *resolved = joined;
out:
    free(target);
    free(existing);
    free(real);
    return status;
}

/* Whether a file can be made in `folder`, by making one. */
static enum colonnade_status try_folder(const char *folder, const char *path,
                                        struct colonnade_error *error)
{
    char *name;
    if (asprintf(&name, "%s/.colonnade-XXXXXX", folder) < 0)
        return error_set(error, COLONNADE_FAILURE, "no memory for a path");
    int file = mkstemp(name);
    int reason = errno;
    if (file >= 0) {
        close(file);
        unlink(name);
    }
    free(name);
    if (file < 0)
        return error_set(error, COLONNADE_FAILURE, "%s cannot be written: %s: %s", path, folder,
                         strerror(reason));
    return COLONNADE_OK;
}

enum colonnade_status destination_check(const char *path, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char *folder = NULL;
    struct stat facts;
    int missing = stat(path, &facts) != 0;
    if (missing && errno != ENOENT)
        RAISE(COLONNADE_FAILURE, "%s cannot be written: %s", path, strerror(errno));
    if (!missing && !S_ISREG(facts.st_mode))
        RAISE(COLONNADE_FAILURE, "%s cannot be written: it is not a file", path);
    if (path[0] == '\0' || path[strlen(path) - 1] == '/')
        RAISE(COLONNADE_FAILURE, "'%s' cannot be written: it names no file", path);
    TRY(file_target(&folder, path, error));
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    else
        strcpy(folder, ".");
    cut_to_existing(folder);
    TRY(try_folder(folder, path, error));
    file_remove_leftovers(path);
out:
    free(folder);
    return status;
}
