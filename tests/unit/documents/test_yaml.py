"""YAML with a line for every key: what is read, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from stormgate.documents.problems import Problems
from stormgate.documents.yamlfile import MAX_BYTES, Document, read_documents


def read(tmp_path: Path, text: str | bytes) -> tuple[list[Document], list[str]]:
    path = tmp_path / "x.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    problems = Problems()
    documents = read_documents(path, problems)
    return documents, [f"{p.line}: {p.message}; {p.fix}" for p in problems]


def test_values_and_lines(tmp_path: Path) -> None:
    text = (
        "a: 1\nb:\n  - x\n  - {c: 2.5, d: 60s}\ne: yes\nf: ~\ng: 2027-01-31\nh: 0x10\ni: "
        "true\nj: 007\n---\nz: 1\n"
    )
    documents, problems = read(tmp_path, text)
    assert problems == []
    assert documents[0].data == {
        "a": 1, "b": ["x", {"c": 2.5, "d": "60s"}], "e": "yes", "f": None, "g": "2027-01-31", "h": 16, "i": True, "j": 7,  # noqa: E501
    }  # fmt: skip
    assert documents[0].line("b", 1, "d") == 4
    assert documents[0].line("b", 1, "unwritten", "deeper") == 4
    assert documents[0].line("nowhere") == 1
    assert documents[1].line("z") == 12


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1: the file is empty; write a document with apiVersion, kind, metadata and spec"),
        (
            "# only a comment\n",
            "1: the file is empty; write a document with apiVersion, kind, metadata and spec",
        ),
        (
            "a: 1\nb: 2\na: 3\n",
            "3: key 'a' is written twice (first on line 1); keep one of the two",
        ),
        ("a: 1\n\tb: 2\n", "2: not YAML: "),
        ("a: {b: 1\n", "2: not YAML: "),
        (
            "a: !!python/object:os.system x\n",
            "1: tag 'tag:yaml.org,2002:python/object:os.system' is not read; remove the tag",
        ),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "3: merge keys (<<) are not read; write the keys out"),
        ("? [a, b]\n: 1\n", "1: a key is a list or a mapping; use a plain word as the key"),
        (b"a: 1\nb: \xff\xfe\n", "2: not UTF-8 text; save the file as UTF-8"),
        (b"a: \x00\n", "1: not YAML: "),
        (
            b"a: 1\n" * (MAX_BYTES // 5 + 1),
            "1: larger than 1 MiB; a document is a few pages; split it",
        ),
    ],
)
def test_refused_with_its_line(tmp_path: Path, text: str | bytes, expected: str) -> None:
    _, problems = read(tmp_path, text)
    assert problems[0].startswith(expected)


def test_a_tab_is_named(tmp_path: Path) -> None:
    _, problems = read(tmp_path, "spec:\n\tload: 1\n")
    assert problems[0].endswith("indent with spaces, not tabs")


def test_every_duplicate_is_reported(tmp_path: Path) -> None:
    _, problems = read(tmp_path, "a: 1\na: 2\nb: {c: 1, c: 2}\n")
    assert [p.partition(":")[0] for p in problems] == ["2", "3"]


def test_aliases_are_read_but_cannot_explode(tmp_path: Path) -> None:
    documents, problems = read(tmp_path, "a: &x {b: 1}\nc: *x\n")
    assert documents[0].data == {"a": {"b": 1}, "c": {"b": 1}}
    assert problems == []
    bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
    )
    documents, problems = read(tmp_path, bomb)
    assert documents == []
    assert "unfolds to more than 100,000 values" in problems[0]


@pytest.mark.parametrize(
    "text", ["a: &a [*a]\n", "a: &a {b: *a}\n", "[" * 60 + "]" * 60, "[" * 5000 + "]" * 5000]
)
def test_what_has_no_bottom_is_refused(tmp_path: Path, text: str) -> None:
    documents, problems = read(tmp_path, text)
    assert documents == []
    assert "nested" in problems[0]


def test_what_cannot_be_read_is_one_problem(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "none.yaml", "there is no such file"),
        (tmp_path, "this is not a file"),
    ):
        problems = Problems()
        assert read_documents(path, problems) == []
        assert [p.message for p in problems] == [message]
