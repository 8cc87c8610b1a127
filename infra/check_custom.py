"""Asks a custom store's server for every rule of our contract, docs/custom-openapi.yaml, that can be seen from outside.

    CUSTOM_KEY=… python -m infra.check_custom https://shop.example.com/storelink

The key comes in CUSTOM_KEY, and the secret of a pair in CUSTOM_SECRET, as command lines are seen by others. One line
for each rule: PASS, FAIL or SKIP, and what was seen. Exits with 1 where a rule failed.

The server is only read, save for one subscription of an address that does not exist, which is made and removed again.
"""

import argparse
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from shared.platforms.base import Answer, Connection, Json, PlatformError, Record, Refusal, Resource
from shared.platforms.custom import Breach, Custom, Rule, read_record

LONGEST_ANSWER = 8 * 1024 * 1024
PATIENCE = 30.0
_PAGES, _SMALL_PAGES = 3, 12
"""How far the check reads: with the largest pages, and with small ones."""
_SMALL = 4
_CLOCKS_APART = timedelta(minutes=5)
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_ABSENT = "storelink-check-no-such-record"
_NOWHERE = "https://storelink-check.invalid/webhooks/CUSTOM/check"
_CUSTOM = Custom()
NOT_CHECKED = (
    "that updatedAt moves with every change",
    "that cursors are positions and no counts, and last 24 hours",
    "429 with Retry-After",
    "deliveries and their signatures",
)


class Failed(Exception):
    """A rule does not hold; the text is what was seen."""


class Skipped(Exception):
    """A rule cannot be seen here; the text is why."""


class Verdict(NamedTuple):
    """What became of one rule."""

    word: str
    rule: str
    seen: str

    def __str__(self) -> str:
        return f"{self.word}  {self.rule}: {self.seen}"


class Plain:
    """Fits :class:`shared.platforms.base.Http`, for any address: an httpx client with the contract's limits."""

    def __init__(self, client: httpx.Client) -> None:
        self.answers: list[Answer] = []
        """All that came, newest last."""
        self._client = client

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        content: bytes | None = None,
        basic: tuple[str, str] | None = None,
        repeatable: bool = True,  # noqa: ARG002 - nothing is repeated
    ) -> Answer:
        """One request, read whole within its limits."""
        options: Json = {"params": params, "headers": headers, "json": json, "content": content}
        if basic:
            options["auth"] = basic
        try:
            with self._client.stream(method, url, timeout=PATIENCE, **options) as response:
                answer = Answer(response.status_code, dict(response.headers), _body(response))
        except (httpx.HTTPError, httpx.InvalidURL) as failure:
            raise PlatformError(Refusal.UNREACHABLE, f"{method} {urlsplit(url).path}: {failure}") from None
        if answer.status in range(300, 400):
            raise PlatformError(Refusal.ADDRESS, "redirects are not followed", status=answer.status)
        self.answers.append(answer)
        return answer


def _body(response: httpx.Response) -> bytes:
    parts, size = [], 0
    for part in response.iter_bytes():
        size += len(part)
        if size > LONGEST_ANSWER:
            raise PlatformError(Refusal.NOT_THE_PLATFORM, "an answer has more than 8 MiB")
        parts.append(part)
    return b"".join(parts)


def check(url: str, key: str, secret: str, client: httpx.Client, now: datetime) -> Iterator[Verdict]:
    """The verdicts on all rules, one after the other."""
    asker = _Asker(url.rstrip("/"), key, secret, Plain(client), now)
    for name, rule in _rules(asker):
        try:
            yield Verdict("PASS", name, rule())
        except Skipped as why:
            yield Verdict("SKIP", name, str(why))
        except Failed as seen:
            yield Verdict("FAIL", name, str(seen))
        except PlatformError as error:
            yield Verdict("FAIL", name, error.detail)


def _rules(asker: "_Asker") -> Iterator[tuple[str, Callable[[], str]]]:
    yield "the address is https", asker.address
    yield "GET / says which store it is", asker.identity
    yield "answers are JSON and say so", asker.json
    yield "answers have a Date that is right", asker.date
    yield "another key is refused", asker.refuses_keys
    for resource in Resource:
        reading = _Reading(asker, resource)
        for rule in Rule:
            yield f"{resource}: {rule}", partial(reading.keeps_to, rule)
        yield f"{resource}: pages are sorted, and end", reading.pages
        yield f"{resource}: no page is larger than limit", reading.limit
        yield f"{resource}: small pages bring the same rows", reading.small_pages
        yield f"{resource}: updated_since leaves out what is older, and nothing else", reading.since
        yield f"{resource}: by id, as in the list", reading.by_id
        yield f"{resource}: an unknown id is 404 not_found", reading.unknown_id
        yield f"{resource}: a made-up cursor is refused", reading.cursor
    yield "webhooks: a subscription is made, listed and removed", asker.webhooks


