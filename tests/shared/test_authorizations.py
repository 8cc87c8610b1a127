"""Connecting through WooCommerce's guided grant: what the store posts is unsigned, so little of it is believed."""

import json
from datetime import timedelta
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest
from makers import API_KEY, API_SECRET, NOW, USER, Shop, any_caller, any_store, call, stored

from shared import authorizations, credentials, problems, schemas, stores
from shared.keys import Purpose
from shared.models import Authorization, Claim, Credentials, Status, Store
from shared.platforms.base import PlatformName

pytestmark = pytest.mark.usefixtures("aws")
WOO = PlatformName.WOO_COMMERCE
ASKED = {"platform": "WOO_COMMERCE", "name": "Demo store", "domain": "Shop.example.com"}


def started(caller=None, now=NOW, **fields):
    body = schemas.NewAuthorization.model_validate({**ASKED, **fields})
    return authorizations.start(body, caller or any_caller(USER, "team-1"), now)


def grant(state, **fields):
    """What a store posts, by https://woocommerce.github.io/woocommerce-rest-api-docs/#authentication."""
    usual = {"key_id": 1, "user_id": state, "consumer_key": API_KEY, "consumer_secret": API_SECRET}
    return json.dumps({**usual, "key_permissions": "read_write", **fields}).encode()


def finished(state, http=None, now=NOW, platform=WOO, **fields):
    return authorizations.finish(platform, grant(state, **fields), http or Shop(), now)


def outcome(state, granted=True, now=NOW, platform=WOO):
    return authorizations.outcome(platform, {"user_id": state, "success": "1" if granted else "0"}, now)


def nothing_is_stored():
    return not any(list(table.scan()) for table in (Store, Credentials, Claim))


def test_sends_the_seller_to_the_store_that_the_caller_named():
    view = started()

    url = urlsplit(view.authorization_url)
    assert f"{url.scheme}://{url.netloc}{url.path}" == "https://shop.example.com/wc-auth/v1/authorize"
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    callback = "https://api.example.com/authorizations/WOO_COMMERCE/callback"
    assert (query["user_id"], query["scope"]) == (view.state, "read_write")
    assert query["callback_url"] == query["return_url"] == callback
    assert view.expires_at == NOW + timedelta(minutes=10)


def test_no_two_attempts_share_a_state_and_none_can_be_guessed():
    states = {started().state for _ in range(20)}

    assert len(states) == 20
    assert min(map(len, states)) >= 43


def test_connects_what_was_asked_for_with_the_keys_that_came():
    settings = {"syncInterval": 600, "priceMarkup": Decimal("1.5"), "theirs": [1]}
    view = started(isPrimary=True, teamId="team-1", settings=settings, metadata={"rating": Decimal("4.80")})

    id = finished(view.state)

    store = Store.get(id)
    assert (store.user_id, store.team_id, store.is_primary) == (USER, "team-1", True)
    assert (store.name, store.store_id, store.domain) == ("Demo store", "shop.example.com", "https://shop.example.com")
    assert (store.settings, store.metadata) == (
        '{"syncInterval":600,"priceMarkup":1.5,"theirs":[1]}',
        '{"rating":4.80}',
    )
    opened = credentials.unseal(Purpose.API, id, store.platform, Credentials.get(id).api_credentials, NOW)
    assert opened == {"api_key": API_KEY, "api_secret": API_SECRET}
    assert outcome(view.state).store == id


def test_a_state_serves_once_and_the_second_post_reaches_nobody():
    state = started().state
    finished(state)
    again = Shop()

    with pytest.raises(problems.AuthorizationInvalid):
        finished(state, again)

    assert again.requests == []
    assert len(list(Store.scan())) == 1


def test_a_state_that_failed_is_used_up_too():
    state = started().state
    with pytest.raises(problems.CredentialsRefused):
        finished(state, consumer_secret="cs_" + "00" * 20)

    with pytest.raises(problems.AuthorizationInvalid):
        finished(state)

    assert nothing_is_stored()


def test_two_posts_at_once_connect_one_store():
    state = started().state
    results = []

    class Inner(Shop):
        def request(self, method, url, **options):
            if not results:
                results.append("asked")
                with pytest.raises(problems.AuthorizationInvalid):
                    finished(state)
            return super().request(method, url, **options)

    finished(state, Inner())

    assert len(list(Store.scan())) == 1


