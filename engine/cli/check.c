/* colonnade check: what a look at every image has found, for people and as JSON. What counts as
 * wrong is engine/check's to say.
 */
#include "engine/check/check.h"
#include "engine/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LISTED = 8, CLASSES_LISTED = 30 };

/* --- images --- */

static const char *split_name(const struct check *check, size_t image)
{
    return check_in_test(check, image) ? "test" : "train";
}

/* "train[123]", or the file. */
static void print_place(const struct check *check, size_t image)
{
    const char *file = check_file(check, image);
    if (file)
        printf("%s", file);
    else
        printf("%s[%zu]", split_name(check, image), check_index(check, image));
}

static void print_label(const struct check *check, size_t image)
{
    if (check_label_fits(check, image))
        printf("%s", check->data->class_names[check_label(check, image)]);
    else
        printf("label %d", check_label(check, image));
}

static struct json_object *place_json(const struct check *check, size_t image)
{
    struct json_object *object = json_object_new_object();
    json_add(object, "split", json_object_new_string(split_name(check, image)));
    json_add(object, "index", json_object_new_int64((int64_t)check_index(check, image)));
    if (check_file(check, image))
        json_add(object, "file", json_object_new_string(check_file(check, image)));
    json_add(object, "label", json_object_new_int(check_label(check, image)));
    return object;
}

/* --- what findings say --- */

/* "%s", if it is there, is how many; where the number is not 1 `many` says it. */
static const struct finding_text {
    const char *one, *many;
} finding_texts[CHECK_KINDS] = {
    [CHECK_UNREADABLE] = {"%s image cannot be read", "%s images cannot be read"},
    [CHECK_LABEL] = {"%s label is out of range", "%s labels are out of range"},
    [CHECK_SAME_ACROSS] = {"%s test image is a training image too",
                           "%s test images are training images too"},
    [CHECK_NEAR_ACROSS] = {"%s test image is nearly the same as a training image",
                           "%s test images are nearly the same as training images"},
    [CHECK_SAME_HELD_BACK] = {"%s image is the same as another, and validation holds back one of "
                              "them",
                              "%s images are the same as others, and validation holds back one of "
                              "each pair"},
    [CHECK_NEAR_HELD_BACK] = {"%s image is nearly the same as another, and validation holds back "
                              "one of them",
                              "%s images are nearly the same as others, and validation holds back "
                              "one of each pair"},
    [CHECK_SAME_TWO_LABELS] = {"%s image is the same as another of its split that has another "
                               "label",
                               "%s images are the same as others of their split that have other "
                               "labels"},
    [CHECK_NEAR_TWO_LABELS] = {"%s image is nearly the same as another of its split that has "
                               "another label",
                               "%s images are nearly the same as others of their split that have "
                               "other labels"},
    [CHECK_DAMAGED] = {"%s image is damaged, and training would not tell",
                       "%s images are damaged, and training would not tell"},
    [CHECK_FEW_LEVELS] = {"%s image of more than 8 bits stays below an eighth of its range: in "
                          "8 bits it has at most 32 levels",
                          "%s images of more than 8 bits stay below an eighth of their range: in "
                          "8 bits they have at most 32 levels"},
    [CHECK_BLANK] = {"%s image is blank: its values are at most 3 levels apart",
                     "%s images are blank: their values are at most 3 levels apart"},
    [CHECK_LEAK] = {"%s property of the files tells the class", "%s properties of the files tell "
                                                                "the class"},
    [CHECK_TRANSPOSED] = {"the images seem to have their channels first, not last", NULL},
    [CHECK_CLASS_ABSENT] = {"%s class has no image to train on or to test by",
                            "%s classes have no image to train on or to test by"},
    [CHECK_IMBALANCE] = {"the largest class has more than %s times the training images of the "
                         "smallest",
                         NULL},
    [CHECK_SAME] = {"%s image is the same as another of its split and label",
                    "%s images are the same as others of their split and label"},
    [CHECK_NEAR] = {"%s image is nearly the same as another of its split and label",
                    "%s images are nearly the same as others of their split and label"},
};

