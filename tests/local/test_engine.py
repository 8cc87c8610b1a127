"""What the engine lacks, and gets."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from infra.local import engine


def other_context(*_: object) -> dict[str, Any]:
    return {"aws:TagKeys": ["a"]}


def test_policies_see_the_encryption_context_of_a_kms_call() -> None:
    body = json.dumps({"KeyId": "k", "EncryptionContext": {"purpose": "api", "group": "1"}}).encode()

    context = engine.with_encryption_context(other_context)("kms", "kms:Decrypt", body, {})

    assert context == {
        "aws:TagKeys": ["a"],
        "kms:EncryptionContext:purpose": "api",
        "kms:EncryptionContext:group": "1",
        "kms:EncryptionContextKeys": ["purpose", "group"],
    }


@pytest.mark.parametrize("body", [b"", b"{}", b'{"EncryptionContext": null}'])
def test_a_kms_call_without_context_meets_no_condition(body: bytes) -> None:
    context = engine.with_encryption_context(other_context)("kms", "kms:Decrypt", body, {})

    assert context == {"aws:TagKeys": ["a"], "kms:EncryptionContextKeys": []}


def test_other_services_keep_their_context() -> None:
    context = engine.with_encryption_context(other_context)("s3", "s3:PutObject", b"not json", {})

    assert context == {"aws:TagKeys": ["a"]}


@pytest.mark.parametrize(
    ("service", "named", "expected"),
    [
        ("sqs", "sqs:SendMessageBatch", "sqs:SendMessage"),
        ("sqs", "sqs:SendMessage", "sqs:SendMessage"),
        ("logs", "logs:FilterBatch", "logs:FilterBatch"),
        ("sqs", None, None),
    ],
)
def test_a_batch_of_messages_needs_the_leave_for_one(service: str, named: str | None, expected: str | None) -> None:
    assert engine.without_batches(lambda *_: named)(service, "POST", "/") == expected


def test_an_archive_is_unpacked_once_and_linked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.UnpackedOnce, "unpacked", tmp_path / "unpacked", raising=False)
    archive = tmp_path / "code.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("functions/a.py", "A = 1")
        made.writestr("b.py", "B = 2")

    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        with engine.UnpackedOnce(archive) as opened:
            opened.extractall(tmp_path / name)

    assert (tmp_path / "first/functions/a.py").read_text() == "A = 1"
    assert (tmp_path / "second/b.py").resolve() == (tmp_path / "first/b.py").resolve()
    assert len(list((tmp_path / "unpacked").iterdir())) == 1
