/* TLS by the interpreter's own OpenSSL, which is found when it is first wanted and never linked to.
 *
 * Records go through memory: bytes that the socket gave are fed, plain ones come out, and the other
 * way round. No function here reads a socket, and only session_put and session_flush write to one.
 * What is held of a connection is at most one record beyond what was fed (16 KiB of it plain).
 *
 * A session belongs to one thread at a time; a context may be shared by all.
 */
#ifndef STORMGATE_TLS_H
#define STORMGATE_TLS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { RECORD = 16384, RECORD_ROOM = RECORD + 2048 }; /* plain bytes of a record; all of them */

typedef struct Tls Tls;         /* whom a client trusts, and what it speaks */
typedef struct Session Session; /* of one connection */

typedef struct {
    const char *trusted;        /* a file of certificates; NULL: those the system trusts */
    uint64_t options;
    unsigned long verify_flags;
    int verify_mode, min_version, max_version, security_level;
    unsigned int host_flags;    /* how a certificate's names are compared */
    const char *ciphers;        /* up to TLS 1.2 */
    const char *suites;         /* of TLS 1.3 */
    const unsigned char *alpn;  /* as in RFC 7301, 3.1 */
    unsigned int alpn_size;
} Terms;

typedef struct {
    char *name;                 /* of the server, to be freed; its certificate has to bear it */
    uint8_t is_address;         /* the name is an IP address: it is not said in the handshake */
} Peer;

/* NULL, or why there is none: `extension` is the file of the interpreter's `_ssl` (NULL where it is
 * built in), `version` what that calls its OpenSSL. */
const char *tls_load(const char *extension, const char *version);

Tls *tls_new(const Terms *terms, const char **why);
Tls *tls_shared(Tls *tls);
void tls_free(Tls *tls);

Session *session_new(Tls *tls, const Peer *peer); /* NULL: no memory, or a name that is none */
void session_free(Session *session);

/* 1: agreed, 0: more is to be fed, -1: never, `*why` says why not. */
int session_shake(Session *session, const char **why);

int session_feed(Session *session, const char *data, size_t size); /* size 0: the end; -1: lost */

/* Plain bytes of what was fed, as many as there are. -1: what came is no TLS. `*ended`: nothing
 * will come after them. */
ssize_t session_get(Session *session, char *into, size_t room, int *ended);

/* How many of the bytes were taken: all, or as many as the socket takes now and one record. -1 and
 * an errno when the connection is lost. */
ssize_t session_put(Session *session, int fd, const char *data, size_t size);

int session_flush(Session *session, int fd);      /* 1: all is out, 0: not yet, -1 and an errno */
int session_owes(const Session *session);         /* whether there is something to flush */

/* The same without a socket. */
ssize_t session_seal(Session *session, const char *data, size_t size);
size_t session_out(Session *session, char *into, size_t room);

#endif
