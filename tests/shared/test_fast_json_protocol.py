"""Our parser and serialiser give what botocore's own give, and what they cannot read is botocore's exception."""

import json
import re
from base64 import b64encode
from datetime import UTC, datetime
from functools import cache
from typing import Any
from zlib import crc32

import botocore
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from botocore.model import ShapeResolver
from botocore.parsers import JSONParser, ResponseParserError
from botocore.regions import EndpointRulesetResolver
from botocore.serialize import JSONSerializer
from botocore.session import Session
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws
from pynamodb.attributes import BinaryAttribute, BinarySetAttribute

from infra import botocore_data, template
from shared import clients, models
from shared.fast_json_protocol import FastParser, FastSerializer, GarbledAnswer

MOMENT = datetime(2026, 11, 28, 12, 0)  # noqa: DTZ001 - as botocore has it

OPERATIONS = [
    (service, name)
    for service, names in sorted(botocore_data.operations(template.granted_actions(template.load())).items())
    for name in sorted(names)
    if service != "s3"  # it speaks XML
]
OF_DYNAMODB = [name for service, name in OPERATIONS if service == "dynamodb"]


@cache
def plain(service="dynamodb"):
    """A client as botocore makes it."""
    return session().create_client(service, config=clients._CONFIG)


@cache
def session():
    return Session()


@cache
def operation(service, name):
    return plain(service).meta.service_model.operation_model(name)


# ── Generated values ─────────────────────────────────────────────────────────────────────────────

TEXT = st.text(st.characters(exclude_categories=()), max_size=8) | st.sampled_from(
    ["", "B", "null", '"B":', "é", "\ud800"]
)
NUMBERS = st.sampled_from(["0", "-1", "1.5", "12345678901234567890123456789012345678", "1E-130"])


def attributes(binary):
    """DynamoDB's values, all types of them."""
    flat = (
        st.fixed_dictionaries({"S": TEXT})
        | st.fixed_dictionaries({"N": NUMBERS})
        | st.fixed_dictionaries({"B": binary})
        | st.fixed_dictionaries({"BOOL": st.booleans()})
        | st.just({"NULL": True})
        | st.fixed_dictionaries({"SS": st.lists(TEXT, max_size=3)})
        | st.fixed_dictionaries({"NS": st.lists(NUMBERS, max_size=3)})
        | st.fixed_dictionaries({"BS": st.lists(binary, max_size=3)})
    )
    return st.recursive(
        flat,
        lambda inner: (
            st.fixed_dictionaries({"M": st.dictionaries(TEXT, inner, max_size=3)})
            | st.fixed_dictionaries({"L": st.lists(inner, max_size=3)})
        ),
        max_leaves=8,
    )


def values(shape, binary):
    """What the model allows, with bytes as ``binary`` gives them."""
    if shape.name == "AttributeValue":
        return attributes(binary)
    if shape.type_name == "structure":
        members = {name: values(member, binary) for name, member in shape.members.items()}
        return st.fixed_dictionaries({}, optional=members)
    if shape.type_name == "list":
        return st.lists(values(shape.member, binary), max_size=2)
    if shape.type_name == "map":
        return st.dictionaries(TEXT, values(shape.value, binary), max_size=2)
    scalars = {
        "string": TEXT,
        "integer": st.integers(0, 1000),
        "long": st.integers(0, 2**60),
        "boolean": st.booleans(),
        "double": st.floats(0, 1000),
        "blob": binary,
        "timestamp": st.integers(0, 2**31),
    }
    return scalars[shape.type_name]


def answer(body, status=200, **headers):
    return {"status_code": status, "headers": {"x-amzn-requestid": "ID", **headers}, "body": body, "context": {}}


