/* From an attempt to a connection that may carry it: TCP, then TLS where the pool wants it. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core.h"

#ifndef SO_TIMESTAMPNS
#define SO_TIMESTAMPNS 35
#endif

/* How an attempt ends whose connection could not be made. */
static End refused(int code) {
    switch (code) {
    case EADDRNOTAVAIL: case EAFNOSUPPORT: case ENOBUFS: case ENOMEM: case EMFILE: case ENFILE:
        return END_NOT_SENT; /* this machine's own limits */
    case ETIMEDOUT:
        return END_CONNECT_TIMEOUT;
    default:
        return END_REFUSED;
    }
}

/* One attempt's way to a connection where there are several addresses (RFC 8305). */
struct Race {
    Connection *running;     /* those under way, by `next` */
    int64_t since, delay;    /* when the last one was begun; how long it is waited for alone */
    End end;                 /* how the attempt ends if none leads anywhere */
    uint32_t at, count;      /* of `rest`: those before `at` were dialled */
    Address rest[];
};
static const int64_t ATTEMPT_DELAY = 250 * MS; /* RFC 8305, 5 */
enum { UNDER_WAY = ENDS };

static Connection *made(Core *core, Pool *pool, int fd) {
    size_t none = 0;
    size_t size = sizeof(Connection) + core->wanted_count * sizeof(Found);
    Connection *connection = grown(NULL, &none, size, SIZE_MAX);
    memset(connection, 0, size);
    connection->pool = pool;
    connection->fd = fd;
    connection->is_new = 1;
    core->connections = grown(core->connections, &core->room,
                              (core->open + 1) * sizeof(Connection *), SIZE_MAX);
    connection->index = core->open;
    core->connections[core->open++] = connection;
    return connection;
}

/* Where an attempt was not sent to; the errno, or 0: it was silent. */
static void note(Attempt *attempt, const Address *address, int code, int64_t delay) {
    size_t none = 0;
    Tried *tried = grown(NULL, &none, sizeof *tried, SIZE_MAX);
    *tried = (Tried){attempt->tried, *address, code, delay};
    attempt->tried = tried;
}

static int failed(Attempt *attempt, const Address *address, Race *race, int code) {
    if (race != NULL) note(attempt, address, code, 0);
    attempt->code = code;
    return (int)refused(code);
}

