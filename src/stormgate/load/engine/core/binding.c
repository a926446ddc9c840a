/* `Core`, the Python type: made and unmade, and its pools, by number. */
#include "binding.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int add_wanted(Core *core, PyObject *names) {
    Py_ssize_t count = PySequence_Size(names);
    if (count < 0) return -1;
    core->wanted = calloc((size_t)count + 1, sizeof(Wanted));
    if (core->wanted == NULL) return PyErr_NoMemory(), -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        char *text;
        Py_ssize_t size;
        PyObject *name = PySequence_GetItem(names, i);
        if (name == NULL || PyBytes_AsStringAndSize(name, &text, &size) < 0) {
            Py_XDECREF(name);
            return -1;
        }
        if (size == 0 || size >= FRAMING_NAME) {
            Py_DECREF(name);
            PyErr_SetString(PyExc_ValueError, "a header's name is 1 to 63 bytes");
            return -1;
        }
        memcpy(core->wanted[i].name, text, (size_t)size);
        core->wanted[i].name_size = (uint32_t)size;
        core->wanted_count++;
        Py_DECREF(name);
    }
    return 0;
}

static int init(CoreObject *self, PyObject *args, PyObject *keywords) {
    PyObject *outcomes, *append, *code_of, *on_odd, *on_trouble, *on_address, *wanted;
    long long most;
    (void)keywords;
    if (!PyArg_ParseTuple(args, "O!OOOOOOL", &PyTuple_Type, &outcomes, &append, &code_of,
                          &on_odd, &on_trouble, &on_address, &wanted, &most))
        return -1;
    if (self->core != NULL || PyTuple_Size(outcomes) != ENDS) {
        PyErr_SetString(PyExc_ValueError, "an outcome for each end, and once");
        return -1;
    }
    if (lending_names() < 0) return -1;
    Core *core = self->core = calloc(1, sizeof(Core));
    if (core == NULL) return PyErr_NoMemory(), -1;
    core->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    core->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    core->tell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    core->process = getpid();
    core->most = core->allowance = most;
    pthread_mutex_init(&core->lock, NULL);
    pthread_cond_init(&core->done, NULL);
    self->soonest = NEVER;
    self->outcomes = Py_NewRef(outcomes);
    self->append = Py_NewRef(append);
    self->code_of = Py_NewRef(code_of);
    self->on_odd = Py_NewRef(on_odd);
    self->on_trouble = Py_NewRef(on_trouble);
    self->on_address = Py_NewRef(on_address);
    if (core->epoll_fd < 0 || core->kick_fd < 0 || core->tell_fd < 0)
        return PyErr_SetFromErrno(PyExc_OSError), -1;
    return add_wanted(core, wanted);
}

static void release(CoreObject *self) {
    Core *core = self->core;
    if (core == NULL) return;
    self->core = NULL;
    if (core->process != getpid()) return; /* forked off: all of it is its parent's */
    Py_BEGIN_ALLOW_THREADS
    core_stop(core);
    Py_END_ALLOW_THREADS
    for (size_t i = 0; i < core->open; i++) {
        close(core->connections[i]->fd);
        session_free(core->connections[i]->session);
        connection_forsake(core->connections[i]);
        free(core->connections[i]->raw);
        free(core->connections[i]);
    }
    core->open = 0;
    while (self->lent != NULL) {
        if (self->lent->end == END_ODD && self->lent->fd >= 0) close(self->lent->fd);
        give_back(self, self->lent);
    }
    close(core->epoll_fd);
    close(core->kick_fd);
    close(core->tell_fd);
    for (Py_ssize_t i = 0; i < self->pool_count; i++) pool_free(self->pools[i]);
    self->pool_count = 0;
    free(self->pools);
    self->pools = NULL;
    free(core->connections);
    free(core->heap);
    free(core->lags);
    free(core->own_lags);
    free(core->wanted);
    free(core);
}

static void dealloc(CoreObject *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    release(self);
    Py_CLEAR(self->outcomes);
    Py_CLEAR(self->append);
    Py_CLEAR(self->code_of);
    Py_CLEAR(self->on_odd);
    Py_CLEAR(self->on_trouble);
    Py_CLEAR(self->on_address);
    freefunc free_it = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free_it(self);
    Py_DECREF(type);
}

