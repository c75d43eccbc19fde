/* The program: finds the verb, parses its options, runs it, and turns its status into the exit
 * status. Verbs and options are a table each; what a verb does is in its own file.
 */
#include "engine/cli/cli.h"

#include "engine/base/memory.h"

#include <getopt.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum option_flag {
    OPTION_SET = 1 << 0,
    OPTION_OUT = 1 << 1,
    OPTION_RESUME = 1 << 2,
    OPTION_THREADS = 1 << 3,
    OPTION_BATCH = 1 << 4,
    OPTION_SECONDS = 1 << 5,
    OPTION_INFERENCE = 1 << 6,
    OPTION_QUIET = 1 << 7,
    OPTION_JSON = 1 << 8,
    OPTION_HELP = 1 << 9,
    OPTION_FORMAT = 1 << 10,
    OPTION_JOBS = 1 << 11,
    OPTION_TOP = 1 << 12,
    OPTION_PROFILE = 1 << 13,
    OPTION_OPEN = 1 << 14,
};

enum {
    OPTION_COUNT = 15,
    JOBS_MOST = 1024,
    SECONDS_MOST = 86400,
    LINE_WIDTH = 79, /* of help */
};

struct option_row {
    enum option_flag flag;
    const char *name, *argument; /* NULL: takes none */
    int letter;                  /* 0: none */
    const char *help;
};

static const struct option_row option_rows[OPTION_COUNT] = {
    {OPTION_SET, "set", "SECTION.KEY=VALUE", 0, "overrides a key of the config; may be repeated"},
    {OPTION_OUT, "out", "FILE", 'o', "where the result is written"},
    {OPTION_FORMAT, "format", "FORMAT", 0, "what is written: keras, onnx or npz"},
    {OPTION_RESUME, "resume", NULL, 0, "goes on from the file, or starts where there is none"},
    {OPTION_THREADS, "threads", "N", 0,
     "threads to run on (default: run.threads, else OMP_NUM_THREADS, else all cores)"},
    {OPTION_JOBS, "jobs", "N", 0, "rows trained at a time, on cores of their own (default: 1)"},
    {OPTION_BATCH, "batch", "N", 0, "images a mini-batch (default: the config's)"},
    {OPTION_SECONDS, "seconds", "S", 0, "how long to measure (default: 5)"},
    {OPTION_INFERENCE, "inference", NULL, 0, "times the forward pass alone"},
    {OPTION_PROFILE, "profile", NULL, 0, "shows where a step's time went, and keeps it"},
    {OPTION_OPEN, "open", NULL, 0, "opens the page in the browser, by xdg-open"},
    {OPTION_TOP, "top", "K", 'k', "how many classes an image (default: 5)"},
    {OPTION_QUIET, "quiet", NULL, 'q', "shows no progress"},
    {OPTION_JSON, "json", NULL, 0, "prints results as JSON, one object a line"},
    {OPTION_HELP, "help", NULL, 'h', "prints this"},
};

struct verb {
    const char *name, *operands, *help;
    const char *details; /* NULL: none */
    unsigned options;    /* enum option_flag */
    unsigned required;   /* those of them that have to be given */
    size_t least, most;  /* operands */
    enum colonnade_status (*run)(const struct options *options, struct colonnade_error *error);
};

