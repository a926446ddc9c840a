/* The core as Python sees it, by the limited API: one binary serves 3.11 and all later ones. */
#include "binding.h"

/* frame(pieces, is_head, ended) -> (framed, status, keep, pieces used): the parser alone, for its
 * tests. */
static PyObject *frame(PyObject *self, PyObject *args) {
    PyObject *pieces;
    int is_head, ended;
    (void)self;
    if (!PyArg_ParseTuple(args, "Opp", &pieces, &is_head, &ended)) return NULL;
    Py_ssize_t count = PySequence_Size(pieces);
    if (count < 0) return NULL;
    Framing framing;
    framing_begin(&framing, is_head, NULL, NULL, 0);
    Framed framed = FRAMED_MORE;
    Py_ssize_t i = 0;
    for (; i < count && framed == FRAMED_MORE; i++) {
        char *data;
        Py_ssize_t size;
        size_t used;
        PyObject *piece = PySequence_GetItem(pieces, i);
        if (piece == NULL) return NULL;
        if (PyBytes_AsStringAndSize(piece, &data, &size) < 0) {
            Py_DECREF(piece);
            return NULL;
        }
        framed = framing_feed(&framing, data, (size_t)size, &used);
        if (framed == FRAMED_WHOLE)
            framed = framing_behind(&framing, data + used, (size_t)size - used);
        Py_DECREF(piece);
    }
    if (framed == FRAMED_MORE && ended && framing_ends_at_close(&framing)) framed = FRAMED_WHOLE;
    return Py_BuildValue("iiin", (int)framed, (int)framing.status, (int)framing.keep, i);
}

static PyMethodDef FUNCTIONS[] = {
    {"frame", frame, METH_VARARGS, "The parser alone: framed, status, keep, pieces used."},
    {"tls", py_tls, METH_VARARGS, "A client's terms of TLS, for `pool`."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_core", "The compiled core of the load engine.", -1, FUNCTIONS,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__core(void);
PyMODINIT_FUNC PyInit__core(void) {
    PyObject *module = PyModule_Create(&MODULE);
    if (module == NULL) return NULL;
    PyObject *type = channel_init() < 0 ? NULL : core_type();
    int code = type == NULL ? -1 : PyModule_AddObjectRef(module, "Core", type);
    Py_XDECREF(type);
    if (code < 0 || PyModule_AddIntMacro(module, FRAMED_MORE) < 0 ||
        PyModule_AddIntMacro(module, FRAMED_WHOLE) < 0 ||
        PyModule_AddIntMacro(module, FRAMED_MALFORMED) < 0 ||
        PyModule_AddIntMacro(module, FRAMED_ODD) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
