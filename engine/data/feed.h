/* Images that are read from files while a network trains: reader threads decode a few mini-batches
 * ahead, into a ring of them. Private to sampler.c.
 */
#ifndef ENGINE_DATA_FEED_H
#define ENGINE_DATA_FEED_H

#include "engine/data/dataset.h"

struct feed;

/* For mini-batches of `size` images of the split, which has to outlive the feed; read by as many
 * threads as the dataset's. */
enum colonnade_status feed_create(struct feed **feed, const struct dataset *data,
                                  const struct split *split, size_t size,
                                  struct colonnade_error *error);
void feed_destroy(struct feed *feed); /* NULL is fine */
size_t feed_bytes(const struct feed *feed);
double feed_wait_seconds(const struct feed *feed);

/* Drops what was read ahead. Nobody reads the order of samples from here on. */
void feed_stop(struct feed *feed);

/* The samples of an epoch, in order, which stays the caller's. Reading begins with the batch at
 * `first`. Only on a feed that was stopped, or is new. */
void feed_begin(struct feed *feed, const uint32_t *order, size_t count, size_t first);

/* Waits for the batch at `index`: pixels [n, h, w, c], valid until the next call. Batches in turn
 * are read ahead; any other begins anew there. */
enum colonnade_status feed_batch(struct feed *feed, size_t index, const uint8_t **pixels,
                                 struct colonnade_error *error);

#endif
