/* Epochs as JSON lines on standard output. */
#include "engine/cli/cli.h"

static enum colonnade_status epoch(void *context, const struct run *run,
                                   const struct epoch_record *record, struct colonnade_error *error)
{
    struct json_object *line = json_object_new_object();
    json_add(line, "event", json_object_new_string("epoch"));
    json_add(line, "epoch", json_object_new_int(record->epoch));
    json_add(line, "train_loss", json_number(record->train_loss));
    json_add(line, "train_accuracy", json_number(record->train_accuracy));
    json_add(line, "val_loss", json_number(record->val_loss));
    json_add(line, "val_accuracy", json_number(record->val_accuracy));
    json_add(line, "lr", json_number(record->lr));
    json_add(line, "images_per_second", json_number(record->images_per_second));
    json_add(line, "seconds", json_number(record->seconds));
    return output_json(line, error);
}

struct sink json_lines_sink(void)
{
    return (struct sink){.epoch = epoch};
}
