"""What is measured, each in a fresh process: reads or syncs the replayed shop and says what that took.

    python -m infra.bench.subjects NAME JSON

The JSON is what :mod:`infra.bench.replay` told when it was ready, with what the subject needs besides. Prints one line
of JSON: records, the CPU seconds of this process from the first request on, seconds, peak memory. Every subject
imports for itself, so that the memory of one is not that of all.
"""

import json
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

Told = dict[str, Any]

_PAGE = 100
"""Rows of a page of the plain loops; the adapters reach the same."""


def plain_shopify_pages(told: Told) -> Iterator[int]:
    """Orders by GraphQL: fetched, parsed, counted. The document is the adapter's."""
    import httpx

    from shared.platforms.shopify import ORDERS, VERSION

    headers = {"Host": _host(told), "X-Shopify-Access-Token": told["shopify"]["token"]}
    url = f"https://localhost:{told['port']}/admin/api/{VERSION}/graphql.json"
    after: str | None = None
    with httpx.Client(verify=_trust(told), headers=headers) as client:
        yield 0
        while True:
            variables = {"first": _PAGE, "after": after, "query": "status:any", "inner": 50}
            page = client.post(url, json={"query": ORDERS, "variables": variables}).json()["data"]["page"]
            yield len(page["nodes"])
            if not page["pageInfo"]["hasNextPage"]:
                return
            after = page["pageInfo"]["endCursor"]


def plain_shopify_bulk(told: Told) -> Iterator[int]:
    """Orders from the file of a bulk operation, line by line as it comes."""
    import httpx

    path = told["shopify"]["bulk_orders"].partition(".com")[2]
    headers = {"Host": "storage.googleapis.com"}
    with httpx.Client(verify=_trust(told), headers=headers) as client:
        yield 0
        with client.stream("GET", f"https://localhost:{told['port']}{path}") as answer:
            for line in answer.iter_lines():
                yield "__parentId" not in json.loads(line)


def plain_woo(told: Told) -> Iterator[int]:
    """Orders by REST, page by page."""
    import httpx

    shop = told["woo"]
    url = f"{shop['domain']}/wp-json/wc/v3/orders"
    with httpx.Client(verify=_trust(told), auth=(shop["key"], shop["secret"])) as client:
        yield 0
        page = 0
        while True:
            page += 1
            query: Told = {"per_page": _PAGE, "page": page, "status": "any", "orderby": "modified", "order": "asc"}
            answer = client.get(url, params=query)
            yield len(answer.json())
            if page >= int(answer.headers["x-wp-totalpages"]):
                return


def adapter_shopify_pages(told: Told) -> Iterator[int]:
    """The adapter's own paging, from the cursor that it would have after counting."""
    yield from _adapter(told, "SHOPIFY", {"started": told["at"]})


def adapter_shopify_bulk(told: Told) -> Iterator[int]:
    """As a first import begins: it finds the job that is done, and reads its result."""
    yield from _adapter(told, "SHOPIFY", None)


def adapter_woo(told: Told) -> Iterator[int]:
    """A first import."""
    yield from _adapter(told, "WOO_COMMERCE", None)


def _adapter(told: Told, platform: str, cursor: Told | None) -> Iterator[int]:
    from shared import platforms
    from shared.platforms.base import Connection, PlatformName, Resource

    adapter = platforms.get(PlatformName(platform))
    assert adapter is not None
    domain, given = _opens(told, platform)
    connection = Connection(domain, given, domain, "EUR", "Europe/Berlin")
    http, now = _egress(told), datetime.fromisoformat(told["at"])
    yield 0
    done = False
    while not done:
        page = adapter.fetch(connection, Resource.ORDERS, cursor, http, now)
        cursor, done = dict(page.cursor), page.done
        yield len(page.records)


def connect(told: Told) -> Told:
    """A new store with its credentials, as ``POST /stores`` makes it."""
    from shared import clients, connecting, schemas
    from shared.stores import Caller

    domain, given = _opens(told, told["platform"])
    names = {"api_key": "apiKey", "api_secret": "apiSecret", "access_token": "accessToken"}
    wanted = {names[name]: value for name, value in given.items()}
    new = schemas.NewStore.model_validate({"name": "Bench", "platform": told["platform"], "domain": domain, **wanted})
    store = connecting.connect(new, Caller("user1"), _egress(told), datetime.fromisoformat(told["at"]))
    clients.forget()
    return {"store": store.id}


