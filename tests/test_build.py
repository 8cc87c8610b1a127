"""The artifact: the same bytes twice, nothing compiled at import, nothing missing."""

import ast
import fcntl
import gzip
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import botocore
import pytest

from infra import botocore_data, build, template

# Imports every handler with nothing but the artifact and the standard library at hand, and makes the clients that the
# template grants actions for. A module that has to be compiled stops it.
IMPORT_ALL = """
import importlib, importlib._bootstrap_external as external, json, sys
def compile_nothing(self, data, path, **_):
    raise SystemExit(f"compiled at import: {path}")
external.SourceLoader.source_to_code = compile_nothing
artifact, (handlers, services, later) = sys.argv[1], map(json.loads, sys.argv[2:])
sys.path.insert(0, artifact)
import botocore.session
for service in services:
    botocore.session.Session().create_client(service, region_name="eu-central-1")
for handler in handlers:
    assert callable(importlib.import_module(f"functions.{handler}").lambda_handler)
for module in later:
    importlib.import_module(module)
elsewhere = [name for name, module in sys.modules.items() if "site-packages" in (getattr(module, "__file__", "") or "")]
assert not elsewhere, elsewhere
"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Where the artifact for this machine was built, once for all workers."""
    own = tmp_path_factory.getbasetemp()
    shared = (own if worker_id == "master" else own.parent) / "build"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "storelink.zip").exists():
            build.build(build.Target.local(), shared)
    return shared


