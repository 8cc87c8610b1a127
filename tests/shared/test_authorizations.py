"""Connecting through a platform's own screens: WooCommerce's guided grant, then OAuth.

What a WooCommerce store posts is unsigned, so little of it is believed. A code is spent only when nothing
stands against it any more.
"""

import hashlib
import json
import re
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from threading import Barrier, Lock
from urllib.parse import parse_qs, urlsplit

import pytest
from fakes import FakeOAuthPlatform, NoHttp, register_app
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from makers import API_KEY, API_SECRET, NOW, USER, Shop, any_caller, any_store, call, stored

from shared import (
    apps,
    authorizations,
    clients,
    connecting,
    credentials,
    exact_json,
    keys,
    platforms,
    problems,
    records,
    schemas,
    settings,
    stores,
    tokens,
)
from shared.keys import Purpose
from shared.models import Authorization, Claim, Credentials, Status, Store, SyncState
from shared.platforms.base import (
    GrantsByOAuth,
    Identity,
    PlatformError,
    PlatformName,
    Record,
    Refusal,
    Resource,
    Tokens,
)

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
        ({"platform": "ETSY", "domain": None}, problems.PlatformUnavailable),
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


@pytest.mark.parametrize("platform", ["ETSY", "CUSTOM", "MAGENTO", "<b>"])
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


# ── OAuth ────────────────────────────────────────────────────────────────────────────────────────

SHOPIFY, TIKTOK = PlatformName.SHOPIFY, PlatformName.TIKTOK_SHOP
HOME = "https://shop.example.com"
ACCESS, REFRESH = "access-" + "a1" * 16, "refresh-" + "b2" * 16
PAIR = Tokens(ACCESS, REFRESH, NOW + timedelta(hours=1), NOW + timedelta(days=90))
SHOP = Identity("shop.example.com", HOME, "Shop", "EUR", "Europe/Berlin")
MUGS = Identity("7000001", "", "Mugs", "USD", "UTC", credentials={"shop_cipher": "cipher-of-mugs"})
TEES = Identity("7000002", "", "Tees", "GBP", "UTC", credentials={"shop_cipher": "cipher-of-tees"})


@dataclass
class ApprovingPlatform(FakeOAuthPlatform):
    """Gives a pair for any code; a callback with a wrong proof is refused as a bad signature would be."""

    challenges: dict[str, str] = field(default_factory=dict)
    exchanged: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self):
        self.exchanges = lambda code, now: PAIR

    def authorization_url(self, app, domain, *, state, return_url, challenge):
        self.challenges[state] = challenge
        return super().authorization_url(app, domain, state=state, return_url=return_url, challenge=challenge)

    def read_callback(self, app, query, now):
        if ("proof", "wrong") in query:
            raise ValueError("The signature does not match.")
        return super().read_callback(app, query, now)

    def exchange(self, app, domain, code, *, return_url, verifier, http, now):
        self.exchanged.append({"domain": domain, "code": code, "return_url": return_url, "verifier": verifier})
        return super().exchange(app, domain, code, return_url=return_url, verifier=verifier, http=http, now=now)

    @property
    def spent(self):
        return [call for call in self.calls if call.startswith("exchange")]


@dataclass
class SellersPlatform(ApprovingPlatform):
    """One grant covers what the seller has, and only the platform knows what that is."""

    def known_store_id(self, domain):
        return None


@pytest.fixture
def oauth(aws, monkeypatch):
    fake = ApprovingPlatform()
    monkeypatch.setattr(platforms, "PLATFORMS", {SHOPIFY: fake})
    register_app()
    yield fake
    apps.forget()


@pytest.fixture
def seller(aws, monkeypatch):
    """A platform whose grants cover two shops."""
    fake = SellersPlatform(name=TIKTOK, identities=(MUGS, TEES))
    monkeypatch.setattr(platforms, "PLATFORMS", {TIKTOK: fake})
    register_app(TIKTOK)
    yield fake
    apps.forget()


def begun(caller=None, now=NOW, **fields):
    body = {"platform": "SHOPIFY", "name": "Demo store", "domain": HOME, **fields}
    return authorizations.start(schemas.NewAuthorization.model_validate(body), caller or any_caller(USER, "t1"), now)


