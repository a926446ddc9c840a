"""A shard's counters and accounts, as one region's service reads and writes them.

Reads come from the nearest current node and from no cache; writes go to the shard's primary.
Never a second try.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from stormgate.lab.services import ledger
from stormgate.lab.services.database import Node
from stormgate.lab.services.serving import problem, reply
from stormgate.net.httpserver import HttpResponse

RESOURCES = frozenset({"counters", "accounts", "transfers"})
_MOST = 1_000_000


class Books:
    """Each method asks one node one thing. Raises what `Node.query` does."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s

    async def read(self, node: Node, parts: list[str], facts: dict[str, str]) -> HttpResponse:
        """`/counters/<name>` or `/accounts`."""
        match parts:
            case ["counters", name]:
                row = await node.query(ledger.COUNTER, {"name": name}, self.timeout_s)
            case ["accounts"]:
                row = await node.query(ledger.BALANCES, {}, self.timeout_s)
            case _:
                row = None
        if row is None:
            return problem(404, "there is no such thing", facts)
        return reply(200, row[0], facts)

    async def write(
        self, node: Node, parts: list[str], body: bytes, facts: dict[str, str]
    ) -> HttpResponse:
        """`/counters/<name>` or `/transfers`. What would overdraw an account is refused (409)."""
        values = _content(parts, body)
        if values is None:
            return problem(400, "an id (UUID), and add, or from, to and amount, are needed", facts)
        if parts[0] == "counters":
            answer = await self.add(node, values)
            return reply(200, answer, facts) if answer else problem(404, "no such counter", facts)
        answer = await self.transfer(node, values)
        if json.loads(answer)["short"]:
            return problem(409, "that account holds less", facts)
        return reply(200, answer, facts)

    async def add(self, node: Node, values: dict[str, Any]) -> str:
        """Add to a counter: JSON of its value then, or "" where there is no such counter."""
        row = await node.query(ledger.ADD, values, self.timeout_s)
        return _text(row)

    async def transfer(self, node: Node, values: dict[str, Any]) -> str:
        """Move an amount from one account to another, both at once."""
        return _text(await node.query(ledger.TRANSFER, values, self.timeout_s))


def _text(row: tuple[Any, ...] | None) -> str:
    return str(row[0]) if row is not None else ""


def _content(parts: list[str], body: bytes) -> dict[str, Any] | None:
    """The parameters of a write; None where the request makes no sense."""
    try:
        data = json.loads(body)
        values: dict[str, Any] = {"id": str(uuid.UUID(data["id"]))}
        if len(parts) == 2 and parts[0] == "counters" and parts[1] in ledger.COUNTERS:
            return {**values, "name": parts[1], "add": _amount(data["add"])}
        if parts == ["transfers"]:
            source, destination = (_account(data[end]) for end in ("from", "to"))
            amount = _amount(data["amount"])
            if source != destination:
                values |= {"source": source, "destination": destination, "amount": amount}
                return values
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return None


def _amount(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= _MOST:
        raise ValueError(value)
    return value


def _account(value: Any) -> int:
    if type(value) is not int or not 0 <= value < ledger.ACCOUNTS:
        raise ValueError(value)
    return value