/* The core, if it may be used here; else NULL with an exception set. */
Core *usable(CoreObject *self) {
    if (self->core == NULL) PyErr_SetString(PyExc_RuntimeError, "the core is closed");
    else if (self->core->process != getpid())
        PyErr_SetString(PyExc_RuntimeError, "the core belongs to the process that made it");
    else return self->core;
    return NULL;
}

static PyObject *py_close(CoreObject *self, PyObject *unused) {
    (void)unused;
    release(self);
    Py_RETURN_NONE;
}

/* --- pools */

static int address_of(const char *host, int port, Address *address) {
    struct sockaddr_in *four = (struct sockaddr_in *)&address->at;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address->at;
    socklen_t *size = &address->size;
    memset(address, 0, sizeof *address);
    if (port >= 0 && port <= 65535) {
        if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
            four->sin_family = AF_INET;
            four->sin_port = htons((uint16_t)port);
            *size = sizeof *four;
            return 0;
        }
        if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
            six->sin6_family = AF_INET6;
            six->sin6_port = htons((uint16_t)port);
            *size = sizeof *six;
            return 0;
        }
    }
    PyErr_SetString(PyExc_ValueError, "no IP address and port");
    return -1;
}

/* All of ((host, port), ...), at least one; NULL with an exception set. To be freed. */
static Address *addresses_of(PyObject *given, uint32_t *count) {
    Py_ssize_t size = PyTuple_Size(given);
    if (size < 0) return NULL;
    if (size == 0 || size > MOST_ADDRESSES)
        return PyErr_SetString(PyExc_ValueError, "no address, or too many"), NULL;
    Address *addresses = calloc((size_t)size, sizeof(Address));
    if (addresses == NULL) return PyErr_NoMemory(), NULL;
    for (Py_ssize_t i = 0; i < size; i++) {
        const char *host;
        int port;
        if (!PyArg_ParseTuple(PyTuple_GetItem(given, i), "si", &host, &port) ||
            address_of(host, port, &addresses[i]) < 0) {
            free(addresses);
            return NULL;
        }
    }
    *count = (uint32_t)size;
    return addresses;
}

static PyObject *py_pool(CoreObject *self, PyObject *args) {
    const char *name = "";
    int is_address = 0;
    PyObject *given, *terms = Py_None;
    Core *core = usable(self);
    if (core == NULL ||
        !PyArg_ParseTuple(args, "O!|Osp", &PyTuple_Type, &given, &terms, &name, &is_address))
        return NULL;
    Pool *pool = calloc(1, sizeof(Pool));
    if (pool == NULL) return PyErr_NoMemory();
    if ((pool->addresses = addresses_of(given, &pool->address_count)) == NULL ||
        secure(pool, terms, name, is_address) < 0) {
        pool_free(pool);
        return NULL;
    }
    self->pools = grown(self->pools, &self->pool_room,
                        (size_t)(self->pool_count + 1) * sizeof(Pool *), SIZE_MAX);
    self->pools[self->pool_count] = pool;
    pool->next = core->pools;
    core->pools = pool;
    return PyLong_FromSsize_t(self->pool_count++);
}

Pool *pool_of(CoreObject *self, Py_ssize_t number) {
    if (number >= 0 && number < self->pool_count) return self->pools[number];
    PyErr_SetString(PyExc_IndexError, "no such pool");
    return NULL;
}

static PyObject *order(CoreObject *self, Order order, Pool *pool) {
    Core *core = self->core;
    if (core->is_running) {
        Py_BEGIN_ALLOW_THREADS
        core_order(core, order, pool);
        Py_END_ALLOW_THREADS
    }
    Py_RETURN_NONE;
}

static PyObject *py_point(CoreObject *self, PyObject *args) {
    Py_ssize_t number;
    uint32_t count = 0;
    PyObject *given;
    Core *core = usable(self);
    Pool *pool;
    if (core == NULL || !PyArg_ParseTuple(args, "nO!", &number, &PyTuple_Type, &given)) return NULL;
    if ((pool = pool_of(self, number)) == NULL) return NULL;
    Address *addresses = addresses_of(given, &count);
    if (addresses == NULL) return NULL;
    if (!core->is_running) {
        free(pool->addresses);
        pool->addresses = addresses;
        pool->address_count = count;
        pool->turn = 0;
        Py_RETURN_NONE;
    }
    core->order_addresses = addresses;
    core->order_address_count = count;
    return order(self, POINT_ELSEWHERE, pool);
}