static const struct verb verbs[] = {
    {"train", "CONFIG...", "trains; one run file each",
     "Several configs run one after the other; a failed one does not stop the rest.\n"
     "An older run file of the same name is replaced at the first checkpoint, unless --resume "
     "goes on from it; a file that is no run file is never replaced. Interrupted before that "
     "checkpoint is due, the older run is kept as FILE.replaced where it is further.\n"
     "After an interrupt the run file is up to date, and --resume goes on as if nothing had been.\n"
     "Of the config, a resumed run lets these differ: run.output, run.threads, data.path, "
     "data.memory, train.epochs, train.max_steps, train.checkpoint_every. Other training images "
     "than those that it was begun with are refused.\n",
     OPTION_SET | OPTION_OUT | OPTION_RESUME | OPTION_THREADS | OPTION_PROFILE | OPTION_QUIET |
         OPTION_JSON,
     0, 1, SIZE_MAX, verb_train},
    {"eval", "RUN", "scores the run's weights on the test split",
     "--set may name keys of [data] alone: another path, another source.\n",
     OPTION_SET | OPTION_THREADS | OPTION_JSON, 0, 1, 1, verb_eval},
    {"predict", "RUN IMAGE...", "classifies image files: the likeliest classes of each",
     "Of a folder it takes all files named as images (.jpg, .png, .webp, ...), in the order of "
     "their names, and those of the folders in it and behind links; hidden ones are passed over, "
     "and others too, which standard error counts.\n"
     "A bad image is named on standard error; the others are classified, and the status is 1.\n"
     "Pixels are taken as they are: a run trained on white digits on black wants such digits.\n"
     "Probabilities are means over views of the image where the run's [data] tta says so.\n",
     OPTION_TOP | OPTION_THREADS | OPTION_JSON, 0, 2, SIZE_MAX, verb_predict},
    {"summary", "CONFIG|RUN", "shows the network: shapes, parameters, work, memory", NULL,
     OPTION_SET | OPTION_JSON, 0, 1, 1, verb_summary},
    {"check", "CONFIG", "looks at every image before training",
     "Unreadable and blank images, labels out of range, copies, the same image in train and test, "
     "class balance, and files whose form tells their class.\n"
     "Three are errors, and end with status 1: what cannot be read, labels out of range, and test "
     "images that are training images too. Warnings and notes do not.\n",
     OPTION_SET | OPTION_THREADS | OPTION_JSON, 0, 1, 1, verb_check},
    {"sweep", "CONFIG", "trains the grid of the config's [sweep], one row a combination and seed",
     "The file has every row as soon as it is trained, and --resume trains those that it lacks.\n"
     "A combination whose shapes cannot be, or whose training fails, is a row with its reason. Of "
     "combinations that differ in keys alone which they do not read, the first is trained.\n"
     "One row is trained at a time, so that times can be compared; with --jobs they cannot.\n",
     OPTION_SET | OPTION_OUT | OPTION_RESUME | OPTION_JOBS | OPTION_QUIET | OPTION_JSON, 0, 1, 1,
     verb_sweep},
    {"bench", "CONFIG", "times training steps, or inference, of a config",
     "Medians over rounds, with this machine's sgemm measured in turn beside them.\n"
     "A multiply-add is two operations; training counts as three times the forward pass.\n"
     "What no pooling reads, and what only that is made of, is not made, and not counted.\n",
     OPTION_SET | OPTION_BATCH | OPTION_THREADS | OPTION_SECONDS | OPTION_INFERENCE | OPTION_JSON,
     0, 1, 1, verb_bench},
    {"pack", "CONFIG", "writes the config's data as one HDF5 file",
     "Pixels are those that training gets: decoded, turned, brought to data.size. A config with "
     "source = hdf5 and that file trains to the same bits, and starts at once.\n",
     OPTION_SET | OPTION_OUT | OPTION_JSON, OPTION_OUT, 1, 1, verb_pack},
    {"report", "RUN...|SWEEP", "writes a self-contained HTML page of a run or a sweep",
     "Several runs are compared: figures, curves on common axes, what their configs differ in.\n"
     "Without -o the page is the file's name with .html in place of .h5, of several runs "
     "compared.html beside the first.\n",
     OPTION_OUT | OPTION_OPEN, 0, 1, SIZE_MAX, verb_report},
    {"export", "RUN", "writes the run's network for other programs",
     "keras is FILE.h5, weights, and FILE.py, which builds the model, loads and checks them.\n"
     "onnx is a model for ONNX Runtime and others; its input is pixels from 0 to 255.\n"
     "npz is NumPy's: every weight under its name, and the classes, means and deviations.\n"
     "docs/export.md tells how each is used. A file that is no earlier export is never replaced.\n",
     OPTION_FORMAT | OPTION_OUT, OPTION_FORMAT | OPTION_OUT, 1, 1, verb_export},
    {"watch", "RUN", "draws the run's curves in the terminal as it goes on",
     "Drawn anew every second until the run ends, or nobody trains it any longer; just once where "
     "standard output is no terminal.\n",
     0, 0, 1, 1, verb_watch},
    {"verify", "RUN", "recomputes the outputs that the run file holds for its sample inputs",
     "Looks at the file's checksums first. A run that has not ended holds no sample outputs: then "
     "these are all there is to verify.\n",
     0, 0, 1, 1, verb_verify},
    {"doctor", "", "shows what this machine gives, and what slows a run", NULL, 0, 0, 0, 0,
     verb_doctor},
};

