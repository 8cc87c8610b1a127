"""Builds the artifact that all functions share: the same bytes for the same inputs.

    python -m infra.build                 for AWS, as the template's defaults say: build/storelink.zip
    python -m infra.build --local DIR     for this machine: DIR/build/storelink.zip beside a copy of the template

The archive carries bytecode that is valid wherever it is unpacked. SAM's own build ships none, and what pip compiles
is void in Lambda, where every file is dated 1980: each cold start would compile everything again.
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from infra import botocore_data, template

ROOT = Path(__file__).parent.parent
REQUIREMENTS = ROOT / "infra/requirements/runtime.txt"
UV = ROOT / ".tools/uv/bin/uv"
OURS = ("functions", "shared")
LIMIT = 30 * 1024 * 1024

# Which machine each Lambda architecture is, as uv names it; Amazon Linux 2023 has glibc 2.34.
PLATFORMS = {"arm64": "aarch64-manylinux_2_28", "x86_64": "x86_64-manylinux_2_28"}

# Not needed to run: type stubs, other people's tests, translations of country names, installers' notes.
UNNEEDED = (
    "**/*.pyi",
    "**/tests",
    "bin",
    "pycountry/locales",
    "boto3/data",
    "boto3/examples",
    "*.dist-info/INSTALLER",
    "*.dist-info/RECORD",
    "*.dist-info/REQUESTED",
    "*.dist-info/WHEEL",
    "*.dist-info/uv_cache.json",
)


@dataclass(frozen=True)
class Target:
    """What the artifact is for."""

    architecture: str
    python: str
    """The runtime's minor version, e.g. ``3.13``."""
    platform: str | None
    """As uv names it; none for the machine that builds."""

    @classmethod
    def aws(cls) -> "Target":
        """What the template deploys unless told otherwise."""
        parameters = template.load()["Parameters"]
        architecture = parameters["Architecture"]["Default"]
        return cls(architecture, parameters["Runtime"]["Default"].removeprefix("python"), PLATFORMS[architecture])

    @classmethod
    def local(cls) -> "Target":
        """This machine and the Python that runs this."""
        architecture = "x86_64" if platform.machine() in {"x86_64", "AMD64"} else "arm64"
        return cls(architecture, f"{sys.version_info.major}.{sys.version_info.minor}", None)


