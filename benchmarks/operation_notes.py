"""What noting an operation costs a load worker, beside the row of a sample.

    python benchmarks/operation_notes.py [--rounds 7]

The call and its share of the block, ns an operation, the best of some rounds: `wrote`, and a row of
the samples packed and made into a block the same way. Limit: 1,000 ns for `wrote`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from stormgate.load.flow import Reply, get
from stormgate.load.record.operations import OperationLog, Operations
from stormgate.load.record.recorder import BlockStream, Recorder
from stormgate.model import Outcome

BLOCKS, ROWS = 100, 1_000  # a block of a worker at 4,000 operations/s
LIMIT_NS = 1_000


def best_ns(rounds: int, fill: Callable[[], None], block: Callable[[], Any]) -> tuple[float, float]:
    """(ns of the calls, ns of the blocks) a row, of the best round."""
    found = []
    for _ in range(rounds):
        calls = blocks = 0.0
        for _ in range(BLOCKS):
            begin = time.perf_counter()
            fill()
            middle = time.perf_counter()
            block()
            calls, blocks = calls + middle - begin, blocks + time.perf_counter() - middle
        found.append((calls / BLOCKS / ROWS * 1e9, blocks / BLOCKS / ROWS * 1e9))
    return min(found, key=sum)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    recorder = Recorder("w0", ("served_by", "shard"))
    log, session = OperationLog(recorder), Operations()
    session.notes_into(log, "london", {"shard": "eu"})
    reply = Reply(get("/x"), Outcome.OK, 200, b"", 1, 2)
    reply.labels = [recorder.label_code("served_by", "eu-west"), 0]
    keys = [f"thread-{number}" for number in range(ROWS)]
    notes, samples = BlockStream(log.schema), BlockStream(recorder.schema)

    def note() -> None:
        for key in keys:
            session.wrote(key, 5, reply, 7)

    code = recorder.series_code("london", "write", "POST", "write")

    def sample() -> None:
        for number in range(ROWS):
            recorder.rows.append(recorder.pack(1, 2, 3, number, code, 4, 200, 1, 0, 1, 0))

    rows = {
        "wrote": best_ns(rounds, note, lambda: notes.block(log.take())),
        "sample": best_ns(rounds, sample, lambda: samples.block(recorder.batch(recorder.take()))),
    }
    print(f"{'':>8} {'call':>8} {'block':>8} {'ns in all':>10}")
    for name, (call, block) in rows.items():
        print(f"{name:>8} {call:>8.0f} {block:>8.0f} {call + block:>10.0f}")
    print("ok" if sum(rows["wrote"]) <= LIMIT_NS else f"over the limit of {LIMIT_NS} ns")


if __name__ == "__main__":
    main()