static void print_headline(const struct check *check, enum check_kind kind)
{
    static const char *const severities[] = {"ERROR", "WARNING", "NOTE"};
    const size_t count = kind == CHECK_IMBALANCE ? CHECK_IMBALANCE_RATIO : check->found[kind];
    const struct finding_text *text = &finding_texts[kind];
    const char *const format = text->many && count != 1 ? text->many : text->one;
    const char *const at = strstr(format, "%s");
    printf("\n%-8s ", severities[check_kinds[kind].severity]);
    if (at)
        printf("%.*s%s%s\n", (int)(at - format), format, count_text(count), at + strlen("%s"));
    else
        printf("%s\n", format);
}

/* --- their lists --- */

/* Of a list `total` long: true while items are to be shown; says how many were not after them. */
static bool shown(size_t *done)
{
    return (*done)++ < LISTED;
}

static void print_rest(size_t total, size_t most)
{
    if (total > most)
        printf("         and %s more\n", count_text(total - most));
}

static void print_copies(const struct check *check, enum check_kind kind)
{
    size_t done = 0;
    for (size_t i = 0; i < check->copy_count; i++) {
        const struct check_copy *copy = &check->copies[i];
        if (check_copy_kind(check, copy) != kind || !shown(&done))
            continue;
        printf("         ");
        print_place(check, copy->image);
        printf(" (");
        print_label(check, copy->image);
        printf(copy->exact ? ") = " : ") ~ ");
        print_place(check, copy->original);
        printf(" (");
        print_label(check, copy->original);
        printf(")%s\n", check_label(check, copy->image) != check_label(check, copy->original)
                            ? ": two labels"
                            : "");
    }
    print_rest(done, LISTED);
}

/* What is wrong with the image's file, which it begins with; NULL: nothing of that kind. */
static const char *message_of(const struct check *check, enum check_kind kind, size_t image)
{
    return kind == CHECK_UNREADABLE ? check->unreadable[image]
           : kind == CHECK_DAMAGED  ? check->damaged[image]
                                    : NULL;
}

/* The image belongs into the list of that kind. */
static bool listed(const struct check *check, enum check_kind kind, size_t image)
{
    switch (kind) {
    case CHECK_LABEL:
        return !check_label_fits(check, image);
    case CHECK_FEW_LEVELS:
        return check_few_levels(check, image);
    case CHECK_BLANK:
        return check->blank[image];
    default:
        return message_of(check, kind, image) != NULL;
    }
}

static void print_images(const struct check *check, enum check_kind kind)
{
    size_t done = 0;
    for (size_t i = 0; i < check->count; i++) {
        if (!listed(check, kind, i) || !shown(&done))
            continue;
        printf("         ");
        const char *const message = message_of(check, kind, i);
        if (message) {
            printf("%s\n", message);
            continue;
        }
        print_place(check, i);
        printf(": ");
        print_label(check, i);
        if (kind == CHECK_FEW_LEVELS)
            printf(": at most %d of %d", check->facts[i].largest, check->facts[i].white);
        printf("\n");
    }
    if (kind == CHECK_LABEL)
        printf("         labels here are 0 to %d\n", check->data->classes - 1);
    print_rest(done, LISTED);
}

static const struct check_value *commonest_value(const struct check_property *property, int class)
{
    const struct check_value *best = &property->values[0];
    for (size_t i = 1; i < property->value_count; i++)
        if (property->values[i].class_counts[class] > best->class_counts[class])
            best = &property->values[i];
    return best;
}

/* "NAME: VALUE in 12.3 % of 456", of the class's commonest value. */
static void print_class_value(const struct check *check, const struct check_property *property,
                              int class)
{
    const struct check_value *value = commonest_value(property, class);
    const size_t all = check->class_counts[0][class] + check->class_counts[1][class];
    if (all > 0)
        printf("           %s: %s in %.1f %% of %s\n", check->data->class_names[class], value->text,
               100 * (double)value->class_counts[class] / (double)all, count_text(all));
}

