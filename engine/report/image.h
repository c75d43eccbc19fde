/* Small pictures inside the page. */
#ifndef ENGINE_REPORT_IMAGE_H
#define ENGINE_REPORT_IMAGE_H

#include "engine/base/error.h"

#include <stdio.h>

/* Writes `pixels` [height, width, 4] (red, green, blue, opacity) as the data URI of a PNG. */
enum colonnade_status image_uri(FILE *page, const unsigned char *pixels, int width, int height,
                                struct colonnade_error *error);

#endif
