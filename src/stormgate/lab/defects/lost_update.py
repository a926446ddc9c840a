"""Read, add, write back: whoever else wrote in between was never there."""

from __future__ import annotations

from typing import Any

from stormgate.lab.services import ledger, service
from stormgate.lab.services.books import Books
from stormgate.lab.services.database import Node
from stormgate.lab.services.serving import Running

SUMMARY = (
    "counters and accounts are read, changed in the service and written back without a check: "
    "of two at the same time one is lost"
)
FOUND_BY = ("counter", "bank")


class ForgetfulBooks(Books):
    """Changes a value in two round trips."""

    async def add(self, node: Node, values: dict[str, Any]) -> str:
        seen = await node.query(ledger.COUNTER_VALUE, values, self.timeout_s)
        if seen is None:
            return ""
        value = {"name": values["name"], "value": seen[0] + values["add"]}
        row = await node.query(ledger.COUNTER_WRITE, value, self.timeout_s)
        return str(row[0]) if row is not None else ""

    async def transfer(self, node: Node, values: dict[str, Any]) -> str:
        seen = await node.query(ledger.ACCOUNT_PAIR, values, self.timeout_s)
        if seen is None or seen[0] < values["amount"]:
            return ledger.REFUSED
        pair = {
            **values,
            "source_after": seen[0] - values["amount"],
            "destination_after": seen[1] + values["amount"],
        }
        row = await node.query(ledger.ACCOUNTS_WRITE, pair, self.timeout_s)
        return str(row[0]) if row is not None else ledger.REFUSED


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such a service."""
    forgetful = service.Service(config)
    forgetful.books = ForgetfulBooks(forgetful.settings.service_timeout_s)
    return service.run(forgetful)


PROGRAMS = {"service": start}
