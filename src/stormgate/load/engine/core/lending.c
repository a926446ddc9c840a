/* Attempts lent to the native thread, and what became of them. Everything here holds the
 * interpreter's lock, and none of it is known there. */
#include "binding.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static PyObject *PAYLOAD, *TIMEOUT, *CONNECT_TIMEOUT, *INTENDED, *ATTEMPT, *REQUEST, *IS_HEAD,
    *SENT, *STARTED;

int lending_names(void) {
    static const struct { PyObject **name; const char *text; } NAMES[] = {
        {&PAYLOAD, "payload"}, {&TIMEOUT, "timeout_ns"}, {&CONNECT_TIMEOUT, "connect_timeout_ns"},
        {&INTENDED, "intended_ns"}, {&ATTEMPT, "attempt"}, {&REQUEST, "request"},
        {&IS_HEAD, "is_head"}, {&SENT, "sent_ns"}, {&STARTED, "started_ns"}};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (*NAMES[i].name == NULL)
            if ((*NAMES[i].name = PyUnicode_InternFromString(NAMES[i].text)) == NULL) return -1;
    return 0;
}

/* An attempt comes back: what was lent with it, too. */
void give_back(CoreObject *self, Attempt *attempt) {
    if (attempt->older != NULL) attempt->older->newer = attempt->newer;
    else self->lent = attempt->newer;
    if (attempt->newer != NULL) attempt->newer->older = attempt->older;
    Py_DECREF((PyObject *)attempt->task);
    Py_DECREF((PyObject *)attempt->kept);
    session_free(attempt->session);
    while (attempt->tried != NULL) {
        Tried *tried = attempt->tried;
        attempt->tried = tried->next;
        free(tried);
    }
    free(attempt->raw);
    free(attempt);
}

/* --- attempts in */

static int read_ns(PyObject *task, PyObject *name, int64_t *found) {
    PyObject *value = PyObject_GetAttr(task, name);
    if (value == NULL) return -1;
    *found = PyLong_AsLongLong(value);
    Py_DECREF(value);
    return *found == -1 && PyErr_Occurred() ? -1 : 0;
}

static int read_task(Attempt *attempt, PyObject *task) {
    int64_t number = 0;
    if (read_ns(task, TIMEOUT, &attempt->timeout) < 0 ||
        read_ns(task, CONNECT_TIMEOUT, &attempt->connect_timeout) < 0 ||
        read_ns(task, INTENDED, &attempt->intended) < 0 || read_ns(task, ATTEMPT, &number) < 0)
        return -1;
    attempt->is_first = number == 1;
    PyObject *request = PyObject_GetAttr(task, REQUEST);
    PyObject *is_head = request == NULL ? NULL : PyObject_GetAttr(request, IS_HEAD);
    Py_XDECREF(request);
    int truth = is_head == NULL ? -1 : PyObject_IsTrue(is_head);
    Py_XDECREF(is_head);
    if (truth < 0) return -1;
    attempt->is_head = (uint8_t)truth;
    char *data;
    Py_ssize_t size;
    PyObject *payload = PyObject_GetAttr(task, PAYLOAD);
    if (payload == NULL || PyBytes_AsStringAndSize(payload, &data, &size) < 0) {
        Py_XDECREF(payload);
        return -1;
    }
    attempt->payload = data;
    attempt->payload_size = (size_t)size;
    attempt->kept = payload; /* bytes never change: the native thread reads them as they are */
    return 0;
}

