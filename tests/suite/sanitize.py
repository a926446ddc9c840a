"""The load engine's core under AddressSanitizer and UBSan, or under valgrind, by the tests that are
hostile to it.

    python -m tests.suite.sanitize [--valgrind]

The core is built beside the checkout, whose own build stays as it is and in use: only the processes
started here load the other. Exit code 1 when a test fails or anything is said of the core's memory,
3 where the machine has no compiler, sanitizer or valgrind for it. What the interpreter itself never
frees is no leak of the core's; valgrind is asked only about what has the core in its stack.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
MODULE = "stormgate.load.engine.core._core"
TESTS = [
    "tests/unit/load/engine/core",
    "tests/unit/load/engine/test_differential.py",
    "tests/unit/load/engine/test_tls.py",
]
LIVE = ["tests/live/test_load_outcomes.py", "tests/live/test_load_tls.py"]
# Valgrind makes 30 seconds of one, and runs one thread at a time: what is short and knows no clock.
SHORT = [
    "tests/unit/load/engine/core/test_framing.py::"
    "test_an_ordinary_answer_is_whole_at_its_last_byte_in_any_two_pieces",
    "tests/unit/load/engine/core/test_framing.py::test_what_it_does_not_decide_it_gives_away",
    "tests/unit/load/engine/test_tls.py",
]
SHORT_KEYS = "not sockets and not large and not never_answered and not leads_nowhere"
FINDER = """
import importlib.util, sys
class Finder:
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            return importlib.util.spec_from_file_location(name, {product!r})
sys.meta_path.insert(0, Finder)
"""
# A frame of the core is told by its file, as it has line numbers.
FILES = sorted(path.stem for path in (ROOT / "src/stormgate/load/engine/core").glob("*.c"))
CORE = rf"\((?:{'|'.join(FILES)})\.c:|_core\.abi3\.so"
LOADED = f"import {MODULE} as core; print(core.__file__)"


def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def environment(folder: Path, product: Path) -> dict[str, str]:
    """In which `product` is the core of every interpreter."""
    finder = FINDER.format(module=MODULE, product=str(product))
    (folder / "sitecustomize.py").write_text(finder, encoding="utf-8")
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "PYTHONMALLOC": "malloc"}


def sanitizers(compiler: list[str]) -> dict[str, str] | None:
    """What makes an interpreter that was built without them run with them."""
    found = []
    for name in ("libasan.so", "libubsan.so"):
        done = subprocess.run(
            [*compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=False
        )
        found.append(done.stdout.strip())
    if not all(Path(path).is_absolute() and Path(path).exists() for path in found):
        return None
    return {
        "LD_PRELOAD": " ".join(found),
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    }


def pytest(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]


def by_sanitizers(folder: Path, build: ModuleType, *, is_live: bool) -> int:
    compiler = build.compiler()
    extra = sanitizers(compiler) if compiler else None
    if extra is None:
        return absent("no C compiler with AddressSanitizer and UBSan")
    product = folder / "_core.abi3.so"
    if why := build.build("-Werror", *build.SANITIZERS, product=product):
        return failed(why)
    env = {**environment(folder, product), **extra}
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED], env=env, capture_output=True, text=True, check=False
    )
    if loaded.stdout.strip() != str(product) or b"__asan_init" not in product.read_bytes():
        return failed(f"the sanitized core is not what is loaded: {loaded.stdout}{loaded.stderr}")
    code = subprocess.run(pytest(*TESTS), cwd=ROOT, env=env, check=False).returncode
    if is_live and not code:
        code = subprocess.run(
            pytest("-k", "core and not locust", *LIVE), cwd=ROOT, env=env, check=False
        ).returncode
    return 1 if code else 0


def by_valgrind(folder: Path, build: ModuleType) -> int:
    if shutil.which("valgrind") is None or build.compiler() is None:
        return absent("no valgrind or no C compiler")
    product = folder / "_core.abi3.so"
    if why := build.build("-Werror", "-g", "-O1", product=product):
        return failed(why)
    log = folder / "valgrind.txt"
    tests = pytest("-k", SHORT_KEYS, *SHORT)
    argv = ["valgrind", "--leak-check=full", "--show-leak-kinds=definite", f"--log-file={log}"]
    argv += ["--num-callers=30", *tests]
    code = subprocess.run(argv, cwd=ROOT, env=environment(folder, product), check=False).returncode
    found = of_the_core(log.read_text(encoding="utf-8", errors="replace"))
    for one in found:
        print(one, file=sys.stderr)
    print(f"valgrind: {len(found)} reports with the core in their stack")
    return 1 if code or found else 0


def of_the_core(log: str) -> list[str]:
    """The reports of valgrind that have the core in their stack."""
    text = re.sub(r"^==\d+== ?", "", log, flags=re.MULTILINE)
    return [one for one in text.split("\n\n") if re.search(CORE, one)]


def absent(what: str) -> int:
    print(f"sanitize: not done here: {what}", file=sys.stderr)
    return 3


def failed(why: str) -> int:
    print(f"sanitize: {why}", file=sys.stderr)
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--valgrind", action="store_true")
    parser.add_argument("--live", action="store_true", help="the outcomes of a live server, too")
    given = parser.parse_args()
    build = builder()
    if not build.wanted():
        return absent("the core is not built on this platform")
    with tempfile.TemporaryDirectory() as name:
        if given.valgrind:
            return by_valgrind(Path(name), build)
        return by_sanitizers(Path(name), build, is_live=given.live)


if __name__ == "__main__":
    sys.exit(main())
