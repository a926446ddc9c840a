/* Where an HTTP/1.1 response ends, found byte by byte as it comes (RFC 9112).
 *
 * It judges less than it could: what it calls whole or malformed, every parser does; everything
 * else it calls odd, and a full parser is asked instead. So it needs to know only the plain
 * grammar, and a byte it does not expect is never guessed at.
 *
 * It keeps no byte beyond one header name and one short value, allocates nothing, and may be fed
 * the response in any pieces: the end it finds is the same.
 */
#ifndef STORMGATE_FRAMING_H
#define STORMGATE_FRAMING_H

#include <stddef.h>
#include <stdint.h>

enum {
    FRAMING_NAME = 64,   /* the longest header name that is told from others, and one more */
    FRAMING_VALUE = 32,  /* the longest value that decides about framing, and one more */
    FRAMING_HEAD = 65536 /* the longest head; a longer one is odd */
};

typedef enum {
    FRAMED_MORE,      /* well so far */
    FRAMED_WHOLE,     /* the response ends here */
    FRAMED_MALFORMED, /* no parser would take it */
    FRAMED_ODD        /* ask another parser, from the first byte on */
} Framed;

/* A header to be looked for: its name in lower case, and where its last value was found. */
typedef struct {
    char name[FRAMING_NAME];
    uint32_t name_size;
} Wanted;

typedef struct {
    uint32_t at, size; /* from the response's first byte on; at 0: not found */
} Found;

typedef struct {
    uint8_t state;
    uint8_t is_head;      /* the answer to a HEAD request: it ends with its head */
    uint8_t keep;         /* the connection may carry another request afterwards */
    uint8_t close, alive; /* `Connection: close`, `keep-alive` */
    uint8_t is_http_10;
    uint8_t chunked;
    uint8_t is_number;    /* the value being read is Content-Length's */
    uint8_t digits;       /* of a number being read */
    uint16_t status;
    uint8_t name_size, value_size;
    int64_t length;       /* announced; -1: not */
    uint64_t left;        /* bytes of the body, or of the chunk, still to come */
    uint64_t size;        /* bytes of the response so far, interim ones (1xx) included */
    uint64_t head_begin;  /* where the head that is being read begins */
    uint64_t value_begin, value_end;
    const Wanted *wanted; /* `wanted_count` of them, and as many `found` */
    Found *found;
    uint32_t wanted_count;
    char name[FRAMING_NAME];
    char value[FRAMING_VALUE];
} Framing;

/* Begin with the first byte of a response. `wanted` and `found` may be NULL with a count of 0. */
void framing_begin(Framing *f, int is_head, const Wanted *wanted, Found *found, uint32_t count);

/* Take the next `size` bytes; `*used` is how many belong to the response: all of them unless it is
 * whole. Must not be called again after anything but FRAMED_MORE. */
Framed framing_feed(Framing *f, const char *data, size_t size, size_t *used);

/* What bytes behind a whole response, in the same read, make of it: nobody asked for them. */
Framed framing_behind(const Framing *f, const char *rest, size_t size);

/* The connection has ended: whether the response is whole by that (RFC 9112, 6.3, rule 8). */
int framing_ends_at_close(const Framing *f);

#endif