enum { VERB_COUNT = sizeof verbs / sizeof *verbs };

/* Words, from `column` on, in lines that a terminal has room for; those after the first begin at
 * `indent`. A line break in the text is one. */
static void print_wrapped(FILE *stream, size_t column, size_t indent, const char *text)
{
    bool begins = true; /* a line */
    while (*text) {
        const size_t length = strcspn(text, " \n");
        if (!begins && column + 1 + length > LINE_WIDTH) {
            fprintf(stream, "\n%*s", (int)indent, "");
            column = indent;
            begins = true;
        }
        fprintf(stream, "%s%.*s", begins ? "" : " ", (int)length, text);
        column += length + !begins;
        text += length;
        begins = *text == '\n';
        if (begins) {
            fputc('\n', stream);
            column = 0;
        }
        text += *text != '\0';
    }
}

static void print_usage(FILE *stream)
{
    enum { HELP_COLUMN = 25 };
    fprintf(stream, "Usage: colonnade VERB ...\n\n");
    for (size_t i = 0; i < VERB_COUNT; i++) {
        fprintf(stream, "  %-8s %-12s  ", verbs[i].name, verbs[i].operands);
        print_wrapped(stream, HELP_COLUMN, HELP_COLUMN, verbs[i].help);
        fputc('\n', stream);
    }
    fprintf(stream, "\ncolonnade VERB --help says what a verb takes; colonnade --version, which\n"
                    "version this is.\n");
}

/* "-o FILE ", "--format FORMAT " */
static void print_required(const struct verb *verb)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = &option_rows[i];
        if (verb->required & row->flag && row->letter)
            printf("-%c %s ", row->letter, row->argument);
        else if (verb->required & row->flag)
            printf("--%s %s ", row->name, row->argument);
    }
}

static void print_verb_help(const struct verb *verb)
{
    enum { HELP_COLUMN = 30 };
    printf("Usage: colonnade %s %s%s", verb->name, verb->operands, *verb->operands ? " " : "");
    print_required(verb);
    printf("[OPTION]...\n\n%s %s.\n", verb->name, verb->help);
    if (verb->details)
        print_wrapped(stdout, 0, 0, verb->details);
    printf("\nOptions:\n");
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = &option_rows[i];
        if (!(verb->options & row->flag) && row->flag != OPTION_HELP)
            continue;
        char letter[8] = "    ", text[64];
        if (row->letter)
            snprintf(letter, sizeof letter, "-%c, ", row->letter);
        snprintf(text, sizeof text, "%s--%s %s", letter, row->name,
                 row->argument ? row->argument : "");
        printf("%-28s  ", text);
        print_wrapped(stdout, HELP_COLUMN, HELP_COLUMN, row->help);
        printf("\n");
    }
    printf("\nExit status: 0 done; 1 a failure while running; 2 a wrong command line or\n"
           "config; 130 interrupted by SIGINT, 143 by SIGTERM.\n");
}

static enum colonnade_status find_verb(const char *name, const struct verb **verb,
                                       struct colonnade_error *error)
{
    const char *names[VERB_COUNT + 1] = {NULL};
    for (size_t i = 0; i < VERB_COUNT; i++) {
        names[i] = verbs[i].name;
        if (strcmp(name, verbs[i].name) == 0) {
            *verb = &verbs[i];
            return COLONNADE_OK;
        }
    }
    if (*name == '-')
        return error_set(error, COLONNADE_USAGE,
                         "colonnade: '%s' where a verb belongs: options follow the verb", name);
    const char *nearest = nearest_name(name, names);
    return error_set(error, COLONNADE_USAGE, "colonnade: unknown verb '%s'%s%s%s", name,
                     nearest ? ": did you mean '" : ": colonnade --help lists them",
                     nearest ? nearest : "", nearest ? "'?" : "");
}

