"""Builds the compiled core of the load engine, where there is a compiler; elsewhere nothing is
missing but its speed: the engine's transport in Python takes over.

    python hatch_build.py            # into this checkout, when its sources are newer
    python hatch_build.py --asan     # the same under AddressSanitizer and UBSan

The system's compiler is taken if there is one, else `ziglang` from PyPI, which a build without a
compiler asks for. `STORMGATE_PURE=1` builds without the core; `STORMGATE_WHEEL=aarch64-musl` a
wheel for another machine, by `ziglang` (scripts/wheels.py makes all of them).
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # called by hand
    BuildHookInterface = object

ROOT = Path(__file__).resolve().parent
FOLDER = ROOT / "src" / "stormgate" / "load" / "engine" / "core"
PRODUCT = FOLDER / "_core.abi3.so"
ZIG = "ziglang>=0.14,<1"
# What wheels are made for: zig's target, and the platform of the wheel's tag (PEP 600, PEP 656).
TARGETS = {
    "x86_64-glibc": ("x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64.manylinux2014_x86_64"),
    "aarch64-glibc": ("aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64.manylinux2014_aarch64"),
    "x86_64-musl": ("x86_64-linux-musl", "musllinux_1_2_x86_64"),
    "aarch64-musl": ("aarch64-linux-musl", "musllinux_1_2_aarch64"),
}
_COMPILERS = ("cc", "gcc", "clang")
_FLAGS = ("-std=c11", "-O2", "-g0", "-fPIC", "-shared", "-pthread", "-fvisibility=hidden")
_WARNINGS = ("-Wall", "-Wextra")
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-omit-frame-pointer")


def wanted() -> bool:
    """Whether this machine can run the core: Linux (epoll), CPython with its headers."""
    return (
        sys.platform == "linux"
        and platform.python_implementation() == "CPython"
        and not os.environ.get("STORMGATE_PURE")
        and (headers() / "Python.h").exists()
    )


def headers() -> Path:
    return Path(sysconfig.get_paths()["include"])


def compiler() -> list[str] | None:
    """The first compiler there is, as the beginning of a command."""
    for name in (os.environ.get("CC", ""), *_COMPILERS):
        if name and shutil.which(name.split()[0]):
            return name.split()
    if importlib.util.find_spec("ziglang"):
        libc = "gnu.2.17" if platform.libc_ver()[0] == "glibc" else "musl"
        target = f"{platform.machine()}-linux-{libc}"
        return [sys.executable, "-m", "ziglang", "cc", "-target", target]
    return None


def cross(target: str) -> tuple[list[str], str]:
    """The compiler for one of `TARGETS`, as the beginning of a command, and the tag of its wheel.
    Raises ValueError for another.
    """
    if target not in TARGETS:
        raise ValueError(f"STORMGATE_WHEEL is {target!r}; it is one of {', '.join(TARGETS)}")
    zig, platforms = TARGETS[target]
    return [sys.executable, "-m", "ziglang", "cc", "-target", zig, "-s"], f"cp311-abi3-{platforms}"


def build(*extra: str, product: Path = PRODUCT, command: list[str] | None = None) -> str:
    """Compile the core. Why that was not possible, "" when it was."""
    command = command or compiler()
    if command is None:
        return "there is no C compiler"
    sources = sorted(str(path) for path in FOLDER.glob("*.c"))
    partial = product.with_suffix(f".{os.getpid()}")
    flags = [*_FLAGS, *_WARNINGS, *extra, f"-I{headers()}"]
    try:
        done = subprocess.run(
            [*command, *flags, *sources, "-ldl", "-o", str(partial)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return f"{' '.join(command)}: {done.stderr.strip()[-2000:]}"
        partial.replace(product)
    except OSError as error:
        return f"{' '.join(command)}: {error}"
    finally:
        partial.unlink(missing_ok=True)
    return ""


def is_stale() -> bool:
    """Whether any source is newer than what was made of it."""
    sources = [*FOLDER.glob("*.[ch]"), Path(__file__)]
    return not PRODUCT.exists() or PRODUCT.stat().st_mtime < max(s.stat().st_mtime for s in sources)


class CoreBuildHook(BuildHookInterface):  # type: ignore[misc]
    """What hatchling calls before it makes a wheel, editable or not."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        missing = wanted() and compiler() is None
        return [ZIG] if missing or os.environ.get("STORMGATE_WHEEL") else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if (target := os.environ.get("STORMGATE_WHEEL")) and version != "editable":
            self._for_another_machine(target, build_data)
            return
        why = build() if wanted() else "not on this platform, or its Python's headers are missing"
        if why:
            PRODUCT.unlink(missing_ok=True)  # never a stale one
            self.app.display_warning(f"the load engine's compiled core is left out: {why}")
            return
        if version != "editable":
            build_data["artifacts"].append(str(PRODUCT.relative_to(ROOT)))
            build_data["pure_python"] = False
            build_data["tag"] = f"cp311-abi3-linux_{platform.machine()}"

    def _for_another_machine(self, target: str, build_data: dict[str, Any]) -> None:
        """A wheel of `TARGETS`: it has a core or there is none; this checkout's stays as it is.
        Raises ValueError, RuntimeError.
        """
        command, tag = cross(target)
        if not (headers() / "Python.h").exists():
            raise RuntimeError("this Python has no headers: a wheel with the core needs them")
        product = ROOT / "build" / f"_core-{target}.abi3.so"
        product.parent.mkdir(exist_ok=True)
        if why := build(product=product, command=command):
            raise RuntimeError(f"the core cannot be compiled for {target}: {why}")
        build_data["force_include"][str(product)] = str(PRODUCT.relative_to(ROOT / "src"))
        build_data["pure_python"] = False
        build_data["tag"] = tag


def main() -> int:
    if "--asan" in sys.argv:
        why = build("-Werror", *SANITIZERS)
    elif not wanted():
        why = "not on this platform, or its Python's headers are missing"
    elif not is_stale():
        return 0
    else:
        why = build(*(["-Werror"] if "--strict" in sys.argv else []))
    if why:
        PRODUCT.unlink(missing_ok=True)
        print(f"the load engine's compiled core is left out: {why}", file=sys.stderr)
    return 1 if why else 0


if __name__ == "__main__":
    sys.exit(main())
