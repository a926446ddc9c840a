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
    if (connection_watch(core, connection, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT) < 0) {
        /* No more can be watched (epoll(7), max_user_watches): nothing the target had a part in. */
        int code = errno;
        connection_close(core, connection);
        connection->attempt = NULL;
        core_ended(core, attempt, END_NOT_SENT, NULL, code);
    }
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
