"""A store of any other kind, by commands of your own (argv, never a shell).

`read` gets keys on its standard input, one a line, and prints `KEY<tab>NUMBER`, a line for each
number of a key, none for a key that it does not have. `scan` gets canaries, one a line, and prints
one JSON object: `{"searched": 120, "found": {"CANARY": "where"}, "control": true}`. Anything but
exit code 0 means that it could not be done. They open sockets of their own: `allow` does not hold
them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence

from stormgate.net.deadline import Deadline
from stormgate.supervise.stores import (
    INFO,
    KeyRead,
    Looked,
    StoreReader,
    UnreadableError,
    batch,
)


class CommandReader(StoreReader):
    """See the module."""

    def reads(self) -> bool:
        return bool(self.store.read)

    def looks(self) -> bool:
        return bool(self.store.scan)

    def read(self, keys: Sequence[str], deadline: Deadline) -> Iterator[KeyRead]:
        if odd := [key for key in keys if "\n" in key or "\t" in key]:
            raise UnreadableError(f"key {odd[0]!r} does not go on one line")
        began_ns = time.monotonic_ns()
        wanted = set(keys)
        found: dict[str, list[int]] = {}
        for line in self._run(self.store.read, keys, deadline).splitlines():
            key, _, number = line.partition("\t")
            if key not in wanted or not number.strip().lstrip("-").isdigit():
                raise UnreadableError(f"printed no key and number of it: {line[:100]!r}")
            found.setdefault(key, []).append(int(number))
        yield from batch(found, keys, began_ns)

    def look(self, canaries: Sequence[str], deadline: Deadline) -> Looked:
        text = self._run(self.store.scan, canaries, deadline)
        try:
            said = json.loads(text)
            searched, found = said["searched"], said.get("found", {})
            control = said.get("control")
            if type(searched) is not int or not isinstance(found, dict):
                raise ValueError
            if control is not None and not isinstance(control, bool):
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UnreadableError(f"printed no {{searched, found}}: {text[:100]!r}") from None
        return Looked(searched, {c: str(found[c]) for c in canaries if c in found}, control)

    def _run(self, argv: Sequence[str], lines: Sequence[str], deadline: Deadline) -> str:
        try:
            process = subprocess.Popen(
                list(argv),
                env={**os.environ, "STORMGATE_STORE": self.store.name},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                text=True,
            )
        except OSError as error:
            raise UnreadableError(f"`{argv[0]}` cannot be run: {error.strerror}") from None
        try:
            said, complained = process.communicate(
                "".join(f"{line}\n" for line in lines), timeout=deadline.left()
            )
        except subprocess.TimeoutExpired:
            raise UnreadableError(f"`{argv[0]}` did not end in time", INFO) from None
        finally:
            if process.poll() is None:  # with whatever it had started
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode != 0:
            last = (complained.strip().splitlines() or ["without a word"])[-1]
            raise UnreadableError(f"`{argv[0]}` ended with {process.returncode}: {last}")
        return said


READER = CommandReader