@pytest.mark.parametrize("age", [timedelta(minutes=10), timedelta(minutes=11), timedelta(days=2)])
def test_an_attempt_ends_after_ten_minutes_though_its_row_is_still_there(age):
    state = started().state
    shop = Shop()

    for act in (lambda: finished(state, shop, NOW + age), lambda: outcome(state, now=NOW + age)):
        with pytest.raises(problems.AuthorizationInvalid):
            act()

    assert shop.requests == []
    assert Authorization.get(state).used_at is None


def test_an_attempt_lives_until_then():
    assert finished(started().state, now=NOW + timedelta(minutes=9, seconds=59))


@pytest.mark.parametrize("state", ["x" * 43, "x" * 19, "x" * 200, "é" * 43, "a" * 20, ""])
def test_an_unknown_state_is_refused_and_nobody_is_asked(state):
    shop = Shop()

    for act in (lambda: finished(state, shop), lambda: outcome(state)):
        with pytest.raises((problems.AuthorizationInvalid, problems.BodyMalformed)):
            act()

    assert shop.requests == []
    assert nothing_is_stored()


def test_a_state_of_another_platform_is_not_open():
    state = started().state
    Authorization(state).update(actions=[Authorization.platform.set("SHOPIFY")])

    with pytest.raises(problems.AuthorizationInvalid):
        finished(state)
    with pytest.raises(problems.AuthorizationInvalid):
        outcome(state)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b"{",
        grant(None),
        grant(["a" * 43]),
        grant("a" * 43, consumer_key=""),
        grant("a" * 43, consumer_key="ck_1"),
        grant("a" * 43, consumer_secret={"a": "b"}),
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body)[:30],
)
def test_a_post_of_another_shape_is_malformed(body):
    with pytest.raises(problems.BodyMalformed):
        authorizations.finish(WOO, body, Shop(), NOW)


def test_only_the_state_and_the_keys_of_the_post_are_believed():
    view = started()
    shop = Shop()

    id = finished(
        view.state,
        shop,
        store_url="https://evil.example.net",
        domain="https://evil.example.net",
        name="Another",
        userId="demo-user-2",
        teamId="team-2",
        key_permissions="read",
    )

    assert {urlsplit(request.split()[1]).netloc for request in shop.requests} == {"shop.example.com"}
    assert (Store.get(id).name, Store.get(id).user_id, Store.get(id).team_id) == ("Demo store", USER, None)


def test_keys_that_the_named_store_refuses_are_not_stored_and_the_seller_is_told_why():
    state = started().state

    with pytest.raises(problems.CredentialsRefused):
        finished(state, Shop(key=("ck", "cs")))

    assert nothing_is_stored()
    with pytest.raises(problems.AuthorizationFailed, match="refused the credentials"):
        outcome(state)


def test_a_seller_who_declined_is_told_so_and_nothing_is_stored():
    state = started().state

    with pytest.raises(problems.AuthorizationDenied):
        outcome(state, granted=False)

    assert nothing_is_stored()


def test_a_seller_who_comes_back_before_the_keys_did_is_told_to_start_again():
    with pytest.raises(problems.AuthorizationInvalid, match="did not send its keys"):
        outcome(started().state)


def test_a_store_that_is_connected_already_is_not_connected_twice():
    finished(started().state)
    state = started().state

    with pytest.raises(problems.StoreAlreadyConnected):
        finished(state)
    with pytest.raises(problems.AuthorizationFailed):
        outcome(state)


@pytest.fixture
def connected():
    return finished(started(teamId="team-1").state)


def test_reconnects_a_store_in_place(connected):
    stores.set_status(connected, Status.NEEDS_REAUTHORIZATION, "CREDENTIALS_REFUSED", NOW)
    other = {"consumer_key": "ck_" + "ab" * 20, "consumer_secret": "cs_" + "cd" * 20}
    state = started(store=connected, name=None, domain=None).state

    assert finished(state, Shop(key=tuple(other.values())), **other) == connected

    assert Store.get(connected).status == "CONNECTED"
    assert len(list(Store.scan())) == 1
    sealed = Credentials.get(connected).api_credentials
    assert credentials.unseal(Purpose.API, connected, WOO, sealed, NOW)["api_key"] == other["consumer_key"]


def test_a_reconnect_goes_to_the_stores_own_address_whatever_the_caller_names(connected):
    view = started(store=connected, name=None, domain="https://evil.example.net")

    assert view.authorization_url.startswith("https://shop.example.com/")


def test_a_reconnect_to_another_store_is_refused(connected):
    Store(connected).update(actions=[Store.store_id.set("another.example.com")])
    state = started(store=connected, name=None, domain=None).state

    with pytest.raises(problems.IdentityMismatch):
        finished(state)