def begun_at_tiktok(**fields):
    return begun(platform="TIKTOK_SHOP", domain=None, **fields).state


def returned(state, now=NOW, platform=SHOPIFY, **query):
    given = {"state": state, "code": "code-1", **query}
    return authorizations.come_back(platform, list(given.items()), NoHttp(), now)


def chosen(state, choice, now=NOW, platform=TIKTOK):
    return authorizations.come_back(platform, [("state", state), ("choice", choice)], NoHttp(), now)


def reconnecting(store, **fields):
    return begun(store=store, name=None, domain=None, **fields).state


def opened(id, platform=SHOPIFY):
    return credentials.unseal(Purpose.API, id, platform, Credentials.get(id).api_credentials, NOW)


def kept():
    """All that is stored about stores."""
    tables = (Store, Credentials, Claim, SyncState)
    return [(row.__class__.__name__, row.attribute_values) for table in tables for row in table.scan()]


def queued():
    answer = clients.sqs().receive_message(QueueUrl=settings.current().sync_queue_url, MaxNumberOfMessages=10)
    return [exact_json.loads(message["Body"]) for message in answer.get("Messages", [])]


def failing(refusal, detail="The platform says no.", at="exchange"):
    def before(call):
        if call.startswith(at):
            raise PlatformError(refusal, detail, status=400)

    return before


def test_sends_the_seller_to_the_platform_and_back_to_us(oauth):
    view = begun()

    query = parse_qs(urlsplit(view.authorization_url).query)
    assert query["state"] == [view.state]
    assert query["redirect_uri"] == ["https://api.example.com/authorizations/SHOPIFY/callback"]
    assert view.expires_at == NOW + timedelta(minutes=10)


def test_connects_what_was_asked_for_with_the_tokens_that_came_and_their_ends(oauth):
    asked = {"settings": {"syncInterval": 600}, "metadata": {"rating": Decimal("4.80")}}
    state = begun(isPrimary=True, teamId="t1", **asked).state

    id = returned(state, shop=HOME).store

    store, row, sync_state = Store.get(id), Credentials.get(id), SyncState.get(id)
    assert (store.user_id, store.team_id, store.is_primary, store.name) == (USER, "t1", True, "Demo store")
    assert (store.store_id, store.domain, store.store_name, store.currency) == (SHOP.store_id, HOME, "Shop", "EUR")
    assert (store.settings, store.metadata) == ('{"syncInterval":600}', '{"rating":4.80}')
    assert opened(id) == {"access_token": ACCESS, "refresh_token": REFRESH}
    assert (row.token_expires_at, row.refresh_expires_at) == (PAIR.expires_at, PAIR.refresh_expires_at)
    assert (sync_state.token_expires_at, sync_state.reauthorize_by) == (PAIR.expires_at, PAIR.refresh_expires_at)
    assert row.refresh_due_at < "2026-11-22T11:00"
    assert Authorization.get(state).store == id
    assert queued() == [{"stores": [id], "trigger": "connect", "full": True}]


def test_the_verifier_fits_the_challenge_and_both_differ_for_each_state(oauth):
    """As https://www.rfc-editor.org/rfc/rfc7636#section-4 has it."""
    first, second = begun().state, begun().state
    oauth.exchanges = lambda code, now: failing(Refusal.TRANSIENT)("exchange")
    for state in (first, second):
        with pytest.raises(problems.PlatformUnreachable):
            returned(state)

    verifiers = [each["verifier"] for each in oauth.exchanged]
    for state, verifier in zip((first, second), verifiers, strict=True):
        assert re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier)
        digest = hashlib.sha256(verifier.encode("ascii")).digest()
        assert oauth.challenges[state] == urlsafe_b64encode(digest).decode().rstrip("=")
        assert state not in verifier
    assert len(set(verifiers)) == len(set(oauth.challenges.values())) == 2


