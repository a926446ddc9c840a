/* TLS as Python sees it: a client's terms of it, and a session that goes on without the core. */
#include "binding.h"

#include <stdlib.h>
#include <string.h>

static const char TERMS[] = "stormgate.tls";

static void forget(PyObject *capsule) { tls_free(PyCapsule_GetPointer(capsule, TERMS)); }

/* tls(extension, version, trusted, options, verify flags, verify mode, versions, level, host flags,
 * ciphers, suites, protocols) -> terms. Raises OSError when they cannot be had. */
PyObject *py_tls(PyObject *self, PyObject *args) {
    Terms terms;
    const char *extension, *version, *why;
    const char *alpn;
    Py_ssize_t alpn_size;
    unsigned long long options;
    (void)self;
    memset(&terms, 0, sizeof terms);
    if (!PyArg_ParseTuple(args, "zszKki(ii)iIssy#", &extension, &version, &terms.trusted, &options,
                          &terms.verify_flags, &terms.verify_mode, &terms.min_version,
                          &terms.max_version, &terms.security_level, &terms.host_flags,
                          &terms.ciphers, &terms.suites, &alpn, &alpn_size))
        return NULL;
    terms.options = options;
    terms.alpn = (const unsigned char *)alpn;
    terms.alpn_size = (unsigned int)alpn_size;
    Tls *tls = NULL;
    if ((why = tls_load(extension, version)) == NULL) tls = tls_new(&terms, &why);
    if (tls == NULL) return PyErr_SetString(PyExc_OSError, why), NULL;
    PyObject *capsule = PyCapsule_New(tls, TERMS, forget);
    if (capsule == NULL) tls_free(tls);
    return capsule;
}

/* How a pool's connections are secured: `terms` None: not at all. */
int secure(Pool *pool, PyObject *terms, const char *name, int is_address) {
    if (terms == Py_None) return 0;
    Tls *tls = PyCapsule_GetPointer(terms, TERMS);
    if (tls == NULL) return -1;
    if ((pool->peer.name = strdup(name)) == NULL) return PyErr_NoMemory(), -1;
    pool->peer.is_address = (uint8_t)is_address;
    pool->tls = tls_shared(tls);
    return 0;
}

void pool_free(Pool *pool) {
    tls_free(pool->tls);
    free(pool->peer.name);
    free(pool->addresses);
    free(pool);
}

/* --- Channel: a session that the core has handed over */

typedef struct {
    PyObject_HEAD
    Session *session;
} ChannelObject;

static PyObject *channel_type;

static void channel_dealloc(ChannelObject *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    session_free(self->session);
    freefunc free_it = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free_it(self);
    Py_DECREF(type);
}

/* Takes the session; NULL with an exception set, and the session is the caller's. */
PyObject *channel_around(Session *session) {
    allocfunc make = (allocfunc)PyType_GetSlot((PyTypeObject *)channel_type, Py_tp_alloc);
    ChannelObject *self = (ChannelObject *)make((PyTypeObject *)channel_type, 0);
    if (self != NULL) self->session = session;
    return (PyObject *)self;
}

static PyObject *channel_feed(ChannelObject *self, PyObject *args) {
    const char *data;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "y#", &data, &size)) return NULL;
    if (size > READ_SIZE) return PyErr_SetString(PyExc_ValueError, "more than one read"), NULL;
    if (session_feed(self->session, data, (size_t)size) < 0) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

/* read() -> plain bytes, b"" at the end, None when more is to be fed. */
static PyObject *channel_read(ChannelObject *self, PyObject *unused) {
    char plain[RECORD];
    int is_ended;
    (void)unused;
    ssize_t size = session_get(self->session, plain, sizeof plain, &is_ended);
    if (size < 0) return PyErr_SetString(PyExc_OSError, "what came is no TLS"), NULL;
    if (size == 0 && !is_ended) Py_RETURN_NONE;
    return PyBytes_FromStringAndSize(plain, size);
}

static PyObject *channel_write(ChannelObject *self, PyObject *args) {
    const char *data;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "y#", &data, &size)) return NULL;
    for (Py_ssize_t at = 0; at < size;) {
        ssize_t part = session_seal(self->session, data + at, (size_t)(size - at));
        if (part < 0) return PyErr_SetString(PyExc_OSError, "the TLS session is over"), NULL;
        at += part;
    }
    Py_RETURN_NONE;
}

/* out() -> records to be sent, some of them; b"" when there are none. */
static PyObject *channel_out(ChannelObject *self, PyObject *unused) {
    char out[RECORD_ROOM];
    (void)unused;
    size_t size = session_out(self->session, out, sizeof out);
    return PyBytes_FromStringAndSize(out, (Py_ssize_t)size);
}

static PyMethodDef METHODS[] = {
    {"feed", (PyCFunction)channel_feed, METH_VARARGS, "Bytes that came; none: the end."},
    {"read", (PyCFunction)channel_read, METH_NOARGS, "Plain bytes, b'' at the end, or None."},
    {"write", (PyCFunction)channel_write, METH_VARARGS, "Plain bytes to be sent."},
    {"out", (PyCFunction)channel_out, METH_NOARGS, "Records to be sent, b'' for none."},
    {NULL, NULL, 0, NULL},
};

int channel_init(void) {
    static PyType_Slot slots[] = {
        {Py_tp_dealloc, channel_dealloc}, {Py_tp_methods, METHODS}, {0, NULL},
    };
    static PyType_Spec spec = {
        "stormgate.load.engine.core._core.Channel", sizeof(ChannelObject), 0,
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots,
    };
    if (channel_type == NULL) channel_type = PyType_FromSpec(&spec);
    return channel_type == NULL ? -1 : 0;
}
