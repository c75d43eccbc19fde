/* Whole files: written beside their place, flushed, synced, renamed into it. Knows nothing of what
 * is in them.
 *
 * A temporary file is locked from its first moment to its renaming, by a lock that ends with its
 * writer, however that ends: one that can be locked is nobody's.
 */
#include "engine/base/memory.h"
#include "engine/store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    TEMPORARY_ATTEMPTS = 100, /* names that are taken are passed over */
    LOCK_ATTEMPTS = 100,      /* a locked file that was taken away meanwhile */
    NAME_KEPT = 200,          /* bytes of the name in the temporary one: NAME_MAX is 255 */
    SUFFIX_BYTES = 64
};

/* Makes the folders above `target`. `*made` counts the levels that were missing. */
static enum colonnade_status make_folders(const char *path, char *target, size_t *made,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    for (char *slash = strchr(target + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        struct stat state;
        *slash = '\0';
        const bool missing = stat(target, &state) != 0 && errno == ENOENT;
        if (missing && mkdir(target, 0777) == 0)
            ++*made;
        else if (missing && errno != EEXIST)
            RAISE(COLONNADE_FAILURE, "%s: cannot make the folder %s: %s", path, target,
                  strerror(errno));
        *slash = '/';
    }
out:
    return status;
}

/* Takes the deepest `made` folders above `target` away again, as far as they are empty. */
static void remove_folders(char *target, size_t made)
{
    char *slash = strrchr(target, '/');
    for (; made > 0 && slash; made--, slash = strrchr(target, '/')) {
        *slash = '\0';
        rmdir(target);
    }
}

/* Bytes of the folder of `target`, with its slash. */
static int folder_length(const char *target)
{
    const char *slash = strrchr(target, '/');
    return slash ? (int)(slash - target) + 1 : 0;
}

/* Replaces `*target`, a symbolic link that says `text`, by where it leads. */
static enum colonnade_status follow(char **target, const char *text, struct colonnade_error *error)
{
    char *next;
    const int folder = text[0] == '/' ? 0 : folder_length(*target);
    if (asprintf(&next, "%.*s%s", folder, *target, text) < 0)
        return error_set(error, COLONNADE_FAILURE, "no memory for a file's name");
    free(*target);
    *target = next;
    return COLONNADE_OK;
}

enum colonnade_status file_target(char **target, const char *path, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char text[PATH_MAX];
    ssize_t length;
    *target = realpath(path, NULL);
    if (*target)
        goto out;
    if (errno == ELOOP)
        RAISE(COLONNADE_FAILURE, "%s: cannot resolve: %s", path, strerror(errno));
    /* Here they come to an end, which is not there yet. */
    TRY(memory_copy_text(target, path, error));
    while ((length = readlink(*target, text, sizeof text - 1)) >= 0) {
        text[length] = '\0';
        TRY(follow(target, text, error));
    }
out:
    return status;
}

/* Where `path` leads: a file that exists is replaced behind its symbolic links, and keeps its
 * permissions. Pipes, devices and folders are not for renaming over. */
static enum colonnade_status resolve(const char *path, char **target, mode_t *mode,
                                     struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct stat state;
    if (path[0] == '\0' || path[strlen(path) - 1] == '/')
        RAISE(COLONNADE_FAILURE, "%s: cannot write: not the name of a file", path);
    const bool exists = stat(path, &state) == 0;
    if (exists && !S_ISREG(state.st_mode))
        RAISE(COLONNADE_FAILURE, "%s: cannot replace: not a regular file", path);
    if (exists)
        *mode = state.st_mode & 07777;
    TRY(file_target(target, path, error));
out:
    return status;
}

static bool lock(int descriptor)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(descriptor, F_OFD_SETLK, &whole) == 0;
}

/* Whether the lock that could not be had is another's. */
static bool is_anothers(int reason)
{
    return reason == EAGAIN || reason == EACCES;
}

/* Whether somebody took the new file for a leftover before it was locked. Where nothing can be
 * locked, nothing is a leftover. */
static bool is_taken_away(int descriptor)
{
    struct stat state;
    if (!lock(descriptor) && is_anothers(errno))
        return true;
    return fstat(descriptor, &state) == 0 && state.st_nlink == 0;
}

/* Opens a new file beside `target`; its name goes to `*temporary`, which the caller frees. */
static enum colonnade_status open_temporary(const char *path, const char *target, char **temporary,
                                            int *descriptor, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const int folder = folder_length(target);
    const size_t bytes = strlen(target) + SUFFIX_BYTES;
    TRY(memory_allocate(temporary, bytes, 1, "a file name", error));
    for (int attempt = 0; *descriptor < 0 && attempt < TEMPORARY_ATTEMPTS; attempt++) {
        snprintf(*temporary, bytes, "%.*s.%.*s.tmp-%ld-%d", folder, target, NAME_KEPT,
                 target + folder, (long)getpid(), attempt);
        *descriptor = open(*temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (*descriptor < 0 && errno != EEXIST)
            break;
        if (*descriptor >= 0 && is_taken_away(*descriptor)) {
            close(*descriptor);
            *descriptor = -1;
        }
    }
    if (*descriptor < 0)
        RAISE(COLONNADE_FAILURE, "%s: cannot create: %s", path, strerror(errno));
out:
    return status;
}

static bool write_all(int descriptor, const unsigned char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t written = write(descriptor, bytes, count);
        if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            bytes += written;
            count -= (size_t)written;
        }
    }
    return true;
}

