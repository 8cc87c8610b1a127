"""The platform sandbox: one ASGI app over all platforms, served over TLS on the loopback address.

    python -m infra.local.sandbox.server --port 9443 --ca-dir .local/ca --shop demo

prints one line when it is ready, ``sandbox ready https://localhost:9443 ca .local/ca/ca.pem``, and ends
on SIGTERM or SIGINT. The authority is kept in the folder (``ca.pem``, ``ca-key.pem``), so that those who
trust it go on trusting it after a restart; the server's certificate is made anew.

Tests drive a ``Sandbox`` in-process, ``httpx.Client(transport=InProcess(sandbox))``, or take
``with serve(folder) as running`` on a free port.
"""

import argparse
import asyncio
import contextlib
import functools
import signal
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

import botocore.session
import httpx
import trustme
import uvicorn
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from infra.local.sandbox import amazon, control, custom, ebay, etsy, etsy_webhooks, shopify, tiktok_shop
from infra.local.sandbox.amazon import Amazon
from infra.local.sandbox.amazon_notifications import AMAZONS_ACCOUNT, QueueRefused, SendToQueue, nowhere
from infra.local.sandbox.custom import Custom
from infra.local.sandbox.ebay import Ebay
from infra.local.sandbox.etsy import Etsy
from infra.local.sandbox.shopify import Shopify
from infra.local.sandbox.tiktok_shop import TikTokShop
from infra.local.sandbox.woo_shop import Sizes
from infra.local.sandbox.woocommerce import WooCommerce

APPS: dict[str, dict[str, str]] = {
    "AMAZON": {
        "clientId": amazon.CLIENT_ID,
        "clientSecret": amazon.CLIENT_SECRET,
        "application_id": amazon.APPLICATION_ID,
        "notification_application_ids": amazon.NOTIFICATION_APPLICATION_ID,
    },
    "EBAY": {
        "clientId": ebay.CLIENT_ID,
        "clientSecret": ebay.CLIENT_SECRET,
        "ru_name": ebay.RU_NAME,
        "verification_token": ebay.VERIFICATION_TOKEN,
        "alert_email": "alerts@example.com",
    },
    "ETSY": {
        "clientId": etsy.KEYSTRING,
        "clientSecret": etsy.SHARED_SECRET,
        "webhook_secret": etsy_webhooks.WEBHOOK_SECRET,
    },
    "SHOPIFY": {
        "clientId": "storelink-local-shopify",
        "clientSecret": "shpss_local_0123456789abcdef0123456789abcdef",
    },
    "TIKTOK_SHOP": {
        "clientId": "storelinklocal",
        "clientSecret": "tts_local_0123456789abcdef0123456789abcdef",
        "service_id": "7000000000000000001",
        "market": "US",
    },
}
"""Our registrations, as an operator stores them; each stand-in knows its own."""
HOSTS: tuple[str, ...] = (
    *amazon.HOSTS,
    *custom.HOSTS,
    *ebay.HOSTS,
    *etsy.HOSTS,
    *shopify.HOSTS,
    *tiktok_shop.HOSTS,
)
"""The host names of all platforms that have addresses of their own."""
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_RECEIVER_TIMEOUT = 60.0


class StandIn(Protocol):
    """A platform that has addresses of its own, which the local stack leads here."""

    hosts: Sequence[str]
    """Its host names; ``.example.com`` means all names below."""

    def routes(self) -> list[Route]:
        """Its control API, below ``/_sandbox/NAME``."""
        ...

    async def answer(self, request: Request, stop: asyncio.Event) -> Response:
        """Any request to one of its hosts; whatever hangs on purpose lets go at ``stop``."""
        ...

    async def deliver(self) -> None:
        """Sends the webhooks that are due."""
        ...