def test_the_code_is_exchanged_for_the_shop_and_the_address_of_the_start(oauth):
    returned(begun().state)

    ((exchanged),) = oauth.exchanged
    assert (exchanged["domain"], exchanged["code"]) == (HOME, "code-1")
    assert exchanged["return_url"] == "https://api.example.com/authorizations/SHOPIFY/callback"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"proof": "wrong"}, "The signature does not match."),
        ({"shop": "https://other.example.com"}, "another shop"),
        ({"shop": HOME + "/"}, "another shop"),
    ],
)
def test_a_callback_that_is_not_the_platforms_leaves_the_attempt_to_the_genuine_one(oauth, query, says):
    state = begun().state

    with pytest.raises(problems.CallbackInvalid, match=says):
        returned(state, **query)

    assert kept() == []
    assert Authorization.get(state).used_at is None
    assert oauth.spent == []
    assert returned(state).store


def test_a_callback_without_a_state_is_refused(oauth):
    begun()

    with pytest.raises(problems.CallbackInvalid, match="state is missing"):
        authorizations.come_back(SHOPIFY, [("code", "code-1")], NoHttp(), NOW)


UNKNOWN = ["x" * 43, "x" * 19, "x" * 101, "", "é" * 43, "\ud800" * 43, "a\x00" * 20, "../" * 12]


@pytest.mark.parametrize("state", UNKNOWN, ids=ascii)
def test_a_state_that_we_never_gave_reaches_nobody(oauth, state):
    begun()

    for act in (lambda: returned(state), lambda: chosen(state, "7000001", platform=SHOPIFY)):
        with pytest.raises(problems.AuthorizationInvalid):
            act()

    assert (oauth.spent, kept()) == ([], [])


def test_a_state_of_another_platform_is_not_open_here(oauth, monkeypatch):
    monkeypatch.setattr(platforms, "PLATFORMS", {SHOPIFY: oauth, TIKTOK: SellersPlatform(name=TIKTOK)})
    register_app(TIKTOK)
    state = begun().state

    with pytest.raises(problems.AuthorizationInvalid):
        returned(state, platform=TIKTOK)

    assert Authorization.get(state).used_at is None
    assert kept() == []


@pytest.mark.parametrize("age", [timedelta(minutes=10), timedelta(days=1)])
def test_a_state_is_not_open_after_ten_minutes(oauth, age):
    state = begun().state

    with pytest.raises(problems.AuthorizationInvalid, match="more than ten minutes old"):
        returned(state, now=NOW + age)

    assert (oauth.spent, kept()) == ([], [])
    assert returned(begun().state, now=NOW + timedelta(minutes=9, seconds=59)).store


def test_a_second_callback_of_the_same_attempt_spends_nothing(oauth):
    state = begun().state
    returned(state)
    before = kept()

    with pytest.raises(problems.AuthorizationInvalid, match="used already"):
        returned(state)

    assert oauth.spent == ["exchange code-1"]
    assert kept() == before


@pytest.mark.parametrize("moment", ["read_callback", "known_store_id", "exchange", "stores_of"])
def test_the_same_callback_that_comes_while_the_first_is_under_way_spends_nothing(oauth, moment):
    state = begun().state
    endings = []

    def twin(call):
        if call.startswith(moment) and not endings:
            endings.append("under way")
            try:
                endings.append(returned(state).store)
            except problems.AuthorizationInvalid:
                endings.append("refused")

    oauth.before = twin
    try:
        endings.append(returned(state).store)
    except problems.AuthorizationInvalid:
        endings.append("refused")

    assert sorted(ending == "refused" for ending in endings[1:]) == [False, True]
    assert len(oauth.spent) == len(list(Store.scan())) == 1


def test_two_threads_with_the_same_callback_connect_one_store_by_one_exchange(oauth, monkeypatch):
    state = begun().state
    both, one_at_a_time = Barrier(2), Lock()
    really = clients.dynamodb()._make_api_call

    def atomic(*call):
        with one_at_a_time:  # moto looks and writes in two steps, where DynamoDB has one
            return really(*call)

    monkeypatch.setattr(clients.dynamodb(), "_make_api_call", atomic)

    def together(call):
        if call == "read_callback":
            both.wait(10)

    oauth.before = together

    def come(_):
        try:
            return returned(state).store
        except problems.AuthorizationInvalid:
            return None

    with ThreadPoolExecutor(2) as pool:
        stores_ = list(pool.map(come, range(2)))

    assert stores_.count(None) == 1
    assert len(oauth.spent) == len(list(Store.scan())) == 1