/* Makes the rename last. Where a file system cannot sync folders, or the folder may not be read,
 * there is nothing more to do: that is no error. */
static bool sync_folder(const char *target)
{
    char *folder = strdup(target);
    if (!folder)
        return false;
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder ? 1 : 0] = '\0';
    const int descriptor = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int reason = descriptor < 0 || fsync(descriptor) != 0 ? errno : 0;
    if (descriptor >= 0)
        close(descriptor);
    free(folder);
    errno = reason;
    return reason == 0 || reason == EINVAL || reason == ENOTSUP || reason == EACCES;
}

/* Fills a temporary neighbour of `target`, and then renames it; `path` is how messages name it. */
static enum colonnade_status write_and_rename(const char *path, const char *target, mode_t mode,
                                              const struct file_content *content, bool durable,
                                              struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char *temporary = NULL;
    int descriptor = -1;
    bool exists = false;
    TRY(open_temporary(path, target, &temporary, &descriptor, error));
    exists = true;
    if (mode && fchmod(descriptor, mode) != 0)
        RAISE(COLONNADE_FAILURE, "%s: cannot set permissions: %s", path, strerror(errno));
    TRY(content->write(content->context, path, temporary, descriptor, error));
    if (durable && fsync(descriptor) != 0)
        RAISE(COLONNADE_FAILURE, "%s: cannot flush to disk: %s", path, strerror(errno));
    if (rename(temporary, target) != 0)
        RAISE(COLONNADE_FAILURE, "%s: cannot put in place: %s", path, strerror(errno));
    exists = false;
    const int closed = close(descriptor); /* and unlocked */
    descriptor = -1;
    if (closed != 0)
        RAISE(COLONNADE_FAILURE, "%s: is in place, but cannot be closed: %s", path,
              strerror(errno));
    if (durable && !sync_folder(target))
        RAISE(COLONNADE_FAILURE, "%s: is in place, but its folder cannot be flushed to disk: %s",
              path, strerror(errno));
out:
    if (descriptor >= 0)
        close(descriptor);
    if (exists)
        unlink(temporary);
    free(temporary);
    return status;
}

static enum colonnade_status replace(const char *path, const struct file_content *content,
                                     bool durable, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char *target = NULL;
    mode_t mode = 0;
    size_t folders = 0;
    TRY(resolve(path, &target, &mode, error));
    TRY(make_folders(path, target, &folders, error));
    TRY(write_and_rename(path, target, mode, content, durable, error));
out:
    if (status != COLONNADE_OK && target)
        remove_folders(target, folders);
    free(target);
    return status;
}

enum colonnade_status file_replace_with(const char *path, const struct file_content *content,
                                        struct colonnade_error *error)
{
    return replace(path, content, true, error);
}

enum colonnade_status file_keep_aside(char **name, const char *path, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char *target = NULL;
    mode_t mode = 0;
    TRY(resolve(path, &target, &mode, error));
    const size_t bytes = strlen(target) + SUFFIX_BYTES;
    TRY(memory_allocate(name, bytes, 1, "a file name", error));
    snprintf(*name, bytes, "%s.replaced", target);
    for (int number = 2; link(target, *name) != 0; number++) {
        /* There may be no links, or not to this file. */
        if (errno != EEXIST && !file_exists(*name) && rename(target, *name) == 0)
            break;
        if (errno != EEXIST)
            RAISE(COLONNADE_FAILURE, "%s: cannot be kept as %s: %s", path, *name, strerror(errno));
        snprintf(*name, bytes, "%s.replaced-%d", target, number);
    }
out:
    free(target);
    return status;
}

/* --- what killed programs left --- */

/* "PID-N", as open_temporary() ends a name. */
static bool is_temporary_ending(const char *text)
{
    const size_t first = strspn(text, "0123456789");
    const size_t second = text[first] == '-' ? strspn(text + first + 1, "0123456789") : 0;
    return first > 0 && second > 0 && text[first + 1 + second] == '\0';
}