static void print_leaks(const struct check *check)
{
    for (int kind = 0; kind < CHECK_PROPERTIES; kind++) {
        const struct check_property *property = &check->properties[kind];
        if (!property->leak)
            continue;
        printf("         %s: guessing the class by it alone finds %.1f %% of a class, on average; "
               "by chance it were %.1f %%\n",
               check_property_name(kind), 100 * property->accuracy, 100 * property->chance);
        for (int i = 0; i < check->data->classes && i < CLASSES_LISTED; i++)
            print_class_value(check, property, i);
        for (size_t i = 0; i < property->told_count && i < CLASSES_LISTED; i++)
            printf("           %s is told from the rest: %.1f %% of it are, and %.1f %% of the "
                   "rest are taken for it\n",
                   check->data->class_names[property->told[i].class],
                   100 * property->told[i].recall, 100 * property->told[i].rest);
    }
}

static void print_absent(const struct check *check)
{
    size_t done = 0;
    for (int i = 0; i < check->data->classes; i++)
        for (int split = 0; split < 2; split++)
            if (check->class_counts[split][i] == 0 && shown(&done))
                printf("         %s: none in %s\n", check->data->class_names[i],
                       split ? "test" : "train");
            else if (split == 0 && check->class_counts[0][i] > 0 &&
                     check->class_counts[0][i] == check->held_counts[i] && shown(&done))
                printf("         %s: none to train on: validation holds back all %s\n",
                       check->data->class_names[i], count_text(check->held_counts[i]));
    print_rest(done, LISTED);
}

static void print_finding(const struct check *check, enum check_kind kind)
{
    char text[TRANSPOSED_BYTES];
    print_headline(check, kind);
    switch (kind) {
    case CHECK_UNREADABLE:
    case CHECK_LABEL:
    case CHECK_DAMAGED:
    case CHECK_FEW_LEVELS:
    case CHECK_BLANK:
        print_images(check, kind);
        break;
    case CHECK_LEAK:
        print_leaks(check);
        break;
    case CHECK_CLASS_ABSENT:
        print_absent(check);
        break;
    case CHECK_TRANSPOSED:
        experiment_transposed_text(check->data, text, sizeof text);
        printf("         %s\n", text);
        break;
    case CHECK_IMBALANCE: /* the table of classes shows it */
        break;
    default:
        print_copies(check, kind);
    }
}

/* --- all of it --- */

static void print_classes(const struct check *check)
{
    size_t width = strlen("class");
    const int classes = check->data->classes;
    for (int i = 0; i < classes && i < CLASSES_LISTED; i++)
        if (strlen(check->data->class_names[i]) > width)
            width = strlen(check->data->class_names[i]);
    printf("\n%-*s  %10s  %10s\n", (int)width, "class", "train", "test");
    for (int i = 0; i < classes && i < CLASSES_LISTED; i++)
        printf("%-*s  %10s  %10s\n", (int)width, check->data->class_names[i],
               count_text(check->class_counts[0][i]), count_text(check->class_counts[1][i]));
    print_rest((size_t)classes, CLASSES_LISTED);
}

static enum colonnade_status print_for_people(const struct check *check,
                                              struct colonnade_error *error)
{
    const struct dataset *data = check->data;
    const size_t errors = check_findings(check, CHECK_ERROR);
    const size_t warnings = check_findings(check, CHECK_WARNING);
    printf("%s training and %s test image%s, %s, %d classes: ", count_text(data->train.count),
           count_text(data->test.count), plural(data->test.count),
           shape_text((struct shape){data->c, data->h, data->w}), data->classes);
    if (errors + warnings == 0)
        printf("nothing is wrong\n");
    else
        printf("%zu error%s, %zu warning%s\n", errors, plural(errors), warnings, plural(warnings));
    for (int kind = 0; kind < CHECK_KINDS; kind++)
        if (check->found[kind] > 0)
            print_finding(check, kind);
    print_classes(check);
    return output_flush(error);
}