class Sandbox:
    """All platforms behind one address."""

    def __init__(
        self,
        base_url: str = "https://localhost",
        *,
        clock: Callable[[], float] = time.time,
        http: Callable[[], httpx.AsyncClient] = httpx.AsyncClient,
        deliver_every: float | None = None,
        tiktok_return_address: str = tiktok_shop.RETURN_ADDRESS,
        send_to_queue: SendToQueue = nowhere,
    ) -> None:
        self.base_url = base_url
        self.woocommerce = WooCommerce(base_url, clock, http)
        self.stop = asyncio.Event()
        """Set when the sandbox ends: whatever hangs on purpose lets go."""
        self._deliver_every = deliver_every
        self.tiktok_shop = TikTokShop(clock, http, tiktok_return_address)
        self.shopify = Shopify(clock, http)
        self.custom = Custom(clock, http)
        self.etsy = Etsy(clock, http)
        self.amazon = Amazon(clock, send_to_queue)
        self.ebay = Ebay(clock, http)
        self.platforms: tuple[StandIn, ...] = (
            self.shopify,
            self.tiktok_shop,
            self.custom,
            self.etsy,
            self.amazon,
            self.ebay,
        )
        self.app = Starlette(
            routes=[
                *control.routes(self.woocommerce, base_url),
                *(route for platform in self.platforms for route in platform.routes()),
                Route("/{shop}", self._shop_without_path, methods=_METHODS),
                Route("/{shop}/{path:path}", self._shop, methods=_METHODS),
            ],
            lifespan=self._lifespan,
        )
        self.app.add_middleware(_ByHost, platforms=self.platforms, stop=self.stop)

    async def _shop(self, request: Request) -> Response:
        return await self.woocommerce.answer(request, self.stop)

    async def _shop_without_path(self, request: Request) -> Response:
        request.path_params["path"] = ""
        return await self.woocommerce.answer(request, self.stop)

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:  # noqa: ARG002 - Starlette gives it
        worker = asyncio.create_task(self._deliver()) if self._deliver_every else None
        yield
        self.stop.set()
        if worker:
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker

    async def _deliver(self) -> None:
        """The shops' cron: send what waits, again and again."""
        while not self.stop.is_set():
            for site in list(self.woocommerce.sites.values()):
                if not site.webhooks.paused:
                    await site.webhooks.deliver()
            for platform in self.platforms:
                await platform.deliver()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), self._deliver_every)


class _ByHost:
    """Leads a request to the platform whose host it names, in the Host header or as ``/at/{host}/{path}``.

    The second is for a person's browser, to which the platforms' names mean the real ones.
    """

    def __init__(self, own: ASGIApp, platforms: Sequence[StandIn], stop: asyncio.Event) -> None:
        self._own = own
        self._platforms = platforms
        self._stop = stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection of ASGI."""
        if scope["type"] == "http":
            scope = _at(scope)
            request = Request(scope, receive)
            platform = self._platform(request.url.hostname or "")
            if platform:
                answer = await platform.answer(request, self._stop)
                await answer(scope, receive, send)
                return
        await self._own(scope, receive, send)

    def _platform(self, host: str) -> StandIn | None:
        for platform in self._platforms:
            if any(host == name or (name.startswith(".") and host.endswith(name)) for name in platform.hosts):
                return platform
        return None


def _at(scope: Scope) -> Scope:
    named = scope["raw_path"].decode().removeprefix("/at/")
    host, _, rest = named.partition("/")
    if named == scope["raw_path"].decode() or not host:
        return scope
    path = f"/{rest}"
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    return {**scope, "path": unquote(path), "raw_path": path.encode(), "headers": [(b"host", host.encode()), *headers]}


class InProcess(httpx.BaseTransport):
    """A way for a plain ``httpx.Client`` straight into the app, without a socket."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._asgi = httpx.ASGITransport(sandbox.app)
        self._loop = asyncio.new_event_loop()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One request, answered whole; what hangs or is reset is told as httpx tells it."""
        patience = request.extensions.get("timeout", {}).get("read")
        try:
            return self._loop.run_until_complete(asyncio.wait_for(self._answer(request), patience))
        except TimeoutError as stalled:
            raise httpx.ReadTimeout("The sandbox does not answer.", request=request) from stalled
        except ConnectionResetError as reset:
            raise httpx.ReadError(str(reset), request=request) from reset

    def close(self) -> None:
        """Give the event loop back."""
        self._loop.close()

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        asked = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
        answer = await self._asgi.handle_async_request(asked)
        body = b"".join([chunk async for chunk in answer.aiter_raw()])
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(body))


@dataclass(frozen=True)
class Running:
    """A sandbox being served."""

    base_url: str
    ca: Path
    sandbox: Sandbox
    stop: Callable[[], None]


class _Protocol(H11Protocol):
    """Shows the transport to the app, which must be able to reset a connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # over TCP it is one
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