static enum colonnade_status unknown_option(const struct verb *verb, const char *text,
                                            struct colonnade_error *error)
{
    const char *names[OPTION_COUNT + 1] = {NULL};
    size_t count = 0;
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (verb->options & option_rows[i].flag)
            names[count++] = option_rows[i].name;
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(text + strspn(text, "-"), "="),
             text + strspn(text, "-"));
    const char *nearest = nearest_name(name, names);
    return error_set(error, COLONNADE_USAGE, "colonnade %s: unknown option '%s'%s%s%s", verb->name,
                     text, nearest ? ": did you mean '--" : "", nearest ? nearest : "",
                     nearest ? "'?" : "");
}

/* A whole number in [1, most], or a number in (0, most] where `whole` is NULL. */
static enum colonnade_status parse_number(const struct verb *verb, const struct option_row *row,
                                          const char *text, double most, int *whole, double *number,
                                          struct colonnade_error *error)
{
    char *end;
    double value = strtod(text, &end);
    bool fits = end != text && *end == '\0' && value > 0 && value <= most;
    if (whole)
        fits = fits && value == floor(value) && strspn(text, "0123456789") == strlen(text);
    if (!fits)
        return error_set(error, COLONNADE_USAGE, "colonnade %s: --%s '%s' is not a %s %.0f",
                         verb->name, row->name, text,
                         whole ? "whole number from 1 to" : "number above 0, at most", most);
    if (whole)
        *whole = (int)value;
    else
        *number = value;
    return COLONNADE_OK;
}

static enum colonnade_status take_option(struct options *options, const struct verb *verb,
                                         const struct option_row *row, const char *argument,
                                         const char **sets, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    switch (row->flag) {
    case OPTION_SET:
        sets[options->set_count++] = argument;
        break;
    case OPTION_OUT:
        options->out = argument;
        if (*argument == '\0')
            RAISE(COLONNADE_USAGE, "colonnade %s: --out names no file", verb->name);
        break;
    case OPTION_FORMAT:
        options->format = argument;
        break;
    case OPTION_THREADS:
        TRY(parse_number(verb, row, argument, THREADS_MOST, &options->threads, NULL, error));
        break;
    case OPTION_JOBS:
        TRY(parse_number(verb, row, argument, JOBS_MOST, &options->jobs, NULL, error));
        break;
    case OPTION_BATCH:
        TRY(parse_number(verb, row, argument, BATCH_MOST, &options->batch, NULL, error));
        break;
    case OPTION_SECONDS:
        TRY(parse_number(verb, row, argument, SECONDS_MOST, NULL, &options->seconds, error));
        break;
    case OPTION_TOP:
        TRY(parse_number(verb, row, argument, DATA_MAX_CLASSES, &options->top, NULL, error));
        break;
    case OPTION_RESUME:
        options->resume = true;
        break;
    case OPTION_INFERENCE:
        options->inference = true;
        break;
    case OPTION_PROFILE:
        options->profile = true;
        break;
    case OPTION_OPEN:
        options->open = true;
        break;
    case OPTION_QUIET:
        options->quiet = true;
        break;
    case OPTION_JSON:
        options->json = true;
        break;
    case OPTION_HELP:
        break;
    }
out:
    return status;
}

/* getopt's tables for what the verb takes; an option's value is its row's index + 1. */
static void getopt_tables(const struct verb *verb, struct option *longs, char *letters)
{
    *letters++ = ':'; /* a missing argument is told apart from an unknown option */
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = &option_rows[i];
        if (!(verb->options & row->flag) && row->flag != OPTION_HELP)
            continue;
        int argument = row->argument ? required_argument : no_argument;
        *longs++ = (struct option){row->name, argument, NULL, i + 1};
        if (row->letter)
            *letters++ = (char)row->letter;
        if (row->letter && row->argument)
            *letters++ = ':';
    }
    *longs = (struct option){0};
    *letters = '\0';
}

