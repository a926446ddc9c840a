"""What users' answers say of something broken, from the samples of a run."""

import time

import pyarrow as pa

from stormgate.evidence.rolling import RollingWindow

SECOND = 1_000_000_000
AT = 100 * SECOND


def batch(rows):
    """(intended s, outcome, zone) of each answer."""
    return pa.record_batch(
        {
            "intended_ns": pa.array([int(at * SECOND) for at, *_ in rows]),
            "done_ns": pa.array([int(at * SECOND) + 1000 for at, *_ in rows]),
            "outcome": pa.array([outcome for _, outcome, _ in rows]).dictionary_encode(),
            "zone": pa.array([zone for *_, zone in rows]).dictionary_encode(),
        }
    )


def window(tmp_path, *batches):
    found = RollingWindow(tmp_path)
    for one in batches:
        found.add(one)
    return found


def test_good_answers_that_name_it_are_counted_by_when_they_were_asked_for(tmp_path):
    found = window(
        tmp_path,
        batch([(98, "ok", "a"), (99, "ok", "b"), (99.5, "refused", "a")]),
        batch([(100.2, "ok", "a"), (100.4, "ok", "b"), (101, "ok", None), (101.5, "refused", "a")]),
    )
    assert found.naming(["zone"], ["a"], 90 * SECOND, AT) == (1, 2, 98 * SECOND)
    assert found.naming(["zone"], ["a"], AT, None) == (1, 3, int(100.2 * SECOND))
    assert found.naming(["zone"], ["a"], int(100.2 * SECOND) + 1, None) == (0, 2, None)


def test_a_label_that_nobody_gives_names_nothing(tmp_path):
    found = window(tmp_path, batch([(99, "ok", "a")]))
    assert found.naming(["pod"], ["a"], 0, None) == (0, 1, None)
    assert found.naming(["zone"], ["c"], 0, None) == (0, 1, None)
    assert RollingWindow(tmp_path).naming(["zone"], ["a"], 0, time.monotonic_ns()) == (0, 0, None)
