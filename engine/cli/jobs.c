/* Rows of a sweep side by side: a process for each row, on cores of its own. The data are read
 * here, once, and the processes see them as they are; what comes back through a pipe is the row and
 * its epochs.
 *
 * A process is forked and not started anew, so threads of this one are missing over there. OpenMP's
 * are ended before; those of the library that decodes images are not ours to end. So images that
 * have no room in memory are left to the processes altogether, each of which opens them for itself;
 * it cannot where images were decoded here before, for a row whose data had room.
 */
#include "engine/cli/sweep.h"

#include "engine/base/memory.h"

#include <errno.h>
#include <omp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { POLL_MS = 200 };

struct job {
    pid_t process; /* 0: none */
    int pipe;      /* to read from */
    size_t combination, seed;
};

/* What a process has to say in the end; the epochs of the row follow. */
struct message {
    enum colonnade_status status;
    struct sweep_row row;            /* its pointer means nothing over here */
    char reason[SWEEP_REASON_BYTES]; /* where the status is an error */
};

struct jobs {
    struct sweep_board *board;
    struct job *jobs; /* [count] */
    struct pollfd *polls;
    size_t count, running;
    size_t rows, next; /* of the sweep; the row to look at next */
    struct sweep_data data;
    bool decoded; /* images, in this process */
    bool told;    /* the processes have been passed the signal that came */
};

enum colonnade_status jobs_divide(struct sweep *sweep, int jobs, struct colonnade_error *error)
{
    cpu_set_t cores;
    const int count = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 1;
    if (jobs > count)
        return error_set(error, COLONNADE_USAGE,
                         "colonnade sweep: --jobs %d: this process may run on %d core%s, and each "
                         "job needs one",
                         jobs, count, plural(count));
    if (jobs > 1)
        sweep->threads = (sweep->threads < count ? sweep->threads : count) / jobs;
    if (sweep->threads < 1)
        sweep->threads = 1;
    sweep->jobs = jobs;
    return COLONNADE_OK;
}

/* The calling process keeps those of its cores that are the job's: as many for each. */
static void take_cores(size_t index, size_t count)
{
    cpu_set_t all, mine;
    CPU_ZERO(&mine);
    if (sched_getaffinity(0, sizeof all, &all) != 0)
        return;
    const size_t each = (size_t)CPU_COUNT(&all) / count;
    size_t seen = 0;
    for (int core = 0; core < CPU_SETSIZE; core++) {
        if (!CPU_ISSET(core, &all))
            continue;
        if (seen / each == index)
            CPU_SET(core, &mine);
        seen++;
    }
    sched_setaffinity(0, sizeof mine, &mine);
}

/* A pipe takes and gives what fits into it at a time. False where the other end is gone. */
static bool send_bytes(int pipe, const void *bytes, size_t count)
{
    for (size_t done = 0; done < count;) {
        const ssize_t some = write(pipe, (const char *)bytes + done, count - done);
        if (some < 0 && errno != EINTR)
            return false;
        done += some > 0 ? (size_t)some : 0;
    }
    return true;
}

static bool receive_bytes(int pipe, void *bytes, size_t count)
{
    for (size_t done = 0; done < count;) {
        const ssize_t some = read(pipe, (char *)bytes + done, count - done);
        if (some == 0 || (some < 0 && errno != EINTR))
            return false;
        done += some > 0 ? (size_t)some : 0;
    }
    return true;
}

/* A row, with the data of the parent, or, where that has left them to its jobs, with its own. */
static enum colonnade_status work_on(const struct jobs *jobs, size_t combination, size_t seed,
                                     struct sweep_row *row, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct sweep *sweep = jobs->board->sweep;
    struct sweep_data own = jobs->data;
    if (!own.data)
        TRY(board_open_row(jobs->board, &own, combination, seed, sweep->jobs, row, error));
    if (row->status == SWEEP_WAITING)
        TRY(sweep_train(sweep, combination, seed, own.data, NULL, signals_pending(), row, error));
out:
    return status;
}

