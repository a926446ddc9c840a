/* `Core`, the Python type: what its two halves share. */
#ifndef STORMGATE_BINDING_H
#define STORMGATE_BINDING_H

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>

#include "core.h"

typedef struct {
    PyObject_HEAD
    Core *core;
    Pool **pools;
    Py_ssize_t pool_count;
    size_t pool_room;
    Attempt *lent;         /* all that have not come back */
    int64_t soonest;       /* of what was submitted and not flushed */
    PyObject *outcomes;    /* of each End */
    PyObject *append;      /* of the queue of what has ended */
    PyObject *code_of;     /* (position of a wanted header, value) -> int */
    PyObject *on_odd;      /* (task, fd, raw, written, channel or None, is_ended) */
    PyObject *on_trouble;  /* (task, outcome, why, errno) */
    PyObject *on_address;  /* (task, host, port, errno or 0, ms of silence) */
} CoreObject;

/* binding.c */
Core *usable(CoreObject *self); /* NULL with an exception set where it may not be used */
Pool *pool_of(CoreObject *self, Py_ssize_t number);
PyObject *core_type(void);

/* lending.c */
int lending_names(void);
void give_back(CoreObject *self, Attempt *attempt);
PyObject *py_submit(CoreObject *self, PyObject *args);
PyObject *py_flush(CoreObject *self, PyObject *unused);
PyObject *py_take(CoreObject *self, PyObject *unused);

/* secure.c */
PyObject *py_tls(PyObject *self, PyObject *args);
int secure(Pool *pool, PyObject *terms, const char *name, int is_address);
void pool_free(Pool *pool);
int channel_init(void);
PyObject *channel_around(Session *session);

#endif