static PyObject *py_has_idle(CoreObject *self, PyObject *args) {
    Py_ssize_t number;
    Pool *pool;
    if (usable(self) == NULL || !PyArg_ParseTuple(args, "n", &number)) return NULL;
    if ((pool = pool_of(self, number)) == NULL) return NULL;
    return PyBool_FromLong(pool->idle_count > pool->submitted);
}

static PyObject *py_drop_idle(CoreObject *self, PyObject *args) {
    Py_ssize_t number;
    Pool *pool;
    if (usable(self) == NULL || !PyArg_ParseTuple(args, "n", &number)) return NULL;
    if ((pool = pool_of(self, number)) == NULL) return NULL;
    return order(self, DROP_IDLE, pool);
}

static PyObject *py_withdraw(CoreObject *self, PyObject *unused) {
    (void)unused;
    return usable(self) == NULL ? NULL : order(self, WITHDRAW, NULL);
}

static PyObject *py_finish(CoreObject *self, PyObject *unused) {
    (void)unused;
    return usable(self) == NULL ? NULL : order(self, FINISH, NULL);
}

/* --- numbers */

static PyObject *py_fileno(CoreObject *self, PyObject *unused) {
    (void)unused;
    Core *core = usable(self);
    return core == NULL ? NULL : PyLong_FromLong(core->tell_fd);
}

static PyObject *get_allowance(CoreObject *self, void *unused) {
    (void)unused;
    return PyLong_FromLongLong(self->core == NULL ? 0 : self->core->allowance);
}

static int set_number(_Atomic int64_t *where, PyObject *value) {
    if (value == NULL) return PyErr_SetString(PyExc_TypeError, "a number"), -1;
    long long number = PyLong_AsLongLong(value);
    if (number == -1 && PyErr_Occurred()) return -1;
    *where = number;
    return 0;
}

static int set_allowance(CoreObject *self, PyObject *value, void *unused) {
    (void)unused;
    return self->core == NULL ? 0 : set_number(&self->core->allowance, value);
}

static PyObject *get_most(CoreObject *self, void *unused) {
    (void)unused;
    return PyLong_FromLongLong(self->core == NULL ? 0 : self->core->most);
}

static int set_most(CoreObject *self, PyObject *value, void *unused) {
    (void)unused;
    return self->core == NULL ? 0 : set_number(&self->core->most, value);
}

/* --- the type */

static PyMethodDef METHODS[] = {
    {"pool", (PyCFunction)py_pool, METH_VARARGS, "pool(addresses, terms, name, is_address)"},
    {"point", (PyCFunction)py_point, METH_VARARGS, "New connections go to another address."},
    {"has_idle", (PyCFunction)py_has_idle, METH_VARARGS, "Whether one could go out at once."},
    {"drop_idle", (PyCFunction)py_drop_idle, METH_VARARGS, "Close a pool's idle connections."},
    {"submit", (PyCFunction)py_submit, METH_VARARGS, "submit(pool, attempt, is_wanted)"},
    {"flush", (PyCFunction)py_flush, METH_NOARGS, "What was submitted and is due goes out now."},
    {"take", (PyCFunction)py_take, METH_NOARGS, "What has ended into the queue, and the counts."},
    {"withdraw", (PyCFunction)py_withdraw, METH_NOARGS, "End what waits for a connection."},
    {"finish", (PyCFunction)py_finish, METH_NOARGS, "End all that is under way, and close."},
    {"close", (PyCFunction)py_close, METH_NOARGS, "Let go of everything."},
    {"fileno", (PyCFunction)py_fileno, METH_NOARGS, "Readable when something has ended."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef PROPERTIES[] = {
    {"allowance", (getter)get_allowance, (setter)set_allowance, "Connections still to open.", NULL},
    {"most", (getter)get_most, (setter)set_most, "Connections at once.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyObject *core_type(void) {
    static PyType_Slot slots[] = {
        {Py_tp_init, init}, {Py_tp_dealloc, dealloc}, {Py_tp_methods, METHODS},
        {Py_tp_getset, PROPERTIES}, {0, NULL},
    };
    static PyType_Spec spec = {
        "stormgate.load.engine.core._core.Core", sizeof(CoreObject), 0, Py_TPFLAGS_DEFAULT, slots,
    };
    return PyType_FromSpec(&spec);
}
