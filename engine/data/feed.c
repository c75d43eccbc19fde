/* Reading ahead: threads that decode images into a ring of mini-batches. Knows nothing of labels,
 * and nothing of what is done with the pixels.
 *
 * Samples of an epoch are taken by the readers in order. One is taken when its batch has a place
 * in the ring, which begins with the batch that the consumer has: at least AHEAD more, and with
 * small ones so many that every reader finds samples to go on with while others are slow. A batch
 * is whole when all of its samples are done, well or not; so what the consumer meets depends on no
 * thread.
 */
#include "engine/data/feed.h"
#include "engine/base/clock.h"

#include "engine/base/memory.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    AHEAD = 2,       /* batches, at the least */
    READER_AHEAD = 4 /* samples for each reader, at the least */
};

struct slot {
    uint8_t *pixels; /* [size, h, w, c] */
    size_t done;     /* samples of its batch */
    size_t failed;   /* the first one in the epoch's order that could not be read; SIZE_MAX: none */
    struct colonnade_error error; /* of that one */
};

struct feed {
    const struct dataset *data;
    const struct split *split;
    size_t size, image_bytes;
    pthread_t *threads;
    int thread_count;
    double wait_seconds;

    pthread_mutex_t lock;       /* of all below */
    pthread_cond_t room, whole; /* there is a sample to take; one more is done */
    const uint32_t *order;
    size_t count; /* samples of the epoch */
    size_t next;  /* the next one to take */
    size_t first; /* the batch that the ring begins with: asked for last, or to be asked for */
    int busy;     /* readers that have one */
    bool reading, ended;
    struct slot *slots; /* [slot_count] */
    size_t slot_count;
};

static struct slot *slot_of(struct feed *feed, size_t batch)
{
    return &feed->slots[batch % feed->slot_count];
}

static bool can_take(const struct feed *feed)
{
    return feed->reading && feed->next < feed->count &&
           feed->next / feed->size < feed->first + feed->slot_count;
}

static void finish_sample(struct slot *slot, size_t sample, enum colonnade_status status,
                          const struct colonnade_error *error)
{
    slot->done++;
    if (status != COLONNADE_OK && sample < slot->failed) {
        slot->failed = sample;
        slot->error = *error;
    }
}

static void *read_ahead(void *context)
{
    struct feed *feed = context;
    pthread_mutex_lock(&feed->lock);
    while (!feed->ended) {
        if (!can_take(feed)) {
            pthread_cond_wait(&feed->room, &feed->lock);
            continue;
        }
        struct colonnade_error error = {0};
        const uint8_t *image;
        const size_t sample = feed->next++, index = feed->order[sample];
        struct slot *slot = slot_of(feed, sample / feed->size);
        uint8_t *pixels = slot->pixels + sample % feed->size * feed->image_bytes;
        feed->busy++;
        pthread_mutex_unlock(&feed->lock);
        enum colonnade_status status =
            dataset_image(feed->data, feed->split, index, pixels, &image, &error);
        pthread_mutex_lock(&feed->lock);
        feed->busy--;
        finish_sample(slot, sample, status, &error);
        pthread_cond_signal(&feed->whole);
    }
    pthread_mutex_unlock(&feed->lock);
    return NULL;
}

static enum colonnade_status start_threads(struct feed *feed, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const int wanted = feed->data->threads;
    TRY(memory_allocate(&feed->threads, (size_t)wanted, sizeof *feed->threads, "readers", error));
    while (feed->thread_count < wanted) {
        pthread_t *thread = &feed->threads[feed->thread_count];
        if (pthread_create(thread, NULL, read_ahead, feed) != 0)
            RAISE(COLONNADE_FAILURE, "cannot start reader %d of %d", feed->thread_count + 1,
                  wanted);
        feed->thread_count++;
    }
out:
    return status;
}

static enum colonnade_status create_ring(struct feed *feed, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t samples = READER_AHEAD * (size_t)feed->data->threads;
    const size_t ahead = (samples + feed->size - 1) / feed->size;
    feed->slot_count = 1 + (ahead > AHEAD ? ahead : AHEAD);
    TRY(memory_allocate(&feed->slots, feed->slot_count, sizeof *feed->slots, "mini-batches",
                        error));
    for (size_t i = 0; i < feed->slot_count; i++)
        TRY(memory_allocate(&feed->slots[i].pixels, feed->size, feed->image_bytes,
                            "mini-batches that are read ahead", error));
out:
    return status;
}

