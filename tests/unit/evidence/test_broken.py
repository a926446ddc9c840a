"""Random healthy folders pass; with any law of the evidence broken once, anywhere, none does.

STORMGATE_SEED=n tries other folders and other places.
"""

from __future__ import annotations

import os
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from tests.unit.evidence.broken import FILES, LAWS, healthy, written

import stormgate
from stormgate.model import Judgement, Verdict

SEED = int(os.environ.get("STORMGATE_SEED", "1"))


def rng_of(name: str) -> np.random.Generator:
    return np.random.default_rng([SEED, zlib.crc32(name.encode())])


def said(judgement: Judgement) -> list[str]:
    findings = (*judgement.objectives, *judgement.validity)
    return [f"{f.name}: {f.why}" for f in findings if f.verdict is not Verdict.PASS]


@pytest.mark.parametrize("number", range(20))
def test_a_healthy_folder_passes(tmp_path: Path, number: int) -> None:
    run = healthy(rng_of(f"healthy {number}"))
    judgement = stormgate.judge_folder(written(run, tmp_path / "run"))
    assert judgement.verdict is Verdict.PASS, said(judgement)


@pytest.mark.parametrize("law", LAWS)
def test_a_folder_that_breaks_a_law_does_not(tmp_path: Path, law: str) -> None:
    rng = rng_of(law)
    run = healthy(rng)
    LAWS[law](run, rng)
    judgement = stormgate.judge_folder(written(run, tmp_path / "run"))
    assert judgement.verdict in (Verdict.INCONCLUSIVE, Verdict.ERROR, Verdict.DIRTY), law
    assert said(judgement)


@pytest.mark.parametrize("way", FILES)
def test_a_file_that_is_none_is_named_in_bounded_memory(tmp_path: Path, way: str) -> None:
    rng = rng_of(way)
    folder = written(healthy(rng), tmp_path / "run")
    FILES[way](folder, rng)
    measured = way.startswith(("4 GiB", "millions"))  # which takes a while, and they are short
    if measured:
        tracemalloc.start()
    judgement = stormgate.judge_folder(folder)
    peak = tracemalloc.get_traced_memory()[1] if measured else 0
    tracemalloc.stop()
    assert judgement.verdict in (Verdict.INCONCLUSIVE, Verdict.ERROR, Verdict.DIRTY), way
    assert said(judgement)
    assert peak < 400 << 20


@pytest.mark.parametrize("way", [w for w in FILES if "journals" in w and "missing" not in w])
def test_a_journal_that_cannot_be_read_is_inconclusive_by_name(tmp_path: Path, way: str) -> None:
    rng = rng_of(way)
    folder = written(healthy(rng), tmp_path / "run")
    FILES[way](folder, rng)
    judgement = stormgate.judge_folder(folder)
    journals = next(f for f in judgement.validity if f.name == "journals")
    assert journals.verdict is judgement.verdict is Verdict.INCONCLUSIVE
    assert "journals/kill-" in journals.why
    assert "cannot be read" in journals.why
