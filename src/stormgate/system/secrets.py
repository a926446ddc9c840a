"""The secrets this process knows, and every text without them: `***NAME***` stands in their place.

Whoever writes for others (evidence, logs, journals, reports, a console) sends it through here.
A value of fewer than four characters is not hidden: it would be found in every other word.
"""

from __future__ import annotations

import base64
import html
import json
import re
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus

SHORTEST = 4
# A variable that nobody referred to is only taken for a secret by its name from this length on.
_SHORTEST_UNASKED = 8
# The piece of base64 that a secret surely leaves in that of a longer text must be this long.
_SHORTEST_CODED = 6
_SHORTEST_LINE = 8
# Where a text ends in the beginning of a secret, that much of it is taken for it.
_SHORTEST_CUT = 6
_CUT_OFF = r"(?=\.\.\.|…|[\"'>)\]]{0,3}\s*\Z)"
_ENTITIES = {"&": ("amp",), "<": ("lt",), ">": ("gt",), '"': ("quot",), "'": ("apos",)}
_LETTERS = (("\n", "n"), ("\t", "t"), ("\r", "r"), ("\f", "f"), ("\b", "b"))
_BASE64 = frozenset(string.ascii_letters + string.digits + "+/-_")
_LOOKS_SECRET = re.compile(
    r"token|secret|passw|passphrase|credential|authorization|cookie|api[_-]?key|private[_-]?key"
    r"|access[_-]?key|(?<![a-z])keys?(?![a-z])|(?-i:[a-z]Keys?(?![a-z]))",
    re.IGNORECASE,
)
_OURS = "STORMGATE_"
# Under this key a record says which secrets it refers to.
REFERENCES = "references"

# One character each, of a plane that nobody writes in, stands for a find until all are found: a
# secret may be called what another one is.
_MARKS = 0x100000


@dataclass(frozen=True, slots=True)
class _Sought:
    """A secret's name and its mark. `whole` is only looked for where its `anchor` stands, `cut`
    (its beginning, where a text ends) where `begin` does; `pieces` are what it leaves in codes.
    """

    name: str
    mark: str
    anchor: str
    whole: re.Pattern[str]
    begin: str
    cut: re.Pattern[str]
    pieces: tuple[str, ...]


_known: dict[str, str] = {}
_search: list[_Sought] | None = None


def looks_secret(name: str) -> bool:
    """Whether a name says of itself that what it stands for is a secret."""
    return _LOOKS_SECRET.search(name) is not None


def know(name: str, value: object) -> None:
    """From here on `value` is a secret called `name`, in every process-wide writer. A text that is
    too short, or no text or number, is not.
    """
    global _search  # noqa: PLW0603 - all writers of a process share what it knows
    text = str(value) if isinstance(value, str | int | float) else ""
    if isinstance(value, bool) or len(text.strip()) < SHORTEST or text in _known:
        return
    # Two secrets are not one, though two groups of an experiment call them the same.
    taken, number, own = set(_known.values()), 1, name
    while own in taken:
        number += 1
        own = f"{name}-{number}"
    _known[text] = own
    _search = None


def know_environment(
    environment: Mapping[str, str], referenced: Iterable[str] = (), *, all_named: bool = True
) -> None:
    """The values of the variables `referenced`, and of all whose names look like secrets."""
    for name in referenced:
        know(name, environment.get(name))
    if all_named:
        for name, value in environment.items():
            ours = name.startswith(_OURS)
            if looks_secret(name) and not ours and len(value) >= _SHORTEST_UNASKED:
                know(name, value)


def known() -> dict[str, str]:
    """Name by value."""
    return dict(_known)


def forget() -> None:
    """Know nothing any more (for tests)."""
    global _search  # noqa: PLW0603
    _known.clear()
    _search = None


def redacted(text: str) -> str:
    """The text with every known secret replaced, also where it is encoded for a URL, JSON, HTML,
    Python or base64, and inside longer words.
    """
    if not _known:
        return text
    found = False
    for one in _searched():
        if one.anchor in text:
            text, count = one.whole.subn(one.mark, text)
            found = found or count > 0
        if one.begin in text:
            text, count = one.cut.subn(one.mark, text)
            found = found or count > 0
        for piece in one.pieces:
            if piece in text:
                text = "".join(_without_runs(text, piece, one.mark))
                found = True
    if found:
        for one in _searched():
            text = text.replace(one.mark, f"***{one.name}***")
    return text


