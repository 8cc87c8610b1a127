"""Runs ministack, the local stand-in for AWS, with what it lacks for this stack. For ministack's own environment.

ministack evaluates IAM policies, but does not tell them the encryption context of a KMS call: a condition on
``kms:EncryptionContext:…`` could never hold, and every sealed credential would stay shut. And it asks for actions that
AWS does not have: a batch of messages is sent by leave of ``sqs:SendMessage``.

It also unpacks the artifact for each environment of each function. Ours is one artifact for all of them, so it is
unpacked once and linked to: 3,000 files instead of 90,000.
"""

import atexit
import hashlib
import json
import os
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

Context = dict[str, Any]


def with_encryption_context(request_context: Callable[..., Context]) -> Callable[..., Context]:
    """``request_context``, ministack's condition keys of a request, and KMS's own."""

    def extended(service: str, iam_action: str, body: bytes, params: dict[str, Any]) -> Context:
        context = request_context(service, iam_action, body, params)
        if service == "kms":
            pairs = json.loads(body or b"{}").get("EncryptionContext") or {}
            context |= {f"kms:EncryptionContext:{name}": value for name, value in pairs.items()}
            context["kms:EncryptionContextKeys"] = list(pairs)
        return context

    return extended


def without_batches(action: Callable[..., str | None]) -> Callable[..., str | None]:
    """``action``, what ministack takes a request for, as AWS names it."""

    def named(service: str, *request: object) -> str | None:
        found = action(service, *request)
        return found.removesuffix("Batch") if found and service == "sqs" else found

    return named


def noting(evaluate: Callable[..., Any], journal: Path) -> Callable[..., Any]:
    """``evaluate``, ministack's verdict on a request, that writes each new verdict down: who, what, on what."""
    known: set[str] = set()

    def noted(request: Any, *policies: object) -> Any:
        result = evaluate(request, *policies)
        line = f"{result.decision} {request.principal_arn} {request.action} {request.resource_arn}"
        if line not in known:
            known.add(line)
            with journal.open("a") as lines:
                lines.write(f"{line}\n")
        return result

    return noted


class UnpackedOnce(zipfile.ZipFile):
    """An archive that is unpacked at its first use, and linked to at the next ones."""

    unpacked: ClassVar[Path]
    _unpacking = threading.Lock()

    def extractall(self, path: Any = None, members: Any = None, pwd: bytes | None = None) -> None:
        """Make ``path`` hold what the archive does."""
        folder = self.unpacked / hashlib.sha256(Path(str(self.filename)).read_bytes()).hexdigest()
        with self._unpacking:
            if not folder.exists():
                super().extractall(folder, members, pwd)
        for entry in folder.iterdir():
            (Path(path) / entry.name).symlink_to(entry)


if __name__ == "__main__":
    from ministack import app
    from ministack.core import iam_actions, iam_evaluator, lambda_runtime

    if "IAM_JOURNAL" in os.environ:
        iam_evaluator.evaluate = noting(iam_evaluator.evaluate, Path(os.environ["IAM_JOURNAL"]))
    iam_actions.request_tag_context = with_encryption_context(iam_actions.request_tag_context)
    iam_actions.extract_iam_action = without_batches(iam_actions.extract_iam_action)
    # Its own view of zipfile only: elsewhere ministack opens archives that have no file.
    lambda_runtime.zipfile = SimpleNamespace(**{**vars(zipfile), "ZipFile": UnpackedOnce})
    UnpackedOnce.unpacked = Path(tempfile.mkdtemp(prefix="artifact-"))
    atexit.register(shutil.rmtree, UnpackedOnce.unpacked, ignore_errors=True)
    app.main()
