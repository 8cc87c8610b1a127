"""The benchmark of verification measures genuine deliveries of every platform."""

import pytest

from infra.bench import verification
from shared.platforms import ADAPTERS, get
from shared.platforms.base import Delivery, PlatformName, ReceivesWebhooks, Verdict

every_scheme = pytest.mark.parametrize(
    "scheme", verification.SCHEMES, ids=lambda scheme: f"{scheme.platform} {scheme.name}".strip()
)


def verdict(scheme, signed, sent):
    delivery, secret, _ = scheme.case(signed)
    return get(scheme.platform).verify(delivery._replace(body=sent), [secret], verification._NOW)


def test_every_platform_that_sends_webhooks_is_measured():
    receivers = {name for name in ADAPTERS if isinstance(get(name), ReceivesWebhooks)}

    assert {scheme.platform for scheme in verification.SCHEMES} == receivers


@every_scheme
def test_a_delivery_is_genuine_only_as_it_was_signed(scheme):
    body = verification.body_of(1024)

    assert verdict(scheme, body, body) is Verdict.GENUINE
    assert verdict(scheme, body, body + b" ") is Verdict.FORGED


@every_scheme
def test_an_empty_body_is_no_event_even_if_it_is_signed(scheme):
    assert verdict(scheme, b"", b"") is Verdict.FORGED


@pytest.mark.parametrize("size", verification.BUDGETS)
def test_a_body_has_the_size_that_the_table_names(size):
    assert len(verification.body_of(size)) == size


def test_a_verification_that_refuses_is_not_measured():
    refused = verification.Case(Delivery({}, b"{}"), "secret", lambda: None)

    with pytest.raises(SystemExit, match="WOO_COMMERCE refuses"):
        verification._ratio(verification.Scheme(PlatformName.WOO_COMMERCE, "", lambda _: refused), b"{}", 1)


def test_the_budgets_are_those_of_an_hmac():
    lines = verification.measure(rounds=1)
    rows = verification.report(lines).splitlines()[2:]

    assert all(ratio > 0 for line in lines for ratio in line.ratios.values())
    assert [row.split("|")[3].strip() for row in rows] == ["0.5"] * 5 + [""] * 3