def test_denied_consent_stores_nothing_and_ends_the_attempt(oauth):
    state = begun().state

    with pytest.raises(problems.AuthorizationDenied, match="declined"):
        returned(state, code="")

    assert (oauth.spent, kept()) == ([], [])
    with pytest.raises(problems.AuthorizationInvalid):
        returned(state)


REFUSED = {
    Refusal.CREDENTIALS: problems.CredentialsRefused,
    Refusal.PERMISSION: problems.PermissionMissing,
    Refusal.NOT_FOUND: problems.NotThePlatform,
    Refusal.RATE_LIMITED: problems.PlatformBusy,
    Refusal.UNREACHABLE: problems.PlatformUnreachable,
    Refusal.TRANSIENT: problems.PlatformUnreachable,
    Refusal.NOT_UNDERSTOOD: problems.NotThePlatform,
    Refusal.NOT_THE_PLATFORM: problems.NotThePlatform,
    Refusal.ADDRESS: problems.AddressRefused,
    Refusal.REQUEST: problems.NotThePlatform,
}


@pytest.mark.parametrize("at", ["exchange", "stores_of"])
@pytest.mark.parametrize("refusal", Refusal)
def test_whatever_the_platform_refuses_is_told_and_nothing_is_stored(oauth, refusal, at):
    state = begun().state
    oauth.before = failing(refusal, "The scopes read_orders, read_products are missing.", at)

    with pytest.raises(REFUSED[refusal], match=r"read_orders, read_products are missing\."):
        returned(state)

    assert (kept(), queued()) == ([], [])
    attempt = Authorization.get(state)
    assert "read_orders" in attempt.problem
    assert attempt.pending is None
    oauth.before = lambda call: None
    with pytest.raises(problems.AuthorizationInvalid):
        returned(state)


def test_a_grant_that_covers_no_shop_connects_none(oauth):
    oauth.identities = ()

    with pytest.raises(problems.AuthorizationFailed, match="no shop"):
        returned(begun().state)

    assert kept() == []


def test_a_store_that_is_connected_already_is_refused_before_the_code_is_spent(oauth):
    """Some platforms end the old tokens when a new code is exchanged."""
    returned(begun().state)
    before = kept()
    oauth.calls.clear()

    for caller in (any_caller(), any_caller("demo-user-2")):
        with pytest.raises(problems.StoreAlreadyConnected):
            returned(begun(caller).state)

    assert oauth.spent == []
    assert kept() == before


def test_without_keys_to_seal_with_the_code_is_not_spent_and_the_attempt_stays_open(oauth, monkeypatch):
    state = begun().state

    def unavailable(*_):
        raise keys.KeyUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(keys, "current", unavailable)
        with pytest.raises(problems.ServiceBusy):
            returned(state)

    assert (oauth.spent, kept()) == ([], [])
    assert returned(state).store


def test_without_our_registration_nothing_is_begun_and_nothing_used_up(oauth):
    state = begun().state
    clients.secrets().delete_secret(SecretId="storelink/apps/SHOPIFY", ForceDeleteWithoutRecovery=True)
    apps.forget()

    for act in (begun, lambda: returned(state)):
        with pytest.raises(problems.PlatformUnavailable, match="not registered at SHOPIFY"):
            act()

    assert len(list(Authorization.scan())) == 1
    register_app()
    assert returned(state).store


@pytest.mark.parametrize("text", ["app-secret-1", "[]", '{"clientId":"c"}', '{"clientId":"c","clientSecret":1}', ""])
def test_a_registration_that_cannot_be_read_is_not_shown(oauth, text, caplog):
    clients.secrets().put_secret_value(SecretId="storelink/apps/SHOPIFY", SecretString=text or " ")
    apps.forget()

    with pytest.raises(problems.PlatformUnavailable) as refused:
        begun()

    assert "app-secret-1" not in str(refused.value.detail) + caplog.text