class _Asker:
    """One server, and the rules that are not about records."""

    def __init__(self, url: str, key: str, secret: str, http: Plain, now: datetime) -> None:
        self.url = url
        self.http = http
        self.now = now
        credentials = {"api_key": key, **({"api_secret": secret} if secret else {})}
        self.connection = Connection(url, credentials, currency="USD")

    def asked(self, path: str, **parameters: str) -> Answer:
        """A bare GET with the key."""
        key, secret = (self.connection.credentials.get(name, "") for name in ("api_key", "api_secret"))
        if secret:
            return self.http.request("GET", f"{self.url}{path}", params=parameters, basic=(key, secret))
        return self.http.request(
            "GET", f"{self.url}{path}", params=parameters, headers={"Authorization": f"Bearer {key}"}
        )

    def address(self) -> str:
        parts = urlsplit(self.url)
        if parts.scheme == "https":
            return self.url
        if parts.hostname in _LOOPBACK:
            raise Skipped("http is fine on this machine, and nowhere else")
        raise Failed(f"it is {parts.scheme}")

    def identity(self) -> str:
        """The adapter's own probe reads a few records too; only what it says of the store counts here."""
        identity = _CUSTOM.identify(self.connection, self.http)
        return f"{identity.store_id}, {identity.store_name}, {identity.currency}, {identity.timezone}"

    def json(self) -> str:
        seen = [_media_type(self.asked(path)) for path in ("/", "/orders", "/products")]
        if set(seen) != {"application/json"}:
            raise Failed(f"Content-Type of /, /orders and /products: {', '.join(seen)}")
        return "Content-Type is application/json"

    def date(self) -> str:
        given = self.asked("/").headers.get("date", "")
        try:
            apart = abs(parsedate_to_datetime(given) - self.now)
        except (TypeError, ValueError):
            raise Failed(f"Date is {given[:60]!r}") from None
        if apart > _CLOCKS_APART:
            raise Failed(f"Date is {apart} off")
        return given

    def refuses_keys(self) -> str:
        other = {"Authorization": f"Bearer {secrets.token_hex(20)}"}
        for what, headers in (("without a key", {}), ("with another key", other)):
            answer = self.http.request("GET", f"{self.url}/orders", headers=headers)
            _expect(answer, f"GET /orders {what}", HTTPStatus.UNAUTHORIZED, "unauthorized")
        return "401 unauthorized"

    def webhooks(self) -> str:
        if self.asked("/webhooks").status == HTTPStatus.NOT_FOUND:
            raise Skipped("the server has no webhooks")
        secret = secrets.token_hex(24)
        try:
            made = _CUSTOM.reconcile(self.connection, _NOWHERE, secret, self.http)
            kept = _CUSTOM.reconcile(self.connection, _NOWHERE, secret, self.http)
            if (made.created, kept.kept) != (1, 1):
                raise Failed("PUT /webhooks answered well, but GET /webhooks does not list what was put")
            if secret.encode() in self.asked("/webhooks").body:
                raise Failed("GET /webhooks shows the secret")
        finally:
            _CUSTOM.unsubscribe(self.connection, _NOWHERE, self.http)
        if _NOWHERE.encode() in self.asked("/webhooks").body:
            raise Failed("DELETE /webhooks answered well, but the subscription is still listed")
        return "yes"


