"""Series from files and a live API: what is in them, and each way to be wrong with its line."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from stormgate.documents.problems import Problems
from stormgate.net.allow import AllowList
from stormgate.reproduce.series.prometheus import ask_prometheus, parse, read_prometheus
from stormgate.reproduce.series.table import read_csv, time_s

LOOPBACK = AllowList(("127.0.0.0/8",))


@pytest.fixture
def csv_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(text, **how):
        (tmp_path / "s.csv").write_text(text)
        problems = Problems()
        return read_csv(tmp_path / "s.csv", problems, **how), [str(one) for one in problems]

    return read


def test_a_table_is_read_by_its_only_column_of_values(csv_of):
    series, problems = csv_of("Time,p50_ms\n0,12\n5,13.5\n\n10,300\n")
    assert problems == []
    assert [(s.at_s, s.value, s.line) for s in series.samples] == [
        (0, 12, 2),
        (5, 13.5, 3),
        (10, 300, 5),
    ]
    assert (series.step_s, series.column) == (5, "p50_ms")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-03-01T14:05:00Z", 1772373900.0),
        ("2026-03-01T15:05:00+01:00", 1772373900.0),
        ("2026-03-01 14:05:00", 1772373900.0),
        ("1772373900", 1772373900.0),
        ("1772373900250", 1772373900.25),
        ("12.5", 12.5),
        ("yesterday", None),
        ("nan", None),
        ("1_0", None),
    ],
)
def test_times_are_written_in_many_ways(text, seconds):
    assert time_s(text) == seconds


def test_what_is_empty_or_no_number_at_all_is_a_silence_that_is_named(csv_of):
    series, problems = csv_of("t,ms\n0,1\n1,2\n2,\n3,NaN\n4,5\n")
    assert problems == []
    assert [(s.from_s, s.to_s, s.line) for s in series.silences] == [(1, 4, 4)]


@pytest.mark.parametrize(
    ("text", "how", "said"),
    [
        ("", {}, "s.csv:1: no samples in it"),
        ("t,ms\n", {}, "s.csv:1: no samples in it"),
        ("1,2\n3,4\n", {}, "s.csv:1: the first line is a sample; give it a header"),
        ("t,ms\n0,1\n1,fast\n", {}, "s.csv:3: 'fast' is not a number"),
        ("t,ms\n0,1\nsoon,2\n", {}, "s.csv:3: 'soon' is not a time"),
        ("t,ms\n5,1\n4,2\n", {}, "s.csv:3: time goes backward: 4 s after 5 s"),
        ("t,ms\n5,1\n5,2\n", {}, "s.csv:3: time goes not on: 5 s after 5 s"),
        ("t,ms\n0,1\n1,-3\n", {}, "s.csv:3: -3 is less than nothing"),
        ("t,a,b\n0,1,2\n", {}, "several columns of values; say which, column: one of a, b"),
        ("t,p50\n0,1\n", {"column": "p5"}, "s.csv:1: no column 'p5'; did you mean 'p50'?"),
        ("t,ms\n0,\n1,\n", {}, "no value in 'ms'"),
        ("t\n0\n", {}, "no column of values"),
    ],
)
def test_a_table_that_is_wrong_says_where(csv_of, text, how, said):
    series, problems = csv_of(text, **how)
    assert series is None
    assert any(said in one for one in problems), problems


def test_a_table_wrong_a_thousand_times_is_told_of_in_twenty_lines(csv_of):
    series, problems = csv_of("t,ms\n" + "".join(f"{n},x\n" for n in range(1000)))
    assert (series, len(problems)) == (None, 20)


def answer(*series, **more):
    result = [{"metric": m, "values": v} for m, v in series]
    data = {"resultType": "matrix", "result": result}
    return json.dumps({"status": "success", "data": data, **more})


EU = ({"__name__": "rtt", "region": "eu"}, [[100, "0.012"], [105, "NaN"], [110, "0.3"]])
US = ({"__name__": "rtt", "region": "us"}, [[100, "1"]])


def test_an_answer_of_prometheus_is_read_and_nan_is_a_silence(tmp_path):
    (tmp_path / "p.json").write_text(answer(EU, US))
    problems = Problems()
    series = read_prometheus(tmp_path / "p.json", problems, labels={"region": "eu"})
    assert list(problems) == []
    assert [(s.at_s, s.value) for s in series.samples] == [(100, 0.012), (110, 0.3)]
    assert [(s.from_s, s.to_s) for s in series.silences] == [(100, 110)]
    assert series.column == "rtt{region=eu}"


@pytest.mark.parametrize(
    ("text", "labels", "said"),
    [
        ("{", {}, "x:1: not JSON"),
        ("[]", {}, "not an answer of Prometheus"),
        (json.dumps({"status": "error", "error": "bad query"}), {}, "failed: error: bad query"),
        (answer(EU).replace("matrix", "vector"), {}, "resultType 'vector'"),
        (answer(), {}, "no series in it"),
        (answer(EU, US), {}, "2 series in it; say which by labels; there are rtt{region=eu}; rtt"),
        (answer(EU), {"region": "xx"}, "no series has these labels"),
        (answer(({}, [[1, "x"]])), {}, "is no sample"),
        (answer(({}, [[2, "1"], [1, "1"]])), {}, "time goes backward"),
        (answer(({}, [[1, "NaN"]])), {}, "no value in it"),
        (answer(({}, "no")), {}, "a result without metric and values"),
    ],
)
def test_an_answer_that_is_no_series_says_why(text, labels, said):
    problems = Problems()
    assert parse(text, "x", problems, labels) is None
    assert said in "\n".join(str(one) for one in problems)


@pytest.fixture
def prometheus():
    asked = []

    class Api(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            bad = "bad" in self.path
            body = b'{"status": "error", "error": "parse error"}' if bad else answer(EU).encode()
            self.send_response(400 if bad else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_live_api_is_asked_for_the_range(prometheus):
    url, asked = prometheus
    text = ask_prometheus(url, 'rtt{region="eu"}', 100, 110, 5, LOOPBACK)
    assert parse(text, url, Problems(), {}) is not None
    query = parse_qs(urlsplit(asked[0]).query)
    assert query == {
        "query": ['rtt{region="eu"}'],
        "start": ["100.000"],
        "end": ["110.000"],
        "step": ["5"],
    }


def test_a_live_api_that_refuses_says_why_and_a_stranger_is_not_asked(prometheus):
    url, asked = prometheus
    with pytest.raises(ValueError, match="answered 400: parse error"):
        ask_prometheus(url, "bad", 0, 1, 1, LOOPBACK)
    with pytest.raises(ValueError, match="not in the target's allow list"):
        ask_prometheus(url, "rtt", 0, 1, 1, AllowList(("10.0.0.0/8",)))
    assert len(asked) == 1
