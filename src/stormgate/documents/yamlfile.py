"""YAML to plain data, with the line of every key and every item.

Nodes are read below ruamel's constructors: those stop at the first duplicate key, unfold aliases
without a limit and turn dates into objects. Here every duplicate is reported, aliases cannot
explode and a scalar is a string, number, bool or null.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent, DocumentStartEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from stormgate.documents.problems import Problems, label

MAX_BYTES = 1 << 20
MAX_VALUES = 100_000
MAX_DEPTH = 40
CORE_TAG = "tag:yaml.org,2002:"

Loc = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: plain data, and for each place in it the line of its key (or of its list
    item).
    """

    path: Path
    data: Any
    lines: dict[Loc, int] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """The file as messages name it."""
        return label(self.path)

    def line(self, *loc: str | int) -> int:
        """The line of a place, or of the nearest place around it that was written down."""
        for end in range(len(loc), -1, -1):
            if loc[:end] in self.lines:
                return self.lines[loc[:end]]
        return 1

    def at(self, *loc: str | int) -> str:
        """`file:line` of a place."""
        return f"{self.file}:{self.line(*loc)}"


def read_documents(path: Path, problems: Problems) -> list[Document]:
    """Every document of a YAML (or JSON) file. What cannot be read is noted in `problems` and left
    out.
    """
    text = _text(path, problems)
    if text is None:
        return []
    try:
        roots = list(_compose(text))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problems.add(
            label(path), line, f"not YAML: {error.problem or 'cannot be read'}", _hint(text, line)
        )
        return []
    except YAMLError as error:
        problems.add(
            label(path),
            1,
            f"not YAML: {str(error).splitlines()[0]}",
            "write it as UTF-8 text without control characters",
        )
        return []
    except _OldYamlError as error:
        # In YAML 1.1 `yes` is true and 010 is 8; whoever writes the line means it.
        fix = "remove the %YAML line: documents are YAML 1.2"
        problems.add(label(path), error.line, "another version of YAML", fix)
        return []
    except RecursionError:
        problems.add(
            label(path), 1, "nested too deep to be read", f"nest at most {MAX_DEPTH} levels"
        )
        return []
    documents = [_document(path, root, problems) for root in roots if root is not None]
    found = [document for document in documents if document is not None]
    if not roots or all(root is None for root in roots):
        problems.add(
            label(path),
            1,
            "the file is empty",
            "write a document with apiVersion, kind, metadata and spec",
        )
    return found


def listed(documents: list[Document]) -> list[Document]:
    """The documents, with each item of one that is a list of documents as one of its own."""
    found = []
    for document in documents:
        if not isinstance(document.data, list) or not document.data:
            found.append(document)
            continue
        for index, data in enumerate(document.data):
            lines = {loc[1:]: at for loc, at in document.lines.items() if loc[:1] == (index,)}
            found.append(Document(document.path, data, lines))
    return found


def _text(path: Path, problems: Problems) -> str | None:
    name = label(path)
    try:
        if not path.is_file():
            problems.add(
                name,
                1,
                "there is no such file" if not path.exists() else "this is not a file",
                "check the path",
            )
            return None
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        problems.add(
            name,
            1,
            f"cannot be read: {getattr(error, 'strerror', None) or error}",
            "check the path and its permissions",
        )
        return None
    if len(raw) > MAX_BYTES:
        problems.add(
            name, 1, f"larger than {MAX_BYTES >> 20} MiB", "a document is a few pages; split it"
        )
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        problems.add(name, line, "not UTF-8 text", "save the file as UTF-8")
        return None


def _compose(text: str) -> Iterator[Node | None]:
    # The scanner's time grows with the square of the nesting: a page of brackets would keep it busy
    # for minutes.
    depth = 0
    for event in YAML(typ="rt").parse(text):
        if isinstance(event, DocumentStartEvent) and event.version not in (None, (1, 2)):
            raise _OldYamlError(event.start_mark.line + 1)
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise RecursionError
    with warnings.catch_warnings():
        # A name may be given to an anchor again: the last before an alias counts.
        warnings.simplefilter("ignore", ReusedAnchorWarning)
        yield from YAML(typ="rt").compose_all(text)


def _hint(text: str, line: int) -> str:
    lines = text.splitlines()
    around = lines[max(0, line - 2) : line]
    if any(re.match(r"\s*\t", one) for one in around):
        return "indent with spaces, not tabs"
    return "check indentation, quotes and brackets on this line and the one before"


class _Reader:
    """Turns one node tree into data, counting what it unfolds."""

    def __init__(self, path: Path, problems: Problems) -> None:
        self.name = label(path)
        self.problems = problems
        self.lines: dict[Loc, int] = {}
        self.values = 0

    def value(self, node: Node, loc: Loc) -> Any:
        self.values += 1
        if len(loc) > MAX_DEPTH:
            raise _TooMuchError(
                node,
                f"nested deeper than {MAX_DEPTH} levels",
                "flatten it (an alias must not contain itself)",
            )
        if self.values > MAX_VALUES:
            raise _TooMuchError(
                node,
                f"unfolds to more than {MAX_VALUES:,} values",
                "write less, or use fewer aliases",
            )
        if isinstance(node, MappingNode):
            return self._mapping(node, loc)
        if isinstance(node, SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                self.lines[(*loc, index)] = item.start_mark.line + 1
                items.append(self.value(item, (*loc, index)))
            return items
        return self._scalar(node) if isinstance(node, ScalarNode) else None

    def _mapping(self, node: MappingNode, loc: Loc) -> dict[str, Any]:
        data: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                self.problems.add(
                    self.name, line, "a key is a list or a mapping", "use a plain word as the key"
                )
                continue
            key = str(key_node.value)
            if key == "<<":
                self.problems.add(
                    self.name, line, "merge keys (<<) are not read", "write the keys out"
                )
            elif key in first:
                self.problems.add(
                    self.name,
                    line,
                    f"key {key!r} is written twice (first on line {first[key]})",
                    "keep one of the two",
                )
            else:
                first[key] = line
                self.lines[(*loc, key)] = line
                data[key] = self.value(value_node, (*loc, key))
        return data

    def _scalar(self, node: ScalarNode) -> Any:
        tag = str(node.tag)
        text = str(node.value)
        kind = tag.removeprefix(CORE_TAG)
        if kind in {"str", "timestamp", "value"}:
            return text
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        try:
            if kind == "int":
                return _whole(text)
            if kind == "float":
                return float(
                    text.replace("_", "")
                    .replace(".inf", "inf")
                    .replace(".nan", "nan")
                    .replace(".NaN", "nan")
                )
        except ValueError:
            return text
        self.problems.add(
            self.name, node.start_mark.line + 1, f"tag {tag!r} is not read", "remove the tag"
        )
        return text


class _OldYamlError(Exception):
    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _TooMuchError(Exception):
    def __init__(self, node: Node, message: str, fix: str) -> None:
        super().__init__(message)
        self.line, self.message, self.fix = node.start_mark.line + 1, message, fix


def _whole(text: str) -> int:
    plain = text.replace("_", "")
    return int(plain, 0) if re.match(r"[-+]?0[xob]", plain) else int(plain, 10)


def _document(path: Path, root: Node, problems: Problems) -> Document | None:
    reader = _Reader(path, problems)
    reader.lines[()] = root.start_mark.line + 1
    try:
        data = reader.value(root, ())
    except _TooMuchError as error:
        problems.add(label(path), error.line, error.message, error.fix)
        return None
    return Document(path, data, reader.lines)
