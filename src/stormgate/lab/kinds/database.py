"""Databases: two PostgreSQL servers a shard, one following the other over a link."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from stormgate.lab.design.layout import Hop, Layout, Process
from stormgate.lab.design.wiring import Wiring
from stormgate.lab.errors import LabError
from stormgate.lab.kinds import Child, Host, ProcessKind
from stormgate.model import Store


def node_name(region: str, shard: str) -> str:
    """The component name of a shard's node in a region."""
    return f"{region}/db-{shard}"


class DatabaseKind(ProcessKind):
    """Real servers, dialled by every service, by the steward, and by one another."""

    name = "database"
    rank = 0
    protocol = "postgres"
    watched = False  # the steward looks at them over links of its own
    # PostgreSQL tidies up its shared memory on SIGQUIT, and does not on SIGKILL.
    death_signal = signal.SIGQUIT

    def parts(self, layout: Layout) -> Iterable[Process]:
        return [
            Process(node_name(region, shard.name), self.name, region, {"shard": shard.name})
            for shard in layout.shards
            for region in shard.regions
        ]

    def links(self, layout: Layout) -> Iterable[Hop]:
        for shard in layout.shards:
            distance_ms = layout.hop_ms(layout.region(shard.primary), layout.region(shard.standby))
            for here, there in (shard.regions, shard.regions[::-1]):
                yield Hop(node_name(here, shard.name), node_name(there, shard.name), distance_ms)

    def stores(self, wiring: Wiring, part: Process) -> Iterable[Store]:
        shard = part.attributes["shard"]
        return [
            Store(
                name=part.name,
                reader=self.protocol,
                region=part.region,
                address=wiring.address(part.name),
                user="chenu",
                query="SELECT key, version FROM versions WHERE key = ANY(%(keys)s)",
                holds=(f"users/{shard}-", f"shards/{shard}/"),
                control="User 0",
            )
        ]

    def spawn(self, host: Host, part: Process, log_path: Path) -> Child:
        from stormgate.lab.native import postgres
        from stormgate.system import processes

        return processes.spawn(
            postgres.server_argv(host.binaries, host.wiring.data_dir(part.name)),
            env=postgres.environment(),
            cwd=Path("/"),
            log_path=log_path,
            user=host.binaries.user,
            new_session=True,
            death_signal=self.death_signal,
        )

    def prepare(self, host: Host, part: Process) -> None:
        """Bring the node's folder into the role that is due to it."""
        from stormgate.lab.native import postgres
        from stormgate.lab.services import steward_state
        from stormgate.model import Observe
        from stormgate.net.look import State, look

        wiring, shard = host.wiring, part.attributes["shard"]
        data_dir = wiring.data_dir(part.name)
        state = steward_state.load(wiring.cluster)[shard]
        if (data_dir / "postmaster.pid").exists():
            postgres.clear_leftovers(data_dir)
        if part.region == state.primary:
            return
        other = node_name(state.primary, shard)
        if not postgres.is_standby(data_dir):
            # Straight to the primary, not over the link: this is repair, and the link may be cut
            # still.
            primary = wiring.endpoint(other)
            seen = look(Observe(protocol=self.protocol, address=wiring.address(other)), 0.5)
            if seen.state is not State.ANSWERS:
                raise LabError(
                    f"{part.name} was a primary and must be rewound from {other}, which is "
                    "down: start that first"
                )
            source = postgres.Upstream(primary["host"], primary["port"], str(part.region))
            postgres.rewind(host.binaries, data_dir, source)
        _follow(host, part, other)

    def founding(self, host: Host, env: Mapping[str, str]) -> Callable[[Process], object]:
        """Both nodes begin as copies of one template, so a standby that commits wait for has
        everything from the start.
        """
        from stormgate.lab.native import postgres, template

        wiring = host.wiring
        templates = template.ensure(wiring.layout, host.binaries, wiring.work, env)

        def start(part: Process) -> int:
            shard = wiring.layout.shard(part.attributes["shard"])
            data_dir = wiring.data_dir(part.name)
            postgres.clone(templates[shard.name], data_dir, host.binaries.user)
            if part.region == shard.primary:
                waits_for = shard.standby if wiring.settings.synchronous else None
                postgres.write_role(
                    data_dir,
                    port=wiring.ports[part.name],
                    upstream=None,
                    synchronous_with=waits_for,
                )
                postgres.give_to(data_dir, host.binaries.user)
            else:
                _follow(host, part, node_name(shard.primary, shard.name))
            return host.start(part.name)

        return start

    def clear(self, wiring: Wiring, part: Process) -> None:
        from stormgate.lab.native import postgres

        postgres.clear_leftovers(wiring.data_dir(part.name))


def _follow(host: Host, part: Process, primary: str) -> None:
    """Make a (stopped) node follow `primary` over its link."""
    from stormgate.lab.native import postgres

    wiring = host.wiring
    data_dir, via = wiring.data_dir(part.name), wiring.via(part.name, primary)
    upstream = postgres.Upstream(via["host"], via["port"], str(part.region))
    postgres.write_role(
        data_dir, port=wiring.ports[part.name], upstream=upstream, synchronous_with=None
    )
    postgres.give_to(data_dir, host.binaries.user)


KIND = DatabaseKind()
