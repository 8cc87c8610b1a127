"""How fast records come in, beside a plain ``httpx`` loop over the same server.

    python -m infra.bench.throughput                                    20,000 orders and 5,000 products
    python -m infra.bench.throughput --orders 2000 --products 500       a quicker, rougher look

Three processes: the platforms (:mod:`infra.bench.replay`), AWS (:mod:`infra.bench.account_server`), and the one that is
measured (:mod:`infra.bench.subjects`), a fresh one for every measurement. Records are counted once, however often they
were fetched. Exits with 1 where memory or what is fetched again is over its budget; the ratio, which a busy machine may
push to the other side, is only shown.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from infra import fake_aws
from infra.local.lifeline import hold_on

Told = dict[str, Any]

ORDERS, PRODUCTS = 20_000, 5_000
ROUNDS = 3
RATIO = 0.6
"""Of the plain loop's records per CPU-second, for Shopify's orders (design.md 10)."""
MOST_MEMORY = 128
"""MB."""
KILLED_AT = 0.45
_SMALL = 4
"""Memory is shown for a shop so many times smaller, too."""
_AFTER_A_CRASH = timedelta(minutes=6)
"""A killed run's lease must have ended."""
_LIFELINE = hold_on.__module__

PAIRS = (
    ("Shopify orders, paged", "adapter_shopify_pages", "plain_shopify_pages"),
    ("Shopify orders, bulk file", "adapter_shopify_bulk", "plain_shopify_bulk"),
    ("WooCommerce orders", "adapter_woo", "plain_woo"),
)
_BUDGETED = "adapter_shopify_pages"
PLATFORMS = {"SHOPIFY": "Shopify", "WOO_COMMERCE": "WooCommerce"}


@dataclass(frozen=True)
class Fetched:
    """A way to fetch, beside the plain loop over the same rows."""

    name: str
    ratio: float
    """Of records per CPU-second to those of the plain loop."""
    per_cpu: float
    per_second: float
    plain_per_cpu: float
    plain_per_second: float
    peak: float
    plain_peak: float
    budget: float | None


@dataclass(frozen=True)
class Synced:
    """A whole run of a sync."""

    platform: str
    orders: int
    products: int
    seconds: float
    cpu: float
    peak: float
    pages: int
    calls: Mapping[str, int]

    @property
    def records(self) -> int:
        """Written by the run."""
        return self.orders + self.products

    @property
    def in_budget(self) -> bool:
        """Whether it takes no more memory than it may."""
        return self.peak <= MOST_MEMORY


@dataclass(frozen=True)
class Resumed:
    """A sync that was killed and started again."""

    platform: str
    killed_at: int
    again: int
    """Orders fetched once more than by a run that nobody killed."""
    largest: int
    """Orders of the largest page."""

    @property
    def in_budget(self) -> bool:
        """At most one page is fetched twice."""
        return self.again <= self.largest


@dataclass
class Stage:
    """The platforms and AWS, running, and how to run something against them."""

    told: Told
    account: int
    at: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def run(self, subject: str, after: timedelta = timedelta(), **more: Any) -> Told | None:
        """What a subject said of itself; ``None`` where it was killed, as it may be."""
        at = (self.at + after).isoformat().replace("+00:00", "Z")
        command = [sys.executable, "-m", "infra.bench.subjects", subject, json.dumps({**self.told, "at": at, **more})]
        ran = subprocess.run(command, env=self.environment(), capture_output=True, text=True, check=False)
        if ran.returncode < 0:
            return None
        if ran.returncode:
            raise SystemExit(f"{subject} failed: {ran.stderr.strip()[-2000:]}")
        told: Told = json.loads(ran.stdout.splitlines()[-1])
        return told

    def took(self, subject: str, after: timedelta = timedelta(), **more: Any) -> Told:
        """The same for one that must not be killed."""
        told = self.run(subject, after, **more)
        if told is None:
            raise SystemExit(f"{subject} was killed.")
        return told

    def environment(self) -> dict[str, str]:
        """What a subject is told: this account is its AWS."""
        return {**os.environ, **fake_aws.ENVIRONMENT, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.account}"}

    def calls(self, *, forget: bool = False) -> dict[str, int]:
        """AWS calls since they were last forgotten."""
        told: dict[str, int] = asked(f"http://127.0.0.1:{self.account}/", "DELETE" if forget else "GET")
        return told

    def renew(self) -> None:
        """An account with nothing in it."""
        asked(f"http://127.0.0.1:{self.account}/", "PUT")

    def served(self, *, forget: bool = False) -> Told:
        """What the platforms served since it was last forgotten."""
        told: Told = asked(
            f"https://localhost:{self.told['port']}/_bench", "DELETE" if forget else "GET", ca=self.told["ca"]
        )
        return told


