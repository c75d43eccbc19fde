/* What colonnade sweep --json prints of a combination: a line of JSON.
 */
#include "engine/cli/sweep.h"

#include <stdio.h>

static struct json_object *json_text(const char *text)
{
    return json_object_new_string(text);
}

/* Of a figure: the mean under its name, its spread and its interval. */
static void add_figure(struct json_object *line, const char *name, struct sweep_figure figure)
{
    char spread[64], interval[64];
    snprintf(spread, sizeof spread, "%s_sd", name);
    snprintf(interval, sizeof interval, "%s_interval", name);
    json_add(line, name, json_number(figure.mean));
    json_add(line, spread, json_number(figure.sd));
    json_add(line, interval, json_number(figure.interval));
}

static struct json_object *settings_json(const struct sweep *sweep, size_t combination)
{
    struct json_object *settings = json_object_new_object();
    for (size_t i = 0; i < sweep->grid.axis_count; i++)
        json_add(settings, sweep->grid.axes[i].name,
                 json_text(sweep_value(&sweep->grid, combination, i)));
    return settings;
}

enum colonnade_status sweep_print_json(const struct sweep *sweep, size_t combination,
                                       struct colonnade_error *error)
{
    const struct sweep_summary summary = sweep_summarize(sweep, combination);
    const struct sweep_row *row = sweep_row(sweep, combination, 0);
    struct json_object *line = json_object_new_object(), *seeds = json_object_new_array();
    for (size_t i = 0; i < sweep->grid.seed_count; i++)
        json_object_array_add(seeds, json_object_new_uint64(sweep->grid.seeds[i]));
    json_add(line, "event", json_text("combination"));
    json_add(line, "settings", settings_json(sweep, combination));
    json_add(line, "seeds", seeds);
    json_add(line, "status", json_text(sweep_row_status_names[summary.status]));
    json_add(line, "reason", summary.reason[0] ? json_text(summary.reason) : NULL);
    add_figure(line, "test_accuracy", summary.test_accuracy);
    add_figure(line, "test_loss", summary.test_loss);
    add_figure(line, "train_loss", summary.train_loss);
    add_figure(line, "images_per_second", summary.images_per_second);
    add_figure(line, "step_ms", summary.step_ms);
    json_add(line, "parameters", json_object_new_uint64(row->parameters));
    json_add(line, "macs", json_object_new_uint64(row->macs));
    json_add(line, "activation_bytes", json_object_new_uint64(row->activation_bytes));
    json_add(line, "output_shape",
             row->output_shape.c ? json_text(shape_text(row->output_shape)) : NULL);
    return output_json(line, error);
}
