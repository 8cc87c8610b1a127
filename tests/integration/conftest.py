"""Deploys the local stack once, with IAM enforced, for all integration tests; they run in one worker."""

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from integration.deployment import Deployment, Json, Shop, User, new_store, until

from infra import template

ROOT = Path(__file__).parents[2]
TOOLS = (".tools/ministack/bin/python", ".tools/sam/bin/sam", ".tools/uv/bin/uv")
START_SECONDS = 240
_LAST = ("test_by_itself.py", "test_traces.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What looks at what all the others have left goes last."""
    ours = [item for item in items if item.path.parent == Path(__file__).parent]
    ours.sort(key=lambda item: _LAST.index(item.path.name) if item.path.name in _LAST else -1)
    items[:] = [item for item in items if item not in ours] + ours


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The running stack."""
    missing = [tool for tool in TOOLS if not (ROOT / tool).exists()]
    if missing:
        pytest.fail(f"{', '.join(missing)} missing: run `make install` first.")
    home = tmp_path_factory.mktemp("stack")
    log = home / "stack.log"
    command = [
        sys.executable,
        "-m",
        "infra.local.stack",
        "--port",
        str(_free_ports(5)),
        "--home",
        str(home),
        "--without-demo",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own program
            command, cwd=ROOT, env=_environment(home), stdout=output, stderr=output
        )
    try:
        until(
            lambda: (home / "endpoints.json").exists() or process.poll() is not None,
            f"The stack did not start; see {log}",
            START_SECONDS,
        )
        if process.poll() is not None:
            pytest.fail(f"The stack did not start:\n{log.read_text()}")
        deployment = Deployment(home)
        yield deployment
        deployment.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert not _processes_of(home)


@pytest.fixture(scope="session")
def user(stack: Deployment) -> User:
    """A seller without a team."""
    return stack.user("demo-user-1")


@pytest.fixture(scope="session")
def member(stack: Deployment) -> User:
    """A seller in a team."""
    return stack.user("demo-user-2", "demo-team")


@pytest.fixture
def shop(stack: Deployment) -> Shop:
    """A small shop of its own for each test."""
    return stack.open_shop()


@pytest.fixture
def store(user: User, shop: Shop) -> Json:
    """A store connected to the shop, its first sync done."""
    return user.synced(shop)


# What takes its time is begun before all else and looked at near the end, in test_by_itself.py.


@pytest.fixture(scope="session", autouse=True)
def left_alone(stack: Deployment, user: User) -> tuple[Shop, Json, int]:
    """A shop that sends no webhooks, its store with the shortest interval, and a product changed since."""
    shop = stack.open_shop()
    shop.act("PUT", "/delivery", paused=True)
    store = user.synced(shop, settings={"syncInterval": 60})
    changed = shop.simple_products()[0]
    shop.act("PUT", f"/products/{changed}", price="42.42")
    return shop, store, changed


@pytest.fixture(scope="session", autouse=True)
def hanging(stack: Deployment, user: User) -> Iterator[Future[httpx.Response]]:
    """A store being connected to a shop that hangs."""
    shop = stack.open_shop()
    shop.act("POST", "/faults", kind="hang")
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(user.http.post, "/stores", json=new_store(shop))


@pytest.fixture(scope="session", autouse=True)
def failed_once(stack: Deployment, user: User) -> tuple[Shop, Json]:
    """A shop that failed when a webhook had us ask for more, and its store."""
    shop = stack.open_shop()
    shop.act("PUT", "/delivery", paused=True)
    store = user.synced(shop, settings={"syncInterval": 86_400})
    variation = next(row["id"] for row in shop.truth("products") if row["type"] == "variation")
    shop.act("PUT", f"/products/{variation}", stock_quantity=17)
    shop.act("POST", "/faults", kind="status", status=500, path="/products/", times=1)
    shop.act("POST", "/deliver", copies=1)
    return shop, store


@pytest.fixture(scope="session", autouse=True)
def removed_at_once(stack: Deployment, user: User) -> Json:
    """A store that was removed while its first sync ran."""
    store = user.connect(stack.open_shop(orders=250), settings={"syncInterval": 86_400})
    until(lambda: "lease_owner" in stack.row("sync-states", store_id=store["id"]), "the first sync did not begin")
    assert user.http.delete(f"/stores/{store['id']}").status_code == 204
    return store


@pytest.fixture(scope="session", autouse=True)
def removed(stack: Deployment, user: User) -> tuple[Json, Json]:
    """A store that was removed, and a genuine delivery of its shop."""
    shop = stack.open_shop()
    shop.act("PUT", "/delivery", paused=True)
    store = user.synced(shop, settings={"syncInterval": 86_400})
    shop.act("PUT", f"/products/{shop.simple_products()[0]}", price="5.43")
    sent = shop.act("POST", "/deliver", copies=1)["sent"][-1]
    stack.note_secrets()
    assert user.http.delete(f"/stores/{store['id']}").status_code == 204
    with suppress(AssertionError):  # its test says so too, and fails alone
        until(lambda: not stack.rows_about(store["id"]), "rows of the store are left")
    # the receiver may know the address for a minute yet
    late = stack.internet.post(sent["url"], content=sent["body"].encode(), headers=sent["headers"])
    assert late.status_code in {200, 404}
    return store, sent


def _free_ports(count: int) -> int:
    """The first of so many neighbouring ports that nobody listens at."""
    while True:
        first = random.randrange(20_000, 32_000 - count)  # noqa: S311 - below what the system gives out itself
        taken = []
        for port in range(first, first + count):
            with socket.socket() as probe:
                taken.append(probe.connect_ex(("127.0.0.1", port)) == 0)
        if not any(taken):
            return first


def _environment(home: Path) -> dict[str, str]:
    """Ours, without what the functions must get from the template and from nowhere else."""
    told = template.load()["Globals"]["Function"]["Environment"]["Variables"]
    kept = {name: value for name, value in os.environ.items() if name not in told}
    return {**kept, "IAM_JOURNAL": str(home / "iam.txt"), "PYTHONUNBUFFERED": "1"}


def _processes_of(home: Path) -> list[str]:
    """What still runs of the stack in this folder; on a system without /proc, nothing can be told."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            described = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue  # it has ended, or is not ours
        if str(home).encode() in described and int(process.name) != os.getpid():
            found.append(described.decode(errors="replace")[:200])
    return found
