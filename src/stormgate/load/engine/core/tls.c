/* See tls.h. The few functions of OpenSSL that are called are declared here by their signatures in
 * the manual of OpenSSL 3, whose binary interface stays as it is within a major version
 * (openssl-library.org/policies/general/versioning-policy); no structure of it is known. */
#define _GNU_SOURCE
#include "tls.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

typedef struct SSL_CTX SSL_CTX;
typedef struct SSL SSL;
typedef struct BIO BIO;
typedef struct PARAM PARAM; /* X509_VERIFY_PARAM */

enum { /* openssl/ssl.h, bio.h, tls1.h, sslerr.h, x509_vfy.h */
    MAJOR = 3,
    ERROR_SSL = 1, ERROR_WANT_READ = 2, ERROR_SYSCALL = 5, ERROR_ZERO_RETURN = 6,
    CTRL_MODE = 33, CTRL_SESSION_CACHE = 44, CTRL_HOSTNAME = 55, CTRL_MIN_VERSION = 123,
    CTRL_MAX_VERSION = 124,
    MODE = 0x1 | 0x2 | 0x4 | 0x10, /* partial writes from a moving buffer, auto retry, release */
    CTRL_PENDING = 10, CTRL_INFO = 3, CTRL_EOF_RETURN = 130,
    UNEXPECTED_EOF = 294, REASON_MASK = 0x7FFFFF, VERIFY_FAILED = 134, VERIFIED = 0
};
static const uint64_t NO_COMPRESSION = 0x20000; /* what came is no larger than its records */

#define FUNCTIONS(F) \
    F(unsigned int, OPENSSL_version_major, (void)) \
    F(const char *, OpenSSL_version, (int)) \
    F(const void *, TLS_client_method, (void)) \
    F(SSL_CTX *, SSL_CTX_new, (const void *)) \
    F(void, SSL_CTX_free, (SSL_CTX *)) \
    F(int, SSL_CTX_up_ref, (SSL_CTX *)) \
    F(long, SSL_CTX_ctrl, (SSL_CTX *, int, long, void *)) \
    F(uint64_t, SSL_CTX_set_options, (SSL_CTX *, uint64_t)) \
    F(uint64_t, SSL_CTX_clear_options, (SSL_CTX *, uint64_t)) \
    F(void, SSL_CTX_set_verify, (SSL_CTX *, int, void *)) \
    F(void, SSL_CTX_set_security_level, (SSL_CTX *, int)) \
    F(int, SSL_CTX_set_cipher_list, (SSL_CTX *, const char *)) \
    F(int, SSL_CTX_set_ciphersuites, (SSL_CTX *, const char *)) \
    F(int, SSL_CTX_set_alpn_protos, (SSL_CTX *, const unsigned char *, unsigned int)) \
    F(int, SSL_CTX_set_default_verify_paths, (SSL_CTX *)) \
    F(int, SSL_CTX_load_verify_locations, (SSL_CTX *, const char *, const char *)) \
    F(PARAM *, SSL_CTX_get0_param, (SSL_CTX *)) \
    F(int, X509_VERIFY_PARAM_set_flags, (PARAM *, unsigned long)) \
    F(void, X509_VERIFY_PARAM_set_hostflags, (PARAM *, unsigned int)) \
    F(int, X509_VERIFY_PARAM_set1_host, (PARAM *, const char *, size_t)) \
    F(int, X509_VERIFY_PARAM_set1_ip_asc, (PARAM *, const char *)) \
    F(const char *, X509_verify_cert_error_string, (long)) \
    F(SSL *, SSL_new, (SSL_CTX *)) \
    F(void, SSL_free, (SSL *)) \
    F(void, SSL_set_connect_state, (SSL *)) \
    F(void, SSL_set_bio, (SSL *, BIO *, BIO *)) \
    F(long, SSL_ctrl, (SSL *, int, long, void *)) \
    F(PARAM *, SSL_get0_param, (SSL *)) \
    F(long, SSL_get_verify_result, (const SSL *)) \
    F(int, SSL_do_handshake, (SSL *)) \
    F(int, SSL_read, (SSL *, void *, int)) \
    F(int, SSL_write, (SSL *, const void *, int)) \
    F(int, SSL_get_error, (const SSL *, int)) \
    F(const void *, BIO_s_mem, (void)) \
    F(BIO *, BIO_new, (const void *)) \
    F(int, BIO_free, (BIO *)) \
    F(int, BIO_read, (BIO *, void *, int)) \
    F(int, BIO_write, (BIO *, const void *, int)) \
    F(long, BIO_ctrl, (BIO *, int, long, void *)) \
    F(void, ERR_clear_error, (void)) \
    F(unsigned long, ERR_peek_last_error, (void)) \
    F(const char *, ERR_reason_error_string, (unsigned long))

