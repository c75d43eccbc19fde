/* A test double for LD_PRELOAD: counts the system calls with which a run file is saved, and kills
 * the program, or fails the call, at the one that FAULT names:
 *
 *   FAULT=7:before   killed instead of the seventh call
 *   FAULT=7:after    killed when the seventh call has been made
 *   FAULT=7:28       the seventh call fails with errno 28
 *
 * A call of the save is one on a file with ".tmp-" in its name, on its descriptor, or on the
 * descriptor of a folder. With FAULT_LOG=FILE each is written there, a name a line. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DESCRIPTORS = 1024 };

static bool watched[DESCRIPTORS];
static int calls;

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static void note(const char *name)
{
    const char *path = getenv("FAULT_LOG");
    FILE *log = path ? fopen(path, "a") : NULL;
    if (!log)
        return;
    fprintf(log, "%s\n", name);
    fclose(log);
}

/* Counts a call; returns the errno that it fails with, or 0. */
static int before(const char *name)
{
    const char *fault = getenv("FAULT");
    char *what;
    calls++;
    note(name);
    if (!fault || strtol(fault, &what, 10) != calls)
        return 0;
    if (strcmp(what, ":before") == 0)
        die();
    return atoi(what + 1); /* 0 for ":after" */
}

static void after(void)
{
    const char *fault = getenv("FAULT");
    char *what;
    if (fault && strtol(fault, &what, 10) == calls && strcmp(what, ":after") == 0)
        die();
}

static bool is_watched(int descriptor)
{
    return descriptor >= 0 && descriptor < DESCRIPTORS && watched[descriptor];
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Makes a call that is watched where `condition` holds. */
#define WATCH(condition, name, failure, call)                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return call;                                                                           \
        const int reason = before(#name);                                                          \
        if (reason) {                                                                              \
            errno = reason;                                                                        \
            return failure;                                                                        \
        }                                                                                          \
        __typeof__(call) result = call;                                                            \
        after();                                                                                   \
        return result;                                                                             \
    } while (0)

static int open_watched(const char *path, int flags, mode_t mode)
{
    const int reason = before("open");
    if (reason) {
        errno = reason;
        return -1;
    }
    const int descriptor = REAL(open)(path, flags, mode);
    if (descriptor >= 0 && descriptor < DESCRIPTORS)
        watched[descriptor] = true;
    after();
    return descriptor;
}

int open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    if (strstr(path, ".tmp-") || (flags & O_DIRECTORY))
        return open_watched(path, flags, mode);
    return REAL(open)(path, flags, mode);
}

ssize_t write(int descriptor, const void *bytes, size_t count)
{
    WATCH(is_watched(descriptor), write, -1, REAL(write)(descriptor, bytes, count));
}

int fsync(int descriptor)
{
    WATCH(is_watched(descriptor), fsync, -1, REAL(fsync)(descriptor));
}

int fchmod(int descriptor, mode_t mode)
{
    WATCH(is_watched(descriptor), fchmod, -1, REAL(fchmod)(descriptor, mode));
}

int close(int descriptor)
{
    const bool is = is_watched(descriptor);
    if (is)
        watched[descriptor] = false;
    WATCH(is, close, (REAL(close)(descriptor), -1), REAL(close)(descriptor));
}

int rename(const char *from, const char *to)
{
    WATCH(strstr(from, ".tmp-"), rename, -1, REAL(rename)(from, to));
}
