/* Images by their number: the split, the label and the file of each. */
#include "engine/check/parts.h"

bool check_in_test(const struct check *check, size_t image)
{
    return image >= check->data->train.count;
}

enum part check_part(const struct check *check, size_t image)
{
    return check_in_test(check, image) ? PART_TEST
           : check->held_back[image]   ? PART_VALIDATION
                                       : PART_TRAINING;
}

size_t check_index(const struct check *check, size_t image)
{
    return check_in_test(check, image) ? image - check->data->train.count : image;
}

const struct split *check_split(const struct check *check, size_t image)
{
    return check_in_test(check, image) ? &check->data->test : &check->data->train;
}

int32_t check_label(const struct check *check, size_t image)
{
    return check_split(check, image)->labels[check_index(check, image)];
}

bool check_label_fits(const struct check *check, size_t image)
{
    const int32_t label = check_label(check, image);
    return label >= 0 && label < check->data->classes;
}

const char *check_file(const struct check *check, size_t image)
{
    const struct split *split = check_split(check, image);
    return split->files ? split->files[check_index(check, image)] : NULL;
}

bool check_few_levels(const struct check *check, size_t image)
{
    enum { PART = 8 };
    const struct image_facts *facts = check->facts ? &check->facts[image] : NULL;
    return facts && !check->unreadable[image] && facts->white > UINT8_MAX &&
           PART * facts->largest < facts->white;
}

enum check_kind check_copy_kind(const struct check *check, const struct check_copy *copy)
{
    const bool across = check_in_test(check, copy->image) != check_in_test(check, copy->original);
    const bool two_labels = check_label(check, copy->image) != check_label(check, copy->original);
    if (across)
        return copy->exact ? CHECK_SAME_ACROSS : CHECK_NEAR_ACROSS;
    if (two_labels)
        return copy->exact ? CHECK_SAME_TWO_LABELS : CHECK_NEAR_TWO_LABELS;
    if (check_part(check, copy->image) != check_part(check, copy->original))
        return copy->exact ? CHECK_SAME_HELD_BACK : CHECK_NEAR_HELD_BACK;
    return copy->exact ? CHECK_SAME : CHECK_NEAR;
}