@pytest.fixture
def granted(oauth):
    """A store that was connected through OAuth, with what it has gathered since."""
    id = returned(begun(teamId="t1", settings={"syncInterval": 600}, metadata={"a": 1}).state).store
    for resource in Resource:
        records.save(id, resource, Record("r1", NOW, {"id": "r1"}), "EUR", NOW, NOW)
    queued()
    oauth.calls.clear()
    return id


SECOND = Tokens("access-2", "refresh-2", NOW + timedelta(hours=2), NOW + timedelta(days=91))


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (Status.NEEDS_REAUTHORIZATION, "GRANT_ENDED"),
        (Status.DISCONNECTED, "UNINSTALLED"),
        (Status.UNREACHABLE, "STORE_UNREACHABLE"),
    ],
)
def test_a_reconnect_heals_in_place_and_loses_nothing(oauth, granted, status, reason):
    stores.announce_end(granted, NOW + timedelta(days=7), 7, NOW)
    stores.set_status(granted, status, reason, NOW)
    old = Store.get(granted)
    webhook = Credentials.get(granted).webhook_secrets
    address = Credentials.get(granted).connection
    oauth.exchanges = lambda code, now: SECOND

    assert returned(reconnecting(granted)).store == granted

    store, row, state = Store.get(granted), Credentials.get(granted), SyncState.get(granted)
    assert (store.status, store.status_reason, store.reauthorize_by, store.reauthorize_days) == (
        "CONNECTED",
        None,
        None,
        None,
    )
    same = ("settings", "metadata", "name", "team_id", "user_id", "created_at", "store_id", "is_primary")
    assert [getattr(store, each) for each in same] == [getattr(old, each) for each in same]
    assert all(records.get(granted, resource, "r1") for resource in Resource)
    assert opened(granted) == {"access_token": "access-2", "refresh_token": "refresh-2"}
    assert (row.token_expires_at, row.refresh_expires_at) == (SECOND.expires_at, SECOND.refresh_expires_at)
    assert (row.webhook_secrets, row.connection) == (webhook, address)
    assert row.refresh_due_at is not None
    assert (state.token_expires_at, state.reauthorize_by) == (SECOND.expires_at, SECOND.refresh_expires_at)
    assert state.slot is not None
    assert len(list(Store.scan())) == 1
    assert queued() == [{"stores": [granted], "trigger": "reconnect", "full": True}]


def test_a_reconnect_by_another_account_leaves_the_old_credentials_byte_for_byte(oauth, granted):
    before = kept()
    oauth.identities = (SHOP._replace(store_id="other.example.com"),)

    with pytest.raises(problems.IdentityMismatch, match=r"'other\.example\.com', not 'shop\.example\.com'"):
        returned(reconnecting(granted))

    assert kept() == before
    assert queued() == []


@pytest.mark.parametrize("refusal", Refusal)
def test_a_reconnect_that_the_platform_refuses_leaves_everything_as_it_was(oauth, granted, refusal):
    before = kept()
    state = reconnecting(granted)
    oauth.before = failing(refusal)

    with pytest.raises(problems.Problem):
        returned(state)

    assert kept() == before


def test_a_store_that_was_removed_meanwhile_is_not_reconnected_and_the_code_not_spent(oauth, granted):
    state = reconnecting(granted)
    stores.begin_removal(granted, any_caller(), None, NOW)

    with pytest.raises(problems.StoreNotFound):
        returned(state)

    assert oauth.spent == []


def test_a_state_serves_only_the_caller_and_the_shop_that_it_was_given_for(oauth, granted):
    """The caller left the team meanwhile: what the token said at the start is what counts, for ten minutes."""
    with pytest.raises(problems.StoreNotFound):
        begun(any_caller("demo-user-2"), store=granted, name=None, domain=None)
    state = begun(any_caller("demo-user-2", "t1"), store=granted, name=None, domain=None).state

    assert returned(state).store == granted
    assert Store.get(granted).user_id == USER


def test_a_refresh_that_was_under_way_does_not_overwrite_a_reconnect(oauth, granted):
    oauth.exchanges = lambda code, now: SECOND

    def overtaken(connection, now):
        returned(reconnecting(granted))
        return Tokens("access-late", "refresh-late", now + timedelta(hours=1))

    oauth.refreshes = overtaken
    tokens.refreshed(Store.get(granted), Credentials.get(granted), NoHttp(), NOW)

    assert opened(granted) == {"access_token": "access-2", "refresh_token": "refresh-2"}


