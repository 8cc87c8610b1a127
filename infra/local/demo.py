"""Shows a store's life on the local stack: connect, webhook, sync, read."""

from collections.abc import Mapping
from typing import Any


def run(endpoints: Mapping[str, Any]) -> int:
    """Play the demo against the running stack; the exit code."""
    raise NotImplementedError
