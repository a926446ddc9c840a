/* The core: connections, their deadlines and each send at its time, in a thread of its own.
 *
 *   Python (hub's thread)                         native thread
 *   core_submit ──► inbox ──► heap by `intended` ──► pool: idle connection, new one, or queue
 *   core_take   ◄── outbox ◄───────────────────────── connection: send, receive, framing
 *
 * The two share what stands under `lock`, and nothing else; neither ever waits for the other while
 * it holds it, but for a handful of pointers to change hands. The native thread knows no Python
 * object and never takes the interpreter's lock: whatever that is busy with holds up no send.
 *
 * An attempt belongs to the native thread from core_submit until it stands in the outbox, where
 * each stands exactly once. Times are CLOCK_MONOTONIC in ns.
 */
#ifndef STORMGATE_CORE_H
#define STORMGATE_CORE_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "framing.h"
#include "tls.h"

enum {
    READ_SIZE = 65536,       /* of one read */
    PLAIN_SIZE = READ_SIZE + RECORD_ROOM, /* of it under TLS, and of the record it ended */
    READS_PER_EVENT = 16,    /* of one connection, before the others have their turn */
    EVENTS = 256,            /* of one look at the sockets */
    STARTS = 64,             /* between two looks at the answers */
    MOST_ADDRESSES = 256,    /* of one name */
    MOST_RAW = 16 << 20      /* bytes of an answer; a larger one is carried on in Python */
};
#define NEVER INT64_MAX
#define MS 1000000LL
#define S 1000000000LL

/* How an attempt ended. The binding has what Python calls each, in this order. */
typedef enum {
    END_WHOLE, END_RESET, END_MALFORMED, END_REFUSED, END_CONNECT_TIMEOUT,
    END_FIRST_BYTE_TIMEOUT, END_BODY_TIMEOUT, END_NOT_SENT, END_TLS,
    END_ODD, /* it did not: its connection is handed over, to be carried on by another */
    ENDS
} End;

typedef struct Pool Pool;
typedef struct Connection Connection;
typedef struct Attempt Attempt;
typedef struct Race Race;

typedef struct {
    struct sockaddr_storage at;
    socklen_t size;
} Address;

/* An address that an attempt was not sent to, of several. */
typedef struct Tried {
    struct Tried *next;
    Address address;
    int code;                /* the errno, 0: it was silent for `delay` */
    int64_t delay;
} Tried;

struct Attempt {
    Attempt *next;           /* in the one list it is in */
    Pool *pool;
    const char *payload;     /* kept alive by the binding */
    size_t payload_size;
    int64_t intended, timeout, connect_timeout;
    uint64_t order;          /* of submission, among those intended for the same time */
    uint8_t is_first;        /* of its request: its lag and sending are counted */
    uint8_t is_head;
    /* set by the native thread */
    End end;
    int64_t started, sent, done;
    uint16_t status;
    const char *why;         /* a fixed text, or NULL */
    int code;                /* the errno it failed by, or 0 */
    int fd;                  /* END_ODD */
    Session *session;        /* END_ODD under TLS: its own, too */
    uint8_t is_ended;        /* END_ODD: nothing more will come */
    Tried *tried;            /* the last one first */
    size_t written;          /* of the payload */
    char *raw;               /* all of the response; freed by who takes it */
    size_t raw_size;
    /* the binding's own */
    Attempt *older, *newer;
    void *task, *kept;
    Found found[];           /* as many as the core has wanted headers */
};

/* One population's way to one edge. */
struct Pool {
    Pool *next;
    Address *addresses;      /* all that its name leads to */
    uint32_t address_count;
    uint64_t turn;           /* which one is next to be the first */
    Tls *tls;                /* NULL: plain */
    Peer peer;
    Connection *idle;        /* a stack: surplus ones age, and are closed by the peer */
    Attempt *waiting, *last_waiting;
    _Atomic int idle_count;
    _Atomic int submitted;   /* and not begun */
    _Atomic int is_wanted;   /* whether new requests are steered here */
    Pool *next_to_serve;     /* a connection was closed that may have been waited for */
    uint8_t is_to_serve;
};

typedef enum { CONNECTING, HANDSHAKE, READY, CLOSED } State;