/* The process of a job: it trains, says what came of it, and is gone. It dies with its parent. */
_Noreturn static void work(const struct jobs *jobs, size_t index, size_t combination, size_t seed,
                           pid_t parent, int pipe)
{
    struct message message = {0};
    struct colonnade_error error = {0};
    const struct sweep *sweep = jobs->board->sweep;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(COLONNADE_FAILURE);
    take_cores(index, jobs->count);
    message.row = *sweep_row(sweep, combination, seed);
    message.status = work_on(jobs, combination, seed, &message.row, &error);
    if (message.status != COLONNADE_OK)
        snprintf(message.reason, sizeof message.reason, "%.*s", SWEEP_REASON_BYTES - 1,
                 error.message);
    const size_t bytes = message.row.epoch_count * sizeof *message.row.epochs;
    const bool sent =
        send_bytes(pipe, &message, sizeof message) && send_bytes(pipe, message.row.epochs, bytes);
    _exit(sent ? COLONNADE_OK : COLONNADE_FAILURE);
}

static enum colonnade_status start(struct jobs *jobs, size_t index, size_t combination, size_t seed,
                                   struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    int ends[2] = {-1, -1};
    const pid_t parent = getpid();
    if (omp_pause_resource_all(omp_pause_soft) != 0)
        RAISE(COLONNADE_FAILURE, "OpenMP's threads cannot be ended before a job's process");
    if (pipe(ends) != 0)
        RAISE(COLONNADE_FAILURE, "no pipe for a job: %s", strerror(errno));
    const pid_t process = fork();
    if (process == 0)
        work(jobs, index, combination, seed, parent, ends[1]);
    if (process < 0)
        RAISE(COLONNADE_FAILURE, "no process for a job: %s", strerror(errno));
    jobs->jobs[index] = (struct job){process, ends[0], combination, seed};
    jobs->running++;
    jobs->board->listed[sweep_data_index(&jobs->board->sweep->grid, combination)] = true;
    ends[0] = -1;
out:
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
    return status;
}

/* Opens the data of the row here, or leaves them to its process: then there are none. */
static enum colonnade_status open_data(struct jobs *jobs, size_t combination, size_t seed,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    bool streams = false;
    struct colonnade_error ignored; /* of opening them it is told in full */
    if (sweep_data_streams(&streams, jobs->board->sweep, combination, seed, &ignored) !=
            COLONNADE_OK ||
        !streams) {
        TRY(board_open_data(jobs->board, &jobs->data, combination, seed, error));
        jobs->decoded |= jobs->data.data && jobs->data.data->train.files;
        goto out;
    }
    sweep_data_close(&jobs->data);
    if (jobs->decoded)
        RAISE(
            COLONNADE_USAGE,
            "colonnade sweep: --jobs above 1: the images of some rows have room in [data] memory, "
            "and those of others have none; leave --jobs away, or set memory for all alike");
out:
    return status;
}

/* Gives a free place its next row, if there is one. */
static enum colonnade_status start_next(struct jobs *jobs, size_t index,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct sweep *sweep = jobs->board->sweep;
    const size_t seeds = sweep->grid.seed_count;
    while (jobs->next < jobs->rows && jobs->jobs[index].process == 0 && !*signals_pending()) {
        const size_t row = jobs->next++, combination = row / seeds, seed = row % seeds;
        if (sweep->rows[row].status != SWEEP_WAITING)
            continue;
        TRY(open_data(jobs, combination, seed, error));
        if (sweep->rows[row].status != SWEEP_WAITING)
            continue;
        TRY(start(jobs, index, combination, seed, error));
    }
out:
    return status;
}

/* The epochs are to be freed, also where the message is not whole. */
static enum colonnade_status read_message(int pipe, struct message *message, bool *whole,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct sweep_row *row = &message->row;
    *whole = receive_bytes(pipe, message, sizeof *message);
    row->epochs = NULL;
    if (!*whole)
        goto out;
    TRY(memory_allocate(&row->epochs, row->epoch_count, sizeof *row->epochs, "a row's epochs",
                        error));
    *whole = receive_bytes(pipe, row->epochs, row->epoch_count * sizeof *row->epochs);
out:
    return status;
}

