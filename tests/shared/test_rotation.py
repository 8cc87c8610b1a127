from datetime import timedelta

import pytest
from fakes import Clock, connected

from shared import credentials, rotation
from shared.keys import Purpose
from shared.models import Credentials, Rotation

YEAR = timedelta(days=366)


@pytest.fixture
def rows(aws, now):
    return [connected(f"store{number}", now) for number in range(60)]


def advance(at, minutes=10):
    return rotation.advance(Clock(at), at + timedelta(minutes=minutes))


def stale(rows, at):
    found = [Credentials.get(row.id) for row in rows]
    return sum(
        not credentials.is_current(purpose, row.store_id, blob, at)
        for row in found
        for purpose, blob in ((Purpose.API, row.api_credentials), (Purpose.WEBHOOK, row.webhook_secrets))
    )


def opened(row, at):
    blob = Credentials.get(row.id).api_credentials
    return credentials.unseal(Purpose.API, row.id, row.platform, blob, at)


def test_nothing_happens_while_the_keys_are_young(rows, now):
    assert advance(now + timedelta(days=364)) == 0
    assert Rotation.count("#rotation") == 0


def test_keys_a_year_old_are_replaced_and_every_seal_renewed(rows, now):
    assert advance(now + YEAR) == 0
    later = now + YEAR + timedelta(days=1)
    assert stale(rows, later) == 2 * len(rows)

    assert advance(later) == 2 * len(rows)
    assert stale(rows, later) == 0
    assert opened(rows[0], later)["api_key"] == "ck_1"
    assert advance(later + timedelta(days=1)) == 0


def test_a_renewal_that_was_cut_off_goes_on_where_it_was(rows, now):
    advance(now + YEAR)
    at, renewed, rounds = now + YEAR + timedelta(days=1), [], 0
    while not rounds or Rotation.get("#rotation").place is not None:
        renewed.append(advance(at, minutes=0))
        assert opened(rows[-1], at)["api_secret"] == "cs_1"
        rounds += 1

    assert sum(renewed) == 2 * len(rows)
    assert rounds >= 3
    assert stale(rows, at) == 0


def test_credentials_that_were_replaced_meanwhile_are_left_alone(rows, now, monkeypatch):
    advance(now + YEAR)
    at, row = now + YEAR + timedelta(days=1), rows[0]
    fresh = credentials.seal(Purpose.API, row.id, row.platform, {"api_key": "new"}, at)
    genuine = credentials.reseal

    def meanwhile(purpose, store_id, platform, sealed, moment):
        if store_id == row.id and purpose is Purpose.API:
            Credentials(row.id).update(actions=[Credentials.api_credentials.set(fresh)])
        return genuine(purpose, store_id, platform, sealed, moment)

    monkeypatch.setattr(credentials, "reseal", meanwhile)
    advance(at)

    assert opened(row, at) == {"api_key": "new"}
