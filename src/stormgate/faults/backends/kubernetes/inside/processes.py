"""Which processes of a container a signal can reach, and the shell lines that find and signal them.
Pure.

A process is its pid and when it began (proc(5), field 22): a pid that was given to another one is
not signalled. PID 1 of a container never is: the kernel keeps KILL and STOP from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Builtins of any POSIX shell alone: most images have no ps. `same` is what is in our own container,
# where a pod's containers see each other's processes.
LIST = r"""own=; while IFS= read -r l; do own="$own$l;"; done < /proc/self/cgroup
for d in /proc/[0-9]*; do
  IFS= read -r l < "$d/stat" || continue
  c=; while IFS= read -r x; do c="$c$x;"; done < "$d/cgroup"
  if [ "$c" = "$own" ]; then m=same; else m=other; fi
  printf '%s %s\n' "$m" "$l"
done 2>/dev/null
printf 'end %s\n' "$$"
"""
_SIGNAL = r"""n=0; bad=0
for w in {which}; do
  p=${{w%%:*}}
  {{ IFS= read -r l < "/proc/$p/stat"; }} 2>/dev/null || {{ printf 'gone %s\n' "$p"; continue; }}
  set -- ${{l##*") "}}
  [ "${{20}}" = "${{w#*:}}" ] || {{ printf 'gone %s\n' "$p"; continue; }}
  if kill -{signal} "$p"; then n=$((n+1)); printf 'sent %s\n' "$p"; else bad=1; fi
done
printf 'end %s\n' "$n"
[ "$bad" = 0 ]
"""
_NAME_BYTES = 15
_STATE, _PARENT, _BEGAN = 0, 1, 19


@dataclass(frozen=True, slots=True)
class InContainer:
    """One process as /proc tells of it; `began` in ticks since the machine did."""

    pid: int
    name: str
    state: str
    parent: int
    began: int
    ours: bool

    @property
    def stopped(self) -> bool:
        """Whether a signal, or a tracer, has stopped it."""
        return self.state in {"T", "t"}

    def noted(self) -> dict[str, Any]:
        """What a record holds of it."""
        return {"pid": self.pid, "began": self.began, "process": self.name}


def parsed(text: str) -> tuple[InContainer, ...]:
    """What LIST wrote, without the shell that wrote it. Raises ValueError when it is not whole."""
    *lines, last = text.splitlines() or [""]
    if not last.startswith("end "):
        raise ValueError("the list of processes does not end")
    shell = int(last.removeprefix("end "))
    found = (_process(line) for line in lines)
    return tuple(one for one in found if one is not None and one.pid != shell)


def reachable(every: Sequence[InContainer], name: str | None = None) -> tuple[InContainer, ...]:
    """Those of the container that a signal reaches, all or those of this `name`: its own processes
    but PID 1, and nothing that somebody else runs in it just now (a probe, kubectl exec).
    """
    ours = [one for one in every if one.ours]
    # What a runtime begins in the container has no parent that is seen from inside; the first is
    # the container itself, the rest are guests.
    roots = sorted((one for one in ours if one.parent == 0), key=lambda one: (one.began, one.pid))
    guests = {one.pid for one in roots[1:]}
    while more := {one.pid for one in ours if one.parent in guests} - guests:
        guests |= more
    return tuple(
        one
        for one in ours
        if one.pid != 1
        and one.pid not in guests
        and one.state not in {"Z", "X"}
        and name in (None, one.name)
    )


def short(name: str) -> str:
    """A program's name as the kernel keeps it."""
    return name.encode()[:_NAME_BYTES].decode("utf-8", "ignore")


def signal_lines(signal: str, noted: Iterable[Mapping[str, Any]]) -> str:
    """The shell lines that send a signal to these very processes; they end with 0 when every one
    that is there could be sent it.
    """
    which = " ".join(f"{int(one['pid'])}:{int(one['began'])}" for one in noted)
    return _SIGNAL.format(which=which, signal=signal)


def sent(text: str) -> int:
    """How many processes those lines say they signalled."""
    return sum(line.startswith("sent ") for line in text.splitlines())


def told(noted: Sequence[Mapping[str, Any]], most: int = 3) -> str:
    """Processes in words."""
    words = ", ".join(f"{one['process']} ({one['pid']})" for one in noted[:most])
    return words + (f" and {len(noted) - most} more" if len(noted) > most else "")


def _process(line: str) -> InContainer | None:
    where, _, stat = line.partition(" ")
    head, mark, tail = stat.rpartition(") ")
    pid, _, name = head.partition(" (")
    fields = tail.split()
    if not mark or len(fields) <= _BEGAN or where not in ("same", "other"):
        return None  # a name with a line's end in it
    return InContainer(
        int(pid),
        name,
        fields[_STATE],
        int(fields[_PARENT]),
        int(fields[_BEGAN]),
        where == "same",
    )
