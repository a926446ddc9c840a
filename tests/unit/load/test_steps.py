"""Declared steps: what they may be, what they draw, and what is refused where."""

import itertools
import os
from collections import Counter
from pathlib import Path

import pytest

# Locust patches the interpreter for gevent on import, which this process's other tests must not
# notice; nor must the locust processes that they start be told not to.
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
from locust import task

from stormgate.load.locust.user import GeoUser

del os.environ["LOCUST_SKIP_MONKEY_PATCH"]
from stormgate.load import choice, get, post, think
from stormgate.load.choice import drawn
from stormgate.load.steps import StepError, Steps
from stormgate.load.workload import read

HERE = __file__


@pytest.fixture
def threads(tmp_path):
    path = tmp_path / "threads.csv"
    path.write_text("id,title,word\n1,one,a b\n2,two,c/d\n3,three,ü\n4,four,%41\n")
    return path


def heads(steps, key, arrival):
    made = [step for step in steps.drawn(key, arrival) if hasattr(step, "path")]
    return [(step.path, step.body, step.extra) for step in made]


def test_columns_of_a_file_are_of_one_row(threads):
    number, title = choice(threads, "id"), choice(threads, "title")
    steps = Steps(
        "Reader",
        (
            get("/threads/" + number, headers={"X-Title": title}),
            post("/threads/" + number + "/read", json={"title": title, "of": [number]}),
        ),
    )
    pairs = set(zip(number.values, title.values, strict=True))
    for arrival in range(50):
        (path, _, extra), (again, body, _) = heads(steps, 7, arrival)
        found = path.removeprefix("/threads/")
        name = extra.decode().split("X-Title: ")[1].split("\r\n")[0]
        assert (found, name) in pairs
        assert again == f"/threads/{found}/read"
        assert body == f'{{"title":"{name}","of":["{found}"]}}'.encode()


def test_what_is_drawn_repeats_by_the_stream_and_covers_the_file(threads):
    steps = Steps("Reader", (get("/t/" + choice(threads, "id")), think(1, 3)))

    def course(key, count=400):
        return [tuple(map(repr_of, steps.drawn(key, n))) for n in range(count)]

    def repr_of(step):
        return getattr(step, "path", None) or step.seconds

    assert course(7) == course(7)
    assert course(7) != course(8)
    counts = Counter(path for path, _ in course(7))
    assert len(counts) == 4
    assert min(counts.values()) > 60  # of 100 each; e^-9 by chance, and it is the same each time
    pauses = [pause for _, pause in course(7)]
    assert 1 <= min(pauses) < 1.05
    assert 2.95 < max(pauses) <= 3
    assert abs(sum(pauses) / len(pauses) - 2) < 0.1


def test_neighbours_have_nothing_in_common():
    bits = [
        drawn(key, arrival, index) for key in range(8) for arrival in range(8) for index in (0, 1)
    ]
    assert len(set(bits)) == len(bits)
    ones = sum(value.bit_count() for value in bits) / len(bits)
    assert 30 < ones < 34
    apart = [(one ^ other).bit_count() for one, other in itertools.pairwise(bits)]
    assert min(apart) > 12


def test_values_are_encoded_in_a_path_and_nowhere_else(threads):
    word = choice(threads, "word")
    steps = Steps("Reader", (post("/find?q=" + word, data="said " + word, name="find"),))
    found = {path: body for n in range(40) for path, body, _ in heads(steps, 1, n)}
    assert found == {
        "/find?q=a%20b": b"said a b",
        "/find?q=c%2Fd": b"said c/d",
        "/find?q=%C3%BC": "said ü".encode(),
        "/find?q=%2541": b"said %41",
    }


def test_rows_of_a_step_have_one_name(threads):
    made = Steps("Reader", (get("/t/" + choice(threads, "id") + "/x"),))
    assert {step.name for n in range(9) for step in made.drawn(1, n)} == {"/t/{id}/x"}
    with pytest.raises(TypeError, match="one name for all rows"):
        get("/t/" + choice(threads, "id"), name="t" + choice(threads, "id"))


@pytest.mark.parametrize(
    ("text", "column", "told"),
    [
        (None, "id", "No such file"),
        (
            "id,title\n1,a\n",
            "name",
            r"threads.csv:1: there is no column 'name'; it has 'id', 'title'",
        ),
        ("id,id\n1,a\n", "id", "names the columns, each once"),
        ("", "id", "names the columns"),
        ("id\n", "id", "it has no rows"),
        ("id,title\n1,a\n2\n", "id", "threads.csv:3: 1 values for 2 columns"),
        ("id,title\n1,a\n2,\n", "title", "row 3 has no 'title'"),
        (b"id\n\xff\n", "id", "not a CSV file in UTF-8"),
        ('id\n"1\n', "id", "not a CSV file"),
    ],
)
def test_a_file_that_says_too_little_is_refused(tmp_path, text, column, told):
    path = tmp_path / "threads.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=told):
        choice(path, column)