def redacted_data(value: Any, keep: frozenset[str] = frozenset()) -> Any:
    """JSON-like data with every text in it redacted, keys too; what stands under a key in `keep`
    stays.
    """
    if not _known:
        return value
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {
            redacted(key) if isinstance(key, str) else key: inner
            if key in keep
            else redacted_data(inner, keep)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted_data(inner, keep) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redacted(str(value))


def without_secrets(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record for a file that somebody will act on: each known secret in it is `${NAME}`, or
    `${NAME#1}`, ... where it is encoded, and `references` lists the names, for `with_secrets`. In
    base64 it is lost for good.
    """
    references: dict[str, str] = {}
    patterns: dict[str, str] = {}
    used: set[str] = set()
    for secret, name in _known.items():
        for number, form in enumerate(_ordered_forms(secret)):
            references.setdefault(form, f"{name}#{number}" if number else name)
            patterns.setdefault(form, _pattern(form))
    forms = sorted(patterns, key=len, reverse=True)
    pattern = re.compile("|".join(patterns[form] for form in forms)) if forms else None

    def refer(found: re.Match[str]) -> str:
        used.add(references[found[0]])
        return f"${{{references[found[0]]}}}"

    written = _each_text(record, lambda text: redacted(pattern.sub(refer, text))) if pattern else {}
    return {**written, REFERENCES: sorted(used)} if used else dict(written or record)


def with_secrets(record: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """`without_secrets` undone, from what this process knows and from its environment. Raises
    KeyError with the name of a secret that neither has.
    """
    references = record.get(REFERENCES)
    if not isinstance(references, list) or not references:
        return dict(record)
    here = {name: secret for secret, name in _known.items()}
    values = {}
    for reference in map(str, references):
        name, _, number = reference.partition("#")
        secret = here[name] if name in here else environment[name]
        forms = _ordered_forms(secret)
        values[reference] = forms[int(number)] if number.isdigit() else secret
    pattern = re.compile("|".join(re.escape(f"${{{reference}}}") for reference in values))
    rest = {key: value for key, value in record.items() if key != REFERENCES}
    filled = _each_text(rest, lambda text: pattern.sub(lambda m: values[m[0][2:-1]], text))
    return dict(filled)


def _ordered_forms(secret: str) -> list[str]:
    """Itself first, then how else it may stand in a text."""
    return [secret, *sorted(_forms(secret) - {secret})]


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _each_text(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_each_text(inner, change) for inner in value]
    return value


def _searched() -> list[_Sought]:
    global _search  # noqa: PLW0603
    if _search is None:
        ordered = sorted(_known.items(), key=lambda pair: -len(pair[0]))
        _search = [
            _sought(secret, name, chr(_MARKS + number))
            for number, (secret, name) in enumerate(ordered)
        ]
    return _search


def _sought(secret: str, name: str, mark: str) -> _Sought:
    """How a secret is found, however its characters are written; each line of a long one too."""
    short = secret.strip()
    pieces = tuple(dict.fromkeys([secret.encode("utf-8", "replace").hex(), *_pieces(secret)]))
    parts = [part for part in {secret, short} if len(part) >= SHORTEST]
    lines = {line.strip() for line in secret.splitlines()}
    parts += [line for line in lines - set(parts) if len(line) >= _SHORTEST_LINE]
    parts.sort(key=len, reverse=True)
    if secret.isdigit():
        whole, pieces = _pattern(secret), ()
    else:
        whole = "|".join("".join(map(_character, part)) for part in parts)
    more = ""
    for one in reversed(short[_SHORTEST_CUT : _SHORTEST_CUT + 64]):
        more = f"(?:{_character(one)}{more})?"
    begin = "".join(map(_character, short[:_SHORTEST_CUT])) + more + _CUT_OFF
    can_be_cut = len(short) > _SHORTEST_CUT and not secret.isdigit()
    return _Sought(
        name,
        mark,
        # Of several lines each is sought, and they have no word in common.
        anchor=_anchor(short) if len(parts) == len({secret, short}) else "",
        whole=re.compile(whole),
        begin=_anchor(short[:_SHORTEST_CUT]) if can_be_cut else mark,
        cut=re.compile(begin if can_be_cut else r"(?!)"),
        pieces=pieces,
    )


def _anchor(text: str) -> str:
    """The longest stretch of it that is written in one way only."""
    return max(re.findall(r"[A-Za-z0-9]+", text), key=len, default="")


def _character(one: str) -> str:
    """A pattern of a character as it is, or as URLs, JSON, HTML, XML, Markdown and Python write it,
    also one after the other.
    """
    if one.isascii() and one.isalnum():
        return one
    point = ord(one)
    ways = [re.escape(one), f"&(?:amp;)?#0*{point};", f"&(?:amp;)?#[xX]0*(?i:{point:x});"]
    ways += ["".join(f"%(?:25)*(?i:{byte:02x})" for byte in one.encode("utf-8", "replace"))]
    ways += [f"&(?:amp;)?{entity};" for entity in _ENTITIES.get(one, ())]
    ways += [rf"\\x(?i:{point:02x})"] if point < 256 else []
    ways += [rf"\\U(?i:{point:08x})"]
    units = one.encode("utf-16-be", "surrogatepass")
    ways += ["".join(rf"\\u(?i:{units[at : at + 2].hex()})" for at in range(0, len(units), 2))]
    ways += [rf"\\{letter}" for char, letter in _LETTERS if char == one]
    ways += [r"\+"] if one == " " else []
    return rf"(?:\\{{0,4}}(?:{'|'.join(ways)}))"


def _pattern(form: str) -> str:
    # 8080 is no part of 18080: a number is only found whole.
    return rf"(?<![0-9.]){form}(?![0-9])" if form.isdigit() else re.escape(form)


def _forms(secret: str) -> set[str]:
    """How a secret may stand in a text that has to be filled in again."""
    escaped = {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    forms = {secret, *escaped, html.escape(secret), repr(secret)[1:-1]}
    forms |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return {form for form in forms if len(form) >= SHORTEST}


def _pieces(secret: str) -> Iterator[str]:
    """What a secret surely leaves in the base64 of a text it stands in, wherever it begins."""
    data = secret.encode("utf-8", "replace")
    for before in range(3):
        bits = (before + len(data)) * 8
        code = base64.b64encode(b"\0" * before + data).decode()
        piece = code[-(-before * 8 // 6) : bits // 6]
        if len(piece) >= _SHORTEST_CODED:
            yield piece
            yield piece.replace("+", "-").replace("/", "_")


def _without_runs(text: str, piece: str, mark: str) -> Iterator[str]:
    """The text with each run of base64 that holds a piece replaced as a whole."""
    done = 0
    while (begin := text.find(piece, done)) >= 0:
        end = begin + len(piece)
        while begin > done and text[begin - 1] in _BASE64:
            begin -= 1
        while end < len(text) and text[end] in _BASE64:
            end += 1
        while end < len(text) and text[end] == "=":
            end += 1
        yield text[done:begin]
        yield mark
        done = end
    yield text[done:]
