"""Bringing the lab up: folders, templates, processes, links, and waiting until it is whole.
Blocking; run in a thread.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from stormgate.lab.design import resolve
from stormgate.lab.design.failover import ShardState
from stormgate.lab.design.layout import Hop, Layout
from stormgate.lab.design.settings import LabSettings
from stormgate.lab.design.wiring import HOST, Wiring
from stormgate.lab.errors import LabError, PortTakenError
from stormgate.lab.kinds import ProcessKind, kinds
from stormgate.lab.runtime import folders, ports
from stormgate.lab.runtime.fleet import Fleet
from stormgate.lab.services import steward_state
from stormgate.model import Target, to_json
from stormgate.toxiproxy import server
from stormgate.toxiproxy.client import Client
from stormgate.toxiproxy.errors import ToxiproxyError
from stormgate.toxiproxy.types import ProxySpec

_WHOLE_S = 45.0
# For one exchange. It takes a millisecond, unless the machine is busy beyond reason.
_TOXIPROXY_S = 20.0
Progress = Callable[[str], object]


class Lab:
    """A lab that is coming up or runs. `stop` ends whatever part of it there is."""

    def __init__(
        self,
        layout: Layout,
        settings: LabSettings,
        work: Path,
        state: Path,
        env: Mapping[str, str],
        defect: str | None = None,
    ) -> None:
        self.defect = defect
        names = [part.name for part in layout.parts] + [link.name for link in layout.links]
        chosen = ports.choose(len(names), random.SystemRandom())
        self.wiring = Wiring(
            layout,
            dict(zip(names, chosen, strict=True)),
            settings,
            work,
            state,
            secrets.token_hex(32),
            _key_pair() if (layout.target.provision or {}).get("lab", {}).get("rs256") else "",
        )
        self.env = env
        self.toxiproxy: server.RunningServer | None = None
        self.fleet: Fleet | None = None

    def up(self, say: Progress) -> None:
        """Start everything and wait until it is whole. Raises LabError, PortTakenError."""
        wiring, layout = self.wiring, self.wiring.layout
        self.fleet = fleet = Fleet(wiring, folders.find_binaries(wiring.work), self.defect)
        configs = {
            wiring.config_path(part.name).name: json.dumps(resolve.config(wiring, part.name))
            for part in layout.parts
            if kinds()[part.kind].program is not None
        }
        _write_private(wiring.config_path("x").parent, configs)
        waits = wiring.settings.synchronous
        states = {
            shard.name: ShardState(shard.primary, shard.standby, waits) for shard in layout.shards
        }
        steward_state.save(wiring.cluster, states)
        # Python's start is what takes longest, so it goes first.
        slowest = sorted(kinds().values(), key=lambda kind: (kind.program is None, -kind.rank))
        with ThreadPoolExecutor(max_workers=len(layout.parts) + 1) as pool:
            jobs: list[Future[object]] = [pool.submit(self._links, say)]
            for kind in (kind for kind in slowest if not kind.last):
                jobs += self._found(pool, fleet, kind)
        _raise_first(jobs)
        for kind in (kind for kind in slowest if kind.last):
            for part in kind.parts(layout):
                kind.founding(fleet, self.env)(part)
        say("waiting until the lab is whole")
        self._wait_whole()

    def target(self, defect: str | None) -> Target:
        """The resolved Target."""
        assert self.toxiproxy is not None  # noqa: S101
        return resolve.resolved(self.wiring, self.toxiproxy.url, defect)

    def stop(self) -> None:
        """End everything; idempotent."""
        if self.fleet is not None:
            self.fleet.stop_all()
        if self.toxiproxy is not None:
            if self.toxiproxy.process is None:
                client = self.toxiproxy.client()
                for link in self.wiring.layout.links:
                    client.ensure_deleted(link.proxy)
            self.toxiproxy.stop(0.3)

    def _found(
        self, pool: ThreadPoolExecutor, fleet: Fleet, kind: ProcessKind
    ) -> list[Future[object]]:
        start = kind.founding(fleet, self.env)
        return [pool.submit(start, part) for part in kind.parts(self.wiring.layout)]

    def _links(self, say: Progress) -> None:
        wiring = self.wiring
        try:
            # Builds nothing: whoever starts us has had the time to (see `launch.prepare`).
            choice = server.find_server(self.env)
            say(f"toxiproxy: {choice.kind} {choice.version} ({choice.why})")
            self.toxiproxy = server.launch(choice, log_path=wiring.log_path("toxiproxy"))
            if self.toxiproxy.process is not None and self.fleet is not None:
                self.fleet.record("toxiproxy", self.toxiproxy.process)
            wiring.toxiproxy_file.write_text(self.toxiproxy.url)
            client = self.toxiproxy.client(_TOXIPROXY_S)
            links = wiring.layout.links

            client.populate(
                ProxySpec(
                    link.proxy,
                    wiring.address(link.destination),
                    f"{HOST}:{wiring.ports[link.name]}",
                )
                for link in links
            )
            with ThreadPoolExecutor(max_workers=4) as pool:
                for job in [
                    pool.submit(_add_distance, client, link)
                    for link in links
                    if any(link.halves_ms)
                ]:
                    job.result()
        except ToxiproxyError as error:
            taken = "address already in use" in str(error)
            raise (PortTakenError if taken else LabError)(
                f"toxiproxy: {error}".splitlines()[0]
            ) from error

    def _wait_whole(self) -> None:
        assert self.fleet is not None  # noqa: S101
        url = f"http://{self.wiring.address('steward')}/status"
        end = time.monotonic() + _WHOLE_S
        why = "the steward says nothing"
        while time.monotonic() < end:
            for name, state in self.fleet.states().items():
                if not state["running"]:
                    raise LabError(
                        f"{name} ended with {state['exit_code']} before the lab was whole"
                    )
            try:
                with urllib.request.urlopen(url, timeout=1.0) as answer:
                    status = json.load(answer)
                if status["whole"]:
                    return
                why = status["why"]
            except (OSError, ValueError, urllib.error.URLError):
                pass
            time.sleep(0.03)
        raise LabError(f"the lab is not whole after {_WHOLE_S:g} s: {why}")


def _add_distance(client: Client, link: Hop) -> None:
    there_ms, back_ms = link.halves_ms
    if there_ms:
        client.add_toxic(
            link.proxy, "latency", {"latency": there_ms}, name="rtt_up", stream="upstream"
        )
    client.add_toxic(
        link.proxy, "latency", {"latency": back_ms}, name="rtt_down", stream="downstream"
    )


def write_topology(state: Path, target: Target) -> None:
    """Publish the resolved Target, whole or not at all."""
    fresh = state / "topology.json.new"
    fresh.write_text(json.dumps(to_json(target), indent=1))
    os.replace(fresh, state / "topology.json")


def _key_pair() -> str:
    """A private key to sign tokens with (PEM)."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, none).decode()


def _write_private(folder: Path, files: Mapping[str, str]) -> None:
    """Files that hold the token secret: for our eyes only."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def _raise_first(jobs: list[Future[object]]) -> None:
    """Raise the first failure of finished jobs; a taken port is preferred, since that is worth
    another try.
    """
    errors = [error for job in jobs if (error := job.exception()) is not None]
    for error in errors:
        if isinstance(error, PortTakenError):
            raise error
    if errors:
        raise errors[0]
