import pytest
from makers import Shop

from shared import egress


@pytest.fixture
def shop(monkeypatch):
    """The one store on the internet."""
    fake = Shop()
    monkeypatch.setattr(egress, "client", lambda: fake)
    return fake
