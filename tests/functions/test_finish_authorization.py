"""What the seller's browser sees when it comes back: a page, whatever came."""

from datetime import timedelta

import pytest
from fakes import FakeOAuthPlatform, register_app
from makers import Answered, Context, api_event, call

from functions import finish_authorization
from shared import apps, clients, clock, egress, platforms
from shared.models import Authorization, Claim, Credentials, Store
from shared.platforms.base import Identity, PlatformError, PlatformName, Refusal, Tokens

PATH = "/authorizations/SHOPIFY/callback"
CODE = "code-" + "c3" * 16
ACCESS, REFRESH = "access-" + "a1" * 16, "refresh-" + "b2" * 16
ASKED = {"platform": "SHOPIFY", "name": "Demo store", "domain": "https://shop.example.com"}
SCRIPT = '<script>alert("1")</script>'


class Proving(FakeOAuthPlatform):
    """Refuses a callback whose proof is wrong, or that has a parameter twice."""

    def read_callback(self, app, query, now):
        if len(dict(query)) < len(query) or ("proof", "wrong") in query:
            raise ValueError("The address from the platform is not signed by it.")
        return super().read_callback(app, query, now)


@pytest.fixture
def oauth(aws, shop, monkeypatch):
    fake = Proving()
    fake.exchanges = lambda code, now: Tokens(ACCESS, REFRESH, now + timedelta(hours=1), now + timedelta(days=90))
    monkeypatch.setattr(platforms, "PLATFORMS", {PlatformName.SHOPIFY: fake})
    register_app()
    yield fake
    apps.forget()


def start(**more):
    return call("start_authorization", "POST", "/authorizations", ASKED, **more)


@pytest.fixture
def state(oauth):
    return start().json["state"]


def come_back(query, path=PATH):
    """The browser's request, with its query exactly as it is written."""
    event = api_event("GET", path, user=None)
    event["rawQueryString"] = query
    event["queryStringParameters"] = {"state": "of the gateway's own reading"}
    answer = finish_authorization.lambda_handler(event, Context())
    return Answered(answer["statusCode"], dict(answer["headers"]), answer["body"])


def nothing_is_stored():
    return not any(list(table.scan()) for table in (Store, Credentials, Claim))


def is_safe_page(answer, state=""):
    """A page that loads nothing, tells no other site where it was, and shows nothing that it was given."""
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    for secret in (CODE, ACCESS, REFRESH, "app-secret-1", *([state] if state else [])):
        assert secret not in answer.text
    return True


def test_a_seller_who_approved_sees_that_the_store_is_connected(state, capfd, caplog):
    answer = come_back(f"code={CODE}&state={state}")

    assert (answer.status, "Your store is connected" in answer.text) == (200, True)
    assert is_safe_page(answer, state)
    assert len(list(Store.scan())) == 1
    out, err = capfd.readouterr()
    for secret in (CODE, ACCESS, REFRESH, state):
        assert secret not in out + err + caplog.text


REFUSALS = [
    (Refusal.CREDENTIALS, 422, "The platform refused the credentials"),
    (Refusal.PERMISSION, 422, "The credentials lack a permission"),
    (Refusal.NOT_FOUND, 422, "not a store of this platform"),
    (Refusal.RATE_LIMITED, 503, "The platform asks to wait"),
    (Refusal.UNREACHABLE, 422, "could not be reached"),
    (Refusal.TRANSIENT, 422, "could not be reached"),
    (Refusal.NOT_UNDERSTOOD, 422, "not a store of this platform"),
    (Refusal.NOT_THE_PLATFORM, 422, "not a store of this platform"),
    (Refusal.ADDRESS, 422, "address cannot be used"),
    (Refusal.REQUEST, 422, "not a store of this platform"),
]


@pytest.mark.parametrize(("refusal", "status", "text"), REFUSALS)
def test_a_code_that_gives_no_tokens_ends_on_a_page_that_says_why(state, oauth, refusal, status, text):
    def refused(code, now):
        raise PlatformError(refusal, f"It lacks the scope read_orders. {SCRIPT}")

    oauth.exchanges = refused

    answer = come_back(f"code={CODE}&state={state}")

    assert (answer.status, text in answer.text, "read_orders" in answer.text) == (status, True, True)
    assert "<script" not in answer.text
    assert is_safe_page(answer, state)
    assert nothing_is_stored()


def test_every_refusal_has_its_page():
    assert {refusal for refusal, _, _ in REFUSALS} == set(Refusal)


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("code={code}", 400, "The answer of the platform is not valid"),
        ("", 400, "The answer of the platform is not valid"),
        ("code={code}&state={state}&proof=wrong", 400, "not signed by it"),
        ("code={code}&state={state}&shop=https://other.example.com", 400, "another shop"),
        ("code={code}&state={state}&state={state}", 400, "not signed by it"),
        ("code={code}&code=other&state={state}", 400, "not signed by it"),
        ("code={code}&state=" + "x" * 43, 404, "not open"),
        ("code={code}&state=", 404, "not open"),
        ("code={code}&state={state}%00", 404, "not open"),
        ("code={code}&state=%ff%fe%ed%a0%80" + "x" * 30, 404, "not open"),
        ("code={code}&state=\ud800\udfff" + "x" * 30, 404, "not open"),
        ("code={code}&state=" + "x" * 100_000, 404, "not open"),
        ("code={code}&state={state}" + "&a=1" * 49, 422, "too many parameters"),
        ("code={code}&state={state}&a=" + "%3Cscript%3E" * 9000 + "&a=2", 400, "not signed by it"),
        ("choice=1&state=" + "x" * 43, 404, "not open"),
        ("choice=1", 404, "not open"),
        ("choice=%00&choice=2&state={state}", 404, "nothing left to choose"),
        ("state={state}&choice=\ud800", 404, "nothing left to choose"),
    ],
    ids=range(18),
)
def test_what_is_no_answer_of_the_platform_ends_on_a_page_and_leaves_the_attempt_open(state, query, status, text):
    answer = come_back(query.format(code=CODE, state=state))

    assert (answer.status, text in answer.text) == (status, True), answer.text
    assert "<script" not in answer.text
    assert is_safe_page(answer, state)
    assert nothing_is_stored()
    assert Authorization.get(state).used_at is None


