/* Names become edges, epilogues and activations become nodes, maxima move before what never
 * decreases, and an order is found. */
#include "engine/graph/draft.h"

#include "engine/base/memory.h"
#include "engine/nodes/augment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct node_type node_input, node_epilogue;

static const char *const reserved[] = {"run", "data", "augment", "train", "sweep", NULL};

static bool is_reserved(const char *name)
{
    for (int i = 0; reserved[i]; i++)
        if (strcmp(reserved[i], name) == 0)
            return true;
    return false;
}

static struct node *draft_add(struct draft *draft, const struct node_type *type, int owner)
{
    struct node *node = &draft->nodes[draft->count];
    node->type = type;
    node->owner = owner < 0 ? draft->count : owner;
    draft->output_of[draft->count] = draft->count;
    draft->count++;
    return node;
}

static enum colonnade_status find_type(const struct config *config, const struct section *section,
                                       const struct node_type **type, struct colonnade_error *error)
{
    const struct entry *entry = config_entry(section, "type");
    if (!entry) {
        const char *near_section = nearest_name(section->name, reserved);
        return config_error(config, section, NULL, error,
                            "[%s] has no type: a node needs one, such as type = conv%s%s%s",
                            section->name, near_section ? "; or did you mean [" : "",
                            near_section ? near_section : "", near_section ? "]?" : "");
    }
    *type = node_type_find(entry->value);
    if (*type)
        return COLONNADE_OK;
    const char *names[256];
    char list[512] = "";
    size_t count = 0;
    for (size_t i = 0; node_types[i]; i++)
        if (!node_types[i]->internal) {
            names[count++] = node_types[i]->name;
            if (strlen(list) + strlen(names[count - 1]) + 3 < sizeof list)
                strcat(strcat(list, count > 1 ? ", " : ""), names[count - 1]);
        }
    names[count] = NULL;
    const char *near = nearest_name(entry->value, names);
    return config_error(config, section, "type", error,
                        "[%s] unknown type '%s'; %s%s%sthe types are %s", section->name,
                        entry->value, near ? "did you mean '" : "", near ? near : "",
                        near ? "'? " : "", list);
}

/* An activation that is a node type of its own: [NODE_TYPE], as if the user had written it below
 * the node. */
static enum colonnade_status draft_activation(struct draft *draft, int owner, const char *name,
                                              struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct node_type *type = node_type_find(name);
    const struct section *section = draft->sections[owner];
    struct node *node = draft_add(draft, type, -1);
    const int index = draft->count - 1;
    draft->sections[index] = section;
    node->line = section->line;
    node->follows = true;
    node->inputs[0] = draft->output_of[owner];
    node->written[0] = owner;
    node->input_count = 1;
    if (asprintf(&node->name, "%s_%s", section->name, name) < 0) {
        node->name = NULL;
        RAISE(COLONNADE_FAILURE, "no memory for a node's name");
    }
    for (size_t i = 0; i < draft->config->count; i++)
        if (strcmp(draft->config->sections[i].name, node->name) == 0)
            TRY(config_error(draft->config, section, "activation", error,
                             "[%s] activation = %s makes a node %s, and there is another of that "
                             "name",
                             section->name, name, node->name));
    draft->output_of[owner] = index;
    TRY(memory_allocate(&node->settings, 1, type->settings_size, "settings", error));
    TRY(config_read(draft->config, NULL, node->name, type->keys, type->key_count, NULL,
                    node->settings, error));
out:
    return status;
}

