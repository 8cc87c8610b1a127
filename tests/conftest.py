"""What every test gets: an environment as the template gives it, AWS by moto, time that stands still."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from infra import fake_aws

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    """A moment that every test shares."""
    return NOW


@pytest.fixture
def aws() -> Iterator[None]:
    """An AWS account with our tables, as the template has them, our keys, our queues and our bus."""
    with fake_aws.account():
        yield
