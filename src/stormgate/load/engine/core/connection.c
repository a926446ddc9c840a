/* One connection that is made: writing, reading, closing. One request at a time. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core.h"

static const int64_t AHEAD = 20 * MS; /* a stamp may be younger than the turn that reads it */

int connection_watch(Core *core, Connection *connection, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = connection};
    return epoll_ctl(core->epoll_fd, operation, connection->fd, &event);
}

static void wait_for(Core *core, Connection *connection, uint32_t events) {
    connection_watch(core, connection, EPOLL_CTL_MOD, events);
}

/* Let go of a connection without closing its descriptor. What it carried is no longer its own. */
static void let_go(Core *core, Connection *connection) {
    Connection *last = core->connections[--core->open];
    core->connections[connection->index] = last;
    last->index = connection->index;
    connection->state = CLOSED;
    session_free(connection->session);
    connection->session = NULL;
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
    connection_let_go(core, connection);
    connection_close(core, connection);
    connection->attempt = NULL;
    if (attempt != NULL) core_ended(core, attempt, end, why, 0);
}

/* How many of so many bytes are on their way; -1 and an errno when the connection is lost. */
static ssize_t put(Connection *connection, const char *data, size_t size) {
    if (connection->session != NULL)
        return session_put(connection->session, connection->fd, data, size);
    ssize_t sent = send(connection->fd, data, size, MSG_NOSIGNAL);
    return sent < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : sent;
}

/* Whether all of what it carries has left this process. */
static int is_out(const Connection *connection) {
    const Attempt *attempt = connection->attempt;
    if (attempt != NULL && connection->written < attempt->payload_size) return 0;
    return connection->session == NULL || !session_owes(connection->session);
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
    ssize_t sent = put(connection, attempt->payload, attempt->payload_size);
    if (sent < 0) {
        connection_close(core, connection);
        connection->attempt = NULL;
        return 0;
    }
    if (attempt->is_first) core->own.sent++;
    connection->written = (size_t)sent;
    if (!is_out(connection)) wait_for(core, connection, EPOLLIN | EPOLLOUT);
    return 1;
}

static void flush(Core *core, Connection *connection) {
    Attempt *attempt = connection->attempt;
    const char *data = attempt == NULL ? "" : attempt->payload + connection->written;
    size_t left = attempt == NULL ? 0 : attempt->payload_size - connection->written;
    ssize_t sent = left || connection->session != NULL ? put(connection, data, left) : 0;
    if (sent < 0) {
        connection_failed(core, connection, END_RESET, NULL);
        return;
    }
    if (left) connection->written += (size_t)sent;
    if (is_out(connection)) wait_for(core, connection, EPOLLIN);
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
    attempt->session = connection->session;
    attempt->is_ended = connection->is_ended;
    connection->session = NULL;
    epoll_ctl(core->epoll_fd, EPOLL_CTL_DEL, connection->fd, NULL);
    connection->attempt = NULL;
    let_go(core, connection);
    core_ended(core, attempt, END_ODD, NULL, 0);
}

static void answered(Core *core, Connection *connection, const char *data, size_t size,
                     int64_t done) {
    Attempt *attempt = connection->attempt;
    int keeps = connection->framing.keep && !connection->is_ended && is_out(connection);
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
static int received(Core *core, Connection *connection, const char *data, size_t size,
                    int64_t done) {
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

/* The same of an answer under TLS: of one read all plain bytes at once. Its records end with a
 * close_notify or with the connection, which may come long after that. */
static int unsealed(Core *core, Connection *connection, size_t size, int64_t done) {
    Session *session = connection->session;
    int is_ended = 0;
    ssize_t plain = session_feed(session, core->buffer, size);
    if (plain == 0) plain = session_get(session, core->plain, sizeof core->plain, &is_ended);
    is_ended |= size == 0;
    connection->is_ended |= (uint8_t)is_ended;
    if (plain < 0 || plain == sizeof core->plain) { /* more than such records hold */
        connection_failed(core, connection, END_RESET, NULL);
        return 0;
    }
    if (connection->attempt == NULL && (plain || is_ended)) {
        connection_close(core, connection);
        return 0;
    }
    if (plain && !received(core, connection, core->plain, (size_t)plain, done)) return 0;
    if (is_ended) {
        ended(core, connection);
        return 0;
    }
    if (session_owes(session)) flush(core, connection); /* a new key, agreed on under way */
    return connection->state == READY;
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
        if (connection->session != NULL) {
            int64_t done = stamp(core, &message);
            if (!unsealed(core, connection, (size_t)size, done) || size == 0) return;
            if ((size_t)size < sizeof core->buffer) return;
            continue;
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
        if (!received(core, connection, core->buffer, (size_t)size, stamp(core, &message))) return;
        if ((size_t)size < sizeof core->buffer) return;
    }
}

void connection_event(Core *core, Connection *connection, uint32_t events) {
    if (connection->state == CLOSED) return; /* earlier in this look */
    if (connection->state != READY) {
        connection_advance(core, connection);
        return;
    }
    if (events & EPOLLOUT) flush(core, connection);
    if (events & ~(uint32_t)EPOLLOUT && connection->state == READY) readable(core, connection);
}

End connection_late(const Connection *connection) {
    return connection->raw_size ? END_BODY_TIMEOUT : END_FIRST_BYTE_TIMEOUT;
}
