"""Host names to addresses, remembered for a while: 15 million pictures a day come from few hosts."""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

# (host, port) -> addresses in order of preference; raises OSError (socket.gaierror) or UnicodeError.
Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

# A million host names in one day would hold some 500 MB; the least recently asked go first.
CACHED_HOSTS = 10_000


class UnknownHostError(Exception):
    """A host name has no address.

    Attributes:
        is_temporary: The name server did not answer; asking again may help.
    """

    def __init__(self, host: str, why: str, *, is_temporary: bool) -> None:
        super().__init__(f"no address for host {host!r:.100}: {why}")
        self.is_temporary = is_temporary


async def system_addresses(host: str, port: int) -> Sequence[str]:
    """Ask the operating system, which orders the addresses by RFC 6724; literals resolve to themselves."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class CachingResolver:
    """Resolves names once per `seconds`; requests for one name share one lookup, found or not."""

    def __init__(self, resolver: Resolver, seconds: float) -> None:
        self._resolver = resolver
        self._seconds = seconds
        self._known: OrderedDict[tuple[str, int], tuple[float, asyncio.Task[Sequence[str]]]] = OrderedDict()

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a host.

        Raises:
            UnknownHostError: There is none, or the name is not one.
        """
        loop = asyncio.get_running_loop()
        key = (host, port)
        expires, lookup = self._known.get(key, (0.0, None))
        if lookup is None or expires <= loop.time():
            lookup = loop.create_task(self._lookup(host, port))
            lookup.add_done_callback(_mark_retrieved)
            self._known[key] = (loop.time() + self._seconds, lookup)
            while len(self._known) > CACHED_HOSTS:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        try:
            # Shielded: one picture's deadline must not cancel the lookup that others wait for.
            return await asyncio.shield(lookup)
        except UnknownHostError as error:
            if error.is_temporary and self._known.get(key, (0.0, None))[1] is lookup:
                del self._known[key]
            raise

    async def aclose(self) -> None:
        """Cancel the lookups that nobody waits for any more, and collect their outcome."""
        lookups = [lookup for _, lookup in self._known.values()]
        self._known.clear()
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)

    async def _lookup(self, host: str, port: int) -> Sequence[str]:
        try:
            found = await self._resolver(host, port)
        except socket.gaierror as error:
            temporary = error.errno == socket.EAI_AGAIN
            raise UnknownHostError(host, error.strerror or str(error), is_temporary=temporary) from error
        except UnicodeError as error:
            # The IDNA codec's answer to empty or overlong labels.
            raise UnknownHostError(host, f"not a host name ({error})", is_temporary=False) from error
        if not found:
            raise UnknownHostError(host, "the answer is empty", is_temporary=False)
        return found


def _mark_retrieved(lookup: asyncio.Task[Sequence[str]]) -> None:
    """Tell asyncio that the outcome was seen, though everyone who asked may have given up by now."""
    if not lookup.cancelled():
        lookup.exception()