static enum colonnade_status draft_node(struct draft *draft, struct section *section,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    static const char *const ignored[] = {"type", "inputs", NULL};
    const struct node_type *type;
    if (strcmp(section->name, "input") == 0) {
        status = config_error(draft->config, section, NULL, error,
                              "[input] is the name of the data: a node needs another");
        goto out;
    }
    section->read = true;
    TRY(find_type(draft->config, section, &type, error));
    int index = draft->count;
    struct node *node = draft_add(draft, type, -1);
    draft->sections[index] = section;
    node->line = section->line;
    TRY(memory_copy_text(&node->name, section->name, error));
    TRY(memory_allocate(&node->settings, 1, type->settings_size, "settings", error));
    TRY(config_read(draft->config, section, section->name, type->keys, type->key_count, ignored,
                    node->settings, error));
    struct epilogue epilogue =
        type->epilogue ? type->epilogue(node->settings) : (struct epilogue){0};
    if (epilogue.bias || epilogue.activation != ACTIVATION_NONE) {
        struct node *after = draft_add(draft, &node_epilogue, index);
        draft->sections[draft->count - 1] = section;
        draft->output_of[index] = draft->count - 1;
        after->line = section->line;
        after->inputs[0] = index;
        after->input_count = 1;
        TRY(memory_copy_text(&after->name, section->name, error));
        TRY(memory_allocate(&after->settings, 1, sizeof epilogue, "settings", error));
        *(struct epilogue *)after->settings = epilogue;
    }
    if (epilogue.node)
        TRY(draft_activation(draft, index, epilogue.node, error));
out:
    return status;
}

static int draft_find(const struct draft *draft, const char *name)
{
    for (int i = 0; i < draft->count; i++)
        if (draft->nodes[i].owner == i && strcmp(draft->nodes[i].name, name) == 0)
            return i;
    return -1;
}

