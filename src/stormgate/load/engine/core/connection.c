/* One connection: opening, writing, reading, closing. Plain TCP, one request at a time. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core.h"

#ifndef SO_TIMESTAMPNS
#define SO_TIMESTAMPNS 35
#endif

static const int64_t AHEAD = 20 * MS; /* a stamp may be younger than the turn that reads it */

static int watch(Core *core, Connection *connection, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = connection};
    return epoll_ctl(core->epoll_fd, operation, connection->fd, &event);
}

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

void connection_open(Core *core, Attempt *attempt) {
    Pool *pool = attempt->pool;
    int one = 1;
    if (attempt->is_first) core_lag(core, attempt->started - attempt->intended);
    core->allowance--;
    int fd = socket(pool->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        core_ended(core, attempt, refused(errno), NULL, errno);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&pool->address, pool->address_size) < 0 &&
        errno != EINPROGRESS) {
        int code = errno;
        close(fd);
        core_ended(core, attempt, refused(code), NULL, code);
        return;
    }
    Connection *connection = made(core, pool, fd);
    connection->attempt = attempt;
    core->own.new_connections++;
    if (watch(core, connection, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT) < 0) {
        /* No more can be watched (epoll(7), max_user_watches): nothing the target had a part in. */
        int code = errno;
        connection_close(core, connection);
        connection->attempt = NULL;
        core_ended(core, attempt, END_NOT_SENT, NULL, code);
    }
}

/* Let go of a connection without closing its descriptor. What it carried is no longer its own. */
static void let_go(Core *core, Connection *connection) {
    Connection *last = core->connections[--core->open];
    core->connections[connection->index] = last;
    last->index = connection->index;
    connection->state = CLOSED;
    pool_to_serve(core, connection->pool);
    free(connection->raw);
    connection->raw = NULL;
    connection->next = core->closed; /* an event of this look may still speak of it */
    core->closed = connection;
}

void connection_close(Core *core, Connection *connection) {
    if (connection->state == CLOSED) return;
    if (connection->state == READY && connection->attempt == NULL) pool_forget(core, connection);
    close(connection->fd);
    let_go(core, connection);
}

/* What it carries ended without a whole response, and so does the connection. */
void connection_failed(Core *core, Connection *connection, End end, const char *why) {
    Attempt *attempt = connection->attempt;
    connection_close(core, connection);
    connection->attempt = NULL;
    if (attempt != NULL) core_ended(core, attempt, end, why, 0);
}

/* Whether an attempt was written, or will be as soon as there is room. If not, the connection is
 * closed: not a byte left, so beginning the attempt anew is no second try. */
int connection_transmit(Core *core, Connection *connection, Attempt *attempt) {
    int64_t now = mono_ns();
    attempt->sent = now;
    if (connection->is_new) connection->is_new = 0;
    else if (attempt->is_first) core_lag(core, now - attempt->intended);
    connection->attempt = attempt;
    connection->written = 0;
    framing_begin(&connection->framing, attempt->is_head, core->wanted, connection->found,
                  core->wanted_count);
    ssize_t sent = send(connection->fd, attempt->payload, attempt->payload_size, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            connection_close(core, connection);
            connection->attempt = NULL;
            return 0;
        }
        sent = 0;
    }
    if (attempt->is_first) core->own.sent++;
    connection->written = (size_t)sent;
    if (connection->written < attempt->payload_size)
        watch(core, connection, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    return 1;
}

static void flush(Core *core, Connection *connection) {
    Attempt *attempt = connection->attempt;
    if (attempt == NULL || connection->written == attempt->payload_size) {
        watch(core, connection, EPOLL_CTL_MOD, EPOLLIN);
        return;
    }
    ssize_t sent = send(connection->fd, attempt->payload + connection->written,
                        attempt->payload_size - connection->written, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EINTR)
            connection_failed(core, connection, END_RESET, NULL);
        return;
    }
    connection->written += (size_t)sent;
    if (connection->written == attempt->payload_size)
        watch(core, connection, EPOLL_CTL_MOD, EPOLLIN);
}

static void keep_bytes(Connection *connection, const char *data, size_t size) {
    connection->raw = grown(connection->raw, &connection->raw_room, connection->raw_size + size,
                            MOST_RAW + READ_SIZE);
    memcpy(connection->raw + connection->raw_size, data, size);
    connection->raw_size += size;
}

/* The bytes of a response go with its attempt. */
static void hand_bytes(Connection *connection, const char *data, size_t size) {
    Attempt *attempt = connection->attempt;
    keep_bytes(connection, data, size);
    attempt->raw = connection->raw;
    attempt->raw_size = connection->raw_size;
    connection->raw = NULL;
    connection->raw_size = connection->raw_room = 0;
}

/* What the core does not decide goes on elsewhere, the connection with it. */
static void hand_over(Core *core, Connection *connection, const char *data, size_t size) {
    Attempt *attempt = connection->attempt;
    hand_bytes(connection, data, size);
    attempt->fd = connection->fd;
    attempt->written = connection->written;
    epoll_ctl(core->epoll_fd, EPOLL_CTL_DEL, connection->fd, NULL);
    connection->attempt = NULL;
    let_go(core, connection);
    core_ended(core, attempt, END_ODD, NULL, 0);
}

