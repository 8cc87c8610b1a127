"""The edge, on a function of its own: what is let in, and how every failure looks."""

import base64
import json
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from aws_lambda_powertools.event_handler import Response
from botocore.exceptions import ClientError, ReadTimeoutError
from makers import USER, Answered, Context, api_event
from pynamodb.exceptions import PutError

from shared import api, clients, exact_json, problems, schemas

SECRET = "hunter2-hunter2"


class Thing(schemas.ApiCredentials):
    name: schemas.Name
    size: schemas.StrictInt | None = None
    more: dict[str, Any] | None = None


class Function:
    """A Lambda function whose route a test decides."""

    def __init__(self):
        self.calls = 0
        self.act = lambda thing: api.Response(201, "application/json", exact_json.dumps({"more": thing.more}))
        app = api.resolver()

        @app.post("/things")
        def make(new: Thing) -> Response[str]:
            self.calls += 1
            return self.act(new)

        @app.get("/things/<thingId>")
        def read(thingId: str, limit: api.Limit = api.LIMIT, cursor: api.Cursor = None) -> Response[str]:  # noqa: N803
            caller = api.caller(app)
            seen = {"limit": limit, "user": caller.user_id, "teams": sorted(caller.teams)}
            return Response(200, "application/json", exact_json.dumps({**seen, "version": api.expected_version(app)}))

        self.app = app
        self.handler = api.entrypoint(app, api.Once())

    def __call__(self, method="POST", path="/things", body=None, **more):
        return self.answer(api_event(method, path, body, **more))

    def answer(self, event):
        answer = self.handler(event, Context())
        return Answered(answer["statusCode"], dict(answer["headers"]), answer["body"])


@pytest.fixture
def function():
    return Function()


# ── Bodies ───────────────────────────────────────────────────────────────────────────────────────


def test_numbers_go_through_to_the_last_digit(function):
    raw = '{"name":"x","more":{"a":4.80,"b":1E+400,"c":12345678901234567890,"d":"é😀"}}'

    assert function(raw=raw).text == '{"more":{"a":4.80,"b":1E+400,"c":12345678901234567890,"d":"é😀"}}'


def test_a_body_in_base64_is_the_same_body(function):
    raw = base64.b64encode('{"name":"Größe","more":{"a":1}}'.encode()).decode()

    assert function(raw=raw, base64=True).text == '{"more":{"a":1}}'


@pytest.mark.parametrize(
    "media_type", ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"]
)
def test_takes_json_by_its_media_types(function, media_type):
    assert function(body={"name": "x"}, headers={"content-type": media_type}).status == 201


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_refuses_another_media_type(function, media_type):
    answer = function(body={"name": "x"}, headers={"content-type": media_type})

    assert (answer.status, answer.problem) == (415, "media-type-unsupported")


def body_of(size):
    """A good body of this many bytes."""
    return '{"name":"x","more":{"a":"' + "y" * (size - 28) + '"}}'


@pytest.mark.parametrize("encoded", [False, True])
def test_takes_256_kib_and_not_a_byte_more(function, encoded):
    for size, status in ((api.LARGEST_BODY, 201), (api.LARGEST_BODY + 1, 413)):
        raw = body_of(size)
        assert len(raw) == size
        if encoded:
            raw = base64.b64encode(raw.encode()).decode()
        assert function(raw=raw, base64=encoded).status == status