/* Dial one address: UNDER_WAY, or how it failed. */
static int begin(Core *core, Attempt *attempt, const Address *address, Race *race) {
    Pool *pool = attempt->pool;
    int one = 1;
    int fd = socket(address->at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return failed(attempt, address, race, errno);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
    if (connect(fd, (const struct sockaddr *)&address->at, address->size) < 0 &&
        errno != EINPROGRESS) {
        int code = errno;
        close(fd);
        return failed(attempt, address, race, code);
    }
    Connection *connection = made(core, pool, fd);
    connection->address = *address;
    if (connection_watch(core, connection, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT) < 0) {
        /* No more can be watched (epoll(7), max_user_watches): nothing the target had a part in. */
        attempt->code = errno;
        connection_close(core, connection);
        return END_NOT_SENT;
    }
    connection->attempt = attempt;
    core->own.new_connections++;
    if (race != NULL) {
        connection->race = race;
        connection->next = race->running;
        race->running = connection;
        race->since = core->now;
    }
    return UNDER_WAY;
}

/* One address led nowhere: what a target did says more than what this machine could not do. */
static End lost(Race *race, int end) {
    if (race->end == END_NOT_SENT) race->end = (End)end;
    return race->end;
}

/* Dial what is left after that; how the attempt ends when nothing is under way any more. */
static int dial_rest(Core *core, Attempt *attempt, Race *race, int end) {
    end = (int)lost(race, end);
    while (race->at < race->count) {
        int found = begin(core, attempt, &race->rest[race->at++], race);
        if (found == UNDER_WAY) return UNDER_WAY;
        end = (int)lost(race, found);
    }
    if (race->running != NULL) return UNDER_WAY;
    free(race);
    return end;
}

/* The order of this turn: each connection begins with another address, and who comes after a dead
 * first one takes turns, too (Addresses.order, in Python). */
static Race *race_of(Pool *pool, const Attempt *attempt, const Address **first) {
    uint32_t count = pool->address_count;
    *first = pool->addresses;
    if (count < 2) return NULL;
    size_t none = 0;
    Race *race = grown(NULL, &none, sizeof *race + (count - 1) * sizeof(Address), SIZE_MAX);
    memset(race, 0, sizeof *race);
    uint32_t begins = (uint32_t)(pool->turn % count);
    uint32_t shift = (uint32_t)(pool->turn / count % (count - 1));
    pool->turn++;
    *first = &pool->addresses[begins];
    for (uint32_t i = 0; i < count - 1; i++)
        race->rest[i] = pool->addresses[(begins + 1 + (i + shift) % (count - 1)) % count];
    race->count = count - 1;
    race->end = END_NOT_SENT;
    race->delay = attempt->connect_timeout / count; /* all have their turn within the deadline */
    if (race->delay > ATTEMPT_DELAY) race->delay = ATTEMPT_DELAY;
    return race;
}

/* How an attempt ends over which nothing is under way. `code` was set by what failed last. */
static void end(Core *core, Attempt *attempt, int end) {
    if (end != UNDER_WAY) core_ended(core, attempt, (End)end, NULL, attempt->code);
}

void connection_open(Core *core, Attempt *attempt) {
    const Address *first;
    if (attempt->is_first) core_lag(core, attempt->started - attempt->intended);
    core->allowance--;
    Race *race = race_of(attempt->pool, attempt, &first);
    int found = begin(core, attempt, first, race);
    if (found != UNDER_WAY && race != NULL) found = dial_rest(core, attempt, race, found);
    end(core, attempt, found);
}

/* Try the next address beside one that is silent. */
void connection_hurry(Core *core, Connection *connection) {
    Race *race = connection->race;
    if (race->at == race->count || core->now - race->since <= race->delay) return;
    int found = begin(core, connection->attempt, &race->rest[race->at++], race);
    if (found != UNDER_WAY) lost(race, found);
}

static void leave(Race *race, Connection *connection) {
    Connection **place = &race->running;
    while (*place != connection) place = &(*place)->next;
    *place = connection->next;
    connection->next = NULL;
    connection->race = NULL;
}

/* End the race of a connection: the others that ran are closed, without what they carried. */
void connection_let_go(Core *core, Connection *connection) {
    Race *race = connection->race;
    if (race == NULL) return;
    leave(race, connection);
    while (race->running != NULL) {
        Connection *other = race->running;
        leave(race, other);
        note(other->attempt, &other->address, 0, race->delay);
        connection_close(core, other);
        other->attempt = NULL;
    }
    free(race);
}

/* The same where no attempt is asked for any more, and each connection is freed by itself. */
void connection_forsake(Connection *connection) {
    Race *race = connection->race;
    if (race == NULL) return;
    leave(race, connection);
    if (race->running == NULL) free(race);
}

/* A connection could not be made. */
static void not_made(Core *core, Connection *connection, int code) {
    Attempt *attempt = connection->attempt;
    Race *race = connection->race;
    int found = failed(attempt, &connection->address, race, code);
    if (race != NULL) leave(race, connection);
    connection_close(core, connection);
    connection->attempt = NULL;
    if (race != NULL) found = dial_rest(core, attempt, race, found);
    end(core, attempt, found);
}

static void ready(Core *core, Connection *connection) {
    Attempt *attempt = connection->attempt;
    connection->state = READY;
    connection_watch(core, connection, EPOLL_CTL_MOD, EPOLLIN);
    if (!connection_transmit(core, connection, attempt)) pool_begin(core, attempt);
}

/* Go on with the handshake as far as what the peer has said allows. */
static void shake(Core *core, Connection *connection) {
    Session *session = connection->session;
    for (;;) {
        const char *why = NULL;
        int is_agreed = session_shake(session, &why);
        int is_out = session_flush(session, connection->fd); /* also the alert: it says why */
        if (is_out < 0) {
            connection_failed(core, connection, END_RESET, NULL);
            return;
        }
        if (is_agreed < 0) {
            connection_failed(core, connection, END_TLS, why);
            return;
        }
        if (is_agreed) {
            ready(core, connection);
            return;
        }
        ssize_t size = recv(connection->fd, core->buffer, sizeof core->buffer, 0);
        if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
            connection_watch(core, connection, EPOLL_CTL_MOD, EPOLLIN | (is_out ? 0 : EPOLLOUT));
            return;
        }
        if (size <= 0 || session_feed(session, core->buffer, (size_t)size) < 0) {
            connection_failed(core, connection, END_RESET, NULL); /* closed in the middle of it */
            return;
        }
    }
}

/* Go on with the making of a connection of which the sockets say something. */
void connection_advance(Core *core, Connection *connection) {
    Pool *pool = connection->pool;
    if (core->is_finishing) {
        connection->is_taken = 1;
        connection_watch(core, connection, EPOLL_CTL_MOD, 0);
        return;
    }
    if (connection->state == CONNECTING) {
        int code = 0;
        socklen_t size = sizeof code;
        getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &code, &size);
        if (code) {
            not_made(core, connection, code);
            return;
        }
        connection_let_go(core, connection); /* the first to connect is taken */
        if (pool->tls == NULL) {
            ready(core, connection);
            return;
        }
        connection->state = HANDSHAKE;
        connection->session = session_new(pool->tls, &pool->peer);
        if (connection->session == NULL) {
            connection_failed(core, connection, END_TLS, "no TLS session can be had");
            return;
        }
    }
    shake(core, connection);
}
