/* Attempts whose time has not come, by it: a binary heap. And memory that grows. */
#include <stdio.h>
#include <stdlib.h>

#include "core.h"

/* At least `size` bytes where there were `*room`. There is no way to go on without memory that
 * would not lose an attempt unseen: then this process ends, and whoever started it sees that. */
void *grown(void *memory, size_t *room, size_t size, size_t most) {
    if (size <= *room) return memory;
    size_t wished = *room ? *room * 2 : 4096;
    if (wished < size) wished = size;
    if (wished > most) wished = most;
    void *more = size > most ? NULL : realloc(memory, wished);
    if (more == NULL) {
        fputs("stormgate: the load engine is out of memory\n", stderr);
        abort();
    }
    *room = wished;
    return more;
}

static int is_before(const Attempt *a, const Attempt *b) {
    return a->intended != b->intended ? a->intended < b->intended : a->order < b->order;
}

void heap_push(Core *core, Attempt *attempt) {
    attempt->order = core->orders++;
    core->heap = grown(core->heap, &core->heap_room, (core->heap_size + 1) * sizeof(Attempt *),
                       SIZE_MAX);
    size_t at = core->heap_size++;
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (!is_before(attempt, core->heap[parent])) break;
        core->heap[at] = core->heap[parent];
        at = parent;
    }
    core->heap[at] = attempt;
}

/* The first one. There must be one. */
Attempt *heap_pop(Core *core) {
    Attempt *first = core->heap[0], *last = core->heap[--core->heap_size];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= core->heap_size) break;
        if (child + 1 < core->heap_size && is_before(core->heap[child + 1], core->heap[child]))
            child++;
        if (!is_before(core->heap[child], last)) break;
        core->heap[at] = core->heap[child];
        at = child;
    }
    core->heap[at] = last;
    return first;
}

int64_t heap_next(const Core *core) {
    return core->heap_size ? core->heap[0]->intended : NEVER;
}
