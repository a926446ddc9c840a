"""Origins that are no edge of a population and are reached when a redirect leads there."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable

import gevent

from stormgate.load.engine import steering
from stormgate.load.engine.pool import Pool, Pools
from stormgate.load.record.reasons import Reasons
from stormgate.model import Outcome
from stormgate.net.allow import AllowList, NotAllowedError
from stormgate.net.origin import HttpOrigin

_MOST = 100  # a target that redirects each request to a new origin must not grow this for ever
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Beyond:
    """Finds or makes the pool of such an origin. Without a target there is no list of whom we may
    contact: then only the hosts that the user named are followed to, on any port.
    """

    def __init__(
        self,
        resolved: Callable[[Pool], None],
        reasons: Reasons,
        allow: AllowList,
        named: Iterable[str] | None,
        context: Callable[[], ssl.SSLContext],
    ) -> None:
        """`resolved` is told of each pool whose address is known, or why there is none.
        `named`: the hosts of the user's own URLs when there is no target, else None.
        """
        self._resolved = resolved
        self._reasons = reasons
        self._allow = allow
        self._named = None if named is None else {host.lower() for host in named}
        if self._named is not None and self._named & _LOOPBACK:
            self._named |= _LOOPBACK
        self._context = context
        self._made = 0

    def __call__(self, place: Pools, origin: HttpOrigin) -> Pool:
        """Raises ValueError when nothing may be sent there."""
        known = len(place.pools)
        if self._named is not None and origin.host not in self._named:
            raise ValueError(
                f"it leads to {origin.netloc}, another host than the one asked for (-H); a target "
                "with an allow list may permit it"
            )
        if not self._allow.permits_host(origin.host):
            raise ValueError(
                f"{origin.netloc} is not in the target's allow list, by name or address: nothing "
                "was sent"
            )
        if self._made >= _MOST:
            raise ValueError(f"redirects led to more than {_MOST} other origins")
        pool = place.elsewhere(origin)
        if len(place.pools) > known:
            self._made += 1
            if origin.scheme == "https":
                pool.tls = self._context()
            pool.resolving = True
            gevent.spawn(self._resolve, pool)
        return pool

    def _resolve(self, pool: Pool) -> None:
        """Outside the engine's wake-up, as it waits; what is to go there waits in the pool."""
        try:
            steering.resolve(pool, self._allow)
        except (OSError, NotAllowedError) as error:
            self._reasons.say(Outcome.DNS, pool.origin.host, str(error))
        finally:
            pool.resolving = False
        self._resolved(pool)
