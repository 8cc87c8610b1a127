import json
from dataclasses import dataclass, field
from itertools import permutations

import pytest
import stamina
from botocore.awsrequest import AWSResponse
from pynamodb.exceptions import DoesNotExist, TransactWriteError

from shared import clients, problems
from shared.models import Claim
from shared.transactions import Check, Delete, Put, Update, commit


class Refused(Exception):
    pass


KINDS = {
    "check": lambda condition, refusal: Check(Claim, "check", condition, refusal),
    "delete": lambda condition, refusal: Delete(Claim("delete"), condition, refusal),
    "put": lambda condition, refusal: Put(Claim("put", store="new"), condition, refusal),
    "update": lambda condition, refusal: Update(Claim("update"), [Claim.store.set("new")], condition, refusal),
}


@pytest.fixture(autouse=True)
def _rows(aws):
    rows_again()


def rows_again():
    for kind in KINDS:
        Claim(kind, store="old").save()


@pytest.fixture(autouse=True)
def _no_waiting():
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


def now_stored():
    return {row.claim: row.store for row in Claim.scan()}


@pytest.mark.parametrize("failing", KINDS)
def test_raises_what_the_failed_step_means_in_whatever_order_the_steps_come(failing):
    for order in permutations(KINDS):
        found = {kind: "another" if kind == failing else "old" for kind in order}
        steps = [KINDS[kind](Claim.store == found[kind], Refused(kind)) for kind in order]

        with pytest.raises(Refused, match=f"^{failing}$"):
            commit(steps)

    assert set(now_stored().values()) == {"old"}


def test_takes_all_steps_or_none_in_whatever_order_they_come():
    for order in permutations(KINDS):
        rows_again()
        commit([KINDS[kind](Claim.store == "old", Refused(kind)) for kind in order])

        assert now_stored() == {"check": "old", "put": "new", "update": "new"}


def test_two_steps_of_one_kind_are_told_apart():
    first = Put(Claim("put", store="new"), Claim.store == "old", Refused("first"))
    second = Put(Claim("update", store="new"), Claim.store == "another", Refused("second"))

    with pytest.raises(Refused, match="second"):
        commit([first, second])


def test_a_refusal_without_a_meaning_passes_through():
    with pytest.raises(TransactWriteError):
        commit([Delete(Claim("delete"), Claim.store == "another")])


@dataclass
class Service:
    """DynamoDB, which fails the first calls with what is in ``failures``."""

    failures: list[dict] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def __call__(self, params, **_):
        self.tokens.append(json.loads(params["body"])["ClientRequestToken"])
        if not self.failures:
            return None
        return AWSResponse("", 400, {}, None), {**self.failures.pop(0), "ResponseMetadata": {}}


@pytest.fixture
def service():
    fake = Service()
    events = clients.dynamodb().meta.events
    events.register("before-call.dynamodb.TransactWriteItems", fake)
    return fake


def failure(code, *reasons):
    answer = {"Error": {"Code": code, "Message": ""}}
    return {**answer, "CancellationReasons": [{"Code": reason} for reason in reasons]} if reasons else answer


CANCELLED = "TransactionCanceledException"
PASSING = [
    failure(CANCELLED, "None", "TransactionConflict"),
    failure(CANCELLED, "ThrottlingError", "None"),
    failure(CANCELLED, "ProvisionedThroughputExceeded", "TransactionConflict"),
    failure("TransactionInProgressException"),
]
STEPS = [Put(Claim("put", store="new"), Claim.store == "old", Refused("put")), Put(Claim("more", store="new"))]


@pytest.mark.parametrize("passing", PASSING, ids=repr)
def test_a_conflict_is_tried_again_as_the_same_transaction(service, passing):
    service.failures = [passing, passing]

    commit(STEPS)

    assert now_stored()["put"] == "new"
    assert len(service.tokens) == 3
    assert len(set(service.tokens)) == 1


def test_two_transactions_are_not_taken_for_one(service):
    commit(STEPS)
    Claim("put", store="old").save()
    commit(STEPS)

    assert len(set(service.tokens)) == 2
    assert now_stored()["put"] == "new"


def test_a_conflict_that_does_not_end_is_busy(service):
    service.failures = PASSING * 10

    with pytest.raises(problems.ServiceBusy):
        commit(STEPS)

    assert len(service.tokens) == 6
    assert now_stored()["put"] == "old"


def test_a_refusal_after_a_conflict_is_still_a_refusal(service):
    service.failures = [PASSING[0], failure(CANCELLED, "ConditionalCheckFailed", "TransactionConflict")]

    with pytest.raises(Refused, match="put"):
        commit(STEPS)


def test_a_refusal_beside_a_conflict_is_a_refusal(service):
    service.failures = [failure(CANCELLED, "ConditionalCheckFailed", "TransactionConflict")]

    with pytest.raises(Refused, match="put"):
        commit(STEPS)


@pytest.mark.parametrize(
    "unknown",
    [
        failure(CANCELLED, "ValidationError", "None"),
        failure(CANCELLED, "ItemCollectionSizeLimitExceeded", "TransactionConflict"),
        failure("AccessDeniedException"),
        failure("IdempotentParameterMismatchException"),
    ],
    ids=repr,
)
def test_what_trying_again_cannot_mend_passes_through_at_once(service, unknown):
    service.failures = [unknown]

    with pytest.raises(TransactWriteError):
        commit(STEPS)

    assert len(service.tokens) == 1
    with pytest.raises(DoesNotExist):
        Claim.get("more")