def test_a_file_is_looked_for_beside_who_names_it():
    with pytest.raises(ValueError, match=os.path.dirname(HERE)):
        choice("nowhere.csv", "id")


def test_a_column_is_no_text_yet(threads):
    number = choice(threads, "id")
    for wrong in (
        lambda: f"/threads/{number}",
        lambda: format(number, "s"),
        lambda: str(number),
    ):
        with pytest.raises(TypeError, match="put it between by"):
            wrong()
    with pytest.raises(TypeError, match="between texts"):
        number + 1
    with pytest.raises(TypeError, match="expect= takes a tuple"):
        get("/t/" + number, expect=200)


def said_yes(_reply):
    return True


@pytest.mark.parametrize(
    ("steps", "index", "told"),
    [
        ((get("/"), get("/x", check=said_yes)), 1, "check= calls Python for each answer"),
        ((get("/"), "get /"), 1, "a step is get"),
        ((get("/"), lambda s: s), 1, "a step is get"),
        (get("/"), None, "has its comma"),
        ((), None, "asks for nothing"),
        ((think(1), think(1, 2)), None, "asks for nothing"),
    ],
)
def test_what_is_no_step_is_refused(steps, index, told):
    with pytest.raises(StepError, match=told) as caught:
        type("Reader", (GeoUser,), {"steps": steps})
    assert caught.value.file == HERE
    assert index is None or f"Reader.steps[{index}]" in str(caught.value)


def test_a_row_that_cannot_be_sent_is_refused(tmp_path):
    path = tmp_path / "keys.csv"
    path.write_text('key\nfine\n"broken\nline"\n')
    with pytest.raises(StepError, match=r"keys.csv: row 3: "):
        Steps("Reader", (get("/", headers={"X-Key": choice(path, "key")}),))


def test_steps_or_code_but_not_both():
    def flow(self, session):
        yield get("/")

    with pytest.raises(TypeError, match=r"Reader has steps and flow\(\)"):
        type("Reader", (GeoUser,), {"steps": (get("/"),), "flow": flow})
    look = task(lambda self, session: iter(()))
    look.__name__ = "look"
    with pytest.raises(TypeError, match=r"Reader has steps and look\(\)"):
        type("Reader", (GeoUser,), {"steps": (get("/"),), "look": look})
    declared = type("Declared", (GeoUser,), {"steps": (get("/"),)})
    assert [type(one) for one in declared.tasks] == [Steps]
    heir = type("Heir", (declared,), {"weight": 3})
    assert heir.tasks == declared.tasks
    own = type("Own", (declared,), {"flow": flow})
    assert own.tasks == [flow]
    other = type("Other", (own,), {"steps": (get("/other"),)})
    assert [step.path for step in other.tasks[0].steps] == ["/other"]


FILE = """
from stormgate.load import GeoUser, choice, get, think


class Reader(GeoUser):
    weight = 3
    steps = (
        get("/"),
        {step},
    )
"""


@pytest.mark.parametrize(
    ("step", "line", "told"),
    [
        ('get("/t", check=len)', 9, "check= calls Python"),
        ('get("/t/" + choice("none.csv", "id"))', 9, "none.csv: No such file"),
        ('get("/t/" + choice("data.csv", "name"))', 9, "no column 'name'"),
        ('get(f"/t/{choice("data.csv", "id")!s}")'.replace('"data.csv", "id"', "*D"), 9, "D"),
        ('get("/t/" + choice("data.csv", "id"), headers={"a b": "c"})', 9, "a b"),
    ],
)
def test_a_gate_says_the_line_of_a_step_that_is_wrong(tmp_path, step, line, told):
    (tmp_path / "data.csv").write_text("id\n1\n")
    file = tmp_path / "mine.py"
    file.write_text(FILE.format(step=step))
    found = read(file, 10, 4, ())
    assert told in found["problem"]["message"]
    assert (found["problem"]["file"], found["problem"]["line"]) == (str(file), line)


def test_declared_users_are_read_as_others_are(tmp_path):
    (tmp_path / "data.csv").write_text("id\n1\n")
    file = tmp_path / "mine.py"
    file.write_text(FILE.format(step='think(1, 2), get("/t/" + choice("data.csv", "id"))'))
    found = read(file, 10, 4, ())
    assert found["classes"] == [
        {
            "name": "Reader",
            "stream": True,
            "tasks": 1,
            "tags": [],
            "wanted": True,
            "weight": 3,
            "fixed": 0,
        }
    ]


def test_the_page_of_load_shows_steps_that_run(tmp_path):
    page = (Path(HERE).parents[3] / "docs" / "load.md").read_text(encoding="utf-8")
    example = page.split("### Declared flows")[1].split("```python\n")[1].split("```")[0]
    (tmp_path / "threads.csv").write_text("id,title\n1,one\n2,two\n")
    (tmp_path / "mine.py").write_text(example)
    found = read(tmp_path / "mine.py", 10, 7, ())
    assert [(cls["name"], cls["tasks"]) for cls in found["classes"]] == [("Reader", 1)]
