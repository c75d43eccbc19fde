/* Small pictures inside the page. */
#ifndef ENGINE_REPORT_IMAGE_H
#define ENGINE_REPORT_IMAGE_H

#include "engine/base/error.h"

#include <stdio.h>

/* Writes `pixels` [height, width, channels] as the data URI of a PNG. One channel is grey, three
 * are red, green, blue, a fourth is opacity. */
enum colonnade_status image_uri(FILE *page, const unsigned char *pixels, int width, int height,
                                int channels, struct colonnade_error *error);

/* The same of an image of any number of channels, for a list of many: of other than three the first
 * in grey; where a side is longer than 128, a pixel is the mean of a square of them. */
enum colonnade_status image_small_uri(FILE *page, const unsigned char *image, int width, int height,
                                      int channels, struct colonnade_error *error);

#endif
