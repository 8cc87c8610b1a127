"""The wheel: a store's place in the schedule follows from its id and interval, and is never rewritten.

A slot is ``{interval in minutes}#{phase}#{shard}``. At minute *t* the slots with phase = *t* mod interval
are due, for every interval in use. Scheduling and rescheduling write nothing, so an idle store costs next
to nothing, and the load is flat instead of everything on the minute.
"""

import hashlib
from collections.abc import Iterator

from shared import settings
from shared.models import Dispatcher, SyncState

_known: set[int] = set()


def _number(id: str) -> int:
    return int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "big")


def shard_of(id: str) -> int:
    """Which partition of a sharded index key an id belongs to."""
    return _number(id) % settings.current().shards


def minutes(interval: int) -> int:
    """A store's interval in whole minutes, rounded down so that it is never less fresh than asked."""
    return max(1, interval // 60)


def slot(id: str, interval: int) -> str:
    """The slot of a store with this interval in seconds."""
    length = minutes(interval)
    phase = (_number(id) // settings.current().shards) % length
    return f"{length}#{phase}#{shard_of(id)}"


def due(tick: int, lengths: Iterator[int]) -> Iterator[str]:
    """The slots that are due at minute ``tick`` (since 1970)."""
    for length in lengths:
        for shard in range(settings.current().shards):
            yield f"{length}#{tick % length}#{shard}"


def remember(interval: int) -> None:
    """Has the dispatcher look at this interval from now on; a write only for one that is new here."""
    length = minutes(interval)
    if length not in _known:
        Dispatcher(Dispatcher.KEY).update(actions=[Dispatcher.intervals.add({length})])
        _known.add(length)


def remember_interval(state: SyncState) -> None:
    """The same for a store that is on the wheel."""
    if state.slot is not None:
        remember(60 * int(state.slot.split("#")[0]))


def forget() -> None:
    """Forgets which intervals the dispatcher knows of."""
    _known.clear()
