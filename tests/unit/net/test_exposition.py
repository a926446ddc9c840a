"""Pages of metrics as Prometheus writes them, and as people do."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormgate.net.exposition import series, summed

PAGE = r"""# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="get", code="200",} 3
http_requests_total{method="get",code="503"} 2.5e1
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find \"x\", {y}"} 1.4e9
   bare 12
odd NaN
up{job="a}b"} 1
"""


def test_series_are_read_with_labels_escapes_and_time_stamps() -> None:
    found = list(series(PAGE))
    assert [one.name for one in found].count("http_requests_total") == 3
    (file,) = [one for one in found if one.name.startswith("msdos")]
    assert file.labels == {"path": "C:\\DIR\\FILE.TXT", "error": 'Cannot find "x", {y}'}
    (up,) = [one for one in found if one.name == "up"]
    assert (up.labels, up.value) == ({"job": "a}b"}, 1.0)


def test_sums_take_what_has_these_labels_and_absent_is_not_zero() -> None:
    assert summed(PAGE, "http_requests_total", {}) == 1027 + 3 + 25
    assert summed(PAGE, "http_requests_total", {"code": "200"}) == 1030
    assert summed(PAGE, "bare", {}) == 12
    assert summed(PAGE, "http_requests_total", {"code": "404"}) is None
    assert summed(PAGE, "http_requests", {}) is None
    with pytest.raises(ValueError, match="odd is nan"):
        summed(PAGE, "odd", {})


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("<html>", "line 1 is no metric"),
        ("a 1\nb two", "line 2: 'two' is no number"),
        ("a{b=c} 1", "line 1: 'b=c' is no label"),
        ("a", "line 1 is no metric"),
    ],
)
def test_what_is_no_page_of_metrics_is_refused(page: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        list(series(page))


@given(st.text(max_size=80))
def test_anything_is_read_or_refused_in_words(text: str) -> None:
    with contextlib.suppress(ValueError):
        list(series(text))