static struct json_object *findings_json(const struct check *check)
{
    static const char *const severities[] = {"error", "warning", "note"};
    struct json_object *array = json_object_new_array();
    for (int kind = 0; kind < CHECK_KINDS; kind++) {
        if (check->found[kind] == 0)
            continue;
        struct json_object *object = json_object_new_object();
        json_add(object, "kind", json_object_new_string(check_kinds[kind].name));
        json_add(object, "severity",
                 json_object_new_string(severities[check_kinds[kind].severity]));
        json_add(object, "count", json_object_new_int64((int64_t)check->found[kind]));
        json_object_array_add(array, object);
    }
    return array;
}

static struct json_object *images_json(const struct check *check, enum check_kind kind)
{
    struct json_object *array = json_object_new_array();
    for (size_t i = 0; i < check->count; i++) {
        if (!listed(check, kind, i))
            continue;
        struct json_object *object = place_json(check, i);
        const char *const message = message_of(check, kind, i);
        if (message)
            json_add(object, "message", json_object_new_string(message));
        if (kind == CHECK_FEW_LEVELS)
            json_add(object, "largest", json_object_new_int(check->facts[i].largest));
        json_object_array_add(array, object);
    }
    return array;
}

static struct json_object *copies_json(const struct check *check)
{
    struct json_object *array = json_object_new_array();
    for (size_t i = 0; i < check->copy_count; i++) {
        const struct check_copy *copy = &check->copies[i];
        struct json_object *object = json_object_new_object();
        json_add(object, "kind",
                 json_object_new_string(check_kinds[check_copy_kind(check, copy)].name));
        json_add(object, "image", place_json(check, copy->image));
        json_add(object, "original", place_json(check, copy->original));
        json_add(object, "likeness", json_number(copy->likeness));
        json_object_array_add(array, object);
    }
    return array;
}

static struct json_object *classes_json(const struct check *check)
{
    struct json_object *array = json_object_new_array();
    for (int i = 0; i < check->data->classes; i++) {
        struct json_object *object = json_object_new_object();
        json_add(object, "name", json_object_new_string(check->data->class_names[i]));
        json_add(object, "train", json_object_new_int64((int64_t)check->class_counts[0][i]));
        json_add(object, "test", json_object_new_int64((int64_t)check->class_counts[1][i]));
        json_add(object, "validation", json_object_new_int64((int64_t)check->held_counts[i]));
        json_object_array_add(array, object);
    }
    return array;
}

static struct json_object *values_json(const struct check *check,
                                       const struct check_property *property)
{
    struct json_object *array = json_object_new_array();
    for (size_t i = 0; i < property->value_count; i++) {
        struct json_object *object = json_object_new_object();
        struct json_object *counts = json_object_new_array();
        for (int class = 0; class < check->data->classes; class ++)
            json_object_array_add(
                counts, json_object_new_int64((int64_t)property->values[i].class_counts[class]));
        json_add(object, "value", json_object_new_string(property->values[i].text));
        json_add(object, "classes", counts);
        json_object_array_add(array, object);
    }
    return array;
}

static struct json_object *told_json(const struct check *check,
                                     const struct check_property *property)
{
    struct json_object *array = json_object_new_array();
    for (size_t i = 0; i < property->told_count; i++) {
        const struct check_told *told = &property->told[i];
        struct json_object *object = json_object_new_object();
        json_add(object, "class", json_object_new_string(check->data->class_names[told->class]));
        json_add(object, "recall", json_number(told->recall));
        json_add(object, "rest", json_number(told->rest));
        json_object_array_add(array, object);
    }
    return array;
}