def test_counts_bytes_not_characters(function):
    answer = function(raw='{"name":"' + "é" * (api.LARGEST_BODY // 2) + '"}')

    assert answer.problem == "body-too-large"


@pytest.mark.parametrize(
    "raw",
    [
        "{",
        '{"name":"x"} {}',
        '{"name":"x","name":"y"}',
        '{"name":"x","more":{"a":NaN}}',
        '{"name":"x","more":{"a":-Infinity}}',
        '{"name":"x","size":' + "9" * 5_000 + "}",
        '{"name":"x","more":{"a":1e99999999999999999999}}',
        '{"name":"x","more":{"a":' + "[" * 100_000 + "]" * 100_000 + "}}",
        '{"name":"x","more":{"a":' + "[" * 500 + "]" * 500 + "}}",
        r'{"name":"\ud800"}',
        '{"name":"\ud800"}',
        "\0",
    ],
    ids=lambda raw: ascii(raw)[:40],
)
def test_refuses_what_is_not_well_formed(function, raw):
    answer = function(raw=raw)

    assert (answer.status, answer.problem) == (400, "body-malformed")
    assert function.calls == 0


@pytest.mark.parametrize(
    "raw", [b'{"name":"\xff"}', b"\xff\xfe{\x00}\x00", b'{"name":"\xed\xa0\x80"}', b"\x1f\x8b\x08"]
)
def test_refuses_bytes_that_are_not_utf_8(function, raw):
    answer = function(raw=base64.b64encode(raw).decode(), base64=True)

    assert (answer.status, answer.problem) == (400, "body-malformed")


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ("[]", "body"),
        ("null", "body"),
        ('"text"', "body"),
        ("7", "body"),
        ("{}", "body.name"),
        ('{"name":7}', "body.name"),
        ('{"name":"x","size":"7"}', "body.size"),
        ('{"name":"x","size":7.0}', "body.size"),
        ('{"name":"x","size":true}', "body.size"),
        ('{"name":"x","unknown":1}', "body.unknown"),
        ('{"name":"x","more":[]}', "body.more"),
        ('{"name":"x","apiKey":7}', "body.apiKey"),
    ],
)
def test_says_which_field_is_wrong(function, raw, field):
    answer = function(raw=raw)

    assert (answer.status, answer.problem) == (422, "request-invalid")
    assert [error["field"] for error in answer.json["errors"]] == [field]


def test_a_missing_body_is_a_problem_too(function):
    assert function().problem in {"request-invalid", "body-malformed"}


def test_lists_at_most_fifty_errors_and_no_endless_name(function):
    answer = function(body={"name": "x", **{f"{number}{'n' * 1_000}": 1 for number in range(100)}})

    assert len(answer.json["errors"]) == 50
    assert len(answer.text) < 50_000


# ── Secrets ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "body",
    [
        {"name": 7, "apiKey": SECRET},
        {"name": "x", "apiKey": [SECRET]},
        {"name": "x", "apiKey": SECRET * 1_000},
        {"name": "x", "accessToken": {"a": SECRET}, "webhookSecret": SECRET},
        {"name": "x", "settings": {"apiKey": SECRET}},
        f'{{"apiKey":"{SECRET}"',
        f'{{"apiKey":"{SECRET}","apiKey":"{SECRET}"}}',
        f'{{"apiKey":"{SECRET}\ud800"}}',
        f'"{SECRET}"',
    ],
    ids=lambda body: ascii(body)[:40],
)
def test_no_refusal_and_no_log_holds_a_credential(function, body, capfd, caplog):
    answer = function(raw=body) if isinstance(body, str) else function(body=body)

    assert answer.status in {400, 422}
    out, err = capfd.readouterr()
    assert "hunter2" not in answer.text + out + err + caplog.text


def test_an_unexpected_error_is_logged_and_shown_without_detail(function, caplog, capfd):
    def fail(thing):
        raise RuntimeError("a detail that callers need not know")

    function.act = fail

    answer = function(body={"name": "x", "apiKey": SECRET})

    assert (answer.status, answer.problem) == (500, "internal-error")
    assert "detail that callers" not in answer.text
    assert "detail that callers" in caplog.text
    assert "hunter2" not in caplog.text + "".join(capfd.readouterr())


def test_an_answer_of_ours_that_is_not_valid_is_our_fault_and_not_shown(function, caplog):
    def answer_wrongly(thing):
        return schemas.StatusReason.model_validate({"code": {"secret": SECRET}})

    function.act = answer_wrongly

    assert function(body={"name": "x"}).problem == "internal-error"
    assert "hunter2" not in caplog.text


def client_error(code):
    return ClientError({"Error": {"Code": code, "Message": ""}}, "PutItem")


