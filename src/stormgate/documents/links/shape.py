"""The form of a link."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from stormgate.documents.shapes import Shape
from stormgate.documents.values import wrong

ADDRESS = r"^(\[[0-9a-fA-F:]+\]|[^\s:/$]+):[0-9]{1,5}$"


def _port(value: str) -> str:
    if not 1 <= int(value.rpartition(":")[2]) <= 65535:
        raise wrong(f"{value!r} has no port that exists", "ports are 1 to 65535")
    return value


Address = Annotated[str, Field(pattern=ADDRESS), AfterValidator(_port)]


class LinkShape(Shape):
    """A way from a component (or a population) to a component, through a proxy of Toxiproxy that
    `stormgate wire` makes: who goes it dials `listen` in place of `upstream`. With `proxy` alone it
    is a proxy of one's own that is there already.
    """

    from_: str = Field(alias="from", min_length=1)
    to: str = Field(min_length=1)
    upstream: Address | None = None
    listen: Address | None = None
    proxy: str | None = Field(default=None, min_length=1, pattern=r"^[^/\x00-\x1f]+$")
    env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    traffic: Literal["seen", "none", "assured"] = "seen"

    @property
    def name(self) -> str:
        """What the link is called as a component."""
        return f"link:{self.from_}->{self.to}"