def asked(url: str, method: str, *, ca: str | None = None) -> Any:
    """What one of our own processes says."""
    import ssl

    request = urllib.request.Request(url, method=method)
    context = ssl.create_default_context(cafile=ca) if ca else None
    with urllib.request.urlopen(request, timeout=60, context=context) as answer:
        return json.load(answer)


@contextmanager
def started(module: str, *arguments: str) -> Iterator[Told]:
    """A process that says one line when it is ready, and ends with us."""
    command = [sys.executable, "-m", _LIFELINE, module, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            if not line:
                raise SystemExit(f"{module} did not start.")
            yield json.loads(line)
        finally:
            process.terminate()


@contextmanager
def stages(*sizes: tuple[int, int]) -> Iterator[list[Stage]]:
    """Shops of so many orders and products, and an empty account for all of them."""
    shops = [argument for orders, products in sizes for argument in ("--shop", f"{orders}:{products}")]
    with (
        tempfile.TemporaryDirectory() as folder,
        started("infra.bench.account_server") as account,
        started("infra.bench.replay", "--ca-dir", folder, *shops) as told,
    ):
        common = {"port": told["port"], "ca": told["ca"]}
        yield [Stage({**common, **shop}, account["port"]) for shop in told["shops"]]


def fetching(on: Stage, rounds: int) -> list[Fetched]:
    """The adapters and the plain loops, turn by turn; the first round only fills the server's memory."""
    taken: dict[str, list[Told]] = {name: [] for _, *pair in PAIRS for name in pair}
    for number in range(rounds + 1):
        for name, runs in taken.items():
            told = on.took(name)
            if told["records"] < on.told["orders"]:
                raise SystemExit(f"{name} fetched {told['records']} of {on.told['orders']} orders.")
            if number > 0:
                runs.append(told)
    return [_compared(name, taken[ours], taken[plain], on, ours == _BUDGETED) for name, ours, plain in PAIRS]


def _compared(name: str, ours: Sequence[Told], plain: Sequence[Told], on: Stage, budgeted: bool) -> Fetched:
    def rate(runs: Sequence[Told], of: str) -> float:
        return float(median(on.told["orders"] / run[of] for run in runs))

    return Fetched(
        name,
        # of neighbours in time: a busy machine slows both
        ratio=median(other["cpu"] / one["cpu"] for one, other in zip(ours, plain, strict=True)),
        per_cpu=rate(ours, "cpu"),
        per_second=rate(ours, "seconds"),
        plain_per_cpu=rate(plain, "cpu"),
        plain_per_second=rate(plain, "seconds"),
        peak=max(run["peak"] for run in ours),
        plain_peak=max(run["peak"] for run in plain),
        budget=RATIO if budgeted else None,
    )


def syncing(on: Stage, platform: str) -> tuple[Synced, Told]:
    """A first sync of everything, and what the platform served for it."""
    store = on.took("connect", platform=platform)
    on.calls(forget=True)
    on.served(forget=True)
    told = on.took("sync", **store)
    calls, served = on.calls(), on.served()
    orders, products = on.told["orders"], on.told["products"]
    if told["changed"] != orders + products:
        raise SystemExit(f"The sync of {platform} wrote {told['changed']} of {orders + products} records.")
    return Synced(platform, orders, products, told["seconds"], told["cpu"], told["peak"], told["pages"], calls), served


def resuming(on: Stage, platform: str, undisturbed: Told) -> Resumed:
    """The same again into a new account, killed with SIGKILL between fetching and storing a page, and started again."""
    on.renew()
    store = on.took("connect", platform=platform)
    on.served(forget=True)
    killed_at = int(on.told["orders"] * KILLED_AT)
    if on.run("sync", dies_at=killed_at, **store) is not None:
        raise SystemExit(f"The sync of {platform} survived.")
    on.took("sync", _AFTER_A_CRASH, **store)
    served = on.served()
    again = (served["orders"] - served["distinct"]) - (undisturbed["orders"] - undisturbed["distinct"])
    return Resumed(platform, killed_at, max(0, again), served["largest"])


@dataclass(frozen=True)
class Report:
    """All that was measured."""

    fetched: Sequence[Fetched]
    synced: Sequence[Synced]
    resumed: Sequence[Resumed]

    @property
    def in_budget(self) -> bool:
        """Memory and what is fetched again; the ratio is for a quiet machine to judge."""
        return all(one.in_budget for one in self.synced) and all(one.in_budget for one in self.resumed)

    @property
    def text(self) -> str:
        """Three tables."""
        return "\n\n".join((_fetched(self.fetched), _synced(self.synced), _resumed(self.resumed)))


def measure(orders: int, products: int, rounds: int) -> Report:
    """Everything, in shops of this size."""
    synced, resumed = [], []
    with stages((orders, products), (orders // _SMALL, products // _SMALL)) as (on, small):
        fetched = fetching(on, rounds)
        for platform in PLATFORMS:
            one, served = syncing(on, platform)
            synced += [syncing(small, platform)[0], one]
            resumed.append(resuming(on, platform, served))
    return Report(fetched, synced, resumed)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """As markdown: names to the left, numbers to the right."""
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _fetched(rows: Sequence[Fetched]) -> str:
    both = "; the plain loop's"
    titles = ("fetched and normalised", "to the plain loop, per CPU-second", "budget")
    more = (f"records per CPU-second{both}", f"records/s{both}", f"peak MB{both}")
    return table(
        (*titles, *more),
        [
            (
                row.name,
                f"{row.ratio:.2f}",
                f"{row.budget:.2f}" if row.budget else "",
                f"{row.per_cpu:,.0f}; {row.plain_per_cpu:,.0f}",
                f"{row.per_second:,.0f}; {row.plain_per_second:,.0f}",
                f"{row.peak:.0f}; {row.plain_peak:.0f}",
            )
            for row in rows
        ],
    )


def _synced(rows: Sequence[Synced]) -> str:
    titles = ("first sync, written", "peak MB", "budget", "records per CPU-second", "records/s", "pages", "AWS calls")
    return table(
        (*titles, "per 100 records", "which"),
        [
            (
                f"{PLATFORMS[row.platform]}, {row.orders:,} orders, {row.products:,} products",
                f"{row.peak:.0f}",
                f"{MOST_MEMORY}",
                f"{row.records / row.cpu:,.0f}",
                f"{row.records / row.seconds:,.0f}",
                f"{row.pages:,}",
                f"{sum(row.calls.values()):,}",
                f"{100 * sum(row.calls.values()) / row.records:.1f}",
                ", ".join(f"{row.calls[name]:,} {name}" for name in sorted(row.calls, key=row.calls.__getitem__)[::-1]),
            )
            for row in rows
        ],
    )


def _resumed(rows: Sequence[Resumed]) -> str:
    return table(
        ("killed and started again", "killed at", "orders fetched twice", "budget: one page"),
        [(PLATFORMS[row.platform], f"{KILLED_AT:.0%}", f"{row.again:,}", f"{row.largest:,}") for row in rows],
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="throughput", description="Records per CPU-second, beside a plain loop.")
    parser.add_argument("--orders", type=int, default=ORDERS)
    parser.add_argument("--products", type=int, default=PRODUCTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(arguments)
    report = measure(options.orders, options.products, options.rounds)
    print(report.text)
    sys.exit(not report.in_budget)


if __name__ == "__main__":
    main()
