"""The house rules of ARCHITECTURE.md, held by reading the source: who may import whom, how long
things are, what stays pure.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "stormgate"
CONTENT = [ROOT / name for name in ("loadtests", "experiments", "probes", "slas", "targets")]
MODULES = sorted(SRC.rglob("*.py"))

# The floors of the house, from the ground up: a part may import those before it, and no other.
FLOORS = (
    "system",
    "model",
    "net",
    "evidence",
    "geography",
    "toxiproxy",
    "judge",
    "faults",
    "documents",
    "load",
    "chaos",
    "lab",
    "report",
    "supervise",
    "reproduce",
    "commands",
    "cli",
    "pytest_plugin",
)
# These three run in processes of their own and meet only in the run folder.
STRANGERS = {"load", "chaos", "lab"}
# (importing module, imported module): the only ways up a floor. One that nobody uses is refused.
EXCEPTIONS = {
    ("geography.show", "documents.mix"),
    ("geography.summary", "documents.mix"),
}
IMPURE = {
    "socket",
    "asyncio",
    "time",
    "random",
    "secrets",
    "subprocess",
    "http",
    "urllib",
    "requests",
    "aiohttp",
    "threading",
}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(path: Path, *, typing: bool = False) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import that can run; with `typing` those for type checkers,
    too, which cannot.
    """
    typing_only = {
        id(inner)
        for node in ast.walk(tree_of(path))
        if not typing and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in node.body
        for inner in ast.walk(child)
    }
    for node in ast.walk(tree_of(path)):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def dotted(path: Path) -> str:
    parts = path.relative_to(SRC.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def is_allowed(part: str, other: str) -> bool:
    """Whether a part may import another: downwards only; the three strangers never each other."""
    if {part, other} <= STRANGERS:
        return part == other
    return other in FLOORS and FLOORS.index(other) <= FLOORS.index(part)


def test_parts_import_only_those_on_the_floors_below() -> None:
    broken, used = [], set()
    for path in MODULES:
        module = dotted(path).removeprefix("stormgate.")
        if (part := part_of(dotted(path))) == "":
            continue  # the package itself: the version, and what it hands out
        assert part in FLOORS, f"{path}: a part without a floor"
        for line, name in imports_of(path):
            other = part_of(name) if name.startswith("stormgate.") else ""
            if not other or name == "stormgate.__version__" or is_allowed(part, other):
                continue
            pair = (module, ".".join(name.split(".")[1:3]))
            if pair in EXCEPTIONS:
                used.add(pair)
            else:
                broken.append(f"{where(path, line)}: {part} imports {name}")
    assert broken == []
    assert used == EXCEPTIONS, "an exception that nobody needs"


def test_a_public_class_has_its_name_alone() -> None:
    """A word that stands for four things has to be read four times."""
    homes: dict[str, list[str]] = {}
    for path in MODULES:
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(where(path, node.lineno))
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_no_folder_is_crowded() -> None:
    """More than twenty files in one folder are a room that wants walls."""
    crowded = {
        str(folder.relative_to(ROOT)): count
        for folder in SRC.rglob("*")
        if folder.is_dir() and (count := len(list(folder.glob("*.py")))) > 20
    }
    assert crowded == {}


def test_the_architecture_page_tells_the_floors_as_they_are() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    told = [
        line.split("`")[1].rstrip("/")
        for line in page.splitlines()
        if line.startswith("| `") and line.split("`")[1].rstrip("/") in FLOORS
    ]
    single = {floor for floor in FLOORS if not (SRC / floor).is_dir()}
    assert told == [floor for floor in FLOORS if floor not in single]


@pytest.mark.parametrize(
    ("library", "home"),
    [
        ("locust", "load"),
        ("gevent", "load"),
        ("chaoslib", "chaos"),
        ("chaostoolkit", "chaos"),
        ("toxiproxy", "toxiproxy"),
        ("boto3", "faults lab"),
        ("botocore", "faults"),
        ("moto", "lab"),
    ],
)
def test_a_library_stays_in_its_room(library: str, home: str) -> None:
    outside = [
        f"{where(path, line)}: imports {name}"
        for path in MODULES
        for line, name in imports_of(path)
        if name.split(".")[0] == library and part_of(dotted(path)) not in home.split()
    ]
    assert outside == []


@pytest.mark.parametrize("part", ["judge", "report"])
def test_judging_and_reporting_read_no_clock_open_no_socket_and_draw_no_number(part: str) -> None:
    broken = []
    for path in (SRC / part).rglob("*.py"):
        broken += [
            f"{where(path, line)}: imports {name}"
            for line, name in imports_of(path)
            if name.split(".")[0] in IMPURE
        ]
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and node.attr in {
                "now",
                "today",
                "utcnow",
                "default_rng",
            }:
                broken.append(f"{where(path, node.lineno)}: {ast.unparse(node)}")
    assert broken == []


def test_the_schedule_of_load_is_pure_and_the_engine_holds_one_way() -> None:
    """flow -> attempts -> transport, beside a schedule that knows none of them."""
    below: dict[str, tuple[str, ...]] = {
        "schedule": (*IMPURE, "gevent", "locust", "stormgate.load."),
        "engine/transport": (
            "locust",
            *(
                f"stormgate.load.{part}"
                for part in ("flow", "locust", "schedule", "record.recorder")
            ),
            *(f"stormgate.load.engine.{part}" for part in ("attempt", "engine", "flows", "stream")),
        ),
        "engine/core": (
            "locust",
            *(f"stormgate.load.{part}" for part in ("flow", "locust", "schedule")),
            *(f"stormgate.load.engine.{part}" for part in ("attempt", "engine", "flows", "stream")),
        ),
        "engine/attempts.py": (
            "gevent",
            "locust",
            "stormgate.load.http.connection",
            "stormgate.load.engine.transport.sockets",
            *(f"stormgate.load.engine.{part}" for part in ("engine", "flows")),
        ),
        "engine/engine.py": ("gevent", "locust", "time", "stormgate.load.engine.transport.sockets"),
    }
    broken = []
    for place, strangers in below.items():
        home = SRC / "load" / place
        own = f"stormgate.load.{place.removesuffix('.py').replace('/', '.')}"
        for path in [home] if home.is_file() else sorted(home.glob("*.py")):
            broken += [
                f"{where(path, line)}: imports {name}"
                for line, name in imports_of(path)
                if not name.startswith(own)
                and any((name + ".").startswith(f"{one.rstrip('.')}.") for one in strangers)
            ]
    assert broken == []


def test_no_import_cycle() -> None:
    """Nor one of types alone: who knows another's type knows the other."""
    known = {dotted(path): path for path in MODULES}
    graph: dict[str, set[str]] = {}
    for module, path in known.items():
        # `from package import module` depends on the module, `from module import name` on the
        # module named before.
        imports = imports_of(path, typing=True)
        named = {name if name in known else name.rpartition(".")[0] for _, name in imports}
        graph[module] = (named & known.keys()) - {module}
    # A package's own __init__ is reached by importing anything below it; that is not a dependency
    # anyone wrote.
    done: set[str] = set()

    def walk(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, "import cycle: " + " -> ".join(
            [*trail[trail.index(module) :], module]
        )
        if module in done:
            return
        for target in sorted(graph[module]):
            walk(target, (*trail, module))
        done.add(module)

    for module in graph:
        walk(module, ())


def test_files_and_functions_stay_short() -> None:
    broken = []
    for path in [*MODULES, *(ROOT / "probes").glob("*.py"), *(ROOT / "loadtests").glob("*.py")]:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > 400:
            broken.append(f"{where(path, lines)}: {lines} lines")
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > 70:
                    broken.append(f"{where(path, node.lineno)}: {node.name} has {length} lines")
    assert broken == []


def test_every_module_says_what_it_is_for() -> None:
    assert [where(path, 1) for path in MODULES if not ast.get_docstring(tree_of(path))] == []


def test_the_engine_knows_no_fact_of_the_system_on_trial() -> None:
    """Only the lab, which is a small real CHE·NU, may say its name."""
    guilty = [
        where(path, number)
        for path in MODULES
        if part_of(dotted(path)) != "lab"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if "chenu" in line.lower() or "che·nu" in line.lower()
    ]
    assert guilty == []


def test_content_holds_no_mechanism() -> None:
    """Content says who, what and how much: it opens no socket, starts no process, and defines
    nothing pass or fail.
    """
    broken = [
        f"{where(path, line)}: imports {name}"
        for folder in CONTENT
        for path in folder.rglob("*.py")
        for line, name in imports_of(path)
        if name.split(".")[0] in {"socket", "subprocess", "threading", "asyncio", "gevent"}
    ]
    assert broken == []


def test_help_imports_nothing_heavy() -> None:
    """`stormgate --help` answers at once, which it only does while every heavy library is imported
    where it is used.
    """
    heavy = {
        "locust",
        "gevent",
        "chaoslib",
        "pandas",
        "numpy",
        "scipy",
        "pyarrow",
        "aiohttp",
        "pydantic",
        "ruamel",
        "rich",
        "psycopg",
        "boto3",
        "botocore",
    }
    code = """
import sys, stormgate.cli
try:
    stormgate.cli.main(["--help"])
finally:
    print(*{name.split(".")[0] for name in sys.modules}, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Commands" in done.stdout
    assert set(done.stderr.split()) & heavy == set()


@pytest.mark.parametrize(
    ("home", "attribute"), [("judge/kinds", "kind"), ("faults/backends", "backend")]
)
def test_nobody_compares_with_the_name_of_a_plugin(home: str, attribute: str) -> None:
    """What others ask of a kind or a backend it declares: `x.kind == "failover"` anywhere else is
    something a new one could not say.
    """
    named = {
        node.args[0].value if attribute == "kind" else path.stem
        for path in (SRC / home).glob("*.py")
        if path.stem != "__init__"
        for node in ast.walk(tree_of(path))
        if attribute == "backend"
        or (
            isinstance(node, ast.Call)
            and getattr(node.func, "id", "") == "Kind"
            and isinstance(node.args[0], ast.Constant)
        )
    }
    assert len(named) >= 4
    broken = [
        f"{where(path, node.lineno)}: {ast.unparse(node)}"
        for path in MODULES
        if part_of(dotted(path)) != "lab" and home not in str(path)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Compare)
        and any(
            isinstance(side, ast.Attribute) and side.attr == attribute
            for side in (node.left, *node.comparators)
        )
        and named
        & {
            inner.value
            for side in (node.left, *node.comparators)
            for inner in ast.walk(side)
            if isinstance(inner, ast.Constant)
        }
    ]
    assert broken == []


def test_c_files_are_short_too() -> None:
    found = {path: len(path.read_text().splitlines()) for path in SRC.rglob("*.[ch]")}
    assert found, "the load engine's core"
    assert {str(path): lines for path, lines in found.items() if lines > 400} == {}
    wide = [
        where(path, number)
        for path in found
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > 100
    ]
    assert wide == []
