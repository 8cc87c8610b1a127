"""What every test gets: an environment as the template gives it, AWS by moto, time that stands still."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from infra import fake_aws

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


class _OneStack(LoadScopeScheduling):
    """Hands out test files, and all that need the deployed stack to one worker, which starts it once."""

    def _split_scope(self, nodeid: str) -> str:
        return "stack" if nodeid.startswith("tests/integration/") else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """In place of ``--dist loadgroup``, which groups nothing: xdist 3.8 cannot rename the tests of pytest 9.2."""
    return _OneStack(config, log)


@pytest.fixture
def now() -> datetime:
    """A moment that every test shares."""
    return NOW


@pytest.fixture
def aws() -> Iterator[None]:
    """An AWS account with our tables, as the template has them, our keys, our queues and our bus."""
    with fake_aws.account():
        yield
