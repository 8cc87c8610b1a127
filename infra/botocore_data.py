"""Cuts botocore down to what the functions need of it.

botocore brings 27 MB that describe every operation of every AWS service, and reads a good part of it to make a
client. The functions call the few operations that the template lets them call, so only those stay.
"""

import gzip
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

# Actions that are not the name of an operation, or that allow further ones.
ALSO_ALLOWS = {
    "dynamodb:ConditionCheckItem": {"TransactWriteItems"},
    "dynamodb:DeleteItem": {"DeleteItem", "TransactWriteItems"},
    "dynamodb:GetItem": {"GetItem", "TransactGetItems"},
    "dynamodb:PutItem": {"PutItem", "TransactWriteItems"},
    "dynamodb:UpdateItem": {"UpdateItem", "TransactWriteItems"},
    "s3:DeleteObject": {"DeleteObjects"},
    "s3:ListBucket": {"ListObjectsV2"},
    "sqs:SendMessage": {"SendMessage", "SendMessageBatch"},
    # Lambda reads the streams for us; it is another service in botocore.
    "dynamodb:DescribeStream": set[str](),
    "dynamodb:GetRecords": set[str](),
    "dynamodb:GetShardIterator": set[str](),
    "dynamodb:ListStreams": set[str](),
}

_NO_DOCSTRINGS = """\
class NoDocstring(str):
    def __new__(cls, *_, **__):
        return super().__new__(cls)


def __getattr__(name):
    if name.endswith("Docstring"):
        return NoDocstring
    raise AttributeError(name)
"""

# Beside the services: what botocore reads whichever client is made.
COMMON = {"_retry.json", "endpoints.json", "partitions.json", "sdk-default-configuration.json"}


def operations(actions: Iterable[str]) -> dict[str, set[str]]:
    """The operations that IAM actions allow, by botocore's name of the service."""
    allowed: dict[str, set[str]] = {}
    for action in actions:
        service, _, name = action.partition(":")
        allowed.setdefault(service, set()).update(ALSO_ALLOWS.get(action, {name}))
    return allowed


def slim(data: Path, allowed: dict[str, set[str]]) -> None:
    """Leave in botocore's ``data`` folder nothing but the ``allowed`` operations of each service."""
    for entry in sorted(data.iterdir()):
        if entry.is_dir() and entry.name not in allowed:
            shutil.rmtree(entry)
        elif entry.is_file() and entry.name.removesuffix(".gz") not in COMMON:
            entry.unlink()
    for service, names in sorted(allowed.items()):
        versions = sorted((data / service).iterdir()) if (data / service).is_dir() else []
        if not versions:
            raise SystemExit(f"botocore knows no service {service!r}, which the template grants actions of.")
        for outdated in versions[:-1]:
            shutil.rmtree(outdated)
        _slim_service(versions[-1], names)
    _write(data / "endpoints.json", _without_other_endpoints(_read(data / "endpoints.json"), set(allowed)))


def without_docstrings(docs: Path) -> None:
    """Have generated methods go without the docstrings that would be written for a reader at a prompt.

    Loading what writes them is 3 % of a function's init. boto3's lean on botocore's, so both go.
    """
    (docs / "__init__.py").write_text("")
    (docs / "docstring.py").write_text(_NO_DOCSTRINGS)


def _slim_service(version: Path, names: set[str]) -> None:
    model = _read(version / "service-2.json")
    if missing := names - model["operations"].keys():
        raise SystemExit(f"botocore's {version.parent.name} lacks {', '.join(sorted(missing))}.")
    model["operations"] = {name: model["operations"][name] for name in sorted(names)}
    model["shapes"] = {name: model["shapes"][name] for name in sorted(_reachable(model))}
    kept = {"service-2.json": _without_documentation(model)}
    for parameter in kept["service-2.json"].get("clientContextParams", {}).values():
        parameter["documentation"] = ""  # botocore wants it to be there
    for name in ("endpoint-rule-set-1.json", "paginators-1.json"):
        if any(version.glob(f"{name}*")):
            kept[name] = _read(version / name)
    if pages := kept.get("paginators-1.json"):
        pages["pagination"] = {name: each for name, each in pages["pagination"].items() if name in names}
    for file in version.iterdir():
        file.unlink()
    for name, content in kept.items():
        _write(version / name, content)


def _reachable(model: dict[str, Any]) -> set[str]:
    """The shapes that the model's operations use."""
    waiting = list(_shapes_named_in(list(model["operations"].values())))
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(_shapes_named_in(model["shapes"][name]))
    return seen


def _shapes_named_in(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("shape"), str):
            yield node["shape"]
        for each in node.values():
            yield from _shapes_named_in(each)
    elif isinstance(node, list):
        for each in node:
            yield from _shapes_named_in(each)


def _without_documentation(node: Any) -> Any:
    if isinstance(node, dict):
        # A member called "documentation" is a shape, hence a dictionary, and stays.
        return {
            key: _without_documentation(value)
            for key, value in node.items()
            if not (key in {"documentation", "documentationUrl"} and isinstance(value, str))
        }
    return [_without_documentation(each) for each in node] if isinstance(node, list) else node


def _without_other_endpoints(endpoints: dict[str, Any], services: set[str]) -> dict[str, Any]:
    for partition in endpoints["partitions"]:
        partition["services"] = {name: each for name, each in partition["services"].items() if name in services}
    return endpoints


def _read(path: Path) -> dict[str, Any]:
    """A data file, compressed or not."""
    packed = path.with_name(f"{path.name}.gz")
    content: dict[str, Any] = json.loads(gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes())
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, separators=(",", ":"), sort_keys=False))
