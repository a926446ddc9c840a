"""A ledger that names a stranger makes nobody ask there."""

from __future__ import annotations

import select
import socket
from pathlib import Path

import pytest

from stormgate.faults.ledger import Entry, Ledger
from stormgate.faults.restore import restore
from stormgate.model import Component, Observe, Target


@pytest.mark.parametrize("where", ["record url", "record probe", "observe", "handle", "status"])
def test_restore_asks_no_stranger(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    with socket.create_server(("127.0.0.2", 0)) as there, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        here = f"127.0.0.1:{closed.getsockname()[1]}"
        stranger = f"127.0.0.2:{there.getsockname()[1]}"

        def at(place: str) -> str:
            return stranger if place == where else here

        part = Component(
            name="link",
            kind="link",
            backend="toxiproxy",
            handle={"url": f"http://{at('handle')}", "proxy": "p"},
            observe=Observe(protocol="http", address=at("observe")),
        )
        target = Target(
            name="t",
            allow=("127.0.0.1/32",),
            components=(part,),
            status_url=f"http://{at('status')}/",
        )
        probe = {"protocol": "http", "address": at("record probe"), "path": "/"}
        entry = Entry(
            id="u1",
            instance="f1",
            batch="b1",
            fault="f",
            component="link",
            asked="slow",
            part=part,
            mode="slow",
            record={
                "mode": "slow",
                "url": f"http://{at('record url')}",
                "proxy": "p",
                "enabled": True,
                "toxics": [{"name": "stormgate_x", "type": "latency"}],
                "probe": probe,
                "direct": probe,
                "params": {},
                "before_ms": 1.0,
            },
        )
        Ledger(tmp_path, target).intend([entry])
        report = restore(tmp_path, 0.5, whole_s=0.1)
        assert not report.clean
        if where in ("record url", "observe", "handle"):
            told = f"{report.problems}"
            assert "not in the target's allow list" in told or "does not allow" in told
        assert select.select([there], [], [], 0.1)[0] == []