/* How a process ended that had nothing to say. */
static void describe_end(struct sweep_row *row, int state)
{
    char reason[256];
    if (WIFSIGNALED(state))
        snprintf(reason, sizeof reason, "its process was ended by signal %d (%s)", WTERMSIG(state),
                 strsignal(WTERMSIG(state)));
    else
        snprintf(reason, sizeof reason, "its process ended with status %d", WEXITSTATUS(state));
    sweep_row_end(row, SWEEP_FAILED, reason);
}

static enum colonnade_status finish(struct jobs *jobs, struct job *job,
                                    struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct message message = {0};
    bool whole;
    int state = 0;
    struct sweep_row *row = sweep_row(jobs->board->sweep, job->combination, job->seed);
    TRY(read_message(job->pipe, &message, &whole, error));
    close(job->pipe);
    while (waitpid(job->process, &state, 0) < 0 && errno == EINTR)
        continue;
    job->process = 0;
    jobs->running--;
    if (*signals_pending() && !(whole && message.status == COLONNADE_OK))
        goto out; /* the row waits for a resumed sweep */
    if (whole && message.status == COLONNADE_OK)
        sweep_row_move(row, &message.row);
    else if (whole)
        RAISE(message.status, "%s", message.reason);
    else
        describe_end(row, state);
    TRY(board_take(jobs->board, job->combination, job->seed, error));
out:
    free(message.row.epochs);
    return status;
}

/* Passes on a signal that has come; some may have had it from the terminal. */
static void tell(struct jobs *jobs, int signal)
{
    if (jobs->told)
        return;
    jobs->told = true;
    for (size_t i = 0; i < jobs->count; i++)
        if (jobs->jobs[i].process)
            kill(jobs->jobs[i].process, signal);
}

/* Waits for any process, or a moment. */
static enum colonnade_status wait_for_any(struct jobs *jobs, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char text[64];
    for (size_t i = 0; i < jobs->count; i++)
        jobs->polls[i] = (struct pollfd){.fd = jobs->jobs[i].process ? jobs->jobs[i].pipe : -1,
                                         .events = POLLIN};
    const int ready = poll(jobs->polls, jobs->count, POLL_MS);
    if (*signals_pending())
        tell(jobs, *signals_pending());
    for (size_t i = 0; ready > 0 && i < jobs->count; i++)
        if (jobs->polls[i].revents)
            TRY(finish(jobs, &jobs->jobs[i], error));
    snprintf(text, sizeof text, "%zu under way", jobs->running);
    table_status(jobs->board, text);
out:
    return status;
}

/* On an error: nothing is left running. */
static void end_all(struct jobs *jobs)
{
    for (size_t i = 0; jobs->jobs && i < jobs->count; i++) {
        struct job *job = &jobs->jobs[i];
        if (job->process == 0)
            continue;
        kill(job->process, SIGKILL);
        while (waitpid(job->process, NULL, 0) < 0 && errno == EINTR)
            continue;
        close(job->pipe);
    }
}

enum colonnade_status jobs_run(struct sweep_board *board, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct sweep_grid *grid = &board->sweep->grid;
    struct jobs jobs = {.board = board,
                        .count = (size_t)board->sweep->jobs,
                        .rows = grid->combinations * grid->seed_count};
    TRY(memory_allocate(&jobs.jobs, jobs.count, sizeof *jobs.jobs, "jobs", error));
    TRY(memory_allocate(&jobs.polls, jobs.count, sizeof *jobs.polls, "jobs", error));
    do {
        for (size_t i = 0; i < jobs.count; i++)
            TRY(start_next(&jobs, i, error));
        if (jobs.running)
            TRY(wait_for_any(&jobs, error));
    } while (jobs.running || (jobs.next < jobs.rows && !*signals_pending()));
    if (*signals_pending())
        RAISE(*signals_pending() == SIGINT ? COLONNADE_INTERRUPTED : COLONNADE_TERMINATED,
              "stopped by a signal");
out:
    end_all(&jobs);
    sweep_data_close(&jobs.data);
    free(jobs.jobs);
    free(jobs.polls);
    return status;
}
