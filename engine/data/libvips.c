/* Opens libvips. Knows nothing of what is done with it. */
#include "engine/data/libvips.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

static const char library_name[] = "libvips.so.42";

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct libvips functions;
static char failure[256]; /* why it does not load; empty: it does */

/* What goes wrong comes back as an error; it is not for a library to print. */
static void ignore_message(const char *domain, GLogLevelFlags level, const char *message,
                           void *context)
{
}

static bool find_functions(void *library)
{
    bool found = true;
#define FIND(name)                                                                                 \
    found = found && (*(void **)(void *)&functions.name = dlsym(library, #name)) != NULL;
    LIBVIPS_FUNCTIONS(FIND)
#undef FIND
    return found;
}

static void open_library(void)
{
    void *library = dlopen(library_name, RTLD_NOW | RTLD_LOCAL);
    if (!library || !find_functions(library)) {
        const char *reason = dlerror();
        snprintf(failure, sizeof failure, "%s", reason ? reason : library_name);
        return;
    }
    functions.g_log_set_handler(
        "VIPS", (GLogLevelFlags)((unsigned)G_LOG_LEVEL_MASK | (unsigned)G_LOG_FLAG_RECURSION),
        ignore_message, NULL);
    if (functions.vips_init("colonnade") != 0) {
        snprintf(failure, sizeof failure, "%.255s", functions.vips_error_buffer());
        return;
    }
    functions.vips_concurrency_set(1);
    functions.vips_cache_set_max(0);
}

const struct libvips *libvips_open(const char **reason)
{
    pthread_once(&once, open_library);
    *reason = failure;
    return failure[0] ? NULL : &functions;
}