static void answered(Core *core, Connection *connection, const char *data, size_t size,
                     int64_t done) {
    Attempt *attempt = connection->attempt;
    int keeps = connection->framing.keep && connection->written == attempt->payload_size;
    hand_bytes(connection, data, size);
    if (core->wanted_count)
        memcpy(attempt->found, connection->found, core->wanted_count * sizeof(Found));
    attempt->status = connection->framing.status;
    /* A stamp that cannot be true was made while the time of day was set. */
    attempt->done = done >= attempt->sent && done <= core->now + AHEAD ? done : mono_ns();
    core_ended(core, attempt, END_WHOLE, NULL, 0);
    if (keeps && !core->is_finishing) {
        connection->attempt = NULL;
        pool_release(core, connection);
    } else {
        connection_close(core, connection);
        connection->attempt = NULL;
    }
}

/* When the kernel received what was just read, 0 where it does not say. */
static int64_t stamp(const Core *core, struct msghdr *message) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS &&
            c->cmsg_len >= CMSG_LEN(sizeof(struct timespec))) {
            struct timespec time;
            memcpy(&time, CMSG_DATA(c), sizeof time);
            return (int64_t)time.tv_sec * S + time.tv_nsec + core->epoch;
        }
    return 0;
}

/* Bytes of an answer. Whether there may be more to read. */
static int received(Core *core, Connection *connection, size_t size, int64_t done) {
    const char *data = core->buffer;
    size_t used;
    Framed framed = framing_feed(&connection->framing, data, size, &used);
    const char *why = "no HTTP answer";
    if (framed == FRAMED_WHOLE) {
        framed = framing_behind(&connection->framing, data + used, size - used);
        why = "more than one answer to one request";
    }
    switch (framed) {
    case FRAMED_WHOLE:
        answered(core, connection, data, size, done);
        return 0;
    case FRAMED_MALFORMED:
        connection_failed(core, connection, END_MALFORMED, why);
        return 0;
    case FRAMED_MORE:
        if (connection->raw_size + size <= MOST_RAW) {
            keep_bytes(connection, data, size);
            return 1;
        }
        /* fall through */
    default:
        hand_over(core, connection, data, size);
        return 0;
    }
}

static void ended(Core *core, Connection *connection) {
    if (connection->raw_size && framing_ends_at_close(&connection->framing)) {
        connection->framing.keep = 0;
        answered(core, connection, core->buffer, 0, 0);
    } else {
        connection_failed(core, connection, END_RESET, NULL);
    }
}

static void readable(Core *core, Connection *connection) {
    union {
        char bytes[CMSG_SPACE(sizeof(struct timespec))];
        struct cmsghdr aligned;
    } control;
    for (int reads = 0; reads < READS_PER_EVENT; reads++) {
        struct iovec into = {core->buffer, sizeof core->buffer};
        struct msghdr message = {.msg_iov = &into, .msg_iovlen = 1, .msg_control = control.bytes,
                                 .msg_controllen = sizeof control.bytes};
        ssize_t size = recvmsg(connection->fd, &message, 0);
        if (size < 0) {
            if (errno != EAGAIN && errno != EINTR)
                connection_failed(core, connection, END_RESET, NULL);
            return;
        }
        if (connection->attempt == NULL) {
            /* Idle: the peer closed it, or sent what nobody asked for. Nobody's failure. */
            connection_close(core, connection);
            return;
        }
        if (size == 0) {
            ended(core, connection);
            return;
        }
        if (!received(core, connection, (size_t)size, stamp(core, &message))) return;
        if ((size_t)size < sizeof core->buffer) return;
    }
}

void connection_event(Core *core, Connection *connection, uint32_t events) {
    if (connection->state == CLOSED) return; /* earlier in this look */
    if (connection->state == CONNECTING) {
        if (core->is_finishing) {
            connection->is_taken = 1;
            watch(core, connection, EPOLL_CTL_MOD, 0);
            return;
        }
        Attempt *attempt = connection->attempt;
        int code = 0;
        socklen_t size = sizeof code;
        getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &code, &size);
        if (code) {
            connection_close(core, connection);
            connection->attempt = NULL;
            core_ended(core, attempt, refused(code), NULL, code);
            return;
        }
        connection->state = READY;
        watch(core, connection, EPOLL_CTL_MOD, EPOLLIN);
        if (!connection_transmit(core, connection, attempt)) pool_begin(core, attempt);
        return;
    }
    if (events & EPOLLOUT) flush(core, connection);
    if (events & ~(uint32_t)EPOLLOUT && connection->state == READY) readable(core, connection);
}

End connection_late(const Connection *connection) {
    return connection->raw_size ? END_BODY_TIMEOUT : END_FIRST_BYTE_TIMEOUT;
}