@dataclass
class OneGrantPlatform(ApprovingPlatform):
    """A new grant ends the one before it, as Shopify's do: the code says which pair it gives."""

    living: str = ""

    def __post_init__(self):
        self.exchanges = self._give
        self.admits = self._check

    def _give(self, code, now):
        self.living = f"access-of-{code}"
        return Tokens(self.living, f"refresh-of-{code}", now + timedelta(hours=1), now + timedelta(days=90))

    def _check(self, connection):
        if connection.credentials["access_token"] != self.living:
            raise PlatformError(Refusal.CREDENTIALS, "The token is not valid.", status=401)


@pytest.fixture
def jealous(aws, monkeypatch):
    fake = OneGrantPlatform()
    monkeypatch.setattr(platforms, "PLATFORMS", {SHOPIFY: fake})
    register_app()
    yield fake
    apps.forget()


def once_at(moment, act):
    """What happens, once, when the platform is called so; ``stores_of`` comes after the exchange."""
    left = [act]

    def before(call):
        if call.startswith(moment) and left:
            left.pop()()

    return before


@pytest.mark.parametrize("moment", ["known_store_id", "exchange", "stores_of"])
def test_of_two_grants_at_once_the_one_that_lives_is_kept(jealous, moment):
    """The second callback is worked off while the first is before, at and after its exchange."""
    store = returned(begun().state, code="code-0").store
    first, second = reconnecting(store), reconnecting(store)
    jealous.before = once_at(moment, lambda: returned(second, code="code-2"))

    try:
        assert returned(first, code="code-1").store == store
    except problems.CredentialsRefused:  # it sees for itself that its grant has ended
        assert moment == "stores_of"

    assert opened(store)["access_token"] == jealous.living
    assert Credentials.get(store).token_hash == tokens.hash_of(opened(store))
    assert Store.get(store).status == Status.CONNECTED


def test_a_grant_that_has_ended_before_it_is_stored_is_not(jealous, monkeypatch):
    """The second callback comes when the first has proved its tokens, and has only to store them."""
    store = returned(begun().state, code="code-0").store
    first, second = reconnecting(store), reconnecting(store)
    genuine = connecting.reestablish

    def overtaken(*args, **options):
        monkeypatch.setattr(connecting, "reestablish", genuine)
        returned(second, code="code-2")
        return genuine(*args, **options)

    monkeypatch.setattr(connecting, "reestablish", overtaken)

    assert returned(first, code="code-1").store == store

    assert opened(store)["access_token"] == jealous.living == "access-of-code-2"
    assert Authorization.get(first).store == Authorization.get(second).store == store


def test_where_both_grants_live_the_one_that_is_stored_last_is_kept(oauth, granted, monkeypatch):
    first, second = reconnecting(granted), reconnecting(granted)
    oauth.exchanges = lambda code, now: Tokens(f"access-of-{code}", f"refresh-of-{code}", now + timedelta(hours=1))
    oauth.before = once_at("stores_of", lambda: returned(second, code="code-2"))

    returned(first, code="code-1")

    assert opened(granted)["access_token"] == "access-of-code-1"


def test_a_platform_that_does_not_say_which_grant_lives_is_not_taken_for_a_refusal(oauth, granted):
    first, second = reconnecting(granted), reconnecting(granted)
    oauth.exchanges = lambda code, now: Tokens(f"access-of-{code}", f"refresh-of-{code}", now + timedelta(hours=1))

    def before(call):
        rival(call)
        failing(Refusal.TRANSIENT, at="probe")(call)

    rival = once_at("stores_of", lambda: returned(second, code="code-2"))
    oauth.before = before

    returned(first, code="code-1")

    assert opened(granted)["access_token"] == "access-of-code-1"


def test_rivals_without_end_are_left_to_themselves(oauth, granted):
    oauth.exchanges = lambda code, now: Tokens(f"access-of-{code}", "refresh", now + timedelta(hours=1))

    def before(call):
        if call in {"stores_of", "probe"}:
            again = f"{len(oauth.calls)}"
            Credentials(granted).update(actions=[Credentials.token_hash.set(again)])

    oauth.before = before

    with pytest.raises(problems.ServiceBusy):
        returned(reconnecting(granted))


