"""What a wheel of each machine has to hold, and how it is called. They are built by `make wheels`,
which needs the network.
"""

import importlib.util
import struct
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    found = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = found
    spec.loader.exec_module(found)
    return found


hatch_build = module(ROOT / "hatch_build.py")
wheels = module(ROOT / "scripts" / "wheels.py")


def core(machine, *more):
    return b"\x7fELF\x02" + bytes(13) + struct.pack("<H", machine) + bytes(44) + b"".join(more)


@pytest.mark.parametrize(
    ("target", "held", "told"),
    [
        ("x86_64-glibc", core(62, b"\0GLIBC_2.2.5\0GLIBC_2.17\0"), ""),
        ("x86_64-glibc", core(62, b"\0GLIBC_2.34\0"), "wants glibc 2.34"),
        ("x86_64-musl", core(62), ""),
        ("x86_64-musl", core(62, b"\0GLIBC_2.17\0"), "wants glibc"),
        ("aarch64-musl", core(183), ""),
        ("aarch64-glibc", core(62), "for machine 62, not 183"),
        ("aarch64-glibc", None, "it has no core"),
        ("aarch64-glibc", b"\x7fELF\x01", "it has no core"),
        ("", None, ""),
        ("", core(62), "it has a core"),
    ],
)
def test_a_wheel_holds_the_core_of_its_machine_and_no_other(tmp_path, target, held, told):
    with zipfile.ZipFile(tmp_path / "one.whl", "w") as made:
        made.writestr("stormgate/__init__.py", "")
        if held is not None:
            made.writestr("stormgate/load/engine/core/_core.abi3.so", held)
    found = wheels.problem(tmp_path / "one.whl", target)
    assert told in found
    assert bool(told) == bool(found)


@pytest.mark.parametrize("target", hatch_build.TARGETS)
def test_each_target_is_a_machine_that_is_checked_and_has_its_tag(target):
    command, tag = hatch_build.cross(target)
    machine, libc = target.split("-")
    assert machine in wheels.MACHINES
    assert tag.startswith("cp311-abi3-")
    assert all(platform.endswith(f"_{machine}") for platform in tag.split("-")[2].split("."))
    assert ("musllinux" in tag) == (libc == "musl")
    zig = command[command.index("-target") + 1]
    assert zig.startswith(f"{machine}-linux-")
    assert ("gnu.2.17" in zig) == ("manylinux_2_17" in tag)


def test_another_target_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="STORMGATE_WHEEL is 'riscv64-musl'; it is one of x86_64"):
        hatch_build.cross("riscv64-musl")
