"""A Toxiproxy pod: the embedded server, for which 10.a.b.c is 127.a.b.c as for all here."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.kubernetes.network import here

from stormgate.system.processes import die_with_parent
from stormgate.toxiproxy.embedded import __main__ as server
from stormgate.toxiproxy.embedded import address

real = address.split


def split(text: str) -> tuple[str, int]:
    host, port = real(text)
    return here(host), port


die_with_parent()
address.split = split
sys.exit(server.main())
