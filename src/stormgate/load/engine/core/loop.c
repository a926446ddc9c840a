/* The native thread: what was answered, what is due, what is overdue, and when to look next. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "core.h"

/* Where so many are started in so long, answers wait for the next tick and the kernel's stamps say
 * when they came: a wake-up costs as much as several requests. Below, each answer wakes, and the
 * next send is waited for to its time. */
static const int64_t TICK = 700000, PACE_WINDOW = 100 * MS;
enum { PACING_FROM = 200, PACING_UNTIL = 150 };
static const int64_t SWEEP = 10 * MS, SWEEP_PER_CONNECTION = 20000;
static const int64_t BRACKET = 5000; /* clocks read further apart had a pause in between */
static const int64_t UNANSWERED = S; /* a connection not taken for so long would not have been */
static const int64_t FAREWELL = S / 2; /* what is submitted ahead of its time is so by much less */
enum { LAST_LOOKS = 64 };

static int64_t read_clock(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * S + time.tv_nsec;
}

int64_t mono_ns(void) { return read_clock(CLOCK_MONOTONIC); }

/* An attempt has ended; this is the only place that says so. */
void core_ended(Core *core, Attempt *attempt, End end, const char *why, int code) {
    attempt->end = end;
    attempt->why = why;
    attempt->code = code;
    if (end != END_WHOLE) attempt->done = mono_ns();
    attempt->next = NULL;
    core->under_way--;
    if (core->ended == NULL) core->ended = attempt;
    else core->last_ended->next = attempt;
    core->last_ended = attempt;
}

void core_lag(Core *core, int64_t ns) {
    size_t size = (core->own_lag_count + 1) * sizeof(int64_t);
    core->own_lags = grown(core->own_lags, &core->own_lag_room, size, SIZE_MAX);
    core->own_lags[core->own_lag_count++] = ns;
}

/* The time of this turn, and what turns the kernel's stamps (time of day) into monotonic time. */
static void set_clock(Core *core) {
    int64_t before = mono_ns(), day = read_clock(CLOCK_REALTIME);
    core->now = mono_ns();
    if (core->now - before < BRACKET || core->epoch == 0) core->epoch = before - day;
}

/* What the sockets say; how many said something. */
static int look(Core *core) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(core->epoll_fd, events, EVENTS, 0);
    for (int i = 0; i < count; i++)
        connection_event(core, events[i].data.ptr, events[i].events);
    while (core->closed != NULL) {
        Connection *connection = core->closed;
        core->closed = connection->next;
        free(connection);
    }
    pool_serve(core);
    return count;
}

/* Begin what is due, a few before the answers are looked at again; how many. */
static int start_due(Core *core) {
    int count = 0;
    int64_t now = mono_ns();
    while (count < STARTS && heap_next(core) <= now) {
        Attempt *attempt = heap_pop(core);
        if (attempt->is_first) core->own.released++;
        attempt->pool->submitted--;
        core->under_way++;
        pool_begin(core, attempt);
        count++;
    }
    core->pace_starts += (uint32_t)count;
    return count;
}

static void pace(Core *core) {
    int64_t elapsed = core->now - core->pace_ns;
    if (elapsed < PACE_WINDOW) return;
    int64_t starts = core->pace_starts * PACE_WINDOW / elapsed;
    core->is_pacing = starts > (core->is_pacing ? PACING_UNTIL : PACING_FROM);
    core->pace_ns = core->now;
    core->pace_starts = 0;
}

static void sweep(Core *core) {
    int64_t pause = SWEEP_PER_CONNECTION * (int64_t)core->open;
    core->sweep_ns = core->now + (pause > SWEEP ? pause : SWEEP);
    for (size_t i = core->open; i-- > 0;) { /* from behind: the last takes a closed one's place */
        if (i >= core->open) continue; /* those that were tried beside one went with it */
        Connection *connection = core->connections[i];
        Attempt *attempt = connection->attempt;
        if (attempt == NULL) continue;
        if (connection->state != READY) {
            if (core->now - attempt->started > attempt->connect_timeout)
                connection_failed(core, connection, END_CONNECT_TIMEOUT, NULL);
            else if (connection->race != NULL)
                connection_hurry(core, connection);
        } else if (core->now - attempt->sent > attempt->timeout) {
            connection_failed(core, connection, connection_late(connection), NULL);
        }
    }
    pool_sweep(core);
    pool_serve_all(core);
}