@pytest.mark.parametrize(("user", "lives"), [(USER, True), ("demo-user-2", False)])
def test_of_two_first_grants_at_once_the_store_lives_on_the_newer_if_it_is_the_same_users(jealous, user, lives):
    """The second is connected while the first is at its exchange, which ends the tokens of the second."""
    first, second = begun().state, begun(any_caller(user)).state
    connected_ = []
    jealous.before = once_at("exchange", lambda: connected_.append(returned(second, code="code-2").store))

    with pytest.raises(problems.StoreAlreadyConnected):
        returned(first, code="code-1")

    (store,) = connected_
    assert [each.id for each in Store.scan()] == [store]
    assert (opened(store)["access_token"] == jealous.living) is lives


# ── One grant, several shops ─────────────────────────────────────────────────────────────────────


def test_a_grant_for_several_shops_leaves_the_choice_to_the_seller(seller):
    state = begun_at_tiktok()

    ending = returned(state, platform=TIKTOK)

    assert (ending.store, ending.state) == (None, state)
    assert ending.choices == [("7000001", "Mugs"), ("7000002", "Tees")]
    assert kept() == []


def test_the_tokens_that_wait_for_the_choice_are_sealed_and_gone_after_it(seller):
    state = begun_at_tiktok()
    returned(state, platform=TIKTOK)

    waiting = Authorization.get(state)
    for secret in (ACCESS, REFRESH, "cipher-of-mugs"):
        assert secret.encode() not in waiting.pending
        assert secret not in str(waiting.attribute_values)
    for other in ("authorization/another", state):
        with pytest.raises(credentials.CredentialsUnreadable):
            credentials.unseal(Purpose.API, other, TIKTOK, waiting.pending, NOW)

    chosen(state, "7000001")

    assert Authorization.get(state).pending is None


def test_a_choice_connects_exactly_that_shop_with_what_opens_it(seller):
    state = begun_at_tiktok(metadata={"a": 1})
    returned(state, platform=TIKTOK)

    id = chosen(state, "7000002").store

    store, row = Store.get(id), Credentials.get(id)
    assert (store.store_id, store.store_name, store.currency, store.metadata) == ("7000002", "Tees", "GBP", '{"a":1}')
    assert opened(id, TIKTOK) == {
        "access_token": ACCESS,
        "refresh_token": REFRESH,
        "shop_cipher": "cipher-of-tees",
    }
    assert (row.token_expires_at, row.refresh_expires_at) == (PAIR.expires_at, PAIR.refresh_expires_at)
    assert [claim.claim for claim in Claim.scan()] == ["store#TIKTOK_SHOP#7000002"]
    assert len(seller.spent) == len(list(Store.scan())) == 1


def test_one_choice_is_all_a_grant_allows(seller):
    """Two stores must not live on the same tokens."""
    state = begun_at_tiktok()
    returned(state, platform=TIKTOK)
    chosen(state, "7000001")
    before = kept()

    for choice in ("7000002", "7000001"):
        with pytest.raises(problems.AuthorizationInvalid, match="nothing left to choose"):
            chosen(state, choice)

    assert kept() == before


def test_two_choices_at_once_connect_one_store(seller, monkeypatch):
    state = begun_at_tiktok()
    returned(state, platform=TIKTOK)
    genuine = authorizations._take

    def overtaken(attempt):
        monkeypatch.setattr(authorizations, "_take", genuine)
        chosen(state, "7000001")
        genuine(attempt)

    monkeypatch.setattr(authorizations, "_take", overtaken)

    with pytest.raises(problems.AuthorizationInvalid, match="made already"):
        chosen(state, "7000002")

    assert [store.store_id for store in Store.scan()] == ["7000001"]