static struct {
#define DECLARE(result, name, arguments) result (*name) arguments;
    FUNCTIONS(DECLARE)
} O;


struct Session {
    SSL *ssl;
    BIO *in, *out; /* the session's own */
};

/* Another version may give another meaning to what is called here. Which one it is decides the
 * interpreter, and whoever mends it mends both. */
static const char *find(const char *extension, const char *version) {
    void *library = dlopen(extension, RTLD_LAZY | (extension == NULL ? 0 : RTLD_NOLOAD));
    if (library == NULL) return "the interpreter's TLS library is not there";
#define FIND(result, name, arguments) \
    if ((*(void **)&O.name = dlsym(library, #name)) == NULL) \
        return "the interpreter's TLS library lacks " #name " (OpenSSL 3 has it)";
    FUNCTIONS(FIND)
    if (O.OPENSSL_version_major() != MAJOR) return "the interpreter's TLS library is not OpenSSL 3";
    if (strcmp(O.OpenSSL_version(0), version) != 0)
        return "the TLS library that was found is not the interpreter's own";
    return NULL;
}

const char *tls_load(const char *extension, const char *version) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static int is_done;
    static const char *why;
    pthread_mutex_lock(&lock);
    if (!is_done) why = find(extension, version);
    is_done = 1;
    pthread_mutex_unlock(&lock);
    return why;
}

/* --- contexts: a Tls is OpenSSL's SSL_CTX by another name */

static const char *agree(SSL_CTX *ctx, const Terms *terms) {
    PARAM *param = O.SSL_CTX_get0_param(ctx);
    O.SSL_CTX_clear_options(ctx, ~(uint64_t)0);
    O.SSL_CTX_set_options(ctx, terms->options | NO_COMPRESSION);
    O.SSL_CTX_ctrl(ctx, CTRL_MODE, MODE, NULL);
    O.SSL_CTX_ctrl(ctx, CTRL_SESSION_CACHE, 0, NULL);
    O.SSL_CTX_set_security_level(ctx, terms->security_level);
    if (O.SSL_CTX_ctrl(ctx, CTRL_MIN_VERSION, terms->min_version, NULL) != 1 ||
        O.SSL_CTX_ctrl(ctx, CTRL_MAX_VERSION, terms->max_version, NULL) != 1)
        return "no such version of TLS";
    if (O.SSL_CTX_set_cipher_list(ctx, terms->ciphers) != 1 ||
        O.SSL_CTX_set_ciphersuites(ctx, terms->suites) != 1)
        return "no such ciphers";
    if (terms->alpn_size && O.SSL_CTX_set_alpn_protos(ctx, terms->alpn, terms->alpn_size) != 0)
        return "no such protocols";
    O.SSL_CTX_set_verify(ctx, terms->verify_mode, NULL);
    if (O.X509_VERIFY_PARAM_set_flags(param, terms->verify_flags) != 1) return "no such flags";
    O.X509_VERIFY_PARAM_set_hostflags(param, terms->host_flags);
    int code = terms->trusted == NULL
                   ? O.SSL_CTX_set_default_verify_paths(ctx)
                   : O.SSL_CTX_load_verify_locations(ctx, terms->trusted, NULL);
    return code == 1 ? NULL : "the trusted certificates cannot be read";
}

Tls *tls_new(const Terms *terms, const char **why) {
    O.ERR_clear_error();
    SSL_CTX *ctx = O.SSL_CTX_new(O.TLS_client_method());
    *why = ctx == NULL ? "no TLS context" : agree(ctx, terms);
    if (*why != NULL && ctx != NULL) {
        O.SSL_CTX_free(ctx);
        ctx = NULL;
    }
    O.ERR_clear_error();
    return (Tls *)ctx;
}

Tls *tls_shared(Tls *tls) {
    O.SSL_CTX_up_ref((SSL_CTX *)tls);
    return tls;
}

void tls_free(Tls *tls) {
    if (tls != NULL) O.SSL_CTX_free((SSL_CTX *)tls);
}

/* --- sessions */

static int name(SSL *ssl, const Peer *peer) {
    PARAM *param = O.SSL_get0_param(ssl);
    if (peer->is_address) return O.X509_VERIFY_PARAM_set1_ip_asc(param, peer->name) == 1;
    return O.SSL_ctrl(ssl, CTRL_HOSTNAME, 0, peer->name) == 1 &&
           O.X509_VERIFY_PARAM_set1_host(param, peer->name, strlen(peer->name)) == 1;
}

Session *session_new(Tls *tls, const Peer *peer) {
    Session *session = calloc(1, sizeof *session);
    if (session == NULL) return NULL;
    O.ERR_clear_error();
    session->ssl = O.SSL_new((SSL_CTX *)tls);
    session->in = O.BIO_new(O.BIO_s_mem());
    session->out = O.BIO_new(O.BIO_s_mem());
    if (session->ssl == NULL || session->in == NULL || session->out == NULL ||
        !name(session->ssl, peer)) {
        if (session->ssl != NULL) O.SSL_free(session->ssl);
        if (session->in != NULL) O.BIO_free(session->in);
        if (session->out != NULL) O.BIO_free(session->out);
        free(session);
        return NULL;
    }
    O.BIO_ctrl(session->in, CTRL_EOF_RETURN, -1, NULL); /* empty is not the end */
    O.BIO_ctrl(session->out, CTRL_EOF_RETURN, -1, NULL);
    O.SSL_set_bio(session->ssl, session->in, session->out);
    O.SSL_set_connect_state(session->ssl);
    return session;
}

void session_free(Session *session) {
    if (session == NULL) return;
    O.SSL_free(session->ssl); /* both buffers, too */
    free(session);
}

/* In OpenSSL's words, which it never frees. */
static const char *reason(const Session *session) {
    unsigned long error = O.ERR_peek_last_error();
    long verified = O.SSL_get_verify_result(session->ssl);
    if ((error & REASON_MASK) == VERIFY_FAILED && verified != VERIFIED)
        return O.X509_verify_cert_error_string(verified);
    const char *said = error ? O.ERR_reason_error_string(error) : NULL;
    return said != NULL ? said : "the TLS handshake failed";
}

int session_shake(Session *session, const char **why) {
    O.ERR_clear_error();
    int code = O.SSL_do_handshake(session->ssl);
    if (code == 1) return 1;
    if (O.SSL_get_error(session->ssl, code) == ERROR_WANT_READ) return 0;
    *why = reason(session);
    return -1;
}

int session_feed(Session *session, const char *data, size_t size) {
    if (size == 0) {
        O.BIO_ctrl(session->in, CTRL_EOF_RETURN, 0, NULL);
        return 0;
    }
    return O.BIO_write(session->in, data, (int)size) == (int)size ? 0 : -1;
}

ssize_t session_get(Session *session, char *into, size_t room, int *ended) {
    size_t got = 0;
    *ended = 0;
    while (got < room) {
        O.ERR_clear_error();
        int size = O.SSL_read(session->ssl, into + got,
                              (int)(room - got < RECORD ? room - got : RECORD));
        if (size > 0) {
            got += (size_t)size;
            continue;
        }
        int error = O.SSL_get_error(session->ssl, size);
        if (error == ERROR_WANT_READ) break;
        unsigned long last = O.ERR_peek_last_error();
        int is_end = error == ERROR_ZERO_RETURN || (error == ERROR_SYSCALL && last == 0) ||
                     (error == ERROR_SSL && (last & REASON_MASK) == UNEXPECTED_EOF);
        if (!is_end) return -1;
        *ended = 1;
        break;
    }
    return (ssize_t)got;
}

int session_owes(const Session *session) {
    return O.BIO_ctrl(session->out, CTRL_PENDING, 0, NULL) > 0;
}

size_t session_out(Session *session, char *into, size_t room) {
    int size = O.BIO_read(session->out, into, (int)(room < RECORD_ROOM ? room : RECORD_ROOM));
    return size > 0 ? (size_t)size : 0;
}

int session_flush(Session *session, int fd) {
    char drained[RECORD_ROOM], *data;
    for (;;) {
        long size = O.BIO_ctrl(session->out, CTRL_INFO, 0, &data);
        if (size <= 0) return 1;
        if (size > RECORD_ROOM) size = RECORD_ROOM;
        ssize_t sent = send(fd, data, (size_t)size, MSG_NOSIGNAL);
        if (sent < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
        session_out(session, drained, (size_t)sent); /* no other way to say that it is gone */
    }
}

/* At most one record. */
ssize_t session_seal(Session *session, const char *data, size_t size) {
    O.ERR_clear_error();
    int taken = O.SSL_write(session->ssl, data, (int)(size < RECORD ? size : RECORD));
    return taken > 0 ? taken : -1;
}

ssize_t session_put(Session *session, int fd, const char *data, size_t size) {
    size_t taken = 0;
    for (;;) {
        int is_out = session_flush(session, fd);
        if (is_out < 0) return -1;
        if (!is_out || taken == size) return (ssize_t)taken;
        ssize_t part = session_seal(session, data + taken, size - taken);
        if (part < 0) {
            errno = EPIPE;
            return -1;
        }
        taken += (size_t)part;
    }
}