struct Connection {
    Pool *pool;
    Connection *next, *previous; /* of the pool's idle ones; `next` also of the closed ones */
    Attempt *attempt;        /* what it carries; NULL: idle */
    size_t index;            /* in core->connections */
    int fd;
    State state;
    uint8_t is_new;          /* its first attempt was counted when it was begun */
    uint8_t is_taken;        /* at the end: the peer has taken it, and waits for us */
    uint8_t is_ended;        /* the peer has said that nothing more will come */
    size_t written;
    Session *session;        /* NULL: plain */
    Race *race;              /* while others are tried beside it; `next` is one of them */
    Address address;
    char *raw;
    size_t raw_size, raw_room;
    Framing framing;
    Found found[];
};

typedef enum { NOTHING, WITHDRAW, DROP_IDLE, POINT_ELSEWHERE, FINISH, STOP } Order;

typedef struct {
    uint64_t sent, new_connections, released; /* released: firsts whose time has come */
    size_t waiting, open;
} Counts;

typedef struct Core {
    int epoll_fd, kick_fd, tell_fd;
    pid_t process;
    pthread_t thread;
    uint8_t is_running;
    uint32_t wanted_count;
    Wanted *wanted;
    _Atomic(Pool *) pools;
    _Atomic int64_t allowance;      /* connections that may still be opened */
    _Atomic int64_t most;           /* connections at once */
    _Atomic int64_t wakes_ns;       /* when the native thread looks next, unasked */
    /* shared, under `lock` */
    pthread_mutex_t lock;
    pthread_cond_t done;
    Attempt *inbox, *last_in, *outbox, *last_out;
    Order order;
    Pool *order_pool;
    Address *order_addresses;
    uint32_t order_address_count;
    uint8_t is_told;                /* tell_fd is readable */
    Counts counts;
    int64_t *lags;
    size_t lag_count, lag_room;
    /* the native thread's own */
    Connection **connections;
    size_t open, room;
    Pool *to_serve;
    size_t under_way;               /* attempts begun and not ended */
    Connection *closed;             /* freed when no event can speak of them any more */
    Attempt **heap;
    size_t heap_size, heap_room;
    uint64_t orders;
    Attempt *ended, *last_ended;    /* of this turn */
    Counts own;
    int64_t *own_lags;
    size_t own_lag_count, own_lag_room;
    int64_t now, epoch, sweep_ns;
    int64_t told_ns;                /* when it was last said that something has ended */
    int64_t prompt_ns;              /* until then answers are asked about at once */
    int64_t pace_ns;                /* since when starts are counted */
    uint32_t pace_starts;
    uint8_t is_pacing;              /* so many that ticks are cheaper than wake-ups */
    uint8_t is_finishing;
    char buffer[READ_SIZE], plain[PLAIN_SIZE];
} Core;

/* mailbox.c, called from Python */
int core_start(Core *core);                        /* 0, or an errno */
void core_submit(Core *core, Attempt *attempt);
void core_kick(Core *core);
Attempt *core_take(Core *core, Counts *counts, int64_t **lags, size_t *lag_count);
void core_order(Core *core, Order order, Pool *pool);
void core_stop(Core *core);

/* mailbox.c, called from the native thread */
Order mailbox_in(Core *core);                      /* new attempts into the heap; what is ordered */
void mailbox_out(Core *core, int is_done);

/* heap.c */
void heap_push(Core *core, Attempt *attempt);
Attempt *heap_pop(Core *core);
int64_t heap_next(const Core *core);
void *grown(void *memory, size_t *room, size_t size, size_t most); /* never NULL */

/* pool.c */
void pool_begin(Core *core, Attempt *attempt);
void pool_release(Core *core, Connection *connection);
void pool_forget(Core *core, Connection *connection);
void pool_to_serve(Core *core, Pool *pool);
void pool_serve(Core *core);
void pool_serve_all(Core *core);
void pool_withdraw(Core *core);
void pool_sweep(Core *core);
void pool_drop_idle(Core *core, Pool *pool);

/* opening.c */
void connection_open(Core *core, Attempt *attempt);
void connection_advance(Core *core, Connection *connection);
void connection_hurry(Core *core, Connection *connection);
void connection_let_go(Core *core, Connection *connection);
void connection_forsake(Connection *connection);

/* connection.c */
int connection_watch(Core *core, Connection *connection, int operation, uint32_t events);
int connection_transmit(Core *core, Connection *connection, Attempt *attempt);
void connection_event(Core *core, Connection *connection, uint32_t events);
void connection_failed(Core *core, Connection *connection, End end, const char *why);
void connection_close(Core *core, Connection *connection);
End connection_late(const Connection *connection);

/* loop.c */
int64_t mono_ns(void);
void *core_main(void *core);
void core_ended(Core *core, Attempt *attempt, End end, const char *why, int code);
void core_lag(Core *core, int64_t ns);

#endif