static bool is_named(int descriptor, int folder, const char *name)
{
    struct stat opened, named;
    return fstat(descriptor, &opened) == 0 &&
           fstatat(folder, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

/* Its name may be another file's by the time that it is locked. */
static void remove_if_nobodys(int folder, const char *name)
{
    const int descriptor = openat(folder, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0)
        return;
    if (lock(descriptor) && is_named(descriptor, folder, name))
        unlinkat(folder, name, 0);
    close(descriptor);
}

void file_remove_leftovers(const char *path)
{
    char *target = NULL, *start = NULL;
    mode_t mode = 0;
    DIR *folder = NULL;
    if (resolve(path, &target, &mode, NULL) != COLONNADE_OK)
        goto out;
    const int length = folder_length(target);
    if (asprintf(&start, ".%.*s.tmp-", NAME_KEPT, target + length) < 0) {
        start = NULL;
        goto out;
    }
    target[length] = '\0';
    folder = opendir(length > 0 ? target : ".");
    for (const struct dirent *entry; folder && (entry = readdir(folder)) != NULL;)
        if (strncmp(entry->d_name, start, strlen(start)) == 0 &&
            is_temporary_ending(entry->d_name + strlen(start)))
            remove_if_nobodys(dirfd(folder), entry->d_name);
out:
    if (folder)
        closedir(folder);
    free(start);
    free(target);
}

struct bytes {
    const void *bytes;
    size_t count;
};

static enum colonnade_status write_bytes(const void *context, const char *path,
                                         const char *temporary, int descriptor,
                                         struct colonnade_error *error)
{
    const struct bytes *bytes = context;
    if (!write_all(descriptor, bytes->bytes, bytes->count))
        return error_set(error, COLONNADE_FAILURE, "%s: cannot write %zu bytes: %s", path,
                         bytes->count, strerror(errno));
    return COLONNADE_OK;
}

static enum colonnade_status replace_by_bytes(const char *path, const void *bytes, size_t count,
                                              bool durable, struct colonnade_error *error)
{
    const struct bytes context = {bytes, count};
    return replace(path, &(struct file_content){write_bytes, &context}, durable, error);
}

enum colonnade_status file_replace(const char *path, const void *bytes, size_t count,
                                   struct colonnade_error *error)
{
    return replace_by_bytes(path, bytes, count, true, error);
}

enum colonnade_status file_replace_lightly(const char *path, const void *bytes, size_t count,
                                           struct colonnade_error *error)
{
    return replace_by_bytes(path, bytes, count, false, error);
}

/* --- locks --- */

/* ".NAME.lock" beside the file that `path` leads to; where that is goes to `target`. The caller
 * frees both. */
static enum colonnade_status name_lock(const char *path, char **target, char **name,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    mode_t mode = 0;
    TRY(resolve(path, target, &mode, error));
    const int folder = folder_length(*target);
    if (asprintf(name, "%.*s.%s.lock", folder, *target, *target + folder) < 0) {
        *name = NULL;
        RAISE(COLONNADE_FAILURE, "no memory for a file's name");
    }
out:
    return status;
}

/* Whether somebody has locked the file `name`. */
static enum file_locked look_at_lock(const char *name)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    enum file_locked locked = FILE_LOCKED_UNKNOWN;
    const int descriptor = open(name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (descriptor < 0)
        return errno == ENOENT ? FILE_LOCKED_NO : FILE_LOCKED_UNKNOWN;
    if (fcntl(descriptor, F_OFD_GETLK, &whole) == 0)
        locked = whole.l_type == F_UNLCK ? FILE_LOCKED_NO : FILE_LOCKED_YES;
    close(descriptor);
    return locked;
}

/* False where it is another's. A file that was taken away before it was locked guards nothing: so
 * again, until the file that is locked is the one of that name. Another user's can only be looked
 * at. */
static bool open_and_lock(struct file_lock *taken)
{
    for (int attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
        const int descriptor = open(taken->name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (descriptor < 0)
            return look_at_lock(taken->name) != FILE_LOCKED_YES;
        const bool locked = lock(descriptor), anothers = !locked && is_anothers(errno);
        if (!anothers && (!locked || is_named(descriptor, AT_FDCWD, taken->name))) {
            taken->descriptor = descriptor;
            return true;
        }
        close(descriptor);
        if (anothers)
            return false;
    }
    return true;
}

enum colonnade_status file_lock_take(struct file_lock *taken, const char *path,
                                     struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    *taken = (struct file_lock){.descriptor = -1};
    TRY(name_lock(path, &taken->target, &taken->name, error));
    TRY(make_folders(path, taken->target, &taken->folders, error));
    if (!open_and_lock(taken))
        RAISE(COLONNADE_FAILURE, "%s is being trained by another process", path);
out:
    return status;
}

void file_lock_release(struct file_lock *taken)
{
    if (taken->name && taken->descriptor >= 0) {
        if (is_named(taken->descriptor, AT_FDCWD, taken->name))
            unlink(taken->name);
        close(taken->descriptor); /* and unlocked */
    }
    if (taken->target)
        remove_folders(taken->target, taken->folders);
    free(taken->target);
    free(taken->name);
    *taken = (struct file_lock){.descriptor = -1};
}

enum file_locked file_is_locked(const char *path)
{
    enum file_locked locked = FILE_LOCKED_UNKNOWN;
    char *target = NULL, *name = NULL;
    if (name_lock(path, &target, &name, NULL) == COLONNADE_OK)
        locked = look_at_lock(name);
    free(target);
    free(name);
    return locked;
}
