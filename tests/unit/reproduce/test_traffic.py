"""Access logs: what they say, what is left out, and the Locust file they become."""

import ast
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from stormgate.commands.reproduce.mix import command
from stormgate.documents.problems import Problems
from stormgate.reproduce.series.accesslog import parse_line, read_log, route_of
from stormgate.reproduce.traffic import locust_file

BEGIN = 1772373900


def line(second: int, path: str = "/", status: int = 200, method: str = "GET") -> str:
    at = datetime.fromtimestamp(BEGIN + second, UTC)
    return f'10.0.0.1 - bob [{at:%d/%b/%Y:%H:%M:%S %z}] "{method} {path} HTTP/1.1" {status} 12 "-"'


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(*lines: str):
        Path("a.log").write_text("\n".join(lines) + "\n")
        problems = Problems()
        return read_log(Path("a.log"), problems, 10.0), [str(one) for one in problems]

    return write


@pytest.mark.parametrize(
    "text",
    [
        line(0, "/a?b=1"),
        json.dumps(
            {"time": "2026-03-01T14:05:00Z", "method": "get", "uri": "/a?b=1", "status": 200}
        ),
        json.dumps({"ts": BEGIN, "request_method": "GET", "path": "/a?b=1", "status": "200"}),
    ],
)
def test_a_line_is_a_request_in_many_formats(text):
    found = parse_line(text)
    assert (found.at_s, found.method, found.path, found.status) == (BEGIN, "GET", "/a?b=1", 200)


@pytest.mark.parametrize(
    "text", ["", "hello", "{}", "{", '{"time": "now", "path": "/"}', line(0).replace("Mar", "Xyz")]
)
def test_what_is_no_request_is_none(text):
    assert parse_line(text) is None


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"),
        ("/users/17/threads", "/users/{}/threads"),
        ("/o/123e4567-e89b-12d3-a456-426614174000", "/o/{}"),
        ("/blob/deadbeefcafe01", "/blob/{}"),
        ("/v2/dad/face", "/v2/dad/face"),
    ],
)
def test_a_route_leaves_open_what_is_somebodys_own(path, route):
    assert route_of(path) == route


def test_arrivals_are_counted_and_a_stretch_without_any_is_a_rate_of_nothing(log):
    found, problems = log(*[line(n) for n in range(10)], *[line(20 + n // 2) for n in range(20)])
    assert problems == []
    assert [one.value for one in found.rate.samples] == [1, 0, 2]
    assert found.requests == 30


def test_lines_that_cannot_be_read_are_told_and_many_are_another_format(log):
    found, _ = log("garbage", *[line(n) for n in range(30)])
    assert (found.unread, found.unread_at) == (1, "a.log:1")
    found, problems = log(line(0), "what", "is", "this")
    assert found is None
    assert problems[0].startswith("a.log:2: 3 of 4 lines are no requests; give a log in common")
    assert log("")[1] == ["a.log:1: no requests in it; " + problems[0].partition("; ")[2]]


def test_the_file_has_the_mix_and_the_arrivals_and_says_what_it_lacks(log):
    found, _ = log(
        *[line(n % 10, f"/users/{n}/threads?token=s3cret") for n in range(60)],
        *[line(n % 10 + 10, "/") for n in range(20)],
        *[line(n % 10 + 10, "/order", method="POST") for n in range(10)],
        *[line(10, "/gone", status=404) for n in range(10)],
    )
    text, gaps = locust_file(found, 'The "day".')
    tree = ast.parse(text)
    assert "s3cret" not in text
    weights = [int(one.split(")")[0]) for one in text.split("@task(")[1:]]
    assert weights == [60, 20]
    assert [gap.split(":")[0] for gap in gaps] == [
        "GET /gone, 10.00% of all",
        "POST /order, 10.00% of all",
        "the queries of 60 requests",
    ]
    # 6/s and 4/s, of which 80 % can be sent; the highest is a hundred streams.
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
    }
    assert constants["ARRIVALS"] == [(10, 100), (20, 67)]
    assert "ratePerS: 4.8, users: 100" in text
    assert len(constants["ROUTE_0"]) == 50


def test_a_log_of_nothing_but_posts_cannot_be_sent(log):
    log(*[line(n, "/order", method="POST") for n in range(30)])
    done = CliRunner().invoke(command, ["from-log", "a.log"])
    assert done.exit_code == 1  # click's own; the console entry makes it 2
    assert "it holds no bodies" in done.output


def test_the_command_writes_the_file_and_tells_what_is_not_in_it(log):
    log(*[line(n, "/x?y") for n in range(30)])
    done = CliRunner().invoke(command, ["from-log", "a.log", "--out", "l.py", "--speed", "10"])
    assert done.exit_code == 0, done.output
    assert "not in it: the queries of 30 requests" in done.output
    assert "ratePerS: 10, users: 100" in Path("l.py").read_text()
    assert CliRunner().invoke(command, ["from-log", "none.log"]).exit_code != 0
