"""Wrong passwords: each makes the next answer to its address slower.

Promises
    An address gets few answers at once, and after some wrong passwords one in LONGEST seconds each.
    The right password is answered at once, unless too many wrong ones of its address wait.
    Memory for KEPT addresses, and for WAITING answers, however many guess.
Leaves to others
    comparing passwords (door).
Raises
    nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections import Counter, OrderedDict

#: Seconds that the answer to the first wrong password takes; each further one takes twice as long, up to the longest.
FIRST, LONGEST = 0.25, 8.0

#: Wrong passwords of an address that wait for their answer at once, and of all addresses.
EACH, WAITING = 4, 64

#: Seconds after which an address is forgotten, and addresses that are remembered.
FORGOTTEN, KEPT = 300.0, 4096

_log = logging.getLogger(__name__)


class Guesses:
    """The wrong passwords of one server."""

    def __init__(self) -> None:
        #: How many of an address, and when the last one came; that which guessed last is last.
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._waiting: Counter[str] = Counter()

    def refuses(self, address: str) -> bool:
        """Whether too many wrong ones wait for another of this address to be looked at."""
        return self._waiting[address] >= EACH or (
            self._waiting.total() >= WAITING and self._count(address) > 0
        )

    def _count(self, address: str) -> int:
        count, last = self._wrong.get(address, (0, 0.0))
        return count if time.monotonic() - last < FORGOTTEN else 0

    def delay(self, address: str) -> float:
        """Note one more wrong password: the seconds that its answer takes."""
        count = self._count(address) + 1
        self._wrong[address] = count, time.monotonic()
        self._wrong.move_to_end(address)
        if len(self._wrong) > KEPT:
            self._wrong.popitem(last=False)
        _log.warning("wrong password from %s", address)
        return min(LONGEST, FIRST * 2.0 ** min(count - 1, 16))

    async def punish(self, address: str) -> None:
        """Note one more wrong password, and come back when it may be answered."""
        seconds = self.delay(address)
        if self._waiting.total() >= WAITING:
            return
        self._waiting[address] += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]


def network(client: tuple[str, int] | None) -> str:
    """What counts as one address: of IPv6 the network of 64 bits, in which a host can choose any."""
    text = client[0].partition("%")[0] if client else ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    if address.version == 4:
        return text
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
