/* A look at every image of a dataset before anything is trained on it: what cannot be read, what
 * is blank, labels that mean nothing, copies, classes out of balance, and files whose form tells
 * their class. It judges and prints nothing: an error is what would end a training or flatter its
 * score, a warning what ought to be looked at, a note neither.
 *
 * Images are numbered: those of the training split first, then those of the test split.
 */
#ifndef ENGINE_CHECK_CHECK_H
#define ENGINE_CHECK_CHECK_H

#include "engine/data/dataset.h"
#include "engine/data/image.h"

enum check_severity { CHECK_ERROR, CHECK_WARNING, CHECK_NOTE };

/* In the order of what matters most. */
enum check_kind {
    CHECK_UNREADABLE,
    CHECK_LABEL,          /* out of range */
    CHECK_SAME_ACROSS,    /* a test image that is a training image too */
    CHECK_NEAR_ACROSS,    /* nearly so */
    CHECK_SAME_HELD_BACK, /* an image of the validation part that is one of the training part too */
    CHECK_NEAR_HELD_BACK,
    CHECK_SAME_TWO_LABELS, /* within a split: the same image under two labels */
    CHECK_NEAR_TWO_LABELS,
    CHECK_DAMAGED,      /* a file that training takes, though data of it are missing */
    CHECK_FEW_LEVELS,   /* of more than 8 bits, of which only the lowest eighth of the range is used
                         */
    CHECK_BLANK,        /* as good as one colour: no values of a channel more than 3 apart */
    CHECK_LEAK,         /* the class can be told by a property of the file */
    CHECK_TRANSPOSED,   /* the channels seem to come first; about the whole, as imbalance is */
    CHECK_CLASS_ABSENT, /* from a split, or from what validation leaves of the training split */
    CHECK_IMBALANCE,    /* the largest class beside the smallest, in the training split */
    CHECK_SAME,         /* within a split, under one label */
    CHECK_NEAR,
    CHECK_KINDS,
};

struct check_kind_type {
    const char *name; /* "unreadable", ... */
    enum check_severity severity;
};
extern const struct check_kind_type check_kinds[CHECK_KINDS];

/* `image` is a copy of `original`, which comes before it; for each part and for equal and other
 * labels at most one original is kept, the one most alike. */
struct check_copy {
    size_t image, original;
    bool exact;      /* pixel by pixel */
    double likeness; /* correlation of the thumbnails, 1 at most */
};

/* What a file is like beside its pixels. */
enum check_property_kind {
    CHECK_CHANNELS,
    CHECK_DEPTH,  /* bits of a sample: 8 or 16 */
    CHECK_SIZE,   /* width and height */
    CHECK_AREA,   /* of pixels, in half octaves */
    CHECK_ASPECT, /* width by height, in quarters of an octave */
    CHECK_SUFFIX,
    CHECK_PROPERTIES,
};
const char *check_property_name(enum check_property_kind kind); /* "channels", "size", ... */

enum { CHECK_VALUES = 12, CHECK_VALUE_BYTES = 32, CHECK_IMBALANCE_RATIO = 10 };

struct check_value {
    char text[CHECK_VALUE_BYTES]; /* "3", "128x96", "jpg" */
    size_t count;
    size_t *class_counts; /* [classes] */
};

/* A class that is told from the rest: the share of its images, and of the rest's, taken for it. */
struct check_told {
    int class;
    double recall, rest;
};

/* How well a class is guessed by this property alone: what values mean is learned from one half of
 * the images and tried on the other, then the other way round (leak.c). */
struct check_property {
    double accuracy; /* balanced: the mean of the classes' recalls */
    double chance;   /* what guessing blindly gives; of both 0: too few images to judge by */
    bool leak;
    struct check_told *told; /* [told_count], by class */
    size_t told_count;
    size_t distinct;                         /* values */
    struct check_value values[CHECK_VALUES]; /* the commonest, in falling order */
    size_t value_count;
};

struct check {
    const struct dataset *data;
    size_t count;              /* images in both splits */
    char **unreadable;         /* [count]: why, or NULL */
    char **damaged;            /* [count]: why, or NULL; files that can be read */
    bool *blank;               /* [count] */
    struct image_facts *facts; /* [count] of files; NULL for arrays */
    struct check_copy *copies; /* ascending */
    size_t copy_count;
    bool *held_back;         /* [count]: of the validation part */
    size_t *held_counts;     /* [classes] of those */
    size_t *class_counts[2]; /* [classes] in train and test; labels in range alone */
    struct check_property properties[CHECK_PROPERTIES]; /* of files */
    size_t found[CHECK_KINDS]; /* images; of CHECK_LEAK properties, of CHECK_CLASS_ABSENT classes,
                                * of CHECK_TRANSPOSED and CHECK_IMBALANCE 1 */
};

/* `data` as dataset_inspect() opens it; it has to outlive the check. The same findings on any
 * number of threads. Takes about 440 bytes an image, and time that grows with the square of the
 * number of images: two seconds for 70,000 on two cores. */
enum colonnade_status check_create(struct check **check, const struct dataset *data, int threads,
                                   struct colonnade_error *error);
void check_destroy(struct check *check);

/* How many findings there are of that severity, kinds that is. */
size_t check_findings(const struct check *check, enum check_severity severity);

bool check_in_test(const struct check *check, size_t image);
enum part check_part(const struct check *check, size_t image);
size_t check_index(const struct check *check, size_t image);     /* in its split */
const char *check_file(const struct check *check, size_t image); /* NULL: not out of a file */
int32_t check_label(const struct check *check, size_t image);
bool check_label_fits(const struct check *check, size_t image);
bool check_few_levels(const struct check *check, size_t image);
enum check_kind check_copy_kind(const struct check *check, const struct check_copy *copy);

#endif
