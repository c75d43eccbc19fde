/* Trains the config that it is given, loads the run file and classifies an image of noise:
 * libcolonnade through its public header alone.
 *
 *   cc example.c -lcolonnade -o example && ./example configs/mnist/lenet5.ini
 */
#include <colonnade.h>
#include <stdio.h>
#include <stdlib.h>

static bool print_epoch(void *context, const struct colonnade_epoch *epoch)
{
    printf("epoch %d: training loss %.4f\n", epoch->epoch, epoch->train_loss);
    return true; /* go on */
}

/* Prints the likeliest class of an image that is noise. */
static enum colonnade_status classify(const char *path, struct colonnade_error *error)
{
    struct colonnade_run *run;
    enum colonnade_status status = colonnade_run_load(&run, path, error);
    if (status != COLONNADE_OK)
        return status;
    int height, width, channels, classes = colonnade_run_classes(run), best = 0;
    colonnade_run_shape(run, &height, &width, &channels);
    size_t bytes = (size_t)height * (size_t)width * (size_t)channels;
    uint8_t *image = malloc(bytes); /* [height, width, channels] */
    float *probabilities = malloc((size_t)classes * sizeof *probabilities);
    if (!image || !probabilities)
        abort();
    for (size_t i = 0; i < bytes; i++)
        image[i] = (uint8_t)rand();
    status = colonnade_run_predict(run, 1, image, 0, probabilities, error);
    for (int i = 1; i < classes; i++)
        best = probabilities[i] > probabilities[best] ? i : best;
    if (status == COLONNADE_OK)
        printf("class %s: %.3f\n", colonnade_run_class_name(run, best), probabilities[best]);
    free(probabilities);
    free(image);
    colonnade_run_destroy(run);
    return status;
}

int main(int argc, char **argv)
{
    struct colonnade_error error = {.message = "usage: example CONFIG [SECTION.KEY=VALUE]"};
    struct colonnade_experiment *experiment = NULL;
    const struct colonnade_training training = {.progress = print_epoch};
    enum colonnade_status status = COLONNADE_USAGE;
    if (argc > 1) /* argv ends with NULL, as overrides have to */
        status = colonnade_experiment_open(&experiment, argv[1], (const char **)argv + 2, &error);
    if (status == COLONNADE_OK)
        status = colonnade_experiment_train(experiment, &training, &error);
    if (status == COLONNADE_OK)
        status = classify(colonnade_experiment_output(experiment), &error);
    if (status != COLONNADE_OK)
        fprintf(stderr, "%s\n", error.message);
    colonnade_experiment_destroy(experiment);
    return (int)status;
}
