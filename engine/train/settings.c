/* Reads [run] and [train] and says what their keys may be. Knows optimizers and schedules by
 * their tables alone.
 */
#include "engine/train/settings.h"

#include "engine/base/memory.h"
#include "engine/train/optimizer.h"
#include "engine/train/schedule.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EPOCHS_MOST = 1000000000 };

#define FIELD(name) .offset = offsetof(struct settings, name)

const struct key run_keys[] = {
    {.name = "seed",
     .kind = KEY_COUNT,
     FIELD(seed),
     .fallback = "1",
     .maximum = INFINITY,
     .help = "decides initial weights, the order of samples, and every other random draw"},
    {.name = "output",
     .kind = KEY_TEXT,
     FIELD(output),
     .help = "the run file; runs/CONFIG-NAME.h5 by default"},
    {.name = "threads",
     .kind = KEY_INTEGER,
     FIELD(threads),
     .fallback = "0",
     .maximum = THREADS_MOST,
     .help = "threads to use; 0: OMP_NUM_THREADS, else all cores. The number changes no result"},
};
const size_t run_key_count = sizeof run_keys / sizeof *run_keys;

const struct key train_keys[] = {
    {.name = "epochs",
     .kind = KEY_INTEGER,
     FIELD(epochs),
     .fallback = "10",
     .maximum = EPOCHS_MOST,
     .help = "passes over the training split"},
    {.name = "max_steps",
     .kind = KEY_COUNT,
     FIELD(max_steps),
     .fallback = "0",
     .maximum = INFINITY,
     .help = "ends training after so many mini-batches; schedules go by epochs all the same; 0: no "
             "limit"},
    {.name = "batch",
     .kind = KEY_INTEGER,
     FIELD(batch),
     .fallback = "64",
     .minimum = 1,
     .maximum = BATCH_MOST,
     .help = "images a mini-batch; the last one of an epoch may be short"},
    {.name = "optimizer",
     .kind = KEY_CHOICE,
     FIELD(optimizer),
     .fallback = "sgd",
     .choices = optimizer_names,
     .help = "how weights follow gradients"},
    {.name = "lr",
     .kind = KEY_NUMBER,
     FIELD(lr),
     .maximum = INFINITY,
     .help = "learning rate; 0.01 by default in sgd and rmsprop, 0.001 in adam and adamw"},
    {.name = "momentum",
     .kind = KEY_NUMBER,
     FIELD(momentum),
     .fallback = "0",
     .maximum = 1,
     .help = "of sgd and rmsprop"},
    {.name = "nesterov",
     .kind = KEY_BOOLEAN,
     FIELD(nesterov),
     .fallback = "false",
     .help = "Nesterov's momentum, of sgd"},
    {.name = "weight_decay",
     .kind = KEY_NUMBER,
     FIELD(weight_decay),
     .maximum = INFINITY,
     .help = "on every parameter; 0.01 by default in adamw, where it is decoupled, else 0"},
    {.name = "beta1",
     .kind = KEY_NUMBER,
     FIELD(beta1),
     .fallback = "0.9",
     .maximum = 1,
     .help = "decay of the mean gradient in adam and adamw, below 1"},
    {.name = "beta2",
     .kind = KEY_NUMBER,
     FIELD(beta2),
     .maximum = 1,
     .help = "decay of the mean square, below 1: 0.999 by default in adam and adamw; rmsprop's "
             "alpha, 0.99"},
    {.name = "eps",
     .kind = KEY_NUMBER,
     FIELD(eps),
     .fallback = "1e-8",
     .maximum = INFINITY,
     .help = "added to the root of the mean square in adam, adamw and rmsprop"},
    {.name = "clip_norm",
     .kind = KEY_NUMBER,
     FIELD(clip_norm),
     .fallback = "0",
     .maximum = INFINITY,
     .help = "gradients whose common norm is above it are scaled down to it; 0: never"},
    {.name = "schedule",
     .kind = KEY_CHOICE,
     FIELD(schedule),
     .fallback = "constant",
     .choices = schedule_names,
     .help = "how the learning rate changes in the course of training"},
    {.name = "warmup",
     .kind = KEY_NUMBER,
     FIELD(warmup),
     .fallback = "0",
     .maximum = EPOCHS_MOST,
     .help = "epochs in which the learning rate rises linearly to where the schedule begins"},
    {.name = "step_epochs",
     .kind = KEY_NUMBER,
     FIELD(step_epochs),
     .fallback = "10",
     .above_minimum = true,
     .maximum = INFINITY,
     .help = "schedule step: epochs from one change of the learning rate to the next"},
    {.name = "gamma",
     .kind = KEY_NUMBER,
     FIELD(gamma),
     .fallback = "0.1",
     .maximum = INFINITY,
     .help = "schedule step: the factor of each change"},
    {.name = "label_smoothing",
     .kind = KEY_NUMBER,
     FIELD(label_smoothing),
     .fallback = "0",
     .maximum = 1,
     .help = "share of the target that is spread over all classes"},
    {.name = "ema",
     .kind = KEY_NUMBER,
     FIELD(ema),
     .fallback = "0",
     .maximum = 1,
     .help = "decay of an exponential moving average of the weights, below 1, which is then what "
             "is evaluated and kept; 0: none"},
    {.name = "early_stop",
     .kind = KEY_INTEGER,
     FIELD(early_stop),
     .fallback = "0",
     .maximum = EPOCHS_MOST,
     .help = "epochs without a better score of the validation part, after which training ends; the "
             "weights of the best epoch are kept; 0: none"},
    {.name = "freeze",
     .kind = KEY_NAMES,
     FIELD(freeze),
     .help =
         "nodes whose weights stay as they are; a frozen batchnorm uses its running statistics"},
    {.name = "init_from",
     .kind = KEY_TEXT,
     FIELD(init_from),
     .help = "an HDF5 file with /state_dict: a new run begins with every array of it that has a "
             "name of the graph's"},
    {.name = "checkpoint_every",
     .kind = KEY_PERIOD,
     FIELD(checkpoint_every),
     .fallback = "1 epoch",
     .minimum = 1,
     .help = "epochs, steps or minutes from one writing of the run file to the next"},
};
const size_t train_key_count = sizeof train_keys / sizeof *train_keys;

