"""CHE·NU's hit share counts what the answers say, and nothing where no answer came through a
cache.
"""

import pyarrow as pa
import pytest
from probes import cache_hits

from stormgate.chaos import probes
from stormgate.evidence.rolling import RollingWindow

S = 10**9


def batch(rows):
    words = lambda values: pa.array(values, pa.string()).dictionary_encode()  # noqa: E731
    columns = zip(*rows, strict=True)
    cache, region, outcome, op = (words(list(column)) for column in columns)
    done = pa.array([99 * S] * len(rows), pa.int64())
    names = {
        "intended_ns": done,
        "done_ns": done,
        "cache": cache,
        "served_by": region,
        "outcome": outcome,
        "op": op,
    }
    return pa.record_batch(names)


@pytest.fixture
def samples(tmp_path, monkeypatch):
    window = RollingWindow(tmp_path)
    monkeypatch.setattr(probes, "_window", lambda: window)
    monkeypatch.setattr(probes, "_now", lambda: 100 * S)
    return window


def test_hit_share(samples):
    hit, miss = ("hit", "eu", "ok", "read"), ("miss", "us", "ok", "read")
    samples.add(
        batch(
            [hit] * 19
            + [miss]
            + [("none", "eu", "ok", "write")] * 5
            + [(None, None, "refused", "read")]
        )
    )
    assert cache_hits.hit_share() == pytest.approx(0.95)
    assert cache_hits.hit_share(region="eu") == 1
    assert cache_hits.hit_share(region="us") == 0
    assert cache_hits.hit_share(region="mars") is None


def test_nothing_is_not_a_hit(samples):
    assert cache_hits.hit_share() is None
    samples.add(batch([("none", "eu", "ok", "read"), ("none", "eu", "reset", "read")]))
    assert cache_hits.hit_share() is None
    assert cache_hits.served_without_cache() == 0.5