@pytest.mark.parametrize(
    "error",
    [
        client_error("ProvisionedThroughputExceededException"),
        PutError("Failed", client_error("ThrottlingException")),
        PutError("Failed", client_error("InternalServerError")),
        PutError("Failed", ReadTimeoutError(endpoint_url="https://dynamodb.example.com")),
    ],
    ids=repr,
)
def test_what_passes_at_aws_is_503_with_retry_after(function, error):
    def fail(thing):
        raise error

    function.act = fail

    answer = function(body={"name": "x"})

    assert (answer.status, answer.problem, answer.headers["Retry-After"]) == (503, "service-busy", "5")


def test_what_does_not_pass_at_aws_is_500(function):
    def fail(thing):
        raise PutError("Failed", client_error("AccessDeniedException"))

    function.act = fail

    assert function(body={"name": "x"}).problem == "internal-error"


# ── Problems ─────────────────────────────────────────────────────────────────────────────────────


def every_problem():
    return [kind for kind in problems.every() if kind is not problems.InternalError]


@pytest.mark.parametrize("kind", every_problem(), ids=lambda kind: kind.name())
def test_every_problem_is_rendered_as_rfc_9457_says(function, kind):
    def fail(thing):
        raise kind("What happened.", errors=[1])

    function.act = fail

    answer = function(body={"name": "x"})

    assert answer.status == kind.status >= 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json == {
        "type": f"https://api.example.com/docs#{kind.name()}",
        "title": kind.title,
        "status": kind.status,
        "detail": "What happened.",
        "errors": [1],
    }
    assert answer.headers.get("Retry-After") == (str(kind.retry_after) if kind.retry_after else None)


def test_our_fault_says_when_to_try_again():
    for kind in problems.every():
        assert (kind.status in {429, 503}) <= (kind.retry_after is not None), kind


def test_a_problem_may_say_when_to_try_again(function):
    def fail(thing):
        raise problems.PlatformBusy("Wait.", retry_after=17)

    function.act = fail

    assert function(body={"name": "x"}).headers["Retry-After"] == "17"


@pytest.mark.parametrize(("method", "path"), [("GET", "/nothing"), ("DELETE", "/things/1"), ("GET", "/things/a/b")])
def test_an_unknown_route_is_404(function, method, path):
    answer = function(method, path)

    assert (answer.status, answer.problem) == (404, "route-not-found")


# ── Who calls ────────────────────────────────────────────────────────────────────────────────────


def with_claims(claims):
    event = api_event("GET", "/things/1")
    event["requestContext"]["authorizer"]["jwt"]["claims"] = claims
    return event


@pytest.mark.parametrize("claims", [{}, {"sub": ""}, {"sub": None}, {"sub": 7}, {"username": "demo-user-1"}])
def test_a_token_without_a_subject_is_nobodys(function, claims):
    assert function.answer(with_claims(claims)).problem == "caller-unknown"


def test_no_authorizer_is_nobody(function):
    event = api_event("GET", "/things/1")
    del event["requestContext"]["authorizer"]

    assert function.answer(event).problem == "caller-unknown"


@pytest.mark.parametrize(
    ("claim", "teams"),
    [
        ("[a b]", ["a", "b"]),
        ("[a]", ["a"]),
        ("[]", []),
        ("", []),
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        ("a b", ["a", "b"]),
        ('["a","b c"]', ["a", "b c"]),
        ('["a"', []),
        ('["a",7,"",null]', ["a"]),
        (["a", 7, ""], ["a"]),
        (None, []),
        (7, []),
        ({"a": "b"}, []),
    ],
    ids=repr,
)
def test_reads_the_teams_of_a_claim(function, claim, teams):
    answer = function.answer(with_claims({"sub": USER, "teams": claim}))

    assert answer.json["teams"] == teams


# ── Headers and parameters ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("header", "version"), [('"3"', 3), (' "3" ', 3), ("*", None), (None, None), ('"0"', 0)])
def test_reads_if_match(function, header, version):
    headers = {"if-match": header} if header is not None else {}

    assert function("GET", "/things/1", headers=headers).json["version"] == version


@pytest.mark.parametrize(
    "header", ["3", '""', '"a"', 'W/"3"', '"1", "2"', '"-1"', '"3', '"1e3"', '"٣"', '"9' * 40 + '"']
)
def test_refuses_another_if_match(function, header):
    assert function("GET", "/things/1", headers={"if-match": header}).problem == "request-invalid"