static const struct option_row *option_row(int value)
{
    for (int i = 0; i < OPTION_COUNT; i++)
        if (value == i + 1 || (value && value == option_rows[i].letter))
            return &option_rows[i];
    return NULL;
}

/* `argv` begins with the verb; `sets` has room for as many texts. */
static enum colonnade_status parse_options(struct options *options, const struct verb *verb,
                                           int argc, char **argv, const char **sets, bool *help,
                                           struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct option longs[OPTION_COUNT + 1];
    char letters[2 * OPTION_COUNT + 2];
    getopt_tables(verb, longs, letters);
    opterr = 0;
    for (int value; (value = getopt_long(argc, argv, letters, longs, NULL)) != -1;) {
        const struct option_row *row = option_row(value == '?' || value == ':' ? optopt : value);
        if (value == ':')
            RAISE(COLONNADE_USAGE, "colonnade %s: --%s wants %s", verb->name, row->name,
                  row->argument);
        if (value == '?' && row && !row->argument && optopt < ' ')
            RAISE(COLONNADE_USAGE, "colonnade %s: --%s takes no value", verb->name, row->name);
        if (value == '?' && optopt) {
            char text[3] = {'-', (char)optopt, '\0'};
            TRY(unknown_option(verb, text, error));
        }
        if (value == '?')
            TRY(unknown_option(verb, argv[optind - 1], error));
        TRY(take_option(options, verb, row, optarg, sets, error));
        *help = *help || row->flag == OPTION_HELP;
    }
    options->operands = (const char *const *)argv + optind;
    options->operand_count = (size_t)(argc - optind);
    options->sets = sets;
out:
    return status;
}

static enum colonnade_status check_operands(const struct options *options, const struct verb *verb,
                                            struct colonnade_error *error)
{
    if (options->operand_count < verb->least)
        return error_set(error, COLONNADE_USAGE, "colonnade %s: %s is missing", verb->name,
                         verb->operands);
    if (options->operand_count > verb->most)
        return error_set(error, COLONNADE_USAGE, "colonnade %s: '%s' is too much: %s%s", verb->name,
                         options->operands[verb->most],
                         verb->most ? "it takes one " : "it takes options alone", verb->operands);
    return COLONNADE_OK;
}

static enum colonnade_status run_verb(int argc, char **argv, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const char **sets = NULL;
    const struct verb *verb = NULL;
    struct options options = {0};
    bool help = false;
    TRY(find_verb(argv[0], &verb, error));
    TRY(memory_allocate(&sets, (size_t)argc, sizeof *sets, "the command line", error));
    TRY(parse_options(&options, verb, argc, argv, sets, &help, error));
    if (help) {
        print_verb_help(verb);
        goto out;
    }
    TRY(check_operands(&options, verb, error));
    TRY(verb->run(&options, error));
out:
    free(sets);
    return status;
}

static bool is_either(const char *text, const char *a, const char *b)
{
    return strcmp(text, a) == 0 || strcmp(text, b) == 0;
}

int main(int argc, char **argv)
{
    libraries_prepare(argv);
    omp_set_dynamic(0); /* as many threads as are asked for, or the plan's scratch is not theirs */
    signals_install();
    enum colonnade_status status = COLONNADE_OK;
    struct colonnade_error error = {0};
    if (argc < 2) {
        print_usage(stderr);
        status = COLONNADE_USAGE;
    } else if (is_either(argv[1], "--help", "-h")) {
        print_usage(stdout);
    } else if (is_either(argv[1], "--version", "-V")) {
        printf("colonnade %s\n", COLONNADE_VERSION);
    } else {
        status = run_verb(argc - 1, argv + 1, &error);
    }
    if (error.message[0] && status != COLONNADE_OK)
        fprintf(stderr, "%s\n", error.message);
    if (output_flush(&error) != COLONNADE_OK && status == COLONNADE_OK) {
        fprintf(stderr, "%s\n", error.message);
        status = COLONNADE_FAILURE;
    }
    return (int)status;
}
