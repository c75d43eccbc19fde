/* Standard output and the terminal: JSON lines, and numbers as people read them. */
#include "engine/cli/cli.h"

#include "engine/base/memory.h"
#include "engine/base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { TEXT_BUFFERS = 4, TEXT_BYTES = 48 };

enum colonnade_status output_flush(struct colonnade_error *error)
{
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout))
        return error_set(error, COLONNADE_FAILURE, "standard output cannot be written: %s",
                         errno ? strerror(errno) : "an earlier write failed");
    return COLONNADE_OK;
}

enum colonnade_status output_json(struct json_object *object, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const int flags = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;
    char *line = NULL;
    TRY(utf8_repair(&line, json_object_to_json_string_ext(object, flags), error));
    puts(line);
    TRY(output_flush(error));
out:
    json_object_put(object);
    free(line);
    return status;
}

/* With as few digits as give the number back. */
struct json_object *json_number(double value)
{
    if (!isfinite(value))
        return NULL;
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return json_object_new_double_s(value, text);
}

void json_add(struct json_object *object, const char *key, struct json_object *value)
{
    json_object_object_add(object, key, value);
}

static char *next_buffer(void)
{
    static char buffers[TEXT_BUFFERS][TEXT_BYTES];
    static int next;
    next = (next + 1) % TEXT_BUFFERS;
    return buffers[next];
}

const char *count_text(uint64_t count)
{
    char digits[24], *text = next_buffer(), *to = text;
    int length = snprintf(digits, sizeof digits, "%" PRIu64, count);
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

const char *bytes_text(double bytes)
{
    char *text = next_buffer();
    memory_text(text, TEXT_BYTES, bytes);
    return text;
}

const char *shape_text(struct shape shape)
{
    char *text = next_buffer();
    snprintf(text, TEXT_BYTES, "%dx%dx%d", shape.c, shape.h, shape.w);
    return text;
}

const char *duration_text(double seconds)
{
    char *text = next_buffer();
    long left = lround(fmin(seconds, 1e9));
    if (left >= 3600)
        snprintf(text, TEXT_BYTES, "%ld:%02ld:%02ld", left / 3600, left / 60 % 60, left % 60);
    else
        snprintf(text, TEXT_BYTES, "%ld:%02ld", left / 60, left % 60);
    return text;
}

bool terminal_is_live(void)
{
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && (!term || strcmp(term, "dumb") != 0);
}

struct terminal_size terminal_size(int descriptor)
{
    struct winsize size;
    if (ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
        return (struct terminal_size){80, 24};
    return (struct terminal_size){size.ws_col, size.ws_row};
}

/* VmHWM of proc(5), in KiB there. getrusage() would tell the peak of whatever process this one was
 * before it became this program, too. */
size_t peak_rss_bytes(void)
{
    char line[128];
    size_t kibibytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && kibibytes == 0 && fgets(line, sizeof line, file))
        sscanf(line, "VmHWM: %zu", &kibibytes);
    if (file)
        fclose(file);
    return kibibytes * 1024;
}