@pytest.mark.parametrize(("service", "name"), OPERATIONS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_reads_an_answer_as_botocore_does(service, name, data):
    shape = operation(service, name).output_shape
    encoded = st.binary(max_size=8).map(lambda value: b64encode(value).decode())
    said = data.draw(values(shape, encoded)) if shape else {}
    body = json.dumps(said, ensure_ascii=data.draw(st.booleans())).encode("utf-8", "backslashreplace")

    assert FastParser().parse(answer(body), shape) == JSONParser().parse(answer(body), shape)


def test_leaves_out_what_is_null_and_what_the_model_does_not_know():
    shape = operation("dynamodb", "Query").output_shape
    body = b'{"Items": [], "Count": 0, "LastEvaluatedKey": null, "New": 1, "ConsumedCapacity": {}}'

    parsed = FastParser().parse(answer(body), shape)

    assert parsed == JSONParser().parse(answer(body), shape)
    assert parsed.keys() == {"Items", "Count", "ConsumedCapacity", "ResponseMetadata"}


def test_an_answer_without_a_body_is_empty():
    shape = operation("dynamodb", "PutItem").output_shape

    assert FastParser().parse(answer(b""), shape) == JSONParser().parse(answer(b""), shape)


def test_finds_bytes_and_times_wherever_a_model_may_have_them():
    kinds = {
        "All": {"type": "structure", "members": {name: {"shape": name} for name in ("Files", "Times", "Tree")}},
        "Files": {"type": "map", "key": {"shape": "Name"}, "value": {"shape": "File"}},
        "Times": {"type": "list", "member": {"shape": "Days"}},
        "Days": {"type": "list", "member": {"shape": "Day"}},
        "Tree": {"type": "structure", "members": {"Leaf": {"shape": "File"}, "Trees": {"shape": "Trees"}}},
        "Trees": {"type": "map", "key": {"shape": "Name"}, "value": {"shape": "Forest"}},
        "Forest": {"type": "list", "member": {"shape": "Tree"}},
        "Name": {"type": "string"},
        "File": {"type": "blob"},
        "Day": {"type": "timestamp"},
    }
    shape = ShapeResolver(kinds).get_shape_by_name("All")
    tree = {"Leaf": "eA==", "Trees": {"a": [{"Leaf": "eQ==", "Trees": {}}]}}
    body = json.dumps({"Files": {"a": "eHg="}, "Times": [[1.5, 2], []], "Tree": tree}).encode()

    assert FastParser().parse(answer(body), shape) == JSONParser().parse(answer(body), shape)


@pytest.mark.parametrize("name", OF_DYNAMODB)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_writes_a_request_as_botocore_does(name, data):
    model = operation("dynamodb", name)
    asked = data.draw(values(model.input_shape, st.binary(max_size=8) | st.binary(max_size=8).map(bytearray)))

    written = FastSerializer().serialize_to_request(asked, model)

    assert written == JSONSerializer().serialize_to_request(asked, model)


def test_writes_sets_and_tuples_as_lists():
    item = {"a": {"SS": {"x"}}, "b": {"BS": (b"y",)}, "c": {"NS": frozenset({"1"})}, "d": {"B": memoryview(b"z")}}
    model, asked = operation("dynamodb", "PutItem"), {"TableName": "t", "Item": item}

    written = FastSerializer().serialize_to_request(asked, model)

    assert written == JSONSerializer().serialize_to_request(asked, model)


def test_leaves_what_it_was_given_as_it_was():
    item = {"a": {"B": b"x"}, "b": {"L": [{"B": b"y"}]}}

    FastSerializer().serialize_to_request({"TableName": "t", "Item": item}, operation("dynamodb", "PutItem"))

    assert item == {"a": {"B": b"x"}, "b": {"L": [{"B": b"y"}]}}


def test_refuses_a_parameter_that_the_operation_has_not():
    with pytest.raises(ParamValidationError, match="PutItem has no ConditionExpresion"):
        clients.dynamodb().put_item(TableName="t", Item={}, ConditionExpresion="attribute_not_exists(id)")


def test_refuses_what_no_json_can_hold():
    with pytest.raises(TypeError, match="No JSON for a datetime"):
        FastSerializer().serialize_to_request({"Item": {"a": {"S": MOMENT}}}, operation("dynamodb", "PutItem"))


def test_every_binary_attribute_of_the_models_is_given_as_bytes():
    tables = [each for each in vars(models).values() if isinstance(each, type) and issubclass(each, models.Table)]
    kept = [attribute for table in tables for attribute in table.get_attributes().values()]
    binary = [each for each in kept if isinstance(each, BinaryAttribute | BinarySetAttribute)]

    assert binary
    assert not [each.attr_name for each in binary if each.legacy_encoding]


@pytest.mark.parametrize("service", sorted({service for service, _ in OPERATIONS}))
def test_the_services_speak_the_protocol_that_is_made_fast(service):
    assert plain(service).meta.service_model.resolved_protocol == "json"


@pytest.mark.parametrize(("service", "name"), OPERATIONS)
def test_no_answer_has_what_the_parser_passes_over(service, name):
    """Members by another name, and unions, which botocore checks."""
    waiting, seen = [operation(service, name).output_shape], set()
    while waiting:
        shape = waiting.pop()
        if shape is None or shape.name in seen:
            continue
        seen.add(shape.name)
        parts = {"structure": lambda s: list(s.members.values()), "list": lambda s: [s.member]}
        parts["map"] = lambda s: [s.key, s.value]
        found = parts.get(shape.type_name, lambda _: [])(shape)
        waiting += found
        assert not getattr(shape, "is_tagged_union", False)
        assert not [each for each in found if "name" in each.serialization]


# ── Whole calls ──────────────────────────────────────────────────────────────────────────────────


class Wire:
    """What comes back instead of what AWS would say; the last answer again and again."""

    def __init__(self, *answers):
        self.answers, self.sent = list(answers), []

    def __call__(self, request, **_):
        self.sent.append(request)
        status, headers, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return AWSResponse(request.url, status, {"x-amzn-requestid": "ID", **headers}, _Body(body))


class _Body:
    def __init__(self, content):
        self.content = content

    def stream(self):
        yield self.content


def ours():
    return clients.dynamodb()


BOTH = pytest.mark.parametrize("client", [ours, plain])


def over(wire, client, call):
    """What a call came to: the answer, or the error."""
    client.meta.events.register("before-send", wire, unique_id="wire")
    try:
        return call(client)
    except (ClientError, BotoCoreError) as error:
        return error
    finally:
        client.meta.events.unregister("before-send", unique_id="wire")


def put(client):
    return client.put_item(TableName="t", Item={"id": {"S": "é"}, "body": {"B": b"\0\1"}})


def get(client):
    return client.get_item(TableName="t", Key={"id": {"S": "1"}})


@pytest.fixture(autouse=True)
def anew(monkeypatch):
    """Clients that have all their attempts, and do not wait between them: without a good answer they end after some."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    clients.forget()
    plain.cache_clear()
    yield
    clients.forget()


def good(content):
    body = json.dumps(content).encode()
    return 200, {"x-amz-crc32": str(crc32(body))}, body


def refused(code, status=400, **more):
    return status, {}, json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", **more}).encode()


ITEM = {"id": {"S": "1"}, "body": {"B": "eHl6"}, "more": {"L": [{"M": {"B": {"B": "eHl6"}}}]}}
CANCELLED = [
    {"Code": "None"},
    {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed", "Item": ITEM},
    {"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"},
]

ERRORS = {
    "condition": refused("ConditionalCheckFailedException", message="The conditional request failed", Item=ITEM),
    "condition without item": refused("ConditionalCheckFailedException", message="The conditional request failed"),
    "transaction": refused(
        "TransactionCanceledException",
        Message="Transaction cancelled, please refer cancellation reasons for specific reasons [None, …]",
        CancellationReasons=CANCELLED,
    ),
    "throughput": refused("ProvisionedThroughputExceededException", message="Too many."),
    "throttled": refused("ThrottlingException", message="Rate exceeded"),
    "in progress": refused("TransactionInProgressException", Message="In progress"),
    "no table": refused("ResourceNotFoundException", message="Requested resource not found"),
    "validation": (400, {}, b'{"__type":"com.amazon.coral.validate#ValidationException","message":"no key"}'),
    "unknown code": refused("FutureException", message="?"),
    "no code": (400, {}, b"{}"),
    "internal": refused("InternalServerError", 500, message="Internal"),
    "html": (503, {}, b"<html><body><b>Http/1.1 Service Unavailable</b></body></html>"),
    "empty": (500, {}, b""),
    "text": (502, {}, b"Bad gateway"),
    "empty and theirs": (400, {}, b""),
    "too many": (429, {}, b""),
    "moved": (301, {}, b""),
}


@pytest.mark.parametrize("recorded", ERRORS.values(), ids=ERRORS)
def test_an_error_is_botocores_after_as_many_attempts(recorded):
    one, other = Wire(recorded), Wire(recorded)

    ends = over(one, ours(), put), over(other, plain(), put)

    assert [type(end).__name__ for end in ends] == [type(ends[1]).__name__] * 2
    assert isinstance(ends[0], ClientError)
    assert ends[0].response == ends[1].response
    assert str(ends[0]) == str(ends[1])
    assert len(one.sent) == len(other.sent)


def test_a_refused_condition_shows_the_item():
    error = over(Wire(ERRORS["condition"]), ours(), put)

    assert isinstance(error, ours().exceptions.ConditionalCheckFailedException)
    assert error.response["Item"]["body"] == {"B": b"xyz"}
    assert error.response["Item"]["more"] == {"L": [{"M": {"B": {"B": b"xyz"}}}]}


def test_a_cancelled_transaction_says_why():
    error = over(Wire(ERRORS["transaction"]), ours(), put)

    reasons = error.response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["None", "ConditionalCheckFailed", "TransactionConflict"]
    assert reasons[1]["Item"]["body"] == {"B": b"xyz"}


@BOTH
@pytest.mark.parametrize("name", ["throughput", "throttled", "internal", "html", "empty", "text", "too many"])
def test_tries_again_where_it_may_pass(client, name):
    wire = Wire(ERRORS[name], good({"Item": ITEM}))

    assert over(wire, client(), get)["Item"]["body"] == {"B": b"xyz"}
    assert len(wire.sent) == 2


GARBLED = {
    "text": b"not JSON",
    "cut off": b'{"Item": {"id": {"S": "1"}, "bo',
    "not UTF-8": b'{"Item": {"id": {"S": "\xff"}}}',
    "UTF-16": '{"Item": {}}'.encode("utf-16"),
    "list": b"[]",
    "string": b'"Item"',
    "number": b"1",
    "null": b"null",
    "deep": b"[" * 100_000,
    "deep attributes": b'{"Item": {"a": ' + b'{"L": [' * 20_000 + b"]}" * 20_000 + b"}}",
    "base64": b'{"Item": {"body": {"B": "a"}}}',
    "base64 of a number": b'{"Item": {"body": {"B": 1}}}',
    "item": b'{"Item": "x"}',
    "attribute": b'{"Item": {"B": "B"}}',
    "null attribute": b'{"Item": {"id": null}}',
    "list of attributes": b'{"Item": {"id": {"L": 5}}}',
}


@pytest.mark.parametrize("body", GARBLED.values(), ids=GARBLED)
def test_an_answer_that_cannot_be_read_is_asked_for_again_then_refused(body):
    wire = Wire((200, {}, body))

    error = over(wire, ours(), get)

    assert isinstance(error, GarbledAnswer)
    assert isinstance(error, ResponseParserError)
    assert len(wire.sent) == 3
    assert re.fullmatch(r"The answer cannot be read: \w*Error", str(error))


@pytest.mark.parametrize("body", GARBLED.values(), ids=GARBLED)
def test_an_answer_that_can_be_read_the_second_time_is_fine(body):
    wire = Wire((200, {}, body), good({"Item": ITEM}))

    assert over(wire, ours(), get)["Item"]["id"] == {"S": "1"}


@pytest.mark.parametrize("body", [*GARBLED.values(), b'{"__type": 5}', b'{"__type": ["a"], "message": 1}'])
@pytest.mark.parametrize(("status", "attempts"), [(400, 1), (500, 3)])
def test_an_error_that_cannot_be_read_has_its_status_for_a_code(body, status, attempts):
    wire = Wire((status, {}, body))

    error = over(wire, ours(), get)

    assert isinstance(error, ClientError)
    assert error.response["Error"]["Code"] == str(status)
    assert len(wire.sent) == attempts


@pytest.mark.parametrize("reasons", ["x", [1], {"a": 1}, [{"Item": "x"}], [{"Item": {"a": {"B": "a"}}}]])
def test_reasons_that_cannot_be_read_are_left_out(reasons):
    garbled = refused("TransactionCanceledException", Message="cancelled", CancellationReasons=reasons)

    error = over(Wire(garbled), ours(), put)

    assert isinstance(error, ours().exceptions.TransactionCanceledException)
    assert not error.response.get("CancellationReasons")


@settings(max_examples=300, deadline=None)
@given(data=st.data(), status=st.sampled_from([200, 300, 400, 403, 500, 503]))
def test_whatever_comes_ends_as_an_answer_or_as_botocores_exception(data, status):
    whole = json.dumps({"__type": "ConditionalCheckFailedException", "Item": ITEM, "CancellationReasons": CANCELLED})
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    body = whole[:start].encode() + data.draw(st.binary(max_size=4)) + whole[end:].encode()

    came = over(Wire((status, {}, body)), ours(), get)

    assert isinstance(came, dict | ClientError | BotoCoreError)


@BOTH
def test_an_answer_with_another_checksum_is_asked_for_again(client):
    changed = (200, {"x-amz-crc32": "1"}, b'{"Item": {"id": {"S": "2"}}}')
    wire = Wire(changed, changed, good({"Item": ITEM}))

    assert over(wire, client(), get)["Item"]["id"] == {"S": "1"}
    assert len(wire.sent) == 3


@pytest.mark.parametrize("length", [0, 1, 17, 63])
def test_an_answer_that_was_cut_off_is_asked_for_again(length):
    status, headers, body = good({"Item": ITEM})
    wire = Wire((status, headers, body[:length]), (status, headers, body))

    assert over(wire, ours(), get)["Item"]["id"] == {"S": "1"}
    assert len(wire.sent) == 2


# ── What is sent ─────────────────────────────────────────────────────────────────────────────────


def sent(client, call):
    wire = Wire(good({}))
    over(wire, client, call)
    [request] = wire.sent
    headers = {name: str(value) for name, value in request.headers.items()}
    del headers["amz-sdk-invocation-id"]
    return headers.pop("User-Agent"), (request.method, request.url, request.body, headers)


@pytest.fixture
def same_time(monkeypatch):
    """And the same credentials: those that a session has found, it keeps."""
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: MOMENT)
    clients._session.cache_clear()
    session.cache_clear()
    yield
    clients._session.cache_clear()


@pytest.mark.usefixtures("same_time")
@pytest.mark.parametrize("call", [put, get])
def test_sends_and_signs_what_botocore_does_but_for_its_name(call):
    name, request = sent(ours(), call)

    assert request == sent(plain(), call)[1]
    assert name.startswith(f"b'Botocore/{botocore.__version__} Python/")


@pytest.mark.usefixtures("same_time")
@pytest.mark.parametrize("region", ["eu-central-1", "us-east-1", "us-gov-west-1", "cn-north-1", "ap-southeast-7"])
@pytest.mark.parametrize("setting", [None, "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"])
def test_calls_the_endpoint_that_the_rules_give(region, setting, monkeypatch):
    if setting:
        monkeypatch.setenv(setting, "true")
    client = clients._session().create_client("dynamodb", region_name=region)
    theirs = session().create_client("dynamodb", config=clients._CONFIG, region_name=region)

    assert sent(client, get)[1] == sent(theirs, get)[1]


def test_asks_for_its_endpoint_once(monkeypatch):
    asked = []
    genuine = EndpointRulesetResolver.construct_endpoint

    def construct_endpoint(*call, **more):
        asked.append(more["operation_model"].name)
        return genuine(*call, **more)

    monkeypatch.setattr(EndpointRulesetResolver, "construct_endpoint", construct_endpoint)

    assert sent(ours(), put)[1][1] == sent(ours(), get)[1][1] == "https://dynamodb.eu-central-1.amazonaws.com/"
    assert asked == ["PutItem"]


def test_has_one_name():
    assert sent(ours(), get)[0].startswith(f"b'{ours().meta.config.user_agent}")


def test_the_events_of_a_call_are_told():
    told, events = [], ours().meta.events
    names = ["provide-client-params", "before-call", "request-created", "before-send", "after-call"]
    for name in names:
        events.register(f"{name}.dynamodb.GetItem", lambda event_name, **_: told.append(event_name), unique_id=name)

    over(Wire(good({"Item": ITEM})), ours(), get)

    for name in names:
        events.unregister(f"{name}.dynamodb.GetItem", unique_id=name)
    assert told == [f"{name}.dynamodb.GetItem" for name in names]


# ── Beside moto ──────────────────────────────────────────────────────────────────────────────────

KEY = {"id": {"S": "é"}}
FULL = {
    **KEY,
    "n": {"N": "1.50"},
    "b": {"B": b"\0\xff"},
    "yes": {"BOOL": True},
    "nothing": {"NULL": True},
    "ss": {"SS": ["a", "b"]},
    "ns": {"NS": ["1", "2"]},
    "bs": {"BS": [b"\1", b"\2"]},
    "m": {"M": {"B": {"B": b"x"}, "empty": {"M": {}}}},
    "l": {"L": [{"L": []}, {"B": b"y"}, {"S": ""}]},
}
ABSENT = {"ConditionExpression": "attribute_not_exists(id)", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("put_item", {"Item": FULL, "ReturnValues": "ALL_OLD", "ReturnConsumedCapacity": "TOTAL"}),
    ("put_item", {"Item": FULL, **ABSENT}),
    ("get_item", {"Key": KEY, "ConsistentRead": True}),
    ("get_item", {"Key": {"id": {"S": "none"}}}),
    (
        "update_item",
        {
            "Key": KEY,
            "UpdateExpression": "SET #b = :b",
            "ExpressionAttributeNames": {"#b": "b"},
            "ExpressionAttributeValues": {":b": {"B": b"new"}},
            "ReturnValues": "ALL_NEW",
        },
    ),
    ("batch_write_item", {"RequestItems": {"t": [{"PutRequest": {"Item": {**FULL, "id": {"S": "2"}}}}]}}),
    ("batch_get_item", {"RequestItems": {"t": {"Keys": [KEY, {"id": {"S": "2"}}]}}}),
    ("query", {"KeyConditionExpression": "id = :id", "ExpressionAttributeValues": {":id": KEY["id"]}}),
    ("query", {"KeyConditionExpression": "id = :id", "ExpressionAttributeValues": {":id": {"S": "none"}}}),
    ("transact_write_items", {"TransactItems": [{"Put": {"TableName": "t", "Item": FULL}}]}),
    ("transact_write_items", {"TransactItems": [{"Put": {"TableName": "t", "Item": FULL, **ABSENT}}]}),
    ("transact_get_items", {"TransactItems": [{"Get": {"TableName": "t", "Key": KEY}}]}),
    ("delete_item", {"Key": KEY, "ReturnValues": "ALL_OLD"}),
    ("delete_item", {"Key": KEY, "TableName": "unknown"}),
]


def told_by_moto(client):
    with mock_aws():
        client.create_table(
            TableName="t",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for name, asked in CALLS:
            several = "RequestItems" in asked or "TransactItems" in asked
            try:
                came = getattr(client, name)(**(asked if several else {"TableName": "t", **asked}))
            except ClientError as error:
                came = {"raised": type(error).__name__, **error.response}
            yield name, {part: content for part, content in came.items() if part != "ResponseMetadata"}


def test_every_operation_comes_to_the_same_beside_moto():
    told = list(told_by_moto(ours()))

    assert told == list(told_by_moto(plain()))
    assert {client_method(name) for name in OF_DYNAMODB} == {name for name, _ in told}
    assert [came["raised"] for _, came in told if "raised" in came] == [
        "ConditionalCheckFailedException",
        "TransactionCanceledException",
        "ResourceNotFoundException",
    ]


def client_method(name):
    return next(method for method, known in plain()._PY_TO_OP_NAME.items() if known == name)


def test_a_time_is_read():
    with mock_aws():
        clients.secrets().create_secret(Name="s", SecretBinary=b"\0")
        found = clients.secrets().get_secret_value(SecretId="s")

    assert (found["SecretBinary"], found["CreatedDate"].tzinfo is not None) == (b"\0", True)
    assert found["CreatedDate"].astimezone(UTC).year > 2020