/* submit(pool, task, is_wanted) */
PyObject *py_submit(CoreObject *self, PyObject *args) {
    Py_ssize_t number;
    PyObject *task;
    int is_wanted;
    Pool *pool;
    Core *core = usable(self);
    if (core == NULL || !PyArg_ParseTuple(args, "nOp", &number, &task, &is_wanted)) return NULL;
    if ((pool = pool_of(self, number)) == NULL) return NULL;
    if (!core->is_running) {
        int code = core_start(core);
        if (code) {
            errno = code;
            return PyErr_SetFromErrno(PyExc_OSError);
        }
    }
    Attempt *attempt = calloc(1, sizeof(Attempt) + core->wanted_count * sizeof(Found));
    if (attempt == NULL) return PyErr_NoMemory();
    if (read_task(attempt, task) < 0) {
        free(attempt);
        return NULL;
    }
    attempt->task = Py_NewRef(task);
    attempt->pool = pool;
    attempt->sent = attempt->fd = -1;
    attempt->newer = self->lent;
    if (self->lent != NULL) self->lent->older = attempt;
    self->lent = attempt;
    pool->is_wanted = is_wanted;
    if (attempt->intended < self->soonest) self->soonest = attempt->intended;
    core_submit(core, attempt);
    Py_RETURN_NONE;
}

PyObject *py_flush(CoreObject *self, PyObject *unused) {
    (void)unused;
    Core *core = self->core;
    if (core != NULL && self->soonest < core->wakes_ns) core_kick(core);
    self->soonest = NEVER;
    Py_RETURN_NONE;
}

/* --- attempts out */

static int write_ns(PyObject *task, PyObject *name, int64_t ns) {
    PyObject *value = PyLong_FromLongLong(ns);
    int code = value == NULL ? -1 : PyObject_SetAttr(task, name, value);
    Py_XDECREF(value);
    return code;
}

/* The codes of the wanted headers' values, 0 where there was none; None when none is wanted. */
static PyObject *labels_of(CoreObject *self, const Attempt *attempt) {
    uint32_t count = self->core->wanted_count;
    if (count == 0) return Py_NewRef(Py_None);
    PyObject *labels = PyList_New((Py_ssize_t)count);
    for (uint32_t i = 0; labels != NULL && i < count; i++) {
        Found found = attempt->found[i];
        PyObject *code;
        if (found.at == 0 || (size_t)found.at + found.size > attempt->raw_size)
            code = PyLong_FromLong(0);
        else
            code = PyObject_CallFunction(self->code_of, "Iy#", (unsigned)i, attempt->raw + found.at,
                                         (Py_ssize_t)found.size);
        if (code == NULL || PyList_SetItem(labels, (Py_ssize_t)i, code) < 0) Py_CLEAR(labels);
    }
    return labels;
}

/* (task, outcome, status, raw, done_ns, labels) into the queue. */
static int append(CoreObject *self, const Attempt *attempt) {
    PyObject *labels = attempt->end == END_WHOLE ? labels_of(self, attempt) : Py_NewRef(Py_None);
    PyObject *outcome = PyTuple_GetItem(self->outcomes, attempt->end); /* borrowed */
    if (labels == NULL || outcome == NULL) {
        Py_XDECREF(labels);
        return -1;
    }
    int is_whole = attempt->end == END_WHOLE;
    PyObject *ended = Py_BuildValue("OOiy#LN", (PyObject *)attempt->task, outcome,
                                    is_whole ? (int)attempt->status : 0,
                                    is_whole && attempt->raw != NULL ? attempt->raw : "",
                                    is_whole ? (Py_ssize_t)attempt->raw_size : 0,
                                    (long long)attempt->done, labels);
    PyObject *said = ended == NULL ? NULL : PyObject_CallFunctionObjArgs(self->append, ended, NULL);
    Py_XDECREF(ended);
    Py_XDECREF(said);
    return said == NULL ? -1 : 0;
}

static int hand_over(CoreObject *self, Attempt *attempt) {
    PyObject *channel = Py_NewRef(Py_None);
    if (attempt->session != NULL) {
        Py_DECREF(channel);
        if ((channel = channel_around(attempt->session)) == NULL) return -1;
        attempt->session = NULL;
    }
    int fd = attempt->fd;
    attempt->fd = -1; /* whoever is called has it now */
    PyObject *said = PyObject_CallFunction(
        self->on_odd, "Oiy#nNi", (PyObject *)attempt->task, fd, attempt->raw,
        (Py_ssize_t)attempt->raw_size, (Py_ssize_t)attempt->written, channel,
        (int)attempt->is_ended);
    Py_XDECREF(said);
    return said == NULL ? -1 : 0;
}

