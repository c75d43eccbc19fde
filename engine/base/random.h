/* Random numbers as a function: what a draw is for and where it stands decide its
 * value, no hidden state does. So nothing depends on threads, order or resuming.
 *
 * Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3",
 * SC 2011), from Random123. Key: the run's seed. Counter: purpose, epoch or step,
 * sample, index.
 */
#ifndef ENGINE_BASE_RANDOM_H
#define ENGINE_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

enum random_purpose {
    RANDOM_WEIGHTS = 1,
    RANDOM_SHUFFLE,
    RANDOM_VALIDATION,
    RANDOM_AUGMENT,
    RANDOM_DROPOUT,
    RANDOM_SYNTHETIC,
};

struct random_stream {
    uint64_t seed;
    uint32_t purpose; /* enum random_purpose, or that and a hash of a name: random_purpose() */
    uint32_t epoch;   /* or step */
    uint32_t sample;
    uint32_t index; /* of the next block of four draws */
};

/* `purpose` for one named thing (a node, a parameter). */
uint32_t random_purpose(enum random_purpose purpose, const char *name);

/* The next four draws, uniform over all 32-bit values; advances `stream->index`. */
void random_next4(struct random_stream *stream, uint32_t draws[4]);

/* One draw each, using up a whole block: for places where speed is no matter. */
double random_uniform(struct random_stream *stream);                 /* [0, 1) */
double random_normal(struct random_stream *stream);                  /* mean 0, deviation 1 */
uint32_t random_below(struct random_stream *stream, uint32_t bound); /* [0, bound), unbiased */

/* order[0..count) becomes a permutation of what it holds (Fisher-Yates). */
void random_shuffle(struct random_stream stream, uint32_t *order, size_t count);

#endif
