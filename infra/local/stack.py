"""Runs the whole service on this machine: no Docker, no AWS account.

    python -m infra.local.stack                   start, play the demo, and stay until Ctrl-C
    python -m infra.local.stack --demo            start, play the demo, end
    python -m infra.local.stack --without-demo    start, and stay

What is deployed is the real template by the real SAM, onto ministack with IAM enforced. Around it stand an OIDC
issuer, the platform sandbox and a front that gives the API an address.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import botocore.session
import httpx
import uvicorn
from starlette.applications import Starlette

from infra import build
from infra.local import demo, front
from infra.local.issuer import Issuer
from infra.local.routes import Importer, Route
from infra.local.sandbox import server

ROOT = Path(__file__).parent.parent.parent
HOME = ROOT / ".local"
STACK = "storelink"
BUCKET = "artifacts"
REGION = "us-east-1"
AUDIENCE = "storelink"
USERS: dict[str, tuple[str, ...]] = {"demo-user-1": (), "demo-user-2": ("demo-team",)}


@dataclass(frozen=True)
class Ports:
    """Five neighbours, so that one number moves them all."""

    first: int

    @property
    def named(self) -> dict[str, int]:
        """Each port by what listens there."""
        return {name: self.first + place for place, name in enumerate(("api", "https", "sandbox", "issuer", "aws"))}

    def check(self) -> None:
        """Say which are taken, before something half started says it less clearly."""
        for name, port in self.named.items():
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    raise SystemExit(f"Port {port} ({name}) is taken. End what listens there, or move: PORT=9000")


class StepFailedError(Exception):
    """A step did not do what it should; the message says what is known."""


@contextmanager
def step(name: str) -> Iterator[None]:
    """Show what is being done, and how long it took."""
    print(f"  {name:<34}", end="", flush=True)
    started = time.monotonic()
    yield
    print(f"{time.monotonic() - started:6.1f} s", flush=True)


class Stack:
    """What runs; everything it started ends with ``running``."""

    def __init__(self, running: ExitStack, ports: Ports, home: Path = HOME) -> None:
        self._running = running
        self._home = home.resolve()
        self._logs = self._home / "logs"
        self._ports = ports.named
        self._aws = f"http://127.0.0.1:{self._ports['aws']}"
        self._sandbox = f"https://localhost:{self._ports['sandbox']}"
        self._https = f"https://localhost:{self._ports['https']}"
        self._api = f"http://127.0.0.1:{self._ports['api']}"
        self._issuer = Issuer(f"http://127.0.0.1:{self._ports['issuer']}", AUDIENCE)
        self._ca = self._home / "ca"
        self._authority = self._ca / "ca.pem"
        self._bundle = self._ca / "bundle.pem"
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> dict[str, Any]:
        """Start everything, and return where it is."""
        self._logs.mkdir(parents=True, exist_ok=True)
        with step("platform sandbox, ministack"):
            self._start_sandbox()
            self._start_engine()
        with step("artifact"):
            self._build()
        with step("sam deploy"):
            self._deploy()
            self._register()
        with step("issuer and front"):
            api_id, routes = Importer(self._client, STACK).run()
            self._serve(self._issuer.app(), "issuer")
            engine = front.app(self._aws, api_id)
            self._serve(engine, "api")
            self._serve(engine, "https", certificate=self._ca / "server.pem")
        with step(f"routes ({len(routes)}) answer"):
            self._check(routes)
        return self._endpoints()

    def _start_sandbox(self) -> None:
        arguments = ["--port", str(self._ports["sandbox"]), "--ca-dir", str(self._ca)]
        arguments += ["--aws-endpoint", self._aws]
        self._spawn("sandbox", Path(sys.executable), "infra.local.sandbox.server", *arguments)
        self._wait_for("sandbox", f"{self._sandbox}/_sandbox")
        extra = os.environ.get("EXTRA_CA")
        self._bundle.write_bytes(self._authority.read_bytes() + (Path(extra).read_bytes() if extra else b""))

    def _start_engine(self) -> None:
        scratch = self._home / "tmp"  # ministack forgets its own when it is stopped with workers at work
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        self._running.callback(shutil.rmtree, scratch, ignore_errors=True)
        environment = {
            "AUTH": "true",
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self._ports["aws"]),
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "MINISTACK_REGION": REGION,
            # The functions inherit the engine's environment. This opens loopback addresses to them, here and nowhere
            # else: the template cannot say it.
            "STORELINK_LOCAL_CA": str(self._bundle),
            "STORELINK_LOCAL_PLATFORMS": f"{self._ports['sandbox']}:{','.join(server.HOSTS)}",
            "TMPDIR": str(scratch),
            "STATE_DIR": str(scratch / "state"),
        }
        self._spawn("ministack", ROOT / ".tools/ministack/bin/python", "infra.local.engine", **environment)
        self._wait_for("ministack", f"{self._aws}/_ministack/health")

    def _build(self) -> None:
        folder = self._home / "build"
        folder.mkdir(exist_ok=True)
        build.build(build.Target.local(), folder)
        shutil.copyfile(ROOT / "template.yaml", self._home / "template.yaml")

    def _deploy(self) -> None:
        self._client("s3").create_bucket(Bucket=BUCKET)
        target = build.Target.local()
        parameters = {
            "PublicUrl": self._https,
            "JwtIssuer": self._issuer.url,
            "JwtAudience": AUDIENCE,
            "Architecture": target.architecture,
            "Runtime": f"python{target.python}",
        }
        command = [str(ROOT / ".tools/sam/bin/sam"), "deploy", "--stack-name", STACK, "--s3-bucket", BUCKET]
        command += ["--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-progressbar"]
        command += ["--region", REGION, "--parameter-overrides", *(f"{k}={v}" for k, v in parameters.items())]
        environment = {
            **_plain_environment(),
            "AWS_ENDPOINT_URL": self._aws,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "SAM_CLI_TELEMETRY": "0",
            "SAM_CLI_POLL_DELAY": "1",
        }
        with (self._logs / "deploy.log").open("w") as log:
            ended = subprocess.run(
                command,
                cwd=self._home,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        if ended.returncode:
            raise StepFailedError(self._tail("deploy", 40))

    def _register(self) -> None:
        """Put our registrations at the platforms where an operator would: the sandbox knows them."""
        secrets = self._client("secretsmanager")
        (deployed,) = self._client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        outputs = {each["OutputKey"]: each["OutputValue"] for each in deployed["Outputs"]}
        amazon = server.APPS["AMAZON"] | {"queue_arn": outputs["NotificationQueue"]}
        for platform, registration in (server.APPS | {"AMAZON": amazon}).items():
            secrets.put_secret_value(SecretId=f"{STACK}/apps/{platform}", SecretString=json.dumps(registration))

    def _serve(self, app: Starlette, name: str, certificate: Path | None = None) -> None:
        """Serve ``app`` in a thread until the stack ends."""
        config = uvicorn.Config(
            app,
            host="127.0.0.1",
            port=self._ports[name],
            log_level="error",
            lifespan="off",
            server_header=False,
            date_header=False,
            ssl_certfile=certificate,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()

        def stop() -> None:
            server.should_exit = True
            thread.join(timeout=5)

        self._running.callback(stop)
        _until(lambda: server.started, f"{name} does not start")

    def _check(self, routes: list[Route]) -> None:
        """Ask each route as nobody, as somebody who may not, and as somebody who may."""
        tokens = {
            None: None,
            "without scopes": self._issuer.token("demo-user-1", scope=""),
            "good": self._issuer.token("demo-user-1"),
        }

        def problem(route: Route, client: httpx.Client) -> str | None:
            path = route.path.replace("{", "").replace("}", "")
            path = path.replace("/platform", "/WOO_COMMERCE")
            expected = {None: 401, "without scopes": 403} if route.authorizer else {}
            for who, status in expected.items():
                answer = client.request(route.method, path, headers=_bearer(tokens[who]))
                if answer.status_code != status:
                    return f"{route.key} with token {who}: {answer.status_code} instead of {status}"
            answer = client.request(route.method, path, headers=_bearer(tokens["good"]))
            # The gateway's own answers, where it finds no route or where the function failed, have but a message.
            ours = answer.headers.get("content-type", "") != "application/json" or answer.text[:11] != '{"message":'
            served = ours and answer.status_code not in {401, 403, 500, 502, 503, 504}
            served |= route.authorizer is None and answer.status_code == 401
            return None if served else f"{route.key}: {answer.status_code} {answer.text[:300]}"

        with (
            httpx.Client(base_url=self._api, timeout=60, trust_env=False) as client,
            ThreadPoolExecutor(4) as pool,
        ):
            problems = [found for found in pool.map(lambda route: problem(route, client), routes) if found]
        if problems:
            raise StepFailedError("\n".join([*problems, *self._errors_logged()]))

    def _errors_logged(self) -> list[str]:
        """The last errors in the functions' log."""
        logs = self._client("logs")
        found = logs.filter_log_events(logGroupName=f"/storelink/{STACK}/functions")["events"]
        return [each["message"] for each in found if '"level":"ERROR"' in each["message"]][-3:]

    def _endpoints(self) -> dict[str, Any]:
        """Where everything is; written to ``.local/endpoints.json`` for whoever tries it."""
        users = [
            {"id": name, "teams": list(teams), "token": self._issuer.token(name, teams)}
            for name, teams in USERS.items()
        ]
        endpoints = {
            "api": self._api,
            "https": self._https,
            "ca": str(self._authority),
            "sandbox": self._sandbox,
            "issuer": self._issuer.url,
            "aws": self._aws,
            "region": REGION,
            "stack": STACK,
            "token": users[0]["token"],
            "users": users,
        }
        place = self._home / "endpoints.json"
        place.with_suffix(".new").write_text(json.dumps(endpoints, indent=2))
        place.with_suffix(".new").replace(place)  # whoever waits for it finds it whole
        self._running.callback(place.unlink, missing_ok=True)
        return endpoints

    def _client(self, service: str) -> Any:
        """An AWS client of the engine's root user."""
        session = botocore.session.Session()
        session.set_credentials("test", "test")
        return session.create_client(service, region_name=REGION, endpoint_url=self._aws)

    def _spawn(self, name: str, interpreter: Path, module: str, *arguments: str, **environment: str) -> None:
        """Run a module in a process group of its own, which ends with us, with whatever it started itself."""
        with (self._logs / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [interpreter, "-m", "infra.local.lifeline", module, *arguments],
                cwd=ROOT,
                env={**_plain_environment(), **environment},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

        def stop() -> None:
            with process:  # which closes its standard input, and waits for it
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=10)
                with suppress(ProcessLookupError):  # which means that all have ended, as they should
                    os.killpg(process.pid, signal.SIGKILL)

        self._running.callback(stop)
        self._children[name] = process

    def _wait_for(self, name: str, url: str) -> None:
        def answers() -> bool:
            if self._children[name].poll() is not None:
                raise StepFailedError(f"{name} ended at once:\n{self._tail(name, 20)}")
            try:
                trusted = ssl.create_default_context(cafile=self._authority) if url.startswith("https") else True
                return httpx.get(url, timeout=2, trust_env=False, verify=trusted).is_success
            except (httpx.TransportError, FileNotFoundError):
                return False

        _until(answers, f"{name} does not answer at {url}")

    def _tail(self, name: str, lines: int) -> str:
        path = self._logs / f"{name}.log"
        return "\n".join([f"{path}:", *path.read_text().splitlines()[-lines:]])


