"""Whatever a history holds, every kind says something of it, and an empty one is never a pass."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.unit.judge.book import Book

from stormgate.evidence.operations import KINDS, WRITES
from stormgate.model import Verdict

SPECS: dict[str, dict[str, Any]] = {
    "ackedWrites": {"min_writes_near_fault": 1},
    "staleness": {"lte_ms": 100, "min_samples": 1},
    "monotonicReads": {"min_samples": 1},
    "readYourWrites": {"min_samples": 1},
    "convergence": {"within_s": 5},
    "residency": {"data_class": "eu", "allow": ["eu"]},
    "splitBrain": {"min_writes_near_fault": 1},
    "bank": {"total": 20, "initial": 10},
    "counter": {},
}
EXTREMES = (None, 0, 1, 2, -1, (1 << 63) - 1, -(1 << 62))


def anything(seed: int) -> Book:
    chance, book = random.Random(seed), Book()

    def row(kind: str) -> dict[str, Any]:
        return {
            "version": chance.choice(EXTREMES),
            "value": chance.choice(EXTREMES),
            "to": chance.choice((None, "a", "b")),
            "snapshot": chance.choice((None, 1, 2)) if kind in ("list", "balance") else None,
            "outcome": chance.choice(("ok", "ok", "info", "fail")),
            "region": chance.choice((None, "eu", "us")),
            "shard": chance.choice((None, "eu")),
            "error": chance.choice((None, "reset")),
        }

    for _ in range(chance.randint(0, 25)):
        kind = chance.choice(KINDS)
        at = 12 + 60 * chance.random()
        session = f"w0/{chance.randint(0, 1)}"
        more = {"session": session, "population": chance.choice((None, "london"))}
        book.op(kind, chance.choice("ab"), at, at + chance.random(), **row(kind), **more)
    for _ in range(chance.randint(0, 12)):
        kind = chance.choice([kind for kind in KINDS if kind not in WRITES])
        made = {**row(kind), "phase": chance.choice(("final", "recovery[loss]"))}
        version = made.pop("version")
        store = chance.choice(("eu", "us"))
        book.back(
            chance.choice("abz"), version, store, 50 + 35 * chance.random(), kind=kind, **made
        )
    return book


@pytest.mark.parametrize("kind", SPECS)
def test_a_kind_says_something_of_any_history(kind: str) -> None:
    said = set()
    for seed in range(60):
        finding = anything(seed).judge(kind, **SPECS[kind])
        assert finding.why, seed
        said.add(finding.verdict)
    assert Verdict.INCONCLUSIVE in said
    assert Book().judge(kind, **SPECS[kind]).verdict is Verdict.INCONCLUSIVE