def build(target: Target, folder: Path) -> Path:
    """Write ``folder/storelink.zip`` and return its path."""
    interpreter = find_interpreter(target.python)
    layer = dependencies(target, interpreter, folder)
    archive = folder / "storelink.zip"
    staging = folder / "staging"
    shutil.rmtree(staging, ignore_errors=True)
    for name in OURS:
        shutil.copytree(ROOT / name, staging / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(description(folder), staging / "described")
    compile_all(staging, interpreter)
    unfinished = archive.with_suffix(".unfinished")
    shutil.copyfile(layer, unfinished)
    append(unfinished, staging, files_below(staging))
    unfinished.replace(archive)
    if archive.stat().st_size > LIMIT:
        raise SystemExit(f"{archive} has {archive.stat().st_size:,} bytes, more than the {LIMIT:,} it may have.")
    return archive


def description(folder: Path) -> Path:
    """What the API says about itself, made anew only if the code or the template changed."""
    sources = [path for name in (*OURS, "infra/describe.py", "template.yaml") for path in _sources(ROOT / name)]
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    described = folder / f"described-{digest}"
    if not described.exists():
        for outdated in folder.glob("described-*"):
            shutil.rmtree(outdated)
        unfinished = folder / "describing"
        subprocess.run([sys.executable, "-m", "infra.describe", str(unfinished)], cwd=ROOT, check=True)
        unfinished.replace(described)
    return described


def _sources(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def dependencies(target: Target, interpreter: str, folder: Path) -> Path:
    """An archive of the slimmed and compiled dependencies, made anew only if something about it changed."""
    actions = sorted(template.granted_actions(template.load()))
    inputs = [
        REQUIREMENTS.read_bytes(),
        Path(__file__).read_bytes(),
        Path(botocore_data.__file__).read_bytes(),
    ]
    inputs += [repr((target, actions)).encode(), subprocess.check_output([interpreter, "-VV"])]
    digest = hashlib.sha256(b"\0".join(inputs)).hexdigest()[:16]
    archive = folder / f"dependencies-{digest}.zip"
    if archive.exists():
        return archive
    for outdated in folder.glob("dependencies-*.zip"):
        outdated.unlink()
    installed = folder / "dependencies"
    shutil.rmtree(installed, ignore_errors=True)
    install(target, interpreter, installed)
    for pattern in UNNEEDED:
        for path in sorted(installed.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    botocore_data.slim(installed / "botocore/data", botocore_data.operations(actions))
    for library in ("botocore", "boto3"):
        botocore_data.without_docstrings(installed / library / "docs")
    compile_all(installed, interpreter)
    unfinished = archive.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    append(unfinished, installed, files_below(installed))
    shutil.rmtree(installed)
    return unfinished.replace(archive)


def install(target: Target, interpreter: str, folder: Path) -> None:
    """Install the locked dependencies for ``target`` into ``folder``: wheels only, hashes checked."""
    command = [str(UV), "pip", "install", "--quiet", "--no-config", "--target", str(folder)]
    command += ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--link-mode", "copy"]
    command += ["--python", interpreter]
    if target.platform:
        command += ["--python-version", target.python, "--python-platform", target.platform]
    subprocess.run([*command, "--requirements", str(REQUIREMENTS)], check=True)


def find_interpreter(version: str) -> str:
    """An interpreter of the runtime's minor version: bytecode of another one would be ignored."""
    name = f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [Path(sys.executable)]
    candidates += [Path(folder) / name for folder in os.get_exec_path()]
    candidates += [each / "bin" / name for each in sorted(pyenv.glob(f"{version}*"))]
    question = [*["-I", "-c"], "import sys; print('%d.%d' % sys.version_info[:2])"]
    for candidate in candidates:
        # A file of that name need not be that Python: pyenv's shims are there for versions it does not run.
        if candidate.is_file():
            answer = subprocess.run([candidate, *question], capture_output=True, text=True, check=False)
            if answer.stdout.strip() == version:
                return str(candidate)
    raise SystemExit(
        f"No Python {version} found, which the artifact's bytecode must be compiled with: install it, or build and\n"
        f"deploy for another runtime (parameter Runtime in template.yaml)."
    )


def compile_all(folder: Path, interpreter: str) -> None:
    """Compile all modules below ``folder`` to bytecode that is taken as valid without a look at the source's date."""
    command = [interpreter, "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"]
    command += [
        "-s",
        str(folder),
        "-p",
        "/var/task",
        str(folder),
    ]  # the path that tracebacks show is Lambda's
    # The hash seed decides the order of a set's constants, and so the bytes.
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "0"})


def files_below(folder: Path) -> Iterator[Path]:
    """All files in an order that depends on nothing but their names."""
    return iter(sorted(path for path in folder.rglob("*") if path.is_file()))


def append(archive: Path, folder: Path, files: Iterable[Path]) -> None:
    """Add ``files`` to ``archive`` under their path in ``folder``, all with the same date and mode."""
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as opened:
        for path in files:
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            opened.writestr(entry, path.read_bytes())


def main() -> None:
    """Build as the command line says, and say what came out."""
    parser = argparse.ArgumentParser(description="Build the functions' shared artifact.")
    parser.add_argument("--local", type=Path, metavar="DIR", help="for this machine, beside a copy of the template")
    local: Path | None = parser.parse_args().local
    started = time.monotonic()
    target = Target.local() if local else Target.aws()
    folder = (local or ROOT) / "build"
    folder.mkdir(parents=True, exist_ok=True)
    archive = build(target, folder)
    if local:
        shutil.copyfile(template.PATH, local / template.PATH.name)
    size = archive.stat().st_size / 1024**2
    print(f"{archive}: {size:.1f} MiB for {target.architecture}, Python {target.python}", end="")
    print(f" ({time.monotonic() - started:.1f} s)")


if __name__ == "__main__":
    main()
