/* Who goes by which connection: the idle ones of each pool, a new one, or the pool's queue. */
#include "core.h"

static void wait(Pool *pool, Attempt *attempt) {
    attempt->next = NULL;
    if (pool->waiting == NULL) pool->waiting = attempt;
    else pool->last_waiting->next = attempt;
    pool->last_waiting = attempt;
}

static Attempt *first_waiting(Core *core, Pool *pool) {
    Attempt *attempt = pool->waiting;
    pool->waiting = attempt->next;
    attempt->next = NULL;
    if (attempt->is_first) core->own.waiting--;
    return attempt;
}

/* An idle connection, no longer idle; NULL when there is none. */
static Connection *idle(Pool *pool) {
    Connection *connection = pool->idle;
    if (connection == NULL) return NULL;
    pool->idle = connection->next;
    if (pool->idle != NULL) pool->idle->previous = NULL;
    connection->next = connection->previous = NULL;
    pool->idle_count--;
    return connection;
}

static int may_open(const Core *core) {
    return core->allowance > 0 && (int64_t)core->open < core->most && !core->is_finishing;
}

void pool_begin(Core *core, Attempt *attempt) {
    Pool *pool = attempt->pool;
    Connection *connection;
    while ((connection = idle(pool)) != NULL)
        if (connection_transmit(core, connection, attempt)) return;
    attempt->sent = -1;
    attempt->started = mono_ns();
    if (may_open(core)) {
        connection_open(core, attempt);
    } else {
        if (attempt->is_first) core->own.waiting++;
        wait(pool, attempt);
    }
}

/* A ready connection that carries nothing: to the next that waits, to the idle ones, or closed. */
void pool_release(Core *core, Connection *connection) {
    Pool *pool = connection->pool;
    if (pool->waiting != NULL && !core->is_finishing) {
        Attempt *attempt = first_waiting(core, pool);
        if (!connection_transmit(core, connection, attempt)) pool_begin(core, attempt);
        return;
    }
    if (!pool->is_wanted) {
        connection_close(core, connection);
        return;
    }
    connection->previous = NULL;
    connection->next = pool->idle;
    if (pool->idle != NULL) pool->idle->previous = connection;
    pool->idle = connection;
    pool->idle_count++;
}

/* An idle connection goes. */
void pool_forget(Core *core, Connection *connection) {
    (void)core;
    Pool *pool = connection->pool;
    if (connection->previous != NULL) connection->previous->next = connection->next;
    else if (pool->idle == connection) pool->idle = connection->next;
    else return; /* it was not among them */
    if (connection->next != NULL) connection->next->previous = connection->previous;
    connection->next = connection->previous = NULL;
    pool->idle_count--;
}

/* Where a connection was closed there is room for one that waits. */
void pool_to_serve(Core *core, Pool *pool) {
    if (pool->is_to_serve) return;
    pool->is_to_serve = 1;
    pool->next_to_serve = core->to_serve;
    core->to_serve = pool;
}

static void serve(Core *core, Pool *pool) {
    while (pool->waiting != NULL && (pool->idle != NULL || may_open(core)))
        pool_begin(core, first_waiting(core, pool));
}

void pool_serve(Core *core) {
    while (core->to_serve != NULL) {
        Pool *pool = core->to_serve;
        core->to_serve = pool->next_to_serve;
        pool->is_to_serve = 0;
        serve(core, pool);
    }
}

/* The cap is on all pools together: what closed in one is room for another. */
void pool_serve_all(Core *core) {
    for (Pool *pool = core->pools; pool != NULL; pool = pool->next) serve(core, pool);
}

void pool_withdraw(Core *core) {
    for (Pool *pool = core->pools; pool != NULL; pool = pool->next)
        while (pool->waiting != NULL)
            core_ended(core, first_waiting(core, pool), END_NOT_SENT, NULL, 0);
}

/* Those that waited for longer than they may. A queue is in order of waiting, and its deadlines are
 * mostly the same: as in Python, who waits behind one with a longer one waits with it. */
void pool_sweep(Core *core) {
    for (Pool *pool = core->pools; pool != NULL; pool = pool->next)
        while (pool->waiting != NULL && core->now - pool->waiting->started > pool->waiting->timeout)
            core_ended(core, first_waiting(core, pool), END_NOT_SENT, "in vain", 0);
}

void pool_drop_idle(Core *core, Pool *pool) {
    Connection *connection;
    pool->is_wanted = 0;
    while ((connection = idle(pool)) != NULL) connection_close(core, connection);
}
