/* See framing.h. One state per kind of byte that may come next, as in nginx's and Node's. */
#include "framing.h"

#include <string.h>

enum {
    START,         /* the first byte of a head */
    VERSION,       /* "HTTP/1." is being compared */
    MINOR, SPACE, STATUS, AFTER_STATUS, REASON, LINE_END, /* of the status line */
    NAME_BEGIN,    /* of a header, or the CR of the empty line */
    NAME, VALUE_SPACE, VALUE, VALUE_END, HEAD_END,
    BODY,          /* of `left` bytes */
    CHUNK_SIZE, CHUNK_SIZE_END, CHUNK_DATA, CHUNK_CR, CHUNK_LF, LAST_CR, LAST_LF,
    UNTIL_CLOSE
};

enum { MOST_LENGTH_DIGITS = 15, MOST_CHUNK_DIGITS = 8 };

static const char PREFIX[] = "HTTP/1.";

/* tchar of RFC 9110, 5.6.2, in lower case; 0 for what no header name has. */
static const char TOKEN[256] = {
    ['!'] = '!', ['#'] = '#', ['$'] = '$', ['%'] = '%', ['&'] = '&', ['\''] = '\'', ['*'] = '*',
    ['+'] = '+', ['-'] = '-', ['.'] = '.', ['^'] = '^', ['_'] = '_', ['`'] = '`', ['|'] = '|',
    ['~'] = '~', ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5',
    ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9',
    ['A'] = 'a', ['B'] = 'b', ['C'] = 'c', ['D'] = 'd', ['E'] = 'e', ['F'] = 'f', ['G'] = 'g',
    ['H'] = 'h', ['I'] = 'i', ['J'] = 'j', ['K'] = 'k', ['L'] = 'l', ['M'] = 'm', ['N'] = 'n',
    ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r', ['S'] = 's', ['T'] = 't', ['U'] = 'u',
    ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z',
    ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd', ['e'] = 'e', ['f'] = 'f', ['g'] = 'g',
    ['h'] = 'h', ['i'] = 'i', ['j'] = 'j', ['k'] = 'k', ['l'] = 'l', ['m'] = 'm', ['n'] = 'n',
    ['o'] = 'o', ['p'] = 'p', ['q'] = 'q', ['r'] = 'r', ['s'] = 's', ['t'] = 't', ['u'] = 'u',
    ['v'] = 'v', ['w'] = 'w', ['x'] = 'x', ['y'] = 'y', ['z'] = 'z',
};

static int is_text(unsigned char c) { return c == '\t' || (c >= ' ' && c != 0x7f); }