@pytest.mark.parametrize("choice", ["7000003", "", "Mugs", "7000001 ", "\ud800"], ids=ascii)
def test_a_shop_that_the_grant_does_not_cover_cannot_be_chosen_and_the_choice_stays_open(seller, choice):
    state = begun_at_tiktok()
    returned(state, platform=TIKTOK)

    with pytest.raises(problems.AuthorizationInvalid, match="not one of those"):
        chosen(state, choice)

    assert kept() == []
    assert chosen(state, "7000001").store


def test_a_choice_ends_with_the_attempt(seller):
    state = begun_at_tiktok()
    returned(state, platform=TIKTOK)

    with pytest.raises(problems.AuthorizationInvalid):
        chosen(state, "7000001", now=NOW + timedelta(minutes=10))

    assert kept() == []


def test_a_choice_before_the_grant_finds_nothing_to_choose(seller):
    with pytest.raises(problems.AuthorizationInvalid, match="nothing left to choose"):
        chosen(begun_at_tiktok(), "7000001")


def test_a_shop_that_is_connected_already_cannot_be_chosen_again(seller):
    for attempt in range(2):
        state = begun_at_tiktok()
        returned(state, platform=TIKTOK)
        if attempt == 0:
            chosen(state, "7000001")
    before = kept()

    with pytest.raises(problems.StoreAlreadyConnected):
        chosen(state, "7000001")

    assert kept() == before


def test_a_reconnect_takes_the_same_shop_of_the_grant_without_asking(seller):
    state = begun_at_tiktok()
    returned(state, platform=TIKTOK)
    id = chosen(state, "7000002").store
    seller.exchanges = lambda code, now: SECOND

    ending = returned(begun_at_tiktok(store=id, name=None), platform=TIKTOK)

    assert (ending.store, ending.choices) == (id, ())
    assert opened(id, TIKTOK)["shop_cipher"] == "cipher-of-tees"
    assert opened(id, TIKTOK)["access_token"] == "access-2"


def test_more_shops_than_can_be_kept_for_a_choice_are_refused_and_not_an_error(seller):
    seller.identities = tuple(MUGS._replace(store_id=str(number), store_name="n" * 200) for number in range(1000))
    state = begun_at_tiktok()

    with pytest.raises(problems.AuthorizationFailed, match="too many shops"):
        returned(state, platform=TIKTOK)

    assert kept() == []


def test_what_an_attempt_keeps_and_what_is_logged_holds_no_token_and_no_code(seller, oauth, monkeypatch, capfd, caplog):
    monkeypatch.setattr(platforms, "PLATFORMS", {SHOPIFY: oauth, TIKTOK: seller})
    code = "code-" + "c3" * 16
    returned(begun().state, code=code)
    several = begun_at_tiktok()
    returned(several, platform=TIKTOK, code=code)
    chosen(several, "7000001")
    oauth.before = failing(Refusal.CREDENTIALS)
    with pytest.raises(problems.Problem):
        returned(begun(domain="https://second.example.com").state, code=code)

    out, err = capfd.readouterr()
    written = out + err + caplog.text + str([row.attribute_values for row in Authorization.scan()]) + str(kept())
    for secret in (ACCESS, REFRESH, code, "app-secret-1", "cipher-of-mugs", several):
        assert secret not in written.replace(f"'state': '{several}'", "")


_NAME = st.sampled_from(["state", "code", "shop", "hmac", "timestamp", "host", "error", "choice", "ids[]"])
_VALUE = st.text(st.characters(), max_size=40) | st.sampled_from(["null", "a" * 43, "shop.myshopify.com", "9" * 30])


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.lists(st.tuples(_NAME | st.text(st.characters(), max_size=9), _VALUE), max_size=9))
def test_whatever_a_browser_brings_to_a_real_platform_is_a_problem_that_it_can_be_shown(aws, query):
    for name in platforms.ADAPTERS:
        adapter = platforms.get(name)
        if isinstance(adapter, GrantsByOAuth):
            register_app(name)
            with pytest.raises(problems.Problem) as refused:
                authorizations.come_back(name, query, NoHttp(), NOW)
            assert refused.value.status < 500
    apps.forget()


def test_a_proof_prints_no_token():
    proof = connecting.Proof(SHOP, {"access_token": ACCESS}, PAIR)

    assert ACCESS not in repr(proof)
    assert REFRESH not in repr(proof)
