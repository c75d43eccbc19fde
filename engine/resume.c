/* Going on from a run file: the config of today against the one that the run was begun with. */
#include "engine/experiment.h"
#include "engine/store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What may differ: it decides how far, where and on what a run goes on, not what was trained. */
static const struct key_name free_keys[] = {
    {"data", "path"}, /* if the run knows its data by their checksum */
    {"run", "output"},   {"run", "threads"},     {"data", "memory"},
    {"train", "epochs"}, {"train", "max_steps"}, {"train", "checkpoint_every"},
    {NULL, NULL},
};

static bool is_free(const struct key_name *ignored, const char *section, const char *key)
{
    for (; ignored->section; ignored++)
        if (strcmp(section, ignored->section) == 0 && strcmp(key, ignored->key) == 0)
            return true;
    return false;
}

/* "run.output, run.threads, ..." */
static const char *join_names(const struct key_name *keys, char *text, size_t size)
{
    size_t used = 0;
    for (const struct key_name *key = keys; key->section && used < size; key++)
        used += (size_t)snprintf(text + used, size - used, "%s%s.%s", used ? ", " : "",
                                 key->section, key->key);
    return text;
}

static const char *find_value(const struct config *config, const char *section, const char *key)
{
    const struct section *found = config_find(config, section);
    const struct entry *entry = found ? config_entry(found, key) : NULL;
    return entry ? entry->value : NULL;
}

static void append_difference(char *text, size_t size, const char *section, const char *key,
                              const char *before, const char *now)
{
    size_t used = strlen(text);
    snprintf(text + used, size - used, "%s%s.%s was %s, is %s", *text ? "; " : "", section, key,
             before ? before : "not given", now ? now : "not given");
}

/* Appends the keys of `a` whose values in `b` differ; with `only_missing`, those that `b` lacks.
 * `swapped`: `a` is the config of now. */
static void append_differences(char *text, size_t size, const struct config *a,
                               const struct config *b, const struct key_name *ignored,
                               bool only_missing, bool swapped)
{
    for (size_t i = 0; i < a->count; i++) {
        const struct section *section = &a->sections[i];
        for (size_t j = 0; j < section->count; j++) {
            const struct entry *entry = &section->entries[j];
            const char *other = find_value(b, section->name, entry->key);
            if (is_free(ignored, section->name, entry->key) || (only_missing && other))
                continue;
            if (!other || strcmp(entry->value, other) != 0)
                append_difference(text, size, section->name, entry->key,
                                  swapped ? other : entry->value, swapped ? entry->value : other);
        }
    }
}

/* The next section at or after `i` that is a node. */
static size_t next_node(const struct config *config, size_t i)
{
    while (i < config->count && !config_entry(&config->sections[i], "type"))
        i++;
    return i;
}

/* Of two configs with the same nodes: whether they stand in the same order, without which they are
 * another graph. */
static bool same_order(const struct config *a, const struct config *b)
{
    size_t i = next_node(a, 0), j = next_node(b, 0);
    while (i < a->count && j < b->count) {
        if (strcmp(a->sections[i].name, b->sections[j].name) != 0)
            return false;
        i = next_node(a, i + 1);
        j = next_node(b, j + 1);
    }
    return true;
}

/* The run's config takes the free keys of `config`, and the run's settings follow. */
static enum colonnade_status take_free_keys(struct run *run, const struct config *config,
                                            struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    for (const struct key_name *free = free_keys; free->section; free++) {
        const char *section = free->section, *key = free->key;
        const char *value = find_value(config, section, key);
        struct section *mine = config_section(run->config, section);
        if (!value && mine)
            config_remove_entry(mine, key);
        if (!value)
            continue;
        TRY(config_set(run->config, section, key, value, 0, error));
    }
    TRY(settings_read(&run->settings, run->config, error));
out:
    return status;
}

enum colonnade_status resume_check(const struct config *before, const struct config *now,
                                   const char *path, const struct key_name *ignored,
                                   struct colonnade_error *error)
{
    char differences[1024] = "", names[256];
    append_differences(differences, sizeof differences, before, now, ignored, false, false);
    append_differences(differences, sizeof differences, now, before, ignored, true, true);
    if (differences[0])
        return error_set(error, COLONNADE_USAGE, "%s cannot go on in %s: %s (what may differ: %s)",
                         now->path, path, differences, join_names(ignored, names, sizeof names));
    if (!same_order(before, now))
        return error_set(error, COLONNADE_USAGE,
                         "%s cannot go on in %s: its nodes stand in another order", now->path,
                         path);
    return COLONNADE_OK;
}

/* What is trained stays trained. */
static enum colonnade_status check_reach(const struct run *run, const char *path,
                                         const struct config *config, struct colonnade_error *error)
{
    const struct settings *settings = &run->settings;
    const struct progress *progress = &run->progress;
    const struct section *train = config_find(config, "train");
    const int epochs =
        progress->epoch + (progress->batch > 0); /* the last one may be begun alone */
    if (settings->epochs < epochs)
        return config_error(config, train, "epochs", error,
                            "epochs = %d: the run in %s has come to epoch %d already; it "
                            "goes on to that one or a later one",
                            settings->epochs, path, epochs);
    if (settings->max_steps && settings->max_steps < (uint64_t)progress->step)
        return config_error(config, train, "max_steps", error,
                            "max_steps = %" PRIu64 ": the run in %s has done %ld steps already; it "
                            "goes on to that many or more",
                            settings->max_steps, path, progress->step);
    return COLONNADE_OK;
}

/* Whether the learning rate goes by the number of epochs: then it differs where the fewer end. */
static bool goes_by_epochs(const struct settings *settings, int before)
{
    enum { AN_EPOCH = 1000 };
    struct settings then = *settings;
    then.epochs = before;
    const int least = before < settings->epochs ? before : settings->epochs;
    const long last = (long)least * AN_EPOCH - 1;
    return last > 0 && schedule_lr(&then, last, AN_EPOCH) != schedule_lr(settings, last, AN_EPOCH);
}

enum colonnade_status resume_load(struct run **run, const char *path, const struct config *config,
                                  int *epochs_before, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct run *loaded = NULL;
    TRY(run_load(&loaded, path, error));
    const struct key_name *ignored = loaded->data.checksum_images ? free_keys : free_keys + 1;
    TRY(resume_check(loaded->config, config, path, ignored, error));
    const int before = loaded->settings.epochs;
    TRY(take_free_keys(loaded, config, error));
    TRY(check_reach(loaded, path, config, error));
    *epochs_before = goes_by_epochs(&loaded->settings, before) ? before : 0;
    *run = loaded;
    loaded = NULL;
out:
    run_destroy(loaded);
    return status;
}
