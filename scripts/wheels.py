"""Builds every wheel from one machine: the load engine's compiled core for x86_64 and aarch64,
glibc and musl, and one without it for everything else.

    python scripts/wheels.py [DIST]           # `make wheels`: into dist/

The compiler is `ziglang` from PyPI, which brings the C libraries of all of them; it and hatchling
are put into build/wheels (about 400 MB, once). Each wheel is opened again: it has the core of its
machine and no symbol of a newer glibc than its tag says, or it is thrown away and this ends with 1.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from hatch_build import PRODUCT, TARGETS, ZIG  # noqa: E402 - beside, not installed

TOOLS = ROOT / "build" / "wheels"
CORE = str(PRODUCT.relative_to(ROOT / "src"))
# ELF's e_machine (gABI 4, System V ABI supplements).
MACHINES = {"x86_64": 62, "aarch64": 183}
_GLIBC = re.compile(rb"GLIBC_2\.(\d+)")


def problem(wheel: Path, target: str) -> str:
    """What is wrong with a wheel of a target ("": without the core), in words; "" when nothing."""
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        core = opened.read(CORE) if CORE in names else b""
    if not target:
        return "it has a core" if core else ""
    machine, libc = target.split("-")
    if core[:5] != b"\x7fELF\x02":
        return "it has no core"
    found = struct.unpack_from("<H", core, 18)[0]
    if found != MACHINES[machine]:
        return f"its core is for machine {found}, not {MACHINES[machine]} ({machine})"
    newest = max((int(minor) for minor in _GLIBC.findall(core)), default=0)
    if libc == "musl" and newest:
        return "its core wants glibc"
    return f"its core wants glibc 2.{newest}" if newest > 17 else ""


def tools() -> None:
    """Fetch the compiler and the builder, once."""
    if (TOOLS / "ziglang").is_dir() and (TOOLS / "hatchling").is_dir():
        return
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", str(TOOLS), ZIG, "hatchling>=1.25"], check=True)


def build(target: str, dist: Path) -> Path:
    """One wheel. Raises CalledProcessError."""
    before = set(dist.glob("*.whl"))
    env = {**os.environ, "PYTHONPATH": str(TOOLS)}
    env |= {"STORMGATE_WHEEL": target} if target else {"STORMGATE_PURE": "1"}
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(dist)]
    subprocess.run(argv, cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL)
    (made,) = set(dist.glob("*.whl")) - before
    return made


def main() -> int:
    dist = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist").resolve()
    dist.mkdir(parents=True, exist_ok=True)
    for old in dist.glob("stormgate-*.whl"):
        old.unlink()
    tools()
    failed = 0
    for target in (*TARGETS, ""):
        wheel = build(target, dist)
        if why := problem(wheel, target):
            wheel.unlink()
            failed = 1
        print(f"{wheel.name}: {why or 'whole'}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
