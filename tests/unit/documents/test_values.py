"""Durations, shares and names: what they may look like and what they become."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormgate.documents.problems import nearest
from stormgate.documents.values import duration_ms, duration_s, openslo_window_s, positive_s, share


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("60s", 60),
        ("5m", 300),
        ("1h", 3600),
        ("1m30s", 90),
        ("1.5s", 1.5),
        ("2d", 172800),
        (0, 0),
        ("300ms", 0.3),
    ],
)
def test_durations(text: Any, seconds: float) -> None:
    assert duration_s(text) == seconds
    assert duration_ms(text) == seconds * 1000


@pytest.mark.parametrize(
    "wrong",
    [
        60,
        60.0,
        "60",
        "5 s",
        "-5s",
        "s",
        "",
        None,
        True,
        False,
        [],
        "5y",
        "1e3s",
        "999999d",
        "5s5",
        "∞s",
    ],
)
def test_not_durations(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"duration|year"):
        duration_s(wrong)


def test_no_time_at_all() -> None:
    with pytest.raises(ValueError, match="no time at all"):
        positive_s("0s")


@given(st.integers(1, 10_000_000))
def test_milliseconds_are_exact(ms: int) -> None:
    assert duration_ms(f"{ms}ms") == ms


@pytest.mark.parametrize(
    ("text", "value"),
    [("2%", 0.02), (0.02, 0.02), ("99.99%", 0.9999), (1, 1), (0, 0), ("100 %", 1)],
)
def test_shares(text: Any, value: float) -> None:
    assert share(text) == value


@pytest.mark.parametrize(
    "wrong", ["2", "101%", 1.01, -0.1, "-2%", None, True, float("nan"), float("inf"), [], "%"]
)
def test_not_shares(wrong: Any) -> None:
    with pytest.raises(ValueError, match="share"):
        share(wrong)


@pytest.mark.parametrize(
    ("text", "days"), [("30d", 30), ("4w", 28), ("1M", 30), ("1Q", 90), ("1Y", 365), ("36h", 1.5)]
)
def test_openslo_windows(text: str, days: float) -> None:
    assert openslo_window_s(text) == pytest.approx(days * 86400)


def test_the_nearest_word_else_all_of_them() -> None:
    assert nearest("ratePerSec", ["users", "ratePerS"]) == "did you mean 'ratePerS'?"
    assert nearest("RATEPERS", ["users", "ratePerS"]) == "did you mean 'ratePerS'?"
    assert nearest("zzz", ["a", "b"], what="kinds") == "kinds: a, b"
    assert nearest("zzz", [f"w{i:03}" for i in range(30)]).endswith("w019 and 10 more")
    assert "nothing can stand here" in nearest("x", [])