/* Gives [run] an output where it has none: runs/CONFIG-NAME.h5. */
static enum colonnade_status default_output(struct config *config, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char *assignment = NULL;
    const struct section *run = config_section(config, "run");
    if (run && config_entry(run, "output"))
        goto out;

    const char *slash = strrchr(config->path, '/');
    const char *name = slash ? slash + 1 : config->path;
    size_t length = strlen(name);
    if (length > 4 && strcmp(name + length - 4, ".ini") == 0)
        length -= 4;
    if (asprintf(&assignment, "run.output=runs/%.*s.h5", (int)length, name) < 0) {
        assignment = NULL;
        RAISE(COLONNADE_FAILURE, "no memory for the run file's name");
    }
    TRY(config_override(config, assignment, error));
out:
    free(assignment);
    return status;
}

static void apply_optimizer_defaults(struct settings *settings)
{
    const struct optimizer_type *type = optimizer_types[settings->optimizer];
    if (isnan(settings->lr))
        settings->lr = type->lr;
    if (isnan(settings->weight_decay))
        settings->weight_decay = type->weight_decay;
    if (isnan(settings->beta2))
        settings->beta2 = type->beta2;
}

/* Whether a part of the training split is held back; whoever reads [data] checks the number. */
static bool holds_validation(struct config *config)
{
    const struct section *data = config_section(config, "data");
    const struct entry *entry = data ? config_entry(data, "validation") : NULL;
    return entry && strtod(entry->value, NULL) != 0;
}

/* What a key's own row cannot say. */
static enum colonnade_status check_train(const struct settings *settings, struct config *config,
                                         const struct section *train, struct colonnade_error *error)
{
    if (settings->beta1 >= 1)
        return config_error(config, train, "beta1", error, "beta1 is %g; it must be below 1",
                            settings->beta1);
    if (settings->beta2 >= 1)
        return config_error(config, train, "beta2", error, "beta2 is %g; it must be below 1",
                            settings->beta2);
    if (settings->ema >= 1)
        return config_error(config, train, "ema", error, "ema is %g; it must be below 1",
                            settings->ema);
    if (settings->early_stop && !holds_validation(config))
        return config_error(config, train, "early_stop", error,
                            "early_stop = %d goes by the validation part, and there is none: "
                            "[data] validation holds one back",
                            settings->early_stop);
    if (settings->nesterov && settings->momentum == 0)
        return config_error(config, train, "nesterov", error,
                            "nesterov is true; it needs a momentum above 0");
    return COLONNADE_OK;
}

enum colonnade_status settings_read(struct settings *settings, struct config *config,
                                    struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    *settings = (struct settings){.lr = NAN, .weight_decay = NAN, .beta2 = NAN};
    TRY(default_output(config, error));
    const struct section *train = config_section(config, "train");
    TRY(config_read(config, config_section(config, "run"), "run", run_keys, run_key_count, NULL,
                    settings, error));
    TRY(config_read(config, train, "train", train_keys, train_key_count, NULL, settings, error));
    apply_optimizer_defaults(settings);
    TRY(check_train(settings, config, train, error));
out:
    return status;
}

/* --- keys for some choices alone --- */

/* A key of [train] whose choices bring keys of their own. */
struct chooser {
    const char *key;
    const char *const *choices;
    const char *const *(*keys_of)(size_t choice); /* NULL-terminated */
};

static const char *const *keys_of_optimizer(size_t choice)
{
    return optimizer_types[choice]->keys;
}

static const char *const *keys_of_schedule(size_t choice)
{
    return schedule_types[choice]->keys;
}

static const struct chooser choosers[] = {
    {"optimizer", optimizer_names, keys_of_optimizer},
    {"schedule", schedule_names, keys_of_schedule},
};

/* Which keys that a choice does not read are for another one that stood there, and go with it. */
enum leftovers { LEFTOVERS_NONE, LEFTOVERS_OF_FILE, LEFTOVERS_ALL };

