/* What the hub's thread and the native one hand each other: see core.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "core.h"

enum { STACK = 256 * 1024 };

/* Where answers come by the tick, whoever takes them is woken for many at once; unless requests
 * follow on answers: then each would be late by as much. */
static const int64_t TELL_EVERY = 4 * MS, PROMPT = S;

/* --- from Python */

int core_start(Core *core) {
    pthread_attr_t attributes;
    sigset_t all, before;
    if (pthread_attr_init(&attributes)) return ENOMEM;
    pthread_attr_setstacksize(&attributes, STACK);
    /* Signals are Python's main thread's: none interrupts this one, and it takes none away. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&core->thread, &attributes, core_main, core);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    core->is_running = code == 0;
    return code;
}

void core_submit(Core *core, Attempt *attempt) {
    attempt->next = NULL;
    attempt->pool->submitted++;
    pthread_mutex_lock(&core->lock);
    if (core->inbox == NULL) core->inbox = attempt;
    else core->last_in->next = attempt;
    core->last_in = attempt;
    pthread_mutex_unlock(&core->lock);
}

static void ring(int fd) {
    uint64_t one = 1;
    ssize_t size = write(fd, &one, sizeof one); /* full: it is ringing already */
    (void)size;
}

void core_kick(Core *core) { ring(core->kick_fd); }

/* All that has ended, oldest first, and what was counted. `*lags` is to be freed. */
Attempt *core_take(Core *core, Counts *counts, int64_t **lags, size_t *lag_count) {
    uint64_t rings;
    pthread_mutex_lock(&core->lock);
    Attempt *ended = core->outbox;
    core->outbox = core->last_out = NULL;
    *counts = core->counts;
    *lags = core->lags;
    *lag_count = core->lag_count;
    core->lags = NULL;
    core->lag_count = core->lag_room = 0;
    if (core->is_told) {
        core->is_told = 0;
        ssize_t size = read(core->tell_fd, &rings, sizeof rings);
        (void)size;
    }
    pthread_mutex_unlock(&core->lock);
    return ended;
}

/* Have the native thread do something, and wait until it is done: a turn, not an answer. */
void core_order(Core *core, Order order, Pool *pool) {
    pthread_mutex_lock(&core->lock);
    core->order = order;
    core->order_pool = pool;
    ring(core->kick_fd);
    while (core->order != NOTHING) pthread_cond_wait(&core->done, &core->lock);
    pthread_mutex_unlock(&core->lock);
}

void core_stop(Core *core) {
    /* In a process that was forked off there is no thread, and its locks may be held. */
    if (!core->is_running || core->process != getpid()) return;
    core_order(core, STOP, NULL);
    pthread_join(core->thread, NULL);
    core->is_running = 0;
}

/* --- from the native thread */

Order mailbox_in(Core *core) {
    pthread_mutex_lock(&core->lock);
    Attempt *attempt = core->inbox;
    core->inbox = core->last_in = NULL;
    Order order = core->order;
    pthread_mutex_unlock(&core->lock);
    while (attempt != NULL) {
        Attempt *next = attempt->next;
        if (attempt->intended <= core->now) core->prompt_ns = core->now + PROMPT;
        heap_push(core, attempt);
        attempt = next;
    }
    return order;
}

/* Lags go to the shared ones as they are, or behind those that nobody has taken yet. */
static void share_lags(Core *core) {
    if (core->lag_count == 0) {
        int64_t *spare = core->lags;
        size_t room = core->lag_room;
        core->lags = core->own_lags;
        core->lag_count = core->own_lag_count;
        core->lag_room = core->own_lag_room;
        core->own_lags = spare;
        core->own_lag_room = room;
    } else {
        size_t size = (core->lag_count + core->own_lag_count) * sizeof(int64_t);
        core->lags = grown(core->lags, &core->lag_room, size, SIZE_MAX);
        memcpy(core->lags + core->lag_count, core->own_lags,
               core->own_lag_count * sizeof(int64_t));
        core->lag_count += core->own_lag_count;
    }
    core->own_lag_count = 0;
}

void mailbox_out(Core *core, int is_done) {
    int tell = 0;
    pthread_mutex_lock(&core->lock);
    core->own.open = core->open;
    core->counts = core->own;
    if (core->own_lag_count) share_lags(core);
    if (core->ended != NULL) {
        if (core->outbox == NULL) core->outbox = core->ended;
        else core->last_out->next = core->ended;
        core->last_out = core->last_ended;
        core->ended = core->last_ended = NULL;
    }
    int is_time = !core->is_pacing || core->now < core->prompt_ns ||
                  core->now - core->told_ns >= TELL_EVERY;
    if (core->outbox != NULL && !core->is_told && is_time) {
        tell = core->is_told = 1;
        core->told_ns = core->now;
    }
    /* Within the lock: whoever takes clears the bell and the word that it rang as one. */
    if (tell) ring(core->tell_fd);
    if (is_done) {
        core->order = NOTHING;
        pthread_cond_signal(&core->done);
    }
    pthread_mutex_unlock(&core->lock);
}
