"""Records per CPU-second beside other people's connectors, in one run, on one server: ``make bench-peers``.

    python -m infra.bench.peers

A peer comes from PyPI, hashes checked, into an environment of its own under ``.tools``; one that cannot be installed
here is left out with a word. Everybody is measured from outside, start and imports included, and reads the same shop:
see :mod:`infra.bench.replay`. No peer reaches anything but this machine (``peer_site/sitecustomize.py``).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra import build
from infra.bench.throughput import ORDERS, PRODUCTS, ROUNDS, Stage, stages, table

HERE = Path(__file__).parent
ROOT = build.ROOT
_UV = ROOT / ".tools/uv/bin/uv"
_SMALL = 4
"""A peer that stores gets a shop so many times smaller: it would take minutes."""
_BOTH = "orders and products"


@dataclass(frozen=True)
class Peer:
    """Something to measure: how it is run, and how the records in its output are counted."""

    name: str
    environment: str | None
    """Of ``infra/requirements/peers-NAME.txt``; ``None`` is ours."""
    command: Callable[[Stage, Path], Sequence[str]]
    stores: bool = False
    small: bool = False
    subject: str = "orders"


@dataclass(frozen=True)
class Row:
    """A peer's median run."""

    peer: Peer
    expected: int
    records: int
    cpu: float
    seconds: float
    peak: float


def _ours(name: str, platform: str = "") -> Callable[[Stage, Path], Sequence[str]]:
    def command(on: Stage, _: Path) -> Sequence[str]:
        told = {**on.told, "at": on.at.isoformat().replace("+00:00", "Z")}
        if platform:
            on.renew()
            told |= on.took("connect", platform=platform)
        return [sys.executable, "-m", "infra.bench.subjects", name, json.dumps(told)]

    return command


def _airbyte(on: Stage, folder: Path) -> Sequence[str]:
    shop = on.told["woo"]
    config = {
        "api_key": shop["key"],
        "api_secret": shop["secret"],
        "shop": shop["domain"].removeprefix("https://"),
        "start_date": "2020-01-01",
    }
    stream = {"name": "orders", "json_schema": {}, "supported_sync_modes": ["full_refresh", "incremental"]}
    asked = {"stream": stream, "sync_mode": "incremental", "destination_sync_mode": "append"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "catalog.json").write_text(json.dumps({"streams": [asked]}))
    program = _of("airbyte-source-woocommerce", "source-woocommerce")
    return [program, "read", "--config", "config.json", "--catalog", "catalog.json"]


def _tap_shopify(on: Stage, folder: Path) -> Sequence[str]:
    """As after an interruption: the bulk operation that it has begun is done, and its file is there to be read.

    Told to begin one, the tap asks for some three hundred fields and looks every minute whether it is done.
    """
    shop = on.told["shopify"]
    schema = json.loads(
        next((ROOT / ".tools/peers-tap-shopify").glob("lib/*/*/tap_shopify/schemas/orders.json")).read_text()
    )
    chosen = [["properties", name] for name in schema["properties"]]
    metadata = [{"breadcrumb": each, "metadata": {"selected": True}} for each in ([], *chosen)]
    stream = {
        "stream": "orders",
        "tap_stream_id": "orders",
        "key_properties": ["id"],
        "replication_key": "updatedAt",
        "replication_method": "INCREMENTAL",
        "schema": schema,
        "metadata": metadata,
    }
    window = 36_500.0
    job = {"bulk_operation_id": shop["bulk_job"], "status": "COMPLETED", "last_date_window": window}
    config = {
        "shop": shop["domain"].removeprefix("https://").partition(".")[0],
        "access_token": shop["token"],
        "start_date": "2020-01-01T00:00:00Z",
        "date_window_size": window,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "catalog.json").write_text(json.dumps({"streams": [stream]}))
    (folder / "state.json").write_text(json.dumps({"bookmarks": {"orders": {"bulk_operation": job}}}))
    program = _of("tap-shopify", "tap-shopify")
    return [program, "--config", "config.json", "--catalog", "catalog.json", "--state", "state.json"]


def _dlt(how: str) -> Callable[[Stage, Path], Sequence[str]]:
    def command(on: Stage, _: Path) -> Sequence[str]:
        shop = on.told["woo"]
        return [_of("dlt", "python"), str(HERE / "peer_dlt.py"), how, shop["domain"], shop["key"], shop["secret"]]

    return command


PEERS = (
    Peer("plain `httpx` loop, WooCommerce", None, _ours("plain_woo")),
    Peer("storelink's adapter, WooCommerce", None, _ours("adapter_woo")),
    Peer("Airbyte WooCommerce", "airbyte-source-woocommerce", _airbyte),
    Peer("dlt, WooCommerce, extract only", "dlt", _dlt("extract")),
    Peer("dlt, WooCommerce, into DuckDB", "dlt", _dlt("store"), stores=True, small=True),
    Peer("storelink's sync, WooCommerce", None, _ours("sync", "WOO_COMMERCE"), stores=True, subject=_BOTH),
    Peer("plain `httpx` loop, Shopify", None, _ours("plain_shopify_pages")),
    Peer("storelink's adapter, Shopify", None, _ours("adapter_shopify_pages")),
    Peer("plain `httpx` loop, Shopify's bulk file", None, _ours("plain_shopify_bulk")),
    Peer("storelink's adapter, Shopify's bulk file", None, _ours("adapter_shopify_bulk")),
    Peer("tap-shopify, Shopify's bulk file", "tap-shopify", _tap_shopify),
    Peer("storelink's sync, Shopify", None, _ours("sync", "SHOPIFY"), stores=True, subject=_BOTH),
)