/* What a config chooses: one, or in [sweep] several. */
struct chosen {
    const char *text;         /* as written */
    const struct names *list; /* in [sweep]; NULL: text is the one */
    enum leftovers leftovers;
};

static bool choice_reads(const struct chooser *chooser, size_t choice, const char *key)
{
    for (const char *const *name = chooser->keys_of(choice); *name; name++)
        if (strcmp(*name, key) == 0)
            return true;
    return false;
}

/* A name that is no choice is another's mistake, and reads anything. */
static bool name_reads(const struct chooser *chooser, const char *name, const char *key)
{
    for (size_t i = 0; chooser->choices[i]; i++)
        if (strcmp(chooser->choices[i], name) == 0)
            return choice_reads(chooser, i, key);
    return true;
}

static bool is_read(const struct chooser *chooser, const struct chosen *chosen, const char *key)
{
    if (!chosen->list)
        return name_reads(chooser, chosen->text, key);
    for (size_t i = 0; i < chosen->list->count; i++)
        if (name_reads(chooser, chosen->list->items[i], key))
            return true;
    return false;
}

/* "sgd, rmsprop"; empty for a key that is not for some choices alone. */
static void list_readers(const struct chooser *chooser, const char *key, char *list, size_t bytes)
{
    size_t used = 0;
    list[0] = '\0';
    for (size_t i = 0; chooser->choices[i]; i++)
        if (choice_reads(chooser, i, key) && used < bytes)
            used += (size_t)snprintf(list + used, bytes - used, "%s%s", used > 0 ? ", " : "",
                                     chooser->choices[i]);
}

static bool is_leftover(const struct chosen *chosen, const struct entry *entry)
{
    return chosen->leftovers == LEFTOVERS_ALL ||
           (chosen->leftovers == LEFTOVERS_OF_FILE && entry->line > 0);
}

static enum colonnade_status check_key(struct config *config, const struct chooser *chooser,
                                       const struct chosen *chosen, const char *key,
                                       struct colonnade_error *error)
{
    char readers[64], swept[64];
    struct section *train = config_section(config, "train");
    const struct section *sweep = config_section(config, "sweep");
    const struct entry *entry = train ? config_entry(train, key) : NULL;
    list_readers(chooser, key, readers, sizeof readers);
    if (!readers[0] || is_read(chooser, chosen, key))
        return COLONNADE_OK;
    if (entry && is_leftover(chosen, entry)) {
        config_remove_entry(train, key);
        entry = NULL;
    }
    snprintf(swept, sizeof swept, "train.%s", key);
    if (entry || (sweep && config_entry(sweep, swept)))
        return config_error(config, entry ? train : sweep, entry ? key : swept, error,
                            "[train] %s is only for %s = %s; it means nothing to %s", key,
                            chooser->key, readers, chosen->text);
    return COLONNADE_OK;
}

/* A choice of --set stands in the place of the file's: `leftovers` are the file's at least. */
static enum colonnade_status check_choice(struct config *config, const struct chooser *chooser,
                                          enum leftovers leftovers, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct section *train = config_section(config, "train");
    const struct section *sweep = config_section(config, "sweep");
    const struct entry *entry = train ? config_entry(train, chooser->key) : NULL;
    char swept[64];
    snprintf(swept, sizeof swept, "train.%s", chooser->key);
    const struct entry *list = sweep ? config_entry(sweep, swept) : NULL;
    struct names names = {NULL, 0};
    if (entry && entry->line == 0 && leftovers == LEFTOVERS_NONE)
        leftovers = LEFTOVERS_OF_FILE;
    struct chosen chosen = {entry ? entry->value : chooser->choices[0], NULL, leftovers};
    if (list) {
        TRY(config_items(config, sweep, list, &names, error));
        chosen = (struct chosen){list->value, &names, LEFTOVERS_NONE};
    }
    for (size_t i = 0; i < train_key_count; i++)
        TRY(check_key(config, chooser, &chosen, train_keys[i].name, error));
out:
    return status;
}

static enum colonnade_status check_choices(struct config *config, enum leftovers leftovers,
                                           struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    for (size_t i = 0; i < sizeof choosers / sizeof *choosers; i++)
        TRY(check_choice(config, &choosers[i], leftovers, error));
out:
    return status;
}

enum colonnade_status settings_check_choices(struct config *config, struct colonnade_error *error)
{
    return check_choices(config, LEFTOVERS_NONE, error);
}

enum colonnade_status settings_choose(struct config *config, struct colonnade_error *error)
{
    return check_choices(config, LEFTOVERS_ALL, error);
}

int thread_count(int requested)
{
    const char *text = getenv("OMP_NUM_THREADS");
    long wanted = requested > 0 ? requested : text ? strtol(text, NULL, 10) : 0;
    if (wanted <= 0) {
        cpu_set_t cores;
        wanted = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores)
                                                                 : sysconf(_SC_NPROCESSORS_ONLN);
    }
    return wanted < 1 ? 1 : wanted > THREADS_MOST ? THREADS_MOST : (int)wanted;
}