/* -1: no hexadecimal digit. */
static int hex(unsigned char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void begin_head(Framing *f) {
    f->state = START;
    f->keep = f->close = f->alive = f->is_http_10 = f->chunked = f->digits = 0;
    f->status = 0;
    f->length = -1;
    f->left = 0;
    f->head_begin = f->size;
}

void framing_begin(Framing *f, int is_head, const Wanted *wanted, Found *found, uint32_t count) {
    memset(f, 0, sizeof *f);
    f->is_head = is_head != 0;
    f->wanted = wanted;
    f->found = found;
    f->wanted_count = count;
    for (uint32_t i = 0; i < count; i++) found[i] = (Found){0, 0};
    begin_head(f);
}

static int name_is(const Framing *f, const char *name, size_t size) {
    return f->name_size == size && memcmp(f->name, name, size) == 0;
}
#define NAME_IS(f, literal) name_is(f, literal, sizeof(literal) - 1)

/* Whether a value is the word, in any case. */
static int value_is(const Framing *f, const char *word, size_t size) {
    if (f->value_size != size) return 0;
    for (size_t i = 0; i < size; i++)
        if (TOKEN[(unsigned char)f->value[i]] != word[i]) return 0;
    return 1;
}
#define VALUE_IS(f, literal) value_is(f, literal, sizeof(literal) - 1)

/* Content-Length: digits alone, and once. */
static Framed on_length(Framing *f) {
    if (f->length >= 0 || f->value_size == 0 || f->value_size > MOST_LENGTH_DIGITS)
        return FRAMED_ODD;
    int64_t length = 0;
    for (int i = 0; i < f->value_size; i++) {
        if (f->value[i] < '0' || f->value[i] > '9') return FRAMED_ODD;
        length = length * 10 + (f->value[i] - '0');
    }
    f->length = length;
    return FRAMED_MORE;
}

/* A header line is whole: what it says about framing, and where a wanted value lies. */
static Framed on_header(Framing *f) {
    for (uint32_t i = 0; i < f->wanted_count; i++)
        if (name_is(f, f->wanted[i].name, f->wanted[i].name_size)) {
            f->found[i].at = (uint32_t)f->value_begin;
            f->found[i].size = (uint32_t)(f->value_end - f->value_begin);
        }
    switch (f->name[0]) {
    case 'c':
        if (NAME_IS(f, "content-length")) return on_length(f);
        if (NAME_IS(f, "connection")) {
            if (VALUE_IS(f, "close")) f->close = 1;
            else if (VALUE_IS(f, "keep-alive")) f->alive = 1;
            else return FRAMED_ODD;
        }
        return FRAMED_MORE;
    case 't':
        if (NAME_IS(f, "transfer-encoding")) {
            if (f->chunked || !VALUE_IS(f, "chunked")) return FRAMED_ODD;
            f->chunked = 1;
        }
        return FRAMED_MORE;
    case 'p': return NAME_IS(f, "proxy-connection") ? FRAMED_ODD : FRAMED_MORE;
    case 'u': return NAME_IS(f, "upgrade") ? FRAMED_ODD : FRAMED_MORE;
    default: return FRAMED_MORE;
    }
}

/* The head is whole: what follows it (RFC 9112, 6.3). */
static Framed on_head(Framing *f) {
    int has_body = f->chunked || f->length > 0;
    if (f->chunked && (f->length >= 0 || f->is_http_10)) return FRAMED_ODD;
    if (f->status < 200) {
        /* An interim answer only announces the real one. 101 gives the connection away. */
        if (f->status == 101 || has_body || f->close || f->is_http_10) return FRAMED_ODD;
        begin_head(f);
        return FRAMED_MORE;
    }
    int is_bare = f->status == 204 || f->status == 304;
    if (is_bare && has_body && !f->is_head) return FRAMED_ODD;
    if (f->is_http_10 && f->close && f->alive) return FRAMED_ODD; /* it says both */
    f->keep = f->close ? 0 : f->is_http_10 ? f->alive : 1;
    if (!f->chunked && f->length < 0 && !is_bare) f->keep = 0; /* only its end says how long */
    if (f->is_head || is_bare || f->length == 0) return FRAMED_WHOLE;
    if (f->chunked) {
        f->state = CHUNK_SIZE;
        f->digits = 0;
        f->left = 0;
    } else if (f->length > 0) {
        f->state = BODY;
        f->left = (uint64_t)f->length;
    } else {
        f->state = UNTIL_CLOSE;
    }
    return FRAMED_MORE;
}

/* The next byte of a status line. */
static Framed on_status_line(Framing *f, unsigned char c) {
    switch (f->state) {
    case START:
    case VERSION:
        if (c != (unsigned char)PREFIX[f->digits]) {
            /* Some begin with an empty line, some with "ICY" or "RTSP/"; and there are versions. */
            if (f->digits == 0 && c != 0 && strchr("\r\nIR", c)) return FRAMED_ODD;
            return f->digits < 5 && f->head_begin == 0 ? FRAMED_MALFORMED : FRAMED_ODD;
        }
        f->state = ++f->digits == sizeof PREFIX - 1 ? MINOR : VERSION;
        return FRAMED_MORE;
    case MINOR:
        if (c != '0' && c != '1') return FRAMED_ODD;
        f->is_http_10 = c == '0';
        f->state = SPACE;
        return FRAMED_MORE;
    case SPACE:
        f->state = STATUS;
        f->digits = 0;
        return c == ' ' ? FRAMED_MORE : FRAMED_ODD;
    case STATUS:
        if (c < (f->digits ? '0' : '1') || c > '9') return FRAMED_ODD;
        f->status = (uint16_t)(f->status * 10 + (c - '0'));
        if (++f->digits == 3) f->state = AFTER_STATUS;
        return FRAMED_MORE;
    case AFTER_STATUS:
        f->state = REASON;
        return c == ' ' ? FRAMED_MORE : FRAMED_ODD;
    case REASON:
        if (c == '\r') f->state = LINE_END;
        else if (!is_text(c)) return FRAMED_ODD;
        return FRAMED_MORE;
    default: /* LINE_END */
        f->state = NAME_BEGIN;
        return c == '\n' ? FRAMED_MORE : FRAMED_ODD;
    }
}

static void add_to_name(Framing *f, char c) {
    if (f->name_size < FRAMING_NAME) f->name[f->name_size++] = c; /* full: like no name we know */
}

/* The next byte of a header line, or of the empty one; `at`: where it stands in the response. */
static Framed on_header_line(Framing *f, unsigned char c, uint64_t at) {
    switch (f->state) {
    case NAME_BEGIN:
        if (c == '\r') {
            f->state = HEAD_END;
            return FRAMED_MORE;
        }
        f->name_size = 0;
        f->state = NAME;
        if (!TOKEN[c]) return FRAMED_ODD; /* a folded line is for another parser, too */
        add_to_name(f, TOKEN[c]);
        return FRAMED_MORE;
    case NAME:
        if (TOKEN[c]) {
            add_to_name(f, TOKEN[c]);
            return FRAMED_MORE;
        }
        f->state = VALUE_SPACE;
        f->value_size = 0;
        f->is_number = (uint8_t)NAME_IS(f, "content-length");
        if (f->is_number || NAME_IS(f, "transfer-encoding"))
            if (f->length >= 0 || f->chunked) return FRAMED_ODD; /* two words on one length */
        return c == ':' ? FRAMED_MORE : FRAMED_ODD;
    case VALUE_SPACE:
        if (c == ' ' || c == '\t') return FRAMED_MORE;
        f->state = VALUE;
        f->value_begin = f->value_end = at;
        /* fall through */
    case VALUE:
        if (c == '\r') {
            f->state = VALUE_END;
            return FRAMED_MORE;
        }
        if (!is_text(c)) return FRAMED_ODD;
        if (f->is_number && c > ' ')
            if (c < '0' || c > '9' || f->value_end < at || f->value_size >= MOST_LENGTH_DIGITS)
                return FRAMED_ODD;
        if (c != ' ' && c != '\t') f->value_end = at + 1;
        /* The last place is never a word's: a longer value is none we know. */
        if (f->value_size < FRAMING_VALUE) f->value[f->value_size++] = (char)c;
        return FRAMED_MORE;
    case VALUE_END: {
        f->state = NAME_BEGIN;
        if (c != '\n') return FRAMED_ODD;
        uint64_t size = f->value_end - f->value_begin; /* without the spaces behind it */
        if (size < f->value_size) f->value_size = (uint8_t)size;
        return on_header(f);
    }
    default: /* HEAD_END */
        return c == '\n' ? on_head(f) : FRAMED_ODD;
    }
}

/* The next byte around a chunk. */
static Framed on_chunk(Framing *f, unsigned char c) {
    switch (f->state) {
    case CHUNK_SIZE: {
        int digit = hex(c);
        if (digit >= 0) {
            if (++f->digits > MOST_CHUNK_DIGITS) return FRAMED_ODD;
            f->left = f->left * 16 + (uint64_t)digit;
            return FRAMED_MORE;
        }
        f->state = CHUNK_SIZE_END;
        return c == '\r' && f->digits ? FRAMED_MORE : FRAMED_ODD; /* extensions are odd */
    }
    case CHUNK_SIZE_END:
        f->state = f->left ? CHUNK_DATA : LAST_CR;
        return c == '\n' ? FRAMED_MORE : FRAMED_ODD;
    case CHUNK_CR:
        f->state = CHUNK_LF;
        return c == '\r' ? FRAMED_MORE : FRAMED_ODD;
    case CHUNK_LF:
        f->state = CHUNK_SIZE;
        f->digits = 0;
        return c == '\n' ? FRAMED_MORE : FRAMED_ODD;
    case LAST_CR:
        f->state = LAST_LF;
        return c == '\r' ? FRAMED_MORE : FRAMED_ODD; /* trailers are odd */
    default: /* LAST_LF */
        return c == '\n' ? FRAMED_WHOLE : FRAMED_ODD;
    }
}

/* Whether a line begins with a space: what looks like no answer may be one with folded lines. */
static int has_fold(const char *data, size_t size) {
    for (size_t i = 0; i + 1 < size; i++)
        if (data[i] == '\n' && (data[i + 1] == ' ' || data[i + 1] == '\t')) return 1;
    return 0;
}

Framed framing_feed(Framing *f, const char *data, size_t size, size_t *used) {
    size_t at = 0;
    Framed framed = FRAMED_MORE;
    while (at < size && framed == FRAMED_MORE) {
        if (f->state == UNTIL_CLOSE) {
            f->size += size - at;
            at = size;
        } else if (f->state == BODY || f->state == CHUNK_DATA) {
            uint64_t take = size - at < f->left ? size - at : f->left;
            at += (size_t)take;
            f->size += take;
            f->left -= take;
            if (f->left == 0) {
                if (f->state == BODY) framed = FRAMED_WHOLE;
                f->state = CHUNK_CR;
            }
        } else {
            unsigned char c = (unsigned char)data[at++];
            uint64_t place = f->size++;
            if (f->state < NAME_BEGIN) framed = on_status_line(f, c);
            else if (f->state < BODY) framed = on_header_line(f, c, place);
            else framed = on_chunk(f, c);
            if (f->state < BODY && f->size - f->head_begin > FRAMING_HEAD) framed = FRAMED_ODD;
        }
    }
    *used = at;
    if (framed == FRAMED_MALFORMED && has_fold(data, size)) framed = FRAMED_ODD;
    return framed;
}

Framed framing_behind(const Framing *f, const char *rest, size_t size) {
    if (size == 0) return FRAMED_WHOLE;
    if (f->is_head) return FRAMED_ODD; /* a body, perhaps */
    Framing other;
    size_t used;
    framing_begin(&other, 0, NULL, NULL, 0);
    Framed framed = framing_feed(&other, rest, size, &used);
    /* Another answer to the same request, or none at all; half of one may yet be either. */
    return framed == FRAMED_WHOLE || framed == FRAMED_MALFORMED ? FRAMED_MALFORMED : FRAMED_ODD;
}

int framing_ends_at_close(const Framing *f) { return f->state == UNTIL_CLOSE; }