class _Server(uvicorn.Server):
    """Says when it is ready, and releases what hangs when it ends."""

    def __init__(self, config: uvicorn.Config, sandbox: Sandbox, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._sandbox = sandbox
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._sandbox.stop.set()
        for connection in list(self.server_state.connections):
            assert isinstance(connection, H11Protocol)
            if connection.cycle is None or connection.cycle.response_complete:
                connection.transport.abort()  # an idle client does not answer TLS's goodbye
        await super().shutdown(sockets)


def certify(ca_dir: Path, hosts: Sequence[str] = ()) -> Path:
    """Make or reuse the authority in a folder and issue a certificate for localhost and ``hosts``; the CA's path."""
    ca_dir.mkdir(parents=True, exist_ok=True)
    ca_path, ca_key = ca_dir / "ca.pem", ca_dir / "ca-key.pem"
    if ca_path.exists() and ca_key.exists():
        authority = trustme.CA.from_pem(ca_path.read_bytes(), ca_key.read_bytes())
    else:
        authority = trustme.CA(organization_name="platform sandbox")
        authority.cert_pem.write_to_path(str(ca_path))
        _write_private(ca_key, authority.private_key_pem)
    certificate = authority.issue_cert(
        "localhost", "127.0.0.1", *(f"*{host}" if host.startswith(".") else host for host in hosts)
    )
    _write_private(ca_dir / "server.pem", certificate.private_key_and_cert_chain_pem)
    return ca_path


def _write_private(path: Path, pem: trustme.Blob) -> None:
    path.touch(mode=0o600)
    pem.write_to_path(str(path))


def _client(trusted: Sequence[Path]) -> Callable[[], httpx.AsyncClient]:
    """A client per delivery that trusts these authorities too, as each WordPress request is a new one."""
    context = ssl.create_default_context()
    for path in trusted:
        context.load_verify_locations(path)
    return lambda: httpx.AsyncClient(verify=context, timeout=_RECEIVER_TIMEOUT, trust_env=False)


def _queue_sender(endpoint: str) -> SendToQueue:
    """A way into the queues of the local engine, as Amazon's account has one into ours."""
    session = botocore.session.Session()
    session.set_credentials(AMAZONS_ACCOUNT, "test")  # the engine takes it for the caller's account
    once = Config(connect_timeout=5, read_timeout=5, retries={"total_max_attempts": 1})  # what waits is sent again

    @functools.cache
    def client(region: str) -> Any:
        return session.create_client("sqs", region_name=region, endpoint_url=endpoint, config=once)

    def send(arn: str, body: str) -> None:
        region, account, name = arn.split(":")[3:6]
        try:
            client(region).send_message(QueueUrl=f"{endpoint}/{account}/{name}", MessageBody=body)
        except (BotoCoreError, ClientError) as error:
            raise QueueRefused(str(error)) from error

    return send


def _server(ca_dir: Path, ready: Callable[[], None], sandbox: Sandbox) -> _Server:
    config = uvicorn.Config(
        sandbox.app,
        http=_Protocol,
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        ssl_certfile=str(ca_dir / "server.pem"),
        timeout_graceful_shutdown=2,
    )
    return _Server(config, sandbox, ready)


@contextlib.contextmanager
def serve(
    ca_dir: Path,
    *,
    port: int = 0,
    clock: Callable[[], float] = time.time,
    trust: Sequence[Path] = (),
    deliver_every: float | None = None,
) -> Iterator[Running]:
    """A sandbox served from a thread on a free port; ``deliver_every`` seconds webhooks are sent by themselves."""
    ca = certify(ca_dir, HOSTS)
    with socket.create_server(("127.0.0.1", port)) as listener:
        base_url = f"https://localhost:{listener.getsockname()[1]}"
        sandbox = Sandbox(base_url, clock=clock, http=_client([ca, *trust]), deliver_every=deliver_every)
        ready = threading.Event()
        server = _server(ca_dir, ready.set, sandbox)
        thread = threading.Thread(target=server.run, args=([listener],), name="sandbox")
        thread.start()

        def stop() -> None:
            server.should_exit = True
            thread.join()

        try:
            if not ready.wait(30):
                raise RuntimeError("The sandbox did not start.")
            yield Running(base_url, ca, sandbox, stop)
        finally:
            stop()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until a signal ends it."""
    options = _options(arguments)
    ca = certify(options.ca_dir, HOSTS)
    listener = socket.create_server(("127.0.0.1", options.port))
    base_url = f"https://localhost:{listener.getsockname()[1]}"
    http = _client([ca, *options.trust])
    sender = _queue_sender(options.aws_endpoint) if options.aws_endpoint else nowhere
    sandbox = Sandbox(base_url, http=http, deliver_every=options.deliver_every or None, send_to_queue=sender)
    sizes = Sizes(products=options.products, variable=options.variable, orders=options.orders)
    for name in options.shop:
        site = sandbox.woocommerce.open(name, seed=options.seed, sizes=sizes)
        for permissions in ("read_write", "read", "write"):
            site.shop.add_key(permissions)
    # uvicorn raises the signal again when it has ended; this keeps that from being an unclean end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)

    def ready() -> None:
        print(f"sandbox ready {base_url} ca {ca}", flush=True)

    _server(options.ca_dir, ready, sandbox).run([listener])


def _options(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="sandbox", description="Stand-ins for the platforms' APIs.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--ca-dir", type=Path, required=True, help="where ca.pem is kept and certificates go")
    parser.add_argument("--trust", type=Path, action="append", default=[], help="a receivers' CA, repeatable")
    parser.add_argument("--deliver-every", type=float, default=1.0, help="seconds; 0 only when told to")
    parser.add_argument("--aws-endpoint", help="where the queues are that Amazon sends to")
    parser.add_argument("--shop", action="append", default=[], help="open a WooCommerce shop, repeatable")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--products", type=int, default=60)
    parser.add_argument("--variable", type=int, default=12)
    parser.add_argument("--orders", type=int, default=250)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
