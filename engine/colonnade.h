/* libcolonnade: training of convolutional neural networks for image classification on CPUs.
 *
 * An experiment is opened from a config, trained into a run file, and a run file is loaded to
 * classify images. Every function that can fail returns a status and fills the error it is given
 * (NULL is fine). What a function creates the caller destroys; destroying NULL is fine. Nothing
 * here prints, exits, or keeps global state; calls on different objects may run in different
 * threads, but for HDF5, which must not be in use elsewhere at the same time.
 */
#ifndef COLONNADE_H
#define COLONNADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define COLONNADE_API __attribute__((visibility("default")))

/* Statuses are the exit statuses of the program. */
enum colonnade_status {
    COLONNADE_OK = 0,
    COLONNADE_FAILURE = 1, /* data, file, memory, numbers gone non-finite */
    COLONNADE_USAGE = 2,   /* a wrong command line or config */
    COLONNADE_INTERRUPTED = 130,
    COLONNADE_TERMINATED = 143,
};

struct colonnade_error {
    enum colonnade_status status;
    char message[2048]; /* names the thing, its value and the rule; "FILE:LINE: " in front where known */
};

#ifdef __cplusplus
}
#endif

#endif