static void turn(Core *core) {
    int events, started;
    set_clock(core);
    pace(core);
    do {
        /* Closes are seen before anything is written on an idle connection. */
        while ((events = look(core)) == EVENTS) continue;
        started = start_due(core);
    } while (started == STARTS);
    if (core->now >= core->sweep_ns) sweep(core);
}

/* The end: what is still to come has its time, then what the target owes is booked. */
static void finish(Core *core) {
    int64_t at, latest = mono_ns() + FAREWELL;
    while ((at = heap_next(core)) <= latest) {
        struct timespec until = {at / S, at % S};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        turn(core);
    }
    core->is_finishing = 1;
    for (int i = 0; i < LAST_LOOKS; i++) { /* an answer may come in many pieces */
        set_clock(core);
        if (look(core) == 0) break;
    }
    int64_t now = mono_ns();
    while (core->open) {
        Connection *connection = core->connections[core->open - 1];
        End end = END_CONNECT_TIMEOUT;
        if (connection->state == READY)
            end = connection_late(connection);
        else if (connection->is_taken || now - connection->attempt->started < UNANSWERED)
            end = END_NOT_SENT; /* it waited for us, or had no time */
        connection_failed(core, connection, end, NULL);
    }
    pool_withdraw(core);
    while (heap_next(core) != NEVER) {
        core->under_way++;
        core_ended(core, heap_pop(core), END_NOT_SENT, NULL, 0);
    }
    look(core); /* frees what was closed */
    core->is_finishing = 0;
}

static void obey(Core *core, Order order) {
    Pool *pool = core->order_pool;
    switch (order) {
    case WITHDRAW: pool_withdraw(core); break;
    case DROP_IDLE: pool_drop_idle(core, pool); break;
    case POINT_ELSEWHERE:
        free(pool->addresses);
        pool->addresses = core->order_addresses;
        pool->address_count = core->order_address_count;
        pool->turn = 0;
        break;
    case FINISH: finish(core); break;
    default: break;
    }
}

/* Until something is due, is said, or was submitted. */
static void rest(Core *core, int64_t began) {
    int64_t at = heap_next(core), now = mono_ns();
    if (core->under_way && core->sweep_ns < at) at = core->sweep_ns;
    if (core->is_pacing) at = began + TICK;
    if (at > now + S) at = now + S;
    core->wakes_ns = at;
    struct pollfd fds[] = {{core->kick_fd, POLLIN, 0}, {core->epoll_fd, POLLIN, 0}};
    int64_t pause = at > now ? at - now : 0;
    struct timespec until = {pause / S, pause % S};
    /* Whoever submitted before `wakes_ns` was set saw an earlier one, and may not have rung: it is
     * looked for between the two, under the lock. */
    pthread_mutex_lock(&core->lock);
    int is_asked = core->inbox != NULL || core->order != NOTHING;
    pthread_mutex_unlock(&core->lock);
    if (!is_asked && ppoll(fds, core->is_pacing ? 1 : 2, &until, NULL) > 0 && fds[0].revents) {
        uint64_t rings;
        ssize_t size = read(core->kick_fd, &rings, sizeof rings);
        (void)size;
    }
    core->wakes_ns = 0;
}

void *core_main(void *given) {
    Core *core = given;
    prctl(PR_SET_TIMERSLACK, 1);
    prctl(PR_SET_NAME, "load core");
    for (;;) {
        int64_t began = mono_ns();
        Order order = mailbox_in(core);
        turn(core);
        if (order != NOTHING) obey(core, order);
        mailbox_out(core, order != NOTHING);
        if (order == STOP) return NULL;
        rest(core, began);
    }
}