static struct json_object *properties_json(const struct check *check)
{
    struct json_object *array = json_object_new_array();
    for (int kind = 0; check->facts && kind < CHECK_PROPERTIES; kind++) {
        const struct check_property *property = &check->properties[kind];
        struct json_object *object = json_object_new_object();
        json_add(object, "name", json_object_new_string(check_property_name(kind)));
        json_add(object, "accuracy", json_number(property->accuracy));
        json_add(object, "chance", json_number(property->chance));
        json_add(object, "leak", json_object_new_boolean(property->leak));
        json_add(object, "told", told_json(check, property));
        json_add(object, "distinct", json_object_new_int64((int64_t)property->distinct));
        json_add(object, "values", values_json(check, property));
        json_object_array_add(array, object);
    }
    return array;
}

static enum colonnade_status print_as_json(const struct check *check, struct colonnade_error *error)
{
    const struct dataset *data = check->data;
    struct json_object *object = json_object_new_object(), *shape = json_object_new_array();
    json_object_array_add(shape, json_object_new_int(data->c));
    json_object_array_add(shape, json_object_new_int(data->h));
    json_object_array_add(shape, json_object_new_int(data->w));
    json_add(object, "source", json_object_new_string(data->source));
    json_add(object, "shape", shape);
    json_add(object, "train", json_object_new_int64((int64_t)data->train.count));
    json_add(object, "test", json_object_new_int64((int64_t)data->test.count));
    json_add(object, "findings", findings_json(check));
    json_add(object, "classes", classes_json(check));
    json_add(object, "unreadable", images_json(check, CHECK_UNREADABLE));
    json_add(object, "labels_out_of_range", images_json(check, CHECK_LABEL));
    json_add(object, "damaged", images_json(check, CHECK_DAMAGED));
    json_add(object, "few_levels", images_json(check, CHECK_FEW_LEVELS));
    json_add(object, "blank", images_json(check, CHECK_BLANK));
    json_add(object, "copies", copies_json(check));
    json_add(object, "properties", properties_json(check));
    return output_json(object, error);
}

/* What the config says beside its data. Done before the data are looked at and told after: what is
 * wrong with a network may come of a wrong label. */
static enum colonnade_status check_config(struct config *config, const struct settings *settings,
                                          const struct dataset *data, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct graph *graph = NULL;
    TRY(graph_create(&graph, config, (struct shape){data->c, data->h, data->w}, data->classes,
                     error));
    TRY(config_check_all_read(config, error));
    TRY(graph_freeze(graph, config, &settings->freeze, error));
    experiment_warn(config, settings, graph);
out:
    graph_destroy(graph);
    return status;
}

enum colonnade_status verb_check(const struct options *options, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct config *config = NULL;
    struct dataset *data = NULL;
    struct check *check = NULL;
    struct settings settings;
    struct colonnade_error config_error;
    struct reading_display display = reading_begin(false);
    TRY(experiment_config(&config, options->operands[0], options, error));
    TRY(settings_read(&settings, config, error));
    const struct data_request request = {.seed = settings.seed,
                                         .threads = 1,
                                         .skipped = {experiment_tell_skipped, NULL},
                                         .reading = reading_listener(&display)};
    TRY(dataset_inspect(&data, config, &request, error));
    const enum colonnade_status config_status =
        check_config(config, &settings, data, &config_error);
    TRY(check_create(&check, data, experiment_threads(options, &settings), error));
    TRY(options->json ? print_as_json(check, error) : print_for_people(check, error));
    if (config_status != COLONNADE_OK)
        RAISE(config_status, "%s", config_error.message);
    const size_t errors = check_findings(check, CHECK_ERROR);
    if (errors > 0)
        RAISE(COLONNADE_FAILURE, "%s: %zu error%s in the data", options->operands[0], errors,
              plural(errors));
out:
    check_destroy(check);
    dataset_destroy(data);
    config_destroy(config);
    return status;
}