enum colonnade_status feed_create(struct feed **result, const struct dataset *data,
                                  const struct split *split, size_t size,
                                  struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct feed *feed = NULL;
    TRY(memory_allocate(&feed, 1, sizeof *feed, "a reader of images", error));
    feed->data = data;
    feed->split = split;
    feed->size = size;
    feed->image_bytes = dataset_image_bytes(data);
    pthread_mutex_init(&feed->lock, NULL);
    pthread_cond_init(&feed->room, NULL);
    pthread_cond_init(&feed->whole, NULL);
    TRY(create_ring(feed, error));
    TRY(start_threads(feed, error));
    *result = feed;
    feed = NULL;
out:
    feed_destroy(feed);
    return status;
}

void feed_destroy(struct feed *feed)
{
    if (!feed)
        return;
    pthread_mutex_lock(&feed->lock);
    feed->ended = true;
    pthread_cond_broadcast(&feed->room);
    pthread_mutex_unlock(&feed->lock);
    for (int i = 0; i < feed->thread_count; i++)
        pthread_join(feed->threads[i], NULL);
    for (size_t i = 0; feed->slots && i < feed->slot_count; i++)
        free(feed->slots[i].pixels);
    free(feed->slots);
    pthread_cond_destroy(&feed->whole);
    pthread_cond_destroy(&feed->room);
    pthread_mutex_destroy(&feed->lock);
    free(feed->threads);
    free(feed);
}

size_t feed_bytes(const struct feed *feed)
{
    return sizeof *feed +
           feed->slot_count * (sizeof *feed->slots + feed->size * feed->image_bytes) +
           (size_t)feed->thread_count * sizeof *feed->threads;
}

double feed_wait_seconds(const struct feed *feed)
{
    return feed->wait_seconds;
}

static void clear_slot(struct slot *slot)
{
    slot->done = 0;
    slot->failed = SIZE_MAX;
}

/* Lets the readers finish what they have, and then nothing is under way. */
static void drain(struct feed *feed)
{
    feed->reading = false;
    while (feed->busy > 0)
        pthread_cond_wait(&feed->whole, &feed->lock);
}

/* Of a drained feed the ring begins with the batch at `index`, all of it to be read. */
static void read_from(struct feed *feed, size_t index)
{
    feed->first = index;
    feed->next = index * feed->size;
    for (size_t i = 0; i < feed->slot_count; i++)
        clear_slot(&feed->slots[i]);
    feed->reading = true;
    pthread_cond_broadcast(&feed->room);
}

void feed_stop(struct feed *feed)
{
    pthread_mutex_lock(&feed->lock);
    drain(feed);
    pthread_mutex_unlock(&feed->lock);
}

void feed_begin(struct feed *feed, const uint32_t *order, size_t count, size_t first)
{
    pthread_mutex_lock(&feed->lock);
    feed->order = order;
    feed->count = count;
    read_from(feed, first);
    pthread_mutex_unlock(&feed->lock);
}

/* The batch before `index` is done with: its place is for the one that comes next. */
static void ask_for(struct feed *feed, size_t index)
{
    if (index == feed->first + 1) {
        clear_slot(slot_of(feed, feed->first));
        feed->first = index;
        pthread_cond_broadcast(&feed->room);
    } else {
        drain(feed);
        read_from(feed, index);
    }
}

enum colonnade_status feed_batch(struct feed *feed, size_t index, const uint8_t **pixels,
                                 struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const double start = seconds_now();
    pthread_mutex_lock(&feed->lock);
    assert(index * feed->size < feed->count);
    const size_t left = feed->count - index * feed->size;
    const size_t n = left < feed->size ? left : feed->size;
    if (index != feed->first)
        ask_for(feed, index);
    struct slot *slot = slot_of(feed, index);
    while (slot->done < n)
        pthread_cond_wait(&feed->whole, &feed->lock);
    *pixels = slot->pixels;
    if (slot->failed != SIZE_MAX)
        status = error_set(error, slot->error.status, "%s", slot->error.message);
    pthread_mutex_unlock(&feed->lock);
    feed->wait_seconds += seconds_now() - start;
    return status;
}
