/* libvips's functions, opened when they are first needed: it and what it stands on take longer to
 * load than the program takes for everything else at its start. Private to image.c.
 */
#ifndef ENGINE_DATA_LIBVIPS_H
#define ENGINE_DATA_LIBVIPS_H

#include "engine/base/error.h"

#include <vips/vips.h>

#define LIBVIPS_FUNCTIONS(X)                                                                       \
    X(g_log_set_handler)                                                                           \
    X(g_object_unref)                                                                              \
    X(vips_area_unref)                                                                             \
    X(vips_array_double_new)                                                                       \
    X(vips_cache_set_max)                                                                          \
    X(vips_colourspace)                                                                            \
    X(vips_concurrency_set)                                                                        \
    X(vips_crop)                                                                                   \
    X(vips_embed)                                                                                  \
    X(vips_error_buffer)                                                                           \
    X(vips_error_clear)                                                                            \
    X(vips_extract_band)                                                                           \
    X(vips_flatten)                                                                                \
    X(vips_gifload_source)                                                                         \
    X(vips_image_get_orientation)                                                                  \
    X(vips_image_hasalpha)                                                                         \
    X(vips_image_new_from_memory)                                                                  \
    X(vips_init)                                                                                   \
    X(vips_jpegload_source)                                                                        \
    X(vips_linear1)                                                                                \
    X(vips_magickload_buffer)                                                                      \
    X(vips_max)                                                                                    \
    X(vips_pngload_source)                                                                         \
    X(vips_region_new)                                                                             \
    X(vips_region_prepare)                                                                         \
    X(vips_source_new_from_memory)                                                                 \
    X(vips_tiffload_source)                                                                        \
    X(vips_webpload_source)

#define LIBVIPS_FIELD(name) __typeof__(&(name)) name;
struct libvips {
    LIBVIPS_FUNCTIONS(LIBVIPS_FIELD)
};
#undef LIBVIPS_FIELD

/* The same for all threads, for good; silent, and each call on the caller's one thread. NULL with
 * `*reason`, static, where it does not load. */
const struct libvips *libvips_open(const char **reason);

#endif