@pytest.fixture(scope="session")
def unpacked(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact as a function sees it."""
    place = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(folder / "storelink.zip") as archive:
        archive.extractall(place)
    return place


def granted_services() -> list[str]:
    return sorted({action.split(":")[0] for action in template.granted_actions(template.load())})


def imported_anywhere() -> set[str]:
    """Every module that our code imports, also those that it imports only when it needs them."""
    sources = [path for name in build.OURS for path in (build.ROOT / name).rglob("*.py")]
    nodes = [node for path in sources for node in ast.walk(ast.parse(path.read_text()))]
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return modules | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


def test_builds_the_same_bytes_twice(folder: Path, tmp_path: Path) -> None:
    again = build.build(build.Target.local(), tmp_path)

    assert again.read_bytes() == (folder / "storelink.zip").read_bytes()


def test_takes_the_dependencies_from_the_last_build(folder: Path, tmp_path: Path) -> None:
    [layer] = folder.glob("dependencies-*.zip")
    kept = tmp_path / layer.name
    kept.write_bytes(layer.read_bytes())
    written = kept.stat().st_mtime_ns

    build.build(build.Target.local(), tmp_path)

    assert kept.stat().st_mtime_ns == written


def test_every_module_has_bytecode_that_is_never_checked(unpacked: Path) -> None:
    tag = f"{sys.implementation.cache_tag}.pyc"
    modules = list(unpacked.rglob("*.py"))

    flags = {path: (path.parent / "__pycache__" / f"{path.stem}.{tag}").read_bytes()[4:8] for path in modules}

    assert len(modules) > 1000
    assert set(flags.values()) == {b"\x01\0\0\0"}  # PEP 552: by hash, and not to be checked


def test_every_handler_imports_from_the_artifact_alone_and_compiles_nothing(unpacked: Path) -> None:
    variables = template.load()["Globals"]["Function"]["Environment"]["Variables"]
    environment = {name: value if isinstance(value, str) else "1" for name, value in variables.items()}
    names = (sorted(template.functions(template.load())), granted_services(), sorted(imported_anywhere()))
    command = [sys.executable, "-S", "-P", "-c", IMPORT_ALL, str(unpacked), *map(json.dumps, names)]

    ended = subprocess.run(  # noqa: S603 - the interpreter that runs this
        command,
        env={**environment, "AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "eu-central-1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")


def test_is_small_and_dated_alike(folder: Path) -> None:
    with zipfile.ZipFile(folder / "storelink.zip") as archive:
        entries = archive.infolist()

    assert (folder / "storelink.zip").stat().st_size <= build.LIMIT
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert len({entry.filename for entry in entries}) == len(entries)


def test_describes_the_api(unpacked: Path) -> None:
    document = json.loads((unpacked / "described/openapi.json").read_text())

    [access] = document["paths"]["/stores"]["post"]["security"]
    assert list(access.values()) == [["stores:write"]]
    assert 'id="store-not-found"' in (unpacked / "described/docs.html").read_text()


def test_keeps_no_service_that_nothing_calls(unpacked: Path) -> None:
    kept = {path.name for path in (unpacked / "botocore/data").iterdir() if path.is_dir()}

    assert kept == set(granted_services())


def test_says_which_interpreter_is_missing() -> None:
    with pytest.raises(SystemExit, match=r"No Python 3\.99 found"):
        build.find_interpreter("3.99")


def test_is_built_for_what_the_template_deploys_by_default() -> None:
    parameters = template.load()["Parameters"]
    target = build.Target.aws()

    assert (target.architecture, f"python{target.python}") == (
        parameters["Architecture"]["Default"],
        parameters["Runtime"]["Default"],
    )
    assert target.platform == build.PLATFORMS[target.architecture]


# ── botocore's data ──────────────────────────────────────────────────────────────────────────────

MODEL = {
    "metadata": {"serviceId": "Example"},
    "documentation": "<p>Long.</p>",
    "operations": {
        "GetThing": {"input": {"shape": "GetThingInput"}, "documentation": "<p>Long.</p>"},
        "DeleteThing": {"input": {"shape": "DeleteThingInput"}},
    },
    "shapes": {
        "GetThingInput": {
            "type": "structure",
            "members": {"documentation": {"shape": "Text", "documentation": "Long"}},
        },
        "DeleteThingInput": {"type": "structure", "members": {}},
        "Text": {"type": "string"},
    },
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small data folder, as botocore has it."""
    for service in ("example", "other"):
        version = tmp_path / service / "2020-01-01"
        version.mkdir(parents=True)
        (version / "service-2.json.gz").write_bytes(gzip.compress(json.dumps(MODEL).encode()))
        (version / "examples-1.json").write_text("{}")
    endpoints = {"partitions": [{"partition": "aws", "services": {"example": {}, "other": {}}}]}
    (tmp_path / "endpoints.json").write_text(json.dumps(endpoints))
    return tmp_path


def test_keeps_an_operation_with_the_shapes_it_uses(data: Path) -> None:
    botocore_data.slim(data, {"example": {"GetThing"}})

    model = json.loads((data / "example/2020-01-01/service-2.json").read_text())
    assert model["operations"] == {"GetThing": {"input": {"shape": "GetThingInput"}}}
    assert model["shapes"] == {
        "GetThingInput": {"type": "structure", "members": {"documentation": {"shape": "Text"}}},
        "Text": {"type": "string"},
    }
    assert sorted(path.name for path in data.rglob("*")) == [
        "2020-01-01",
        "endpoints.json",
        "example",
        "service-2.json",
    ]
    assert json.loads((data / "endpoints.json").read_text())["partitions"][0]["services"] == {"example": {}}


@pytest.mark.parametrize("allowed", [{"example": {"GetThing", "PutThing"}}, {"example": {"GetThing"}, "new": {"Get"}}])
def test_stops_the_build_when_botocore_lacks_what_the_template_grants(data: Path, allowed: dict[str, set[str]]) -> None:
    with pytest.raises(SystemExit, match=r"PutThing|'new'"):
        botocore_data.slim(data, allowed)


def test_an_action_brings_the_operations_that_it_allows() -> None:
    actions = ["dynamodb:ConditionCheckItem", "dynamodb:GetItem", "dynamodb:GetRecords", "sqs:SendMessage"]

    assert botocore_data.operations(actions) == {
        "dynamodb": {"GetItem", "TransactGetItems", "TransactWriteItems"},
        "sqs": {"SendMessage", "SendMessageBatch"},
    }


def test_what_botocore_reads_of_a_model_stays_though_its_documentation_goes(tmp_path: Path) -> None:
    source = Path(botocore.__file__).parent / "data"
    for name in botocore_data.COMMON:
        [file] = source.glob(f"{name}*")
        shutil.copyfile(file, tmp_path / file.name)
    shutil.copytree(source / "s3", tmp_path / "s3")

    botocore_data.slim(tmp_path, {"s3": {"PutObject"}})

    [model] = tmp_path.glob("s3/*/service-2.json")
    parameters = json.loads(model.read_text())["clientContextParams"]
    assert {each["documentation"] for each in parameters.values()} == {""}