def measure(orders: int, products: int, rounds: int, missing: Mapping[str, str]) -> list[Row]:
    """The median run of each that is there; the first round only fills the server's memory."""
    here = [peer for peer in PEERS if peer.environment not in missing]
    taken: dict[str, list[Row]] = {peer.name: [] for peer in here}
    with stages((orders, products), (orders // _SMALL, products // _SMALL)) as (whole, small):
        for number in range(rounds + 1):
            for peer in here:
                row = _run(peer, small if peer.small else whole)
                if number > 0:
                    taken[peer.name].append(row)
    return [sorted(rows, key=lambda row: row.cpu)[len(rows) // 2] for rows in taken.values()]


def _run(peer: Peer, on: Stage) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        command = peer.command(on, Path(folder))
        cwd = folder if peer.environment else str(ROOT)
        meter = [sys.executable, "-I", "-S", str(HERE / "meter.py"), f"{folder}/output", *command]
        environment = _environment(on, folder) if peer.environment else on.environment()
        ran = subprocess.run(meter, env=environment, cwd=cwd, capture_output=True, text=True, check=False)
        used = json.loads(ran.stdout) if ran.returncode == 0 else {"code": ran.returncode}
        output = Path(folder, "output")
        if used["code"] != 0:
            raise SystemExit(f"{peer.name} failed: {ran.stderr[-2000:]}{output.read_text()[-2000:]}")
        expected = on.told["orders"] + (on.told["products"] if peer.subject == _BOTH else 0)
        return Row(peer, expected, _records(output), used["cpu"], used["seconds"], used["peak"])


def _environment(on: Stage, folder: str) -> dict[str, str]:
    """Nothing of this machine's; telemetry off, and its address unknown in any case."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": folder,
        "PYTHONPATH": str(HERE / "peer_site"),
        "STORELINK_PEERS": f"{on.told['port']}:.myshopify.com,storage.googleapis.com",
        "REQUESTS_CA_BUNDLE": on.told["ca"],
        "SSL_CERT_FILE": on.told["ca"],
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
        "DO_NOT_TRACK": "1",
    }


def _records(output: Path) -> int:
    """Lines that are records, or the number that the last line says."""
    lines, last = 0, b""
    with output.open("rb") as file:
        for line in file:
            lines += b'"type":"RECORD"' in line[:200].replace(b" ", b"")
            last = line
    return lines or int(json.loads(last)["records"])


def install(name: str) -> str:
    """Makes a peer's environment if it is not there; why it could not, or nothing."""
    wanted = ROOT / f"infra/requirements/peers-{name}.txt"
    folder = ROOT / f".tools/peers-{name}"
    mark = folder / ".installed"
    if mark.exists() and mark.read_bytes() == wanted.read_bytes():
        return ""
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    sync = [str(_UV), "pip", "sync", "--quiet", "--require-hashes", "--python", str(folder), str(wanted)]
    for command in ([str(_UV), "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], sync):
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if ran.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            return (ran.stderr.strip().splitlines() or ["no reason given"])[-1]
    shutil.copyfile(wanted, mark)
    return ""


def _of(environment: str, program: str) -> str:
    return str(ROOT / f".tools/peers-{environment}/bin/{program}")


def _missing() -> Iterator[tuple[str, str]]:
    for name in sorted({peer.environment for peer in PEERS if peer.environment}):
        why = install(name)
        if why:
            print(f"Left out, since {name} cannot be installed here: {why}", file=sys.stderr)
            yield name, why


def report(rows: Sequence[Row]) -> str:
    """The table; whoever stores is told apart from whoever only fetches."""
    lines = [
        (
            row.peer.name,
            row.peer.subject,
            "yes" if row.peer.stores else "no",
            f"{row.expected / row.cpu:,.0f}" if row.records >= row.expected else f"only {row.records:,} came",
            f"{row.expected / row.seconds:,.0f}",
            f"{row.peak:.0f}",
        )
        for row in rows
    ]
    return table(("whole process", "what", "stores", "records per CPU-second", "records/s", "peak MB"), lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Install, measure and print."""
    parser = argparse.ArgumentParser(prog="peers", description="Records per CPU-second beside others' connectors.")
    parser.add_argument("--orders", type=int, default=ORDERS)
    parser.add_argument("--products", type=int, default=PRODUCTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(arguments)
    print(report(measure(options.orders, options.products, options.rounds, dict(_missing()))))


if __name__ == "__main__":
    main()