class _Reading:
    """The rules about one kind of records."""

    def __init__(self, asker: _Asker, resource: Resource) -> None:
        self._asker = asker
        self._resource = resource
        self._rows: list[Any] | None = None
        self._walked: list[Record] | None = None

    def keeps_to(self, rule: Rule) -> str:
        """What a record breaks first is what is seen of it."""
        found = [self._breach(row) for row in self._all_rows()]
        breaches = [breach for breach in found if breach and breach.rule is rule]
        if breaches:
            raise Failed(f"{breaches[0]} ({len(breaches)} of {len(found)} records)")
        if all(found):
            raise Skipped("no record could be read")
        return f"{found.count(None)} of {len(found)} records"

    def pages(self) -> str:
        self._walked = self._walk(100, _PAGES)
        return f"{len(self._walked)} records read"

    def limit(self) -> str:
        self._page({"size": 1})
        return "with limit=1, at most one row came"

    def small_pages(self) -> str:
        wanted = [record.id for record in self._records()]
        found = [record.id for record in self._walk(_SMALL, _SMALL_PAGES)]
        if found != wanted[: len(found)] or (len(found) < _SMALL * _SMALL_PAGES and len(found) < len(wanted)):
            first = next((id for id, other in zip(wanted, found, strict=False) if id != other), "the last ones")
            raise Failed(f"with limit={_SMALL} the rows are other ones than with limit=100, from {first} on")
        return f"{len(found)} records in pages of {_SMALL}"

    def since(self) -> str:
        records = self._records()
        middle = records[len(records) // 2].updated_at
        wanted = [record.id for record in records if record.updated_at >= middle]
        found = [record.id for record in self._page({"since": _text(middle)})]
        if found[: len(wanted)] != wanted[: len(found)] or not found:
            raise Failed(f"with updated_since={_text(middle)}, {len(wanted)} or more were due, {len(found)} came")
        return f"{len(wanted)} of {len(records)} records"

    def by_id(self) -> str:
        for record in {0: self._records()[0], -1: self._records()[-1]}.values():
            found = _CUSTOM.fetch_one(self._asker.connection, self._resource, record.id, self._asker.http)
            if found.body != record.body:
                fields = [name for name in found.body if found.body[name] != record.body[name]]
                raise Failed(f"{record.id} differs from itself in the list: {', '.join(fields)}")
        return "the first and the last record"

    def unknown_id(self) -> str:
        answer = self._asker.asked(f"/{self._resource}/{_ABSENT}")
        return _expect(answer, f"GET /{self._resource}/{_ABSENT}", HTTPStatus.NOT_FOUND, "not_found")

    def cursor(self) -> str:
        answer = self._asker.asked(f"/{self._resource}", cursor="made-up-by-the-check")
        if answer.status == HTTPStatus.GONE:
            return _expect(answer, "it", HTTPStatus.GONE, "cursor_expired")
        return _expect(answer, "it", HTTPStatus.BAD_REQUEST, "invalid_request")

    def _breach(self, row: Any) -> Breach | None:
        try:
            read_record(self._resource, row, "USD")
        except Breach as breach:
            return breach
        return None

    def _all_rows(self) -> Sequence[Any]:
        """The rows of one large page, as they came."""
        if self._rows is None:
            answer = self._asker.asked(f"/{self._resource}", limit="100")
            found = _decoded(answer)
            rows = found.get("data") if isinstance(found, dict) else None
            if answer.status != HTTPStatus.OK or not isinstance(rows, list):
                raise Failed(f"GET /{self._resource} gave {answer.status}, and no object with a list named data")
            self._rows = rows
        if not self._rows:
            raise Skipped(f"there are no {self._resource}: make a few for the check")
        return self._rows

    def _records(self) -> Sequence[Record]:
        if not self._walked:
            raise Skipped("the pages could not be read")
        return self._walked

    def _page(self, cursor: Json) -> Sequence[Record]:
        found = _CUSTOM.fetch(self._asker.connection, self._resource, cursor, self._asker.http, self._asker.now)
        return found.records

    def _walk(self, size: int, pages: int) -> list[Record]:
        records: list[Record] = []
        cursor: Json = {"size": size}
        for _ in range(pages):
            page = _CUSTOM.fetch(self._asker.connection, self._resource, cursor, self._asker.http, self._asker.now)
            if not page.done and page.cursor.get("cursor") in (None, cursor.get("cursor")):
                raise self._why_not(size)
            records += page.records
            if page.done:
                break
            cursor = page.cursor
        return records

    def _why_not(self, size: int) -> Failed:
        """What the adapter would have tried again, with smaller pages or from the last row on."""
        status = self._asker.asked(f"/{self._resource}", limit=str(size)).status
        if status == HTTPStatus.OK:
            return Failed("a cursor that was just given out had expired")
        return Failed(f"GET /{self._resource} with limit={size} gave {status}")


def _expect(answer: Answer, what: str, status: HTTPStatus, code: str) -> str:
    found = _decoded(answer)
    error = found.get("error") if isinstance(found, dict) else None
    given = error.get("code") if isinstance(error, dict) else None
    if answer.status != status:
        raise Failed(f"{what} gave {answer.status} in place of {int(status)}")
    if given != code:
        raise Failed(f'{what} gave {int(status)}, but not {{"error": {{"code": "{code}", …}}}}')
    return f"{int(status)} {code}"


def _decoded(answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def _media_type(answer: Answer) -> str:
    return answer.headers.get("content-type", "none").partition(";")[0].strip().lower()


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def main(arguments: Sequence[str] | None = None, client: httpx.Client | None = None) -> int:
    """Prints the verdicts; the exit code."""
    parser = argparse.ArgumentParser(prog="check_custom", description="Whether a server keeps to our contract.")
    parser.add_argument("url", help="the base address")
    options = parser.parse_args(arguments)
    key = os.environ.get("CUSTOM_KEY", "")
    if not key:
        parser.error("the store's key must be in the environment, as CUSTOM_KEY")
    words = []
    with client or httpx.Client(trust_env=False, follow_redirects=False) as opened:
        for verdict in check(options.url, key, os.environ.get("CUSTOM_SECRET", ""), opened, datetime.now(UTC)):
            print(verdict, flush=True)
            words.append(verdict.word)
    for each in NOT_CHECKED:
        print(f"----  not checked: {each}")
    print(f"{words.count('PASS')} of {len(words)} rules hold, {words.count('FAIL')} do not.")
    return 1 if "FAIL" in words else 0


if __name__ == "__main__":
    sys.exit(main())