def test_fifty_parameters_are_not_too_many(state):
    assert come_back(f"code={CODE}&state={state}&" + "&".join(f"a{each}=1" for each in range(48))).status == 200


def test_the_same_address_a_second_time_is_a_page_that_says_so(state, oauth):
    come_back(f"code={CODE}&state={state}")

    answer = come_back(f"code={CODE}&state={state}")

    assert (answer.status, "used already" in answer.text) == (404, True)
    assert is_safe_page(answer, state)
    assert oauth.calls.count(f"exchange {CODE}") == 1


def test_a_seller_who_declined_is_told_so(state):
    answer = come_back(f"state={state}&error=access_denied&error_description={SCRIPT}")

    assert (answer.status, "did not grant access" in answer.text) == (403, True)
    assert "<script" not in answer.text
    assert is_safe_page(answer, state)
    assert nothing_is_stored()


def test_another_account_and_a_store_that_is_connected_already_are_pages(oauth, state):
    come_back(f"code={CODE}&state={state}")
    again = come_back(f"code={CODE}&state={start().json['state']}")
    oauth.identities = (oauth.identities[0]._replace(store_id=SCRIPT),)
    (store,) = Store.scan()
    reconnect = {"platform": "SHOPIFY", "store": store.id}
    other = call("start_authorization", "POST", "/authorizations", reconnect).json["state"]
    foreign = come_back(f"code={CODE}&state={other}")

    assert (again.status, "connected already" in again.text) == (409, True)
    assert (foreign.status, "belong to another store" in foreign.text) == (409, True)
    assert "<script" not in foreign.text


def test_several_shops_are_offered_one_button_each_with_their_names_as_text(oauth, state):
    oauth.identities = (
        Identity('1"><b', "", SCRIPT, credentials={"shop_cipher": "cipher-1"}),
        Identity("2", "", "Mugs & more", credentials={"shop_cipher": "cipher-2"}),
        Identity("3", "", None),
    )

    page = come_back(f"code={CODE}&state={state}")

    assert page.status == 200
    assert page.text.count("<button") == 3
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;</button>" in page.text
    assert 'value="1&quot;&gt;&lt;b"' in page.text
    assert ">Mugs &amp; more</button>" in page.text
    assert ">3</button>" in page.text
    assert "<script" not in page.text
    assert "cipher" not in page.text
    assert is_safe_page(page)
    assert nothing_is_stored()

    answer = come_back(f"state={state}&choice=2")

    assert (answer.status, "Your store is connected" in answer.text) == (200, True)
    assert [store.store_id for store in Store.scan()] == ["2"]
    assert come_back(f"state={state}&choice=3").status == 404


def test_a_choice_that_nobody_was_offered_is_a_page(oauth, state):
    oauth.identities = (Identity("1", "", "One"), Identity("2", "", "Two"))
    come_back(f"code={CODE}&state={state}")

    answer = come_back(f"state={state}&choice={SCRIPT}")

    assert (answer.status, "not one of those" in answer.text) == (404, True)
    assert "<script" not in answer.text
    assert nothing_is_stored()


def test_without_our_registration_callers_get_a_problem_and_sellers_a_page(state):
    clients.secrets().delete_secret(SecretId="storelink/apps/SHOPIFY", ForceDeleteWithoutRecovery=True)
    apps.forget()

    assert (start().status, start().problem) == (422, "platform-unavailable")
    answer = come_back(f"code={CODE}&state={state}")
    assert (answer.status, "platform is not available" in answer.text) == (422, True)
    assert is_safe_page(answer, state)


@pytest.mark.parametrize("platform", ["ETSY", "MAGENTO", "%3Cscript%3E", "shopify"])
def test_a_platform_that_grants_nothing_is_refused(state, platform):
    answer = come_back(f"code={CODE}&state={state}", f"/authorizations/{platform}/callback")

    assert answer.status in {404, 422}
    assert "<script" not in answer.text
    assert nothing_is_stored()


def test_a_repeated_start_with_the_same_key_is_one_attempt(oauth):
    first, second = (start(headers={"idempotency-key": "key-1"}) for _ in range(2))

    assert (first.status, first.json) == (201, second.json)
    assert [row.state for row in Authorization.scan()] == [first.json["state"]]
    other = start(headers={"idempotency-key": "key-1"}, user="demo-user-2")
    assert other.json["state"] != first.json["state"]


def test_what_breaks_on_our_side_is_no_page_with_details(state, monkeypatch):
    monkeypatch.setattr(egress, "client", lambda: None)

    answer = come_back(f"code={CODE}&state={state}")

    assert (answer.status, answer.problem) == (500, "internal-error")
    assert CODE not in answer.text


def test_the_address_that_the_seller_is_sent_to_holds_no_secret_of_ours(oauth):
    view = start().json

    assert view["authorizationUrl"].startswith("https://shop.example.com/authorize?")
    assert "app-secret-1" not in view["authorizationUrl"]
    assert clock.from_text(view["expiresAt"]) > clock.now()