def _plain_environment() -> dict[str, str]:
    """Ours, without what would lead an AWS client elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def _bearer(token: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}


def _until(condition: Callable[[], bool], complaint: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise StepFailedError(complaint)
        time.sleep(0.05)


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    """Start, then stay or run the demo; leave nothing behind."""
    parser = argparse.ArgumentParser(description="Run the service on this machine.")
    parser.add_argument("--port", type=int, default=8700, help="the first of five")
    parser.add_argument("--home", type=Path, default=HOME, help="the folder of what it makes: logs, CA, endpoints")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--demo", action="store_true", help="end after the demo; its exit code is the demo's")
    how.add_argument("--without-demo", action="store_true", help="connect no store")
    arguments = parser.parse_args()
    ports = Ports(arguments.port)
    ports.check()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    started = time.monotonic()
    with ExitStack() as running:
        try:
            endpoints = Stack(running, ports, arguments.home).start()
        except StepFailedError as failed:
            raise SystemExit(f"\n{failed}") from None
        print(f"  {'ready':<34}{time.monotonic() - started:6.1f} s\n")
        code = 0 if arguments.without_demo else demo.run(endpoints)
        if arguments.demo:
            raise SystemExit(code)
        print(f"  API      {endpoints['api']}   (and {endpoints['https']})")
        print(f"  sandbox  {endpoints['sandbox']}")
        print(f"  tokens   {os.path.relpath(arguments.home)}/endpoints.json\n\n  Ctrl-C ends it.")
        signal.signal(signal.SIGINT, lambda *_: sys.exit(0))  # from here on it is no failure
        signal.pause()


if __name__ == "__main__":
    main()
