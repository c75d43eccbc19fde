/* [sweep] as a grid: its lists, their product, and the config of each combination. Knows nothing of
 * shapes, data or training: a key or a value is wrong if its reader says so.
 */
#include "engine/sweep/sweep.h"

#include "engine/base/memory.h"
#include "engine/graph/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MOST = 100000 };

/* The keys of [sweep] that are its own. */
struct own_settings {
    struct names seeds;
    bool skip_invalid;
};

static const struct key sweep_keys[] = {
    {.name = "seeds",
     .kind = KEY_NAMES,
     .offset = offsetof(struct own_settings, seeds),
     .help = "every combination is trained with each; the config's own seed where not given"},
    {.name = "skip_invalid",
     .kind = KEY_BOOLEAN,
     .offset = offsetof(struct own_settings, skip_invalid),
     .fallback = "true",
     .help = "whether a combination whose shapes cannot be, or that is the same training as "
             "another, is listed and left out, or an error"},
};

/* Sections that are no nodes, and may be swept whether or not the config has them. */
static const char *const settings_sections[] = {"train", "data", "augment", NULL};

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

static bool is_axis(const struct entry *entry)
{
    return strchr(entry->key, '.') != NULL;
}

/* `node` of a line of [sweep] is nothing that can be swept. */
static enum colonnade_status unknown_section(const struct config *config,
                                             const struct section *section,
                                             const struct entry *entry, const char *name,
                                             struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const char **names = NULL;
    size_t count = 0;
    TRY(memory_allocate(&names, config->count + COUNT_OF(settings_sections), sizeof *names,
                        "names of sections", error));
    for (size_t i = 0; settings_sections[i]; i++)
        names[count++] = settings_sections[i];
    for (size_t i = 0; i < config->count; i++)
        if (config_entry(&config->sections[i], "type"))
            names[count++] = config->sections[i].name;
    const char *near = nearest_name(name, names);
    status = config_error(config, section, entry->key, error,
                          "[sweep] %s: there is no node [%s]%s%s%s", entry->key, name,
                          near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
out:
    free(names);
    return status;
}

static enum colonnade_status check_section(struct config *config, const struct section *section,
                                           const struct entry *entry, const char *name,
                                           struct colonnade_error *error)
{
    if (strcmp(name, "run") == 0)
        return config_error(config, section, entry->key, error,
                            "[sweep] %s: what [run] says is the same for all combinations; `seeds` "
                            "takes seeds",
                            entry->key);
    if (is_one_of(name, settings_sections))
        return COLONNADE_OK;
    const struct section *node = config_section(config, name);
    if (!node || node == section)
        return unknown_section(config, section, entry, name, error);
    return COLONNADE_OK;
}

static enum colonnade_status read_axis(struct sweep_axis *axis, struct config *config,
                                       const struct section *section, const struct entry *entry,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    axis->name = entry->key;
    axis->line = entry->line;
    axis->key = strchr(entry->key, '.') + 1;
    TRY(memory_copy_text(&axis->section, entry->key, error));
    axis->section[axis->key - entry->key - 1] = '\0';
    TRY(check_section(config, section, entry, axis->section, error));
    TRY(config_items(config, section, entry, &axis->values, error));
out:
    return status;
}

/* The keys of [sweep] that are its own, with the axes left to others. */
static enum colonnade_status read_own(struct sweep_grid *grid, const struct config *config,
                                      const struct section *section, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct own_settings own = {0};
    const char **others = NULL;
    TRY(memory_allocate(&others, grid->axis_count + 1, sizeof *others, "swept keys", error));
    for (size_t i = 0; i < grid->axis_count; i++)
        others[i] = grid->axes[i].name;
    TRY(config_read(config, section, "sweep", sweep_keys, COUNT_OF(sweep_keys), others, &own,
                    error));
    const struct entry *seeds = config_entry(section, "seeds");
    grid->seed_texts = own.seeds;
    grid->seed_count = own.seeds.count ? own.seeds.count : 1;
    grid->seeds_line = seeds ? seeds->line : 0;
    grid->skip_invalid = own.skip_invalid;
out:
    free(others);
    return status;
}

/* Seeds are read where [run] seed is, by its rules. */
static enum colonnade_status read_seeds(struct sweep_grid *grid, const struct config *config,
                                        const struct section *section,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct config *one = NULL;
    TRY(memory_allocate(&grid->seeds, grid->seed_count, sizeof *grid->seeds, "seeds", error));
    for (size_t i = 0; i < grid->seed_count; i++) {
        struct settings settings;
        TRY(config_copy(&one, config, error));
        if (grid->seed_texts.count)
            TRY(config_set(one, "run", "seed", grid->seed_texts.items[i], grid->seeds_line, error));
        TRY(settings_read(&settings, one, error));
        config_destroy(one);
        one = NULL;
        grid->seeds[i] = settings.seed;
        for (size_t j = 0; j < i; j++)
            if (grid->seeds[j] == settings.seed)
                TRY(config_error(config, section, "seeds", error,
                                 "[sweep] seeds: %llu is given twice",
                                 (unsigned long long)settings.seed));
    }
out:
    config_destroy(one);
    return status;
}

static enum colonnade_status count_combinations(struct sweep_grid *grid,
                                                const struct config *config,
                                                const struct section *section,
                                                struct colonnade_error *error)
{
    grid->combinations = 1;
    for (size_t i = 0; i < grid->axis_count; i++)
        grid->combinations = size_multiply(grid->combinations, grid->axes[i].values.count);
    if (size_multiply(grid->combinations, grid->seed_count) > ROWS_MOST)
        return config_error(config, section, NULL, error,
                            "[sweep] makes more than %d rows, which is the most: combinations "
                            "times seeds",
                            ROWS_MOST);
    return COLONNADE_OK;
}

enum colonnade_status sweep_grid_read(struct sweep_grid *grid, struct config *config,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct sweep_grid read = {0};
    const struct section *section = config_section(config, "sweep");
    if (!section)
        RAISE_AT(COLONNADE_USAGE, config->path, 0,
                 "there is no section [sweep], which says what is swept: NODE.KEY = value, value");
    TRY(memory_allocate(&read.axes, section->count, sizeof *read.axes, "swept keys", error));
    for (size_t i = 0; i < section->count; i++)
        if (is_axis(&section->entries[i])) {
            struct sweep_axis *axis = &read.axes[read.axis_count++];
            TRY(read_axis(axis, config, section, &section->entries[i], error));
            read.drops_nodes |= strcmp(axis->key, "inputs") == 0;
        }
    TRY(read_own(&read, config, section, error));
    TRY(read_seeds(&read, config, section, error));
    TRY(count_combinations(&read, config, section, error));
    *grid = read;
    return status;
out:
    sweep_grid_finish(&read);
    return status;
}

void sweep_grid_finish(struct sweep_grid *grid)
{
    for (size_t i = 0; i < grid->axis_count; i++)
        free(grid->axes[i].section);
    free(grid->axes);
    free(grid->seeds);
    *grid = (struct sweep_grid){0};
}

/* Which of its values an axis has in a combination. */
static size_t value_index(const struct sweep_grid *grid, size_t combination, size_t axis)
{
    for (size_t i = grid->axis_count - 1; i > axis; i--)
        combination /= grid->axes[i].values.count;
    return combination % grid->axes[axis].values.count;
}

const char *sweep_value(const struct sweep_grid *grid, size_t combination, size_t axis)
{
    return grid->axes[axis].values.items[value_index(grid, combination, axis)];
}

size_t sweep_data_index(const struct sweep_grid *grid, size_t combination)
{
    size_t index = 0;
    for (size_t i = 0; i < grid->axis_count; i++)
        if (strcmp(grid->axes[i].section, "data") == 0)
            index = index * grid->axes[i].values.count + value_index(grid, combination, i);
    return index;
}

/* Takes out of a config, whose [sweep] is gone, what is for other combinations alone. */
static enum colonnade_status drop_unread(struct config *config, const struct sweep_grid *grid,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(settings_choose(config, error));
    if (grid->drops_nodes)
        TRY(graph_check_keys(config, true, error));
out:
    return status;
}

enum colonnade_status sweep_config(struct config **made, const struct config *config,
                                   const struct sweep_grid *grid, size_t combination, size_t seed,
                                   struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct config *one = NULL;
    TRY(config_copy(&one, config, error));
    config_remove_section(one, "sweep");
    for (size_t i = 0; i < grid->axis_count; i++)
        TRY(config_set(one, grid->axes[i].section, grid->axes[i].key,
                       sweep_value(grid, combination, i), grid->axes[i].line, error));
    if (grid->seed_texts.count)
        TRY(config_set(one, "run", "seed", grid->seed_texts.items[seed], grid->seeds_line, error));
    TRY(drop_unread(one, grid, error));
    *made = one;
    one = NULL;
out:
    config_destroy(one);
    return status;
}

static bool has_key(const struct config *config, const char *section, const char *key)
{
    const struct section *found = config_find(config, section);
    return found && config_entry(found, key);
}

enum colonnade_status sweep_check_read(const struct config *one, const struct config *config,
                                       const struct sweep_grid *grid, size_t combination,
                                       struct colonnade_error *error)
{
    const struct sweep_axis *first = NULL;
    char others[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < grid->axis_count; i++) {
        const struct sweep_axis *axis = &grid->axes[i];
        if (has_key(one, axis->section, axis->key) || value_index(grid, combination, i) == 0)
            continue;
        if (used < sizeof others)
            used += (size_t)snprintf(others + used, sizeof others - used, "%s%s = %s",
                                     first ? ", " : "", axis->name, axis->values.items[0]);
        first = first ? first : axis;
    }
    if (!first)
        return COLONNADE_OK;
    return config_error(config, config_find(config, "sweep"), first->name, error,
                        "the same training as with %s, which this combination does not read",
                        others);
}

static enum colonnade_status check_keys_of(const struct config *config,
                                           const struct sweep_grid *grid, size_t combination,
                                           struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct config *one = NULL;
    struct settings settings;
    TRY(sweep_config(&one, config, grid, combination, 0, error));
    TRY(settings_read(&settings, one, error));
    TRY(dataset_check_keys(one, error));
    TRY(graph_check_keys(one, false, error));
    TRY(config_check_all_read(one, error));
out:
    config_destroy(one);
    return status;
}

enum colonnade_status sweep_check_keys(const struct config *config, const struct sweep_grid *grid,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    for (size_t i = 0; i < grid->combinations; i++)
        TRY(check_keys_of(config, grid, i, error));
out:
    return status;
}

/* Raises where --set gave `whole` a key that the base does without. */
static enum colonnade_status check_sets(const struct config *whole, const struct config *base,
                                        struct colonnade_error *error)
{
    for (size_t i = 0; i < whole->count; i++) {
        const struct section *section = &whole->sections[i];
        for (size_t j = 0; j < section->count; j++) {
            const struct entry *entry = &section->entries[j];
            if (entry->line == 0 && strcmp(section->name, "sweep") != 0 &&
                !has_key(base, section->name, entry->key))
                return config_error(whole, section, entry->key, error,
                                    "nothing reads it but other combinations of [sweep]");
        }
    }
    return COLONNADE_OK;
}

enum colonnade_status sweep_reduce_to_base(struct config *config, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct sweep_grid grid = {0};
    struct config *whole = NULL;
    if (!config_section(config, "sweep"))
        return COLONNADE_OK;
    TRY(sweep_grid_read(&grid, config, error));
    TRY(sweep_check_keys(config, &grid, error));
    TRY(config_copy(&whole, config, error));
    config_remove_section(config, "sweep");
    TRY(drop_unread(config, &grid, error));
    TRY(check_sets(whole, config, error));
out:
    config_destroy(whole);
    sweep_grid_finish(&grid);
    return status;
}