static int complain(CoreObject *self, const Attempt *attempt) {
    PyObject *outcome = PyTuple_GetItem(self->outcomes, attempt->end); /* borrowed */
    PyObject *said = outcome == NULL ? NULL
                                     : PyObject_CallFunction(self->on_trouble, "OOzi",
                                                             (PyObject *)attempt->task, outcome,
                                                             attempt->why, attempt->code);
    Py_XDECREF(said);
    return said == NULL ? -1 : 0;
}

/* The addresses that led nowhere. */
static int tell_tried(CoreObject *self, const Attempt *attempt) {
    for (const Tried *tried = attempt->tried; tried != NULL; tried = tried->next) {
        char host[INET6_ADDRSTRLEN] = "";
        const struct sockaddr_in *four = (const struct sockaddr_in *)&tried->address.at;
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&tried->address.at;
        int is_four = tried->address.at.ss_family == AF_INET;
        const void *from = is_four ? (const void *)&four->sin_addr : (const void *)&six->sin6_addr;
        inet_ntop(tried->address.at.ss_family, from, host, sizeof host);
        PyObject *said = PyObject_CallFunction(
            self->on_address, "OsiiL", (PyObject *)attempt->task, host,
            (int)ntohs(is_four ? four->sin_port : six->sin6_port), tried->code,
            (long long)(tried->delay / MS));
        if (said == NULL) return -1;
        Py_DECREF(said);
    }
    return 0;
}

/* One comes back. Whatever fails over it fails over no other: it is the transport's own failure. */
static void back(CoreObject *self, Attempt *attempt) {
    PyObject *task = attempt->task;
    int is_well = write_ns(task, SENT, attempt->sent) == 0 &&
                  write_ns(task, STARTED, attempt->started) == 0;
    if (is_well && attempt->tried != NULL) is_well = tell_tried(self, attempt) == 0;
    if (is_well && (attempt->why != NULL || attempt->code)) is_well = complain(self, attempt) == 0;
    if (is_well)
        is_well = (attempt->end == END_ODD ? hand_over(self, attempt) : append(self, attempt)) == 0;
    if (!is_well) {
        PyErr_WriteUnraisable(task);
        PyObject *ended = Py_BuildValue("OOiy#LO", task, Py_None, 0, "", (Py_ssize_t)0,
                                        (long long)attempt->done, Py_None);
        PyObject *said = ended == NULL ? NULL
                                       : PyObject_CallFunctionObjArgs(self->append, ended, NULL);
        if (said == NULL) PyErr_WriteUnraisable(task);
        Py_XDECREF(ended);
        Py_XDECREF(said);
    }
    if (attempt->fd >= 0) close(attempt->fd);
    give_back(self, attempt);
}

/* take() -> (count, sent, new connections, released, waiting, open, [lags in ns]) */
PyObject *py_take(CoreObject *self, PyObject *unused) {
    Counts counts;
    int64_t *lags;
    size_t lag_count;
    Py_ssize_t count = 0;
    Core *core = usable(self);
    (void)unused;
    if (core == NULL) return NULL;
    Attempt *attempt = core_take(core, &counts, &lags, &lag_count);
    while (attempt != NULL) {
        Attempt *next = attempt->next;
        back(self, attempt);
        attempt = next;
        count++;
    }
    PyObject *list = PyList_New((Py_ssize_t)lag_count);
    for (size_t i = 0; list != NULL && i < lag_count; i++) {
        PyObject *lag = PyLong_FromLongLong(lags[i]);
        if (lag == NULL || PyList_SetItem(list, (Py_ssize_t)i, lag) < 0) Py_CLEAR(list);
    }
    free(lags);
    if (list == NULL) return NULL;
    return Py_BuildValue("nKKKnnN", count, (unsigned long long)counts.sent,
                         (unsigned long long)counts.new_connections,
                         (unsigned long long)counts.released, (Py_ssize_t)counts.waiting,
                         (Py_ssize_t)counts.open, list);
}