def test_a_store_of_somebody_else_cannot_be_reconnected(connected):
    with pytest.raises(problems.StoreNotFound):
        started(any_caller("demo-user-2"), store=connected, name=None, domain=None)


def test_a_store_that_was_removed_meanwhile_stays_removed(connected):
    state = started(store=connected, name=None, domain=None).state
    stores.begin_removal(connected, any_caller(), None, NOW)

    with pytest.raises(problems.StoreNotFound):
        finished(state)


def test_a_store_of_another_platform_is_not_reconnected_here():
    stored(any_store(platform="SHOPIFY"))

    with pytest.raises(problems.IdentityMismatch):
        started(store="store-1", name=None, domain=None)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"platform": "SHOPIFY"}, problems.PlatformUnavailable),
        ({"platform": "CUSTOM"}, problems.PlatformUnavailable),
        ({"domain": None}, problems.AddressRefused),
        ({"domain": "http://shop.example.com"}, problems.AddressRefused),
        ({"domain": "javascript:alert(1)"}, problems.AddressRefused),
        ({"teamId": "team-2"}, problems.TeamNotYours),
        ({"metadata": {"a": "x" * 17_000}}, problems.MetadataTooLarge),
    ],
    ids=repr,
)
def test_refuses_to_start(fields, problem):
    with pytest.raises(problem):
        started(**fields)

    assert list(Authorization.scan()) == []


# ── Through the functions ────────────────────────────────────────────────────────────────────────

CALLBACK = "/authorizations/WOO_COMMERCE/callback"


def post(state, **fields):
    return call("finish_authorization", "POST", CALLBACK, raw=grant(state, **fields).decode(), user=None)


def come_back(state, success="1", platform="WOO_COMMERCE"):
    query = {"success": success, "user_id": state}
    return call("finish_authorization", "GET", f"/authorizations/{platform}/callback", query=query, user=None)


@pytest.fixture
def shop(monkeypatch):
    fake = Shop()
    monkeypatch.setattr("shared.egress.client", lambda: fake)
    return fake


def test_the_store_posts_its_keys_gets_exactly_200_and_the_seller_a_page(shop, capfd, caplog):
    answer = call("start_authorization", "POST", "/authorizations", ASKED)
    assert answer.status == 201
    state = answer.json["state"]

    posted, back = post(state), come_back(state)

    assert (posted.status, back.status) == (200, 200)
    assert "Your store is connected" in back.text
    assert back.headers["Content-Type"] == "text/html; charset=utf-8"
    out, err = capfd.readouterr()
    for secret in (API_KEY, API_SECRET, state):
        assert secret not in posted.text + back.text + out + err + caplog.text
    assert len(call("list_stores", "GET", "/stores").json["items"]) == 1


def test_a_grant_that_fails_is_not_200_so_the_store_drops_its_key(shop):
    shop.key = ("ck", "cs")
    state = call("start_authorization", "POST", "/authorizations", ASKED).json["state"]

    assert post(state).problem == "credentials-refused"

    back = come_back(state)
    assert (back.status, "could not be connected" in back.text) == (422, True)
    assert API_KEY not in back.text


def test_what_the_page_shows_is_text_and_not_markup(shop):
    state = call("start_authorization", "POST", "/authorizations", ASKED).json["state"]
    Authorization(state).update(actions=[Authorization.problem.set("<script>alert(1)</script>")])

    assert "<script>" not in come_back(state).text


@pytest.mark.parametrize("platform", ["SHOPIFY", "ETSY", "CUSTOM", "MAGENTO", "<b>"])
def test_a_callback_of_another_platform_finds_no_attempt(shop, platform):
    state = call("start_authorization", "POST", "/authorizations", ASKED).json["state"]

    assert come_back(state, platform=platform).status in {404, 422}


def test_declined_unknown_and_missing_states_are_pages_too(shop):
    state = call("start_authorization", "POST", "/authorizations", ASKED).json["state"]

    for answer, status in ((come_back(state, "0"), 403), (come_back("x" * 43), 404), (come_back(""), 404)):
        assert (answer.status, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")


def test_what_an_authorization_keeps_holds_no_credential(shop):
    answer = call("start_authorization", "POST", "/authorizations", {**ASKED, "apiKey": API_KEY})
    assert (answer.status, answer.problem) == (422, "request-invalid")
    state = call("start_authorization", "POST", "/authorizations", ASKED).json["state"]
    post(state)

    kept = str([row.attribute_values for row in Authorization.scan()])
    assert API_KEY not in kept
    assert API_SECRET not in kept
