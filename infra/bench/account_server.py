"""An AWS account as a process of its own, so that its CPU time and memory are not taken for ours.

    python -m infra.local.lifeline infra.bench.account_server

It is moto, but for pages of products and orders: those are kept here, as moto takes 2 ms for an item. What botocore
sends arrives as it would at AWS. Prints ``{"port": …}`` when it is ready. ``GET /`` says how many calls there were of
each kind since the last ``DELETE /``; ``PUT /`` makes the account a new one.
"""

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from zlib import crc32

from botocore.awsrequest import AWSPreparedRequest
from moto.core.models import botocore_stubber

from infra import fake_aws
from infra.local.sandbox.server import APPS
from shared import clients

Item = dict[str, Any]

_SERVICE = re.compile(r"Credential=[^/]+/[0-9]+/[^/]+/([^/]+)/")
_REGION = fake_aws.ENVIRONMENT["AWS_REGION"]
_KEPT = frozenset(f"{fake_aws.ENVIRONMENT['TABLE_PREFIX']}-{name}" for name in ("products", "orders"))
_HASH, _RANGE = "store_id", "id"
_MOST_READ = 1024 * 1024
"""What a page of a query reads at most."""


class Records:
    """The tables of products and orders, as far as a sync uses them: pages, without conditions."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], dict[str, Item]] = {}

    def answer(self, operation: str, asked: Item) -> Item | None:
        """The answer to a call, or ``None`` where moto shall answer."""
        tables = asked.get("RequestItems") or {asked.get("TableName")}
        if not set(tables) <= _KEPT or operation not in {"BatchWriteItem", "BatchGetItem", "Query"}:
            return None
        if operation == "Query":
            return self._query(asked)
        if operation == "BatchGetItem":
            found = {table: list(self._get(table, wanted)) for table, wanted in asked["RequestItems"].items()}
            return {"Responses": found, "UnprocessedKeys": {}}
        for table, requests in asked["RequestItems"].items():
            for request in requests:
                item = request["PutRequest"]["Item"]
                self._of(table, item[_HASH]["S"])[item[_RANGE]["S"]] = item
        return {"UnprocessedItems": {}}

    def _of(self, table: str, store: str) -> dict[str, Item]:
        return self._items.setdefault((table, store), {})

    def _get(self, table: str, wanted: Item) -> Iterator[Item]:
        for key in wanted["Keys"]:
            item = self._of(table, key[_HASH]["S"]).get(key[_RANGE]["S"])
            if item is not None:
                yield _projected(item, wanted)

    def _query(self, asked: Item) -> Item:
        (store,) = asked["ExpressionAttributeValues"].values()
        items = self._of(asked["TableName"], store["S"])
        after = asked.get("ExclusiveStartKey", {}).get(_RANGE, {}).get("S", "")
        read, found = 0, []
        for id in sorted(id for id in items if id > after):
            found.append(_projected(items[id], asked))
            read += len(items[id].get("body", {}).get("B", "")) * 3 // 4 + 300
            if read >= _MOST_READ:
                last = {"LastEvaluatedKey": {_HASH: store, _RANGE: {"S": id}}}
                return {"Items": found, "Count": len(found), "ScannedCount": len(found), **last}
        return {"Items": found, "Count": len(found), "ScannedCount": len(found)}


def _projected(item: Item, asked: Mapping[str, Any]) -> Item:
    if "ProjectionExpression" not in asked:
        return item
    names = [asked["ExpressionAttributeNames"][name.strip()] for name in asked["ProjectionExpression"].split(",")]
    return {name: item[name] for name in names if name in item}


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    """Head and body go out together: apart, each answer waits 40 ms for the reader's acknowledgement."""
    calls: ClassVar[Counter[str]] = Counter()
    records = Records()
    account = ExitStack()
    _one_at_a_time = threading.Lock()

    def do_GET(self) -> None:
        """How many calls there were."""
        self._write(200, json.dumps(self.calls).encode(), {})

    def do_DELETE(self) -> None:
        """Counts from zero."""
        self.calls.clear()
        self._write(200, b"{}", {})

    def do_PUT(self) -> None:
        """Everything anew."""
        with self._one_at_a_time:
            self.begin()
        self._write(200, b"{}", {})

    @classmethod
    def begin(cls) -> None:
        """An account with nothing in it but our tables and registrations."""
        cls.account.close()
        cls.records = Records()
        cls.account.enter_context(fake_aws.account())
        for platform, registration in APPS.items():
            name = f"{fake_aws.ENVIRONMENT['APPS']}/{platform}"
            clients.secrets().create_secret(Name=name, SecretString=json.dumps(registration))

    def do_POST(self) -> None:
        """One call to AWS."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        service = _SERVICE.search(self.headers["Authorization"])
        assert service is not None
        operation = self.headers["X-Amz-Target"].rpartition(".")[2]
        with self._one_at_a_time:
            self.calls[operation] += 1
            kept = self.records.answer(operation, json.loads(body)) if service[1] == "dynamodb" else None
            answer = None if kept is not None else self._motos(service[1], body)
        if answer is not None:
            self._write(answer.status_code, answer.content, dict(answer.headers.items()))
            return
        content = json.dumps(kept).encode()
        self._write(200, content, {"Content-Type": "application/x-amz-json-1.0", "x-amz-crc32": str(crc32(content))})

    def _motos(self, service: str, body: bytes) -> Any:
        host = f"{service}.{_REGION}.amazonaws.com"
        headers = {**dict(self.headers.items()), "Host": host}
        return botocore_stubber("before-send", AWSPreparedRequest("POST", f"https://{host}/", headers, body, False))

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def _write(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {"content-length", "connection", "date"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until a signal ends it."""
    _Handler.begin()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    print(json.dumps({"port": server.server_port}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
