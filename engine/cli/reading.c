/* How far the reading of image files is, on standard error: on a terminal a line that is drawn
 * over, elsewhere a plain line now and then. What is soon done is not spoken of.
 */
#include "engine/cli/cli.h"

#include <stdio.h>

static const double redraw_seconds = 0.1, line_seconds = 10;

struct reading_display reading_begin(bool quiet)
{
    const double now = seconds_now();
    return (struct reading_display){
        .quiet = quiet, .terminal = terminal_is_live(), .start = now, .told = now};
}

static void tell(void *context, const char *folder, size_t done, size_t count)
{
    struct reading_display *display = context;
    const double now = seconds_now(), pause = display->terminal ? redraw_seconds : line_seconds;
    if (display->quiet || (done < count && now - display->told < pause))
        return;
    if (display->drawn)
        fputs("\r\033[K", stderr);
    if (done < count)
        fprintf(stderr, "%s: %s of %s images read%s", folder, count_text(done), count_text(count),
                display->terminal ? "" : "\n");
    else if (count > 0 && now - display->start >= line_seconds)
        fprintf(stderr, "%s: %s images read in %.0f s\n", folder, count_text(count),
                now - display->start);
    display->drawn = display->terminal && done < count;
    display->told = now;
    if (done == count)
        display->start = now;
}

struct read_listener reading_listener(struct reading_display *display)
{
    return (struct read_listener){tell, display};
}
