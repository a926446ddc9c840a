"""CHE·NU claims 95 % cache hits: the share measured by what the answers themselves say
(`x-chenu-cache`).
"""

from stormgate.chaos.probes import good_share, label_share


def hit_share(window_s: float = 10.0, region: str | None = None) -> float | None:
    """Share of hits among the answers that came through a cache in the last `window_s` seconds.
    None: there were none.
    """
    where = {"served_by": region} if region else {}
    hits, misses = (label_share("cache", value, window_s, where) for value in ("hit", "miss"))
    if hits is None or misses is None or hits + misses == 0:
        return None
    return hits / (hits + misses)


def served_without_cache(window_s: float = 10.0, region: str | None = None) -> float | None:
    """Share of reads that were answered well although no cache answered: what losing a cache must
    leave at 1.
    """
    where = {"op": "read", "cache": "none"} | ({"served_by": region} if region else {})
    return good_share(where, window_s)
