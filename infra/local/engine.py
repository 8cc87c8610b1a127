"""Runs ministack, the local stand-in for AWS, with what it lacks for this stack. For ministack's own environment.

ministack evaluates IAM policies, but does not tell them the encryption context of a KMS call: a condition on
``kms:EncryptionContext:…`` could never hold, and every sealed credential would stay shut.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from ministack import app
from ministack.core import iam_actions

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


def end_with_the_starter() -> None:
    """End as on SIGTERM once standard input closes, which it does however the starting process ends."""
    while sys.stdin.buffer.read(1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    iam_actions.request_tag_context = with_encryption_context(iam_actions.request_tag_context)
    threading.Thread(target=end_with_the_starter, daemon=True).start()
    app.main()