@pytest.mark.parametrize("limit", ["1", "50", "100"])
def test_takes_a_limit(function, limit):
    assert function("GET", "/things/1", query={"limit": limit}).json["limit"] == int(limit)


@pytest.mark.parametrize("limit", ["0", "101", "-1", "", "ten", "1.5", "1,2", "9" * 5_000, "NaN"])
def test_refuses_another_limit(function, limit):
    assert function("GET", "/things/1", query={"limit": limit}).problem == "request-invalid"


def test_refuses_a_huge_cursor(function):
    assert function("GET", "/things/1", query={"cursor": "a" * 1_025}).problem == "request-invalid"


def test_reads_a_moment():
    assert api.moment("2026-11-22T11:00:00+01:00", "since") == datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert api.moment(None, "since") is None


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-11-22", "2026-11-22T10:00:00", "0001-01-01T00:00:00+23:59", "2026-13-01T00:00:00Z"]
)
def test_refuses_another_moment(text):
    with pytest.raises(problems.RequestInvalid, match="since takes an RFC 3339 time"):
        api.moment(text, "since")


# ── Idempotency-Key ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def counting(aws, function):
    numbers = count(1)
    function.act = lambda thing: Response(201, "application/json", f'{{"number":{next(numbers)}}}', {"ETag": '"1"'})
    return function


def asked(function, key="key-1", body=None, **more):
    return function(body=body or {"name": "x"}, headers={"idempotency-key": key}, **more)


def test_the_same_key_gives_the_same_answer_and_one_effect(counting):
    first, second = asked(counting), asked(counting)

    assert first == second
    assert (first.text, first.headers["ETag"], counting.calls) == ('{"number":1}', '"1"', 1)


def test_another_key_another_user_and_no_key_are_other_requests(counting):
    asked(counting)

    assert asked(counting, "key-2").text == '{"number":2}'
    assert asked(counting, user="demo-user-2").text == '{"number":3}'
    assert counting(body={"name": "x"}).text == '{"number":4}'


def test_a_key_reused_with_another_body_is_refused(counting):
    asked(counting)

    answer = asked(counting, body={"name": "another"})

    assert (answer.status, answer.problem, counting.calls) == (422, "idempotency-key-reused", 1)


def test_a_key_whose_first_request_runs_is_in_progress(counting):
    inner = []

    def ask_again(thing):
        inner.append(asked(counting))
        return Response(201, "application/json", "{}")

    counting.act = ask_again

    assert asked(counting).status == 201
    assert (inner[0].status, inner[0].problem, counting.calls) == (409, "idempotency-in-progress", 1)
    assert inner[0].headers["Retry-After"] == "1"


def test_a_failed_answer_is_not_kept(counting):
    succeed = counting.act

    def fail(thing):
        raise problems.PlatformBusy("Wait.")

    for act in (fail, lambda thing: 1 / 0):
        counting.act = act
        assert asked(counting).status >= 500
    counting.act = succeed

    assert asked(counting).status == 201
    assert asked(counting, body={"name": "another"}).problem == "idempotency-key-reused"


REFUSED = ["", " ", "a b", "é", "a\tb", "k" * 256]


def test_refuses_a_key_that_is_empty_long_or_not_visible_ascii(counting, subtests):
    for key in REFUSED:
        with subtests.test(key=key):
            answer = asked(counting, key)

            assert (answer.status, answer.problem, counting.calls) == (400, "idempotency-key-invalid", 0)


def test_nothing_of_a_body_is_kept_beside_the_key(counting):
    asked(counting, body={"name": "x", "apiKey": SECRET})

    kept = clients.dynamodb().scan(TableName="storelink-idempotency")["Items"]

    assert len(kept) == 1
    assert "hunter2" not in json.dumps(kept)


def test_a_table_that_cannot_be_reached_is_our_fault_and_a_problem(counting):
    clients.dynamodb().delete_table(TableName="storelink-idempotency")

    answer = asked(counting)

    assert (answer.status, answer.problem, counting.calls) == (500, "internal-error", 0)
