"""One DynamoDB transaction in which every step says what its refusal means.

PynamoDB sends a transaction's items in an order of its own (checks, deletes, puts, updates), and the
reasons of a refusal come back in that order, not in ours (pynamodb issue 1284). So the steps are
sorted the same way here before they are matched.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from pynamodb.exceptions import TransactWriteError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.transactions import TransactWrite

from shared import problems
from shared.tables import Table, connection

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Check:
    """The row of ``model`` must fulfil ``condition``; nothing is written."""

    model: type[Table]
    key: str
    condition: Condition
    refusal: Exception


@dataclass(frozen=True, slots=True)
class Delete:
    """The row goes."""

    row: Table
    condition: Condition | None = None
    refusal: Exception | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """The row is written whole."""

    row: Table
    condition: Condition | None = None
    refusal: Exception | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """The row is changed by ``actions``."""

    row: Table
    actions: list[Action] = field(default_factory=list)
    condition: Condition | None = None
    refusal: Exception | None = None


Step = Check | Delete | Put | Update
_ORDER: tuple[type[Any], ...] = (Check, Delete, Put, Update)


def commit(steps: Sequence[Step]) -> None:
    """All steps or none. Raises the ``refusal`` of the first step whose condition failed.

    A conflict with another transaction and throttling are tried again under the same token, so a
    transaction that was committed without our hearing of it is not applied twice.
    """
    ordered = sorted(steps, key=lambda step: _ORDER.index(type(step)))
    token = str(uuid4())
    try:
        _send(ordered, token)
        return
    except TransactWriteError as error:
        _raise_refusal(ordered, error)
    import stamina  # only a conflict needs it, and it costs the init 30 ms

    try:
        for attempt in stamina.retry_context(
            on=_Conflict, attempts=_ATTEMPTS, timeout=3.0, wait_initial=0.02, wait_max=0.5
        ):
            with attempt:
                _try_again(ordered, token)
    except _Conflict as conflict:
        raise problems.ServiceBusy("Somebody else is changing the same store. Try again.") from conflict


class _Conflict(Exception):
    """Another transaction has the items, or the table is throttled."""


def _try_again(ordered: Sequence[Step], token: str) -> None:
    try:
        _send(ordered, token)
    except TransactWriteError as error:
        _raise_refusal(ordered, error)
        raise _Conflict from error


def _send(ordered: Sequence[Step], token: str) -> None:
    with TransactWrite(connection=connection(), client_request_token=token) as transaction:
        for step in ordered:
            match step:
                case Check(model, key, condition):
                    transaction.condition_check(model, key, condition=condition)
                case Delete(row, condition):
                    transaction.delete(row, condition=condition)
                case Put(row, condition):
                    transaction.save(row, condition=condition)
                case Update(row, actions, condition):
                    transaction.update(row, actions=actions, condition=condition)


def _raise_refusal(ordered: Sequence[Step], error: TransactWriteError) -> None:
    """Raises what a failed condition means; returns where trying again may help."""
    reasons = error.cancellation_reasons
    if not reasons:
        if error.cause_response_code in {"TransactionInProgressException", "ThrottlingException"}:
            return
        raise error
    for step, reason in zip(ordered, reasons, strict=True):
        if reason is not None and reason.code == "ConditionalCheckFailed":
            raise step.refusal or error
    retriable = {"TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError"}
    if any(reason is not None and reason.code not in retriable for reason in reasons):
        raise error