static enum colonnade_status unknown_input(const struct draft *draft, const struct node *node,
                                           const char *name, struct colonnade_error *error)
{
    const char **names = calloc((size_t)draft->count + 1, sizeof *names);
    if (!names)
        return error_set(error, COLONNADE_FAILURE, "no memory for a message");
    size_t count = 0;
    for (int i = 0; i < draft->count; i++)
        if (draft->nodes[i].owner == i)
            names[count++] = draft->nodes[i].name;
    const char *near = nearest_name(name, names);
    enum colonnade_status status =
        config_error(draft->config, draft->sections[node->owner], "inputs", error,
                     "[%s] inputs: there is no node '%s'%s%s%s", node->name, name,
                     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    free(names);
    return status;
}

struct inputs_settings {
    struct names inputs;
};

static const struct key inputs_keys[] = {
    {"inputs", KEY_NAMES, offsetof(struct inputs_settings, inputs),
     .help = "names of nodes; `input` is the data; the node above where not given"},
};

/* Edges of a declared node: what `inputs` names, else the declared node above it. */
static enum colonnade_status draft_inputs(struct draft *draft, int index, int above,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct node *node = &draft->nodes[index];
    const struct section *section = draft->sections[index];
    struct inputs_settings settings = {{NULL, 0}};
    if (config_entry(section, "inputs")) {
        struct section only = *section;
        struct entry entry = *config_entry(section, "inputs");
        only.entries = &entry;
        only.count = 1;
        TRY(config_read(draft->config, &only, section->name, inputs_keys, 1, NULL, &settings,
                        error));
    }
    int count = settings.inputs.count > 0 ? (int)settings.inputs.count : 1;
    const struct node_type *type = node->type;
    if (count < type->inputs_least || count > type->inputs_most) {
        status = config_error(draft->config, section, "inputs", error,
                              "[%s] has %d input%s; a node of type %s takes %s%d", node->name,
                              count, plural(count), type->name,
                              type->inputs_least < type->inputs_most ? "at least " : "",
                              type->inputs_least);
        goto out;
    }
    for (int i = 0; i < count; i++) {
        int source =
            settings.inputs.count > 0 ? draft_find(draft, settings.inputs.items[i]) : above;
        if (source < 0) {
            TRY(unknown_input(draft, node, settings.inputs.items[i], error));
            goto out;
        }
        node->written[i] = draft->nodes[draft->output_of[source]].owner;
        node->inputs[i] = draft->output_of[source];
    }
    node->input_count = count;
out:
    return status;
}

/* max(f(x)) = f(max(x)) for an f that never decreases: taken after the maximum, f and its bias work
 * on a fraction of the values. Returns the output's new index. */
static int swap_with_maximum(struct draft *draft, int output)
{
    for (int m = 0; m < draft->count; m++) {
        struct node *maximum = &draft->nodes[m];
        while (maximum->type->takes_maximum) {
            int f = maximum->inputs[0];
            struct node *before = &draft->nodes[f];
            if (!before->type->monotone || !before->type->monotone(before) ||
                node_readers(draft->nodes, draft->count, f) != 1)
                break;
            for (int i = 0; i < draft->count; i++)
                for (int j = 0; j < draft->nodes[i].input_count; j++)
                    if (draft->nodes[i].inputs[j] == m)
                        draft->nodes[i].inputs[j] = f;
            if (output == m)
                output = f;
            maximum->inputs[0] = before->inputs[0];
            before->inputs[0] = m;
            before->moved++;
        }
    }
    return output;
}

/* The data's node: its section is [augment]. */
static enum colonnade_status draft_data(struct draft *draft, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct node *data = draft_add(draft, &node_input, -1);
    draft->sections[0] = config_section(draft->config, "augment");
    TRY(memory_copy_text(&data->name, "input", error));
    TRY(memory_allocate(&data->settings, 1, node_input.settings_size, "settings", error));
    TRY(augment_read(data->settings, draft->config, error));
out:
    return status;
}

static enum colonnade_status draft_sections(struct draft *draft, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(draft_data(draft, error));
    for (size_t i = 0; i < draft->config->count; i++)
        if (!is_reserved(draft->config->sections[i].name))
            TRY(draft_node(draft, &draft->config->sections[i], error));
    if (draft->count == 1)
        RAISE_AT(COLONNADE_USAGE, draft->config->path, 0,
                 "there is no node: a network needs a section such as [fc1] with type = dense");
    int above = 0;
    for (int i = 1; i < draft->count; i++) {
        if (draft->nodes[i].owner != i || draft->nodes[i].follows)
            continue;
        TRY(draft_inputs(draft, i, above, error));
        above = i;
    }
    draft->output = swap_with_maximum(draft, draft->output_of[above]);
out:
    return status;
}

/* Room for all that sections can become, a node, its epilogue and its activation each, and the
 * input. */
static enum colonnade_status draft_create(struct draft *draft, struct config *config,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    *draft = (struct draft){.config = config, .capacity = 3 * (int)config->count + 1};
    const size_t capacity = (size_t)draft->capacity;
    TRY(memory_allocate(&draft->nodes, capacity, sizeof *draft->nodes, "nodes", error));
    TRY(memory_allocate(&draft->sections, capacity, sizeof *draft->sections, "nodes", error));
    TRY(memory_allocate(&draft->output_of, capacity, sizeof *draft->output_of, "nodes", error));
out:
    return status;
}

enum colonnade_status draft_read(struct draft *draft, struct config *config,
                                 struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(draft_create(draft, config, error));
    TRY(draft_sections(draft, error));
out:
    return status;
}

void draft_finish(struct draft *draft)
{
    for (int i = 0; i < draft->count && draft->nodes; i++) {
        free(draft->nodes[i].name);
        free(draft->nodes[i].settings);
    }
    free(draft->nodes);
    free(draft->sections);
    free(draft->output_of);
}

/* order[0..) becomes the draft's nodes, each after its inputs, else as in the file. Returns how
 * many could be placed: fewer than all where there is a cycle. */
static int sort_nodes(const struct draft *draft, int *order, int *place)
{
    int placed = 0;
    for (int i = 0; i < draft->count; i++)
        place[i] = -1;
    for (bool progress = true; progress;) {
        progress = false;
        for (int i = 0; i < draft->count && !progress; i++) {
            bool ready = place[i] < 0;
            for (int j = 0; j < draft->nodes[i].input_count && ready; j++)
                ready = place[draft->nodes[i].inputs[j]] >= 0;
            if (ready) {
                place[i] = placed;
                order[placed++] = i;
                progress = true;
            }
        }
    }
    return placed;
}

static enum colonnade_status raise_cycle(const struct draft *draft, const int *place,
                                         struct colonnade_error *error)
{
    /* From a node that could not be placed, inputs that could not be placed lead into the cycle;
     * after `count` steps we are on it. */
    int at = 0;
    while (place[at] >= 0)
        at++;
    char path[512];
    size_t used = 0;
    int start = -1;
    for (int step = 0; step < 2 * draft->count; step++) {
        const struct node *node = &draft->nodes[at];
        int next = at;
        for (int j = 0; j < node->input_count; j++)
            if (place[node->inputs[j]] < 0)
                next = node->inputs[j];
        if (step >= draft->count) {
            if (start < 0)
                start = at;
            if (node->owner == at && used + strlen(node->name) + 5 < sizeof path) {
                memcpy(path + used, node->name, strlen(node->name));
                used += strlen(node->name);
                memcpy(path + used, " <- ", 4);
                used += 4;
            }
            if (next == start)
                break;
        }
        at = next;
    }
    path[used] = '\0';
    const struct node *node = &draft->nodes[draft->nodes[start].owner];
    return config_error(draft->config, draft->sections[node->owner], "inputs", error,
                        "the graph has a cycle: %s%s", path, node->name);
}

static enum colonnade_status check_all_used(const struct draft *draft, const int *order,
                                            struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const int output = draft->output;
    bool *used = NULL;
    TRY(memory_allocate(&used, (size_t)draft->count, sizeof *used, "nodes", error));
    used[output] = true;
    for (int i = draft->count - 1; i >= 0; i--) {
        const struct node *node = &draft->nodes[order[i]];
        for (int j = 0; j < node->input_count; j++)
            used[node->inputs[j]] |= used[order[i]];
    }
    if (!used[0])
        TRY(config_error(draft->config, draft->sections[output], NULL, error,
                         "the output [%s] does not depend on the data: no path leads to it from "
                         "`input`",
                         draft->nodes[output].name));
    for (int i = 1; i < draft->count; i++)
        if (!used[i])
            TRY(config_error(draft->config, draft->sections[i], NULL, error,
                             "[%s] is used by no other node, and the output is [%s], the last one",
                             draft->nodes[i].name, draft->nodes[output].name));
out:
    free(used);
    return status;
}

enum colonnade_status draft_order(const struct draft *draft, int *order, int *place,
                                  struct colonnade_error *error)
{
    if (sort_nodes(draft, order, place) < draft->count)
        return raise_cycle(draft, place, error);
    return check_all_used(draft, order, error);
}

/* Of nodes in any order: which the output needs. */
static void mark_needed(const struct draft *draft, int output, bool *needed)
{
    needed[output] = true;
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; i < draft->count; i++)
            for (int j = 0; j < draft->nodes[i].input_count && needed[i]; j++) {
                more |= !needed[draft->nodes[i].inputs[j]];
                needed[draft->nodes[i].inputs[j]] = true;
            }
    }
}

static void drop_sections(const struct draft *draft, const bool *needed)
{
    for (int i = 1; i < draft->count; i++)
        if (draft->nodes[i].owner == i && !needed[i] && !needed[draft->output_of[i]])
            config_remove_section(draft->config, draft->nodes[i].name);
}

enum colonnade_status draft_drop_unused(const struct draft *draft, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    bool *needed = NULL;
    TRY(memory_allocate(&needed, (size_t)draft->count, sizeof *needed, "nodes", error));
    mark_needed(draft, draft->output, needed);
    drop_sections(draft, needed);
out:
    free(needed);
    return status;
}
