"""What is wrong with the stores of a target, held against the rest of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

from stormgate.documents.problems import nearest
from stormgate.documents.stores.shape import StoreShape
from stormgate.documents.target_shape import SECRET_HEADER
from stormgate.net.allow import AllowList
from stormgate.net.references import REFERENCE


def check_stores(
    stores: Sequence[StoreShape],
    regions: Sequence[str],
    allow: Sequence[str],
    note: Callable[..., None],
) -> None:
    """Note stores in regions that there are not, that may not be contacted, or that hold a secret:
    `note(message, fix, *place in the spec)`.
    """
    permits = AllowList(allow).permits_host
    for index, store in enumerate(stores):
        name = f"store {store.name!r}"
        if store.region is not None and store.region not in regions:
            fix = nearest(store.region, regions, what="regions")
            note(
                f"{name} stands in unknown region {store.region!r}", fix, "stores", index, "region"
            )
        for key, host in _hosts(store):
            if not permits(host):
                fix = f"allow now: {', '.join(allow)}"
                note(f"{name} is at {host!r}, which is not in allow", fix, "stores", index, key)
        if store.url and urlsplit(store.url).username:
            fix = "put them into a header as ${ENV}"
            note(f"the URL of {name} carries credentials", fix, "stores", index, "url")
        for header, value in store.headers.items():
            if SECRET_HEADER.search(header) and not REFERENCE.search(value):
                note(
                    f"header {header!r} holds a secret that would enter the evidence",
                    "write it as ${ENV} and set that variable",
                    *("stores", index, "headers", header),
                )


def _hosts(store: StoreShape) -> Iterator[tuple[str, str]]:
    """(field, host) of what a store is asked at, where that can be known beforehand."""
    if store.address and not REFERENCE.search(store.address):
        yield "address", store.address.rpartition(":")[0]
    if store.url and not REFERENCE.search(store.url):
        yield "url", urlsplit(store.url).hostname or ""
