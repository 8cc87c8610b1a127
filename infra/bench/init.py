"""How long functions take to start, as a ratio to a bare boto3 DynamoDB client in the same run.

    python -m infra.bench.init build/storelink.zip               a table
    python -m infra.bench.init build/storelink.zip --check       and exit code 1 where a budget is missed

The artifact must be built for this machine (`python -m infra.build --local DIR`). Every start is a fresh process,
without the packages of the machine around it and without its end; rounds are interleaved, so that a busy neighbour
slows both sides of a ratio. What is measured ends with a DynamoDB client at hand, as the reference does.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

REFERENCE = "import boto3; boto3.client('dynamodb')"

BUDGETS: Mapping[str, float] = {"receive_webhook": 0.80, "get_store": 1.30, "update_store": 1.30, "sync_store": 1.60}

NEVER = frozenset({"aws_xray_sdk", "awscrt"})
"""What no function may load at its start: large, and of no use."""

NOT_IN_THE_RECEIVER = NEVER | {
    "asyncio",
    "aws_encryption_sdk",
    "boto3",
    "httpx",
    "pycountry",
    "pydantic",
    "pynamodb",
    "s3transfer",
}

# Nothing is called: all that counts is that the settings can be read and a client can be made.
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_REGION": "eu-central-1",
    "AWS_LAMBDA_FUNCTION_NAME": "bench",
    "TABLE_PREFIX": "bench",
    "PUBLIC_URL": "https://api.example.com",
    "API_CREDENTIALS_KEY": "alias/bench",
    "WEBHOOK_SECRETS_KEY": "alias/bench",
    "EVENT_BUS": "bench",
    "SYNC_QUEUE_URL": "",
    "DELIVERY_QUEUE_URL": "",
    "DELIVERY_DEAD_LETTERS_URL": "",
    "REMOVAL_QUEUE_URL": "",
    "BODIES_BUCKET": "storelink-bodies",
    "APPS": "storelink/apps",
    "TEAMS_CLAIM": "teams",
    "KEY_GROUPS": "64",
    "SHARDS": "4",
    "POWERTOOLS_SERVICE_NAME": "storelink",
}

_CPU = "import os, time; os.write(1, str(time.process_time()).encode()); os._exit(0)"

_LOADED = """
import json, os, sys
loaded = {}
for name, module in list(sys.modules.items()):
    spec = getattr(module, "__spec__", None)
    if spec is not None and (spec.origin or "").endswith(".py"):
        valid = False
        if spec.cached and os.path.exists(spec.cached):
            with open(spec.cached, "rb") as bytecode:
                valid = bytecode.read(8)[4:] == bytes([1, 0, 0, 0])
        loaded[name] = [spec.origin, valid]
    else:
        loaded[name] = [None, True]
print(json.dumps(loaded))
"""


@dataclass(frozen=True)
class Start:
    """A function's start."""

    function: str
    milliseconds: float
    ratio: float
    """To the reference, median over the rounds."""

    @property
    def in_budget(self) -> bool:
        """Whether the start is as short as it must be; a function without a budget always is."""
        return self.ratio <= BUDGETS.get(self.function, float("inf"))


def loads(artifact: Path, function: str) -> dict[str, str]:
    """The modules that the function's start loads, and the file of each that has one."""
    return {name: origin or "" for name, (origin, _) in _loaded(artifact, function).items()}


def forbidden(artifact: Path, function: str) -> set[str]:
    """The packages that the function's start loads though it must not."""
    packages = {name.partition(".")[0] for name in loads(artifact, function)}
    return packages & (NOT_IN_THE_RECEIVER if function == "receive_webhook" else NEVER)


def compiled_at_start(artifact: Path, function: str) -> set[str]:
    """The artifact's modules that Python had to compile, or had to compare with their source."""
    loaded = _loaded(artifact, function)
    return {
        name for name, (origin, valid) in loaded.items() if origin and not valid and artifact in Path(origin).parents
    }


def measure(artifact: Path, functions: Sequence[str], rounds: int) -> tuple[float, list[Start]]:
    """The reference's CPU time in milliseconds, and every function's start against it."""
    taken: dict[str, list[float]] = {name: [] for name in ("", *functions)}
    with tempfile.TemporaryDirectory() as bytecode:
        for number in range(rounds + 1):
            for name, times in taken.items():
                time = _reference(bytecode) if name == "" else _start(artifact, name)
                if number > 0:  # The first round only warms the files, and compiles the reference.
                    times.append(time)
    reference = taken.pop("")
    starts = [
        Start(name, median(times), median(one / other for one, other in zip(times, reference, strict=True)))
        for name, times in taken.items()
    ]
    return median(reference), starts


def unpacked(artifact: Path) -> contextlib.AbstractContextManager[Path]:
    """The folder of an artifact, which may be an archive."""
    return _unpacked(artifact) if artifact.is_file() else contextlib.nullcontext(artifact.resolve())


@contextlib.contextmanager
def _unpacked(archive: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(archive).extractall(folder)
        yield Path(folder).resolve()


def _reference(bytecode: str) -> float:
    return 1_000 * float(
        _run(sysconfig.get_path("purelib"), f"{REFERENCE}\n{_CPU}", "-X", f"pycache_prefix={bytecode}")
    )


def _start(artifact: Path, function: str) -> float:
    return 1_000 * float(_run(str(artifact), f"{_started(function)}\n{_CPU}", "-B"))


def _loaded(artifact: Path, function: str) -> dict[str, tuple[str | None, bool]]:
    modules: dict[str, tuple[str | None, bool]] = json.loads(
        _run(str(artifact), f"{_started(function)}\n{_LOADED}", "-B")
    )
    return modules


def _started(function: str) -> str:
    return f"import functions.{function}, shared.clients; shared.clients.dynamodb()"


def _run(path: str, code: str, *options: str) -> str:
    # No site: the start must not depend on what else is installed here.
    command = [sys.executable, "-I", "-S", *options, "-c", f"import sys; sys.path.insert(0, {path!r})\n{code}"]
    ran = subprocess.run(command, env=_ENVIRONMENT, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise SystemExit(f"The start failed: {ran.stderr.strip()}")
    return ran.stdout


@dataclass(frozen=True)
class Report:
    """What was measured, for a person, and whether all is as it must be."""

    text: str
    in_budget: bool


def report(artifact: Path, functions: Sequence[str], rounds: int) -> Report:
    """Measures the functions' starts, and looks at what they load."""
    reference, starts = measure(artifact, functions, rounds)
    lines = [
        f"Reference: `{REFERENCE}`, {reference:.0f} ms of CPU, median of {rounds} rounds",
        "",
        "| function | CPU, ms | ratio | budget | should not be loaded, or not be compiled at start |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    fine = True
    for start in starts:
        budget = BUDGETS.get(start.function)
        wrong = sorted(forbidden(artifact, start.function) | compiled_at_start(artifact, start.function))
        fine &= start.in_budget and not wrong
        shown = f"{budget:.2f}" if budget else ""
        lines.append(
            f"| {start.function} | {start.milliseconds:.0f} | {start.ratio:.2f} | {shown} | {', '.join(wrong)} |"
        )
    return Report("\n".join(lines), fine)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the start of functions against boto3's.")
    parser.add_argument("artifact", type=Path, help="the built archive, or the folder it was unpacked to")
    parser.add_argument("functions", nargs="*", default=list(BUDGETS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--check", action="store_true", help="fail where a budget is missed")
    options = parser.parse_args()
    with unpacked(options.artifact) as artifact:
        measured = report(artifact, options.functions, options.rounds)
    print(measured.text)
    if options.check and not measured.in_budget:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