def synced(told: Told) -> Told:
    """One whole run of the sync, records written; with ``dies_at`` it kills itself when it has seen so many orders."""
    from shared import keys, records, sync

    now = Clock(datetime.fromisoformat(told["at"]))
    if told.get("dies_at"):
        records.save_page = _deadly(records.save_page, told["dies_at"])
    http, deadline = _egress(told), now() + timedelta(minutes=15)
    began = time.process_time(), time.perf_counter()
    run = sync.run(told["store"], http, now, deadline, pause=now.advance)
    keys.forget()
    if run.outcome != "COMPLETE":
        raise SystemExit(f"The sync did not end well: {run.outcome} {run.reason} {run.detail}")
    seen = sum(counts.seen for counts in run.counts.values())
    changed = sum(counts.changed for counts in run.counts.values())
    return {**_measured(seen, began), "changed": changed, "pages": run.pages}


class Clock:
    """Time that passes a little with each look, the same in every run, and jumps where a run would wait."""

    def __init__(self, start: datetime) -> None:
        self._time = start

    def __call__(self) -> datetime:
        """The time."""
        self._time += timedelta(milliseconds=1)
        return self._time

    def advance(self, seconds: float) -> None:
        """Waits, without waiting."""
        self._time += timedelta(seconds=seconds)


def _deadly(save: Callable[..., Any], most: int) -> Callable[..., Any]:
    """Fetched, and nothing of it stored: the worst moment to be killed in."""
    seen = 0

    def save_page(store_id: str, kind: str, page: Any, *rest: Any) -> Any:
        nonlocal seen
        seen += len(page) if kind == "orders" else 0
        if seen > most:
            os.kill(os.getpid(), signal.SIGKILL)
        return save(store_id, kind, page, *rest)

    return save_page


def _opens(told: Told, platform: str) -> tuple[str, dict[str, str]]:
    if platform == "SHOPIFY":
        return told["shopify"]["domain"], {"access_token": told["shopify"]["token"]}
    shop = told["woo"]
    return shop["domain"], {"api_key": shop["key"], "api_secret": shop["secret"]}


def _host(told: Told) -> str:
    return str(told["shopify"]["domain"]).removeprefix("https://")


def _egress(told: Told) -> Any:
    from shared.egress import Egress

    played = f"{told['port']}:.myshopify.com,storage.googleapis.com"
    return Egress(local_ca=told["ca"], local_platforms=played)


def _trust(told: Told) -> Any:
    import ssl

    return ssl.create_default_context(cafile=told["ca"])


def _counted(subject: Callable[[Told], Iterator[int]]) -> Callable[[Told], Told]:
    """A subject that yields zero when it is ready, then how many records each page had."""

    def measure(told: Told) -> Told:
        pages = subject(told)
        next(pages)
        began = time.process_time(), time.perf_counter()
        return _measured(sum(pages), began)

    return measure


def _measured(records: int, began: tuple[float, float]) -> Told:
    cpu, seconds = time.process_time() - began[0], time.perf_counter() - began[1]
    return {"records": records, "cpu": cpu, "seconds": seconds, "peak": peak()}


def peak() -> float:
    """The most memory that this process has had, in MB.

    Linux hands ``ru_maxrss`` of the starting process on to the started one; its own count is in /proc.
    """
    try:
        found = re.search(r"VmHWM:\s+([0-9]+) kB", Path("/proc/self/status").read_text())
    except OSError:
        found = None
    kilobytes = int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / 1024


SUBJECTS: dict[str, Callable[[Told], Told]] = {
    "plain_shopify_pages": _counted(plain_shopify_pages),
    "plain_shopify_bulk": _counted(plain_shopify_bulk),
    "plain_woo": _counted(plain_woo),
    "adapter_shopify_pages": _counted(adapter_shopify_pages),
    "adapter_shopify_bulk": _counted(adapter_shopify_bulk),
    "adapter_woo": _counted(adapter_woo),
    "connect": connect,
    "sync": synced,
}


if __name__ == "__main__":
    print(json.dumps(SUBJECTS[sys.argv[1]](json.loads(sys.argv[2]))))
