"""The Shopify stand-in at its protocol, seen with a plain HTTP client."""

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import math
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest
from graphql import build_client_schema, parse, validate

from infra.check_custom import Plain
from infra.local.sandbox.server import InProcess, Running, Sandbox
from infra.local.sandbox.shopify import CLIENT_ID, CLIENT_SECRET, Shopify, Site, signature
from infra.local.sandbox.shopify_payloads import order_body, product_body
from infra.local.sandbox.shopify_schema import Documents, Meter, admin, operation_of
from infra.local.sandbox.shopify_webhooks import RETRY_DELAYS
from shared.clock import short
from shared.platforms.base import Connection, PlatformError, Refusal, Resource
from shared.platforms.shopify import Shopify as Adapter

Json = dict[str, Any]

SHARED = Path(__file__).parents[3] / "shared"
CONTROL = "/_sandbox/shopify"
RETURN = "https://localhost:19500/authorizations/SHOPIFY/callback"
SCOPES = "read_products,read_orders,read_customers"
DAY = 86_400
APP = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
OFFLINE = "urn:shopify:params:oauth:token-type:offline-access-token"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
SUBSCRIBE = """mutation($topic: WebhookSubscriptionTopic!, $with: WebhookSubscriptionInput!) {
  webhookSubscriptionCreate(topic: $topic, webhookSubscription: $with) {
    webhookSubscription { id topic uri includeFields } userErrors { field message }
  }
}"""
RUN = """mutation($query: String!, $group: Boolean!) {
  bulkOperationRunQuery(query: $query, groupObjects: $group) {
    bulkOperation { id status } userErrors { code field message }
  }
}"""
POLL = """query($id: ID!) { bulkOperation(id: $id) {
  id status errorCode objectCount rootObjectCount fileSize url completedAt } }"""


class Web:
    """A caller of one shop."""

    def __init__(self, client: httpx.Client, site: Site, clock: Any) -> None:
        self.client = client
        self.site = site
        self.clock = clock
        self.url = f"https://{site.shop.domain}"
        self.access = site.tokens.permanent(SCOPES.split(","))

    def graphql(self, query: str, /, **variables: Any) -> httpx.Response:
        """One call, whatever comes."""
        body = {"query": query, "variables": variables}
        headers = {"X-Shopify-Access-Token": self.access}
        return self.client.post(f"{self.url}/admin/api/2026-10/graphql.json", json=body, headers=headers)

    def data(self, query: str, /, **variables: Any) -> Any:
        """What a call gives, which must succeed."""
        answer = self.graphql(query, **variables).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def code_of(self, query: str, /, **variables: Any) -> str:
        """The code of the one error that a call must give."""
        answer = self.graphql(query, **variables)
        assert answer.status_code == 200
        (error,) = answer.json()["errors"]
        return str(error["extensions"]["code"])

    def control(self, method: str, path: str, /, **body: Any) -> Json:
        """One call of the control API, which must succeed."""
        answer = self.client.request(method, f"{CONTROL}/shops/{self.site.shop.name}{path}", json=body or None)
        assert answer.status_code < 300, answer.text
        said: Json = answer.json()
        return said

    def authorize(self, **changes: str) -> httpx.Response:
        """Ask for the grant as the merchant's browser does."""
        query = {"client_id": CLIENT_ID, "scope": SCOPES, "redirect_uri": RETURN, "state": "s1", **changes}
        return self.client.get(f"{self.url}/admin/oauth/authorize", params=query)

    def code(self, **changes: str) -> str:
        """A code for a grant that the merchant approves."""
        answer = self.authorize(_sandbox="approve", **changes)
        return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]

    def token(self, **body: str) -> httpx.Response:
        """One call of the token endpoint."""
        return self.client.post(f"{self.url}/admin/oauth/access_token", json=APP | body)

    def pair(self) -> Json:
        """A new expiring pair by a grant."""
        granted: Json = self.token(code=self.code(), expiring="1").json()
        self.access = granted["access_token"]
        return granted

    def refresh(self, token: str) -> httpx.Response:
        """A refresh."""
        return self.token(grant_type="refresh_token", refresh_token=token)

    def opens(self, access: str) -> bool:
        """Whether an access token opens the API."""
        self.access = access
        return self.graphql("{shop{id}}").status_code == 200

    def subscribe(self, topic: str, path: str = "/hook", **more: Any) -> str:
        """A subscription; its id."""
        made = self.data(SUBSCRIBE, topic=topic, **{"with": {"uri": f"https://localhost:19500{path}", **more}})
        assert made["webhookSubscriptionCreate"]["userErrors"] == []
        return str(made["webhookSubscriptionCreate"]["webhookSubscription"]["id"])

    def deliver(self, **weather: Any) -> list[Json]:
        """Send what is due."""
        sent: list[Json] = self.control("POST", "/deliver", **weather)["sent"]
        return sent

    def pass_seconds(self, seconds: int) -> None:
        """Let time go by."""
        self.clock.pass_seconds(seconds)


@pytest.fixture
def sandbox(clock, receiver) -> Sandbox:
    client = lambda: httpx.AsyncClient(transport=httpx.MockTransport(receiver))  # noqa: E731
    return Sandbox("https://localhost:19443", clock=clock, http=client)


@pytest.fixture
def open_shopify(sandbox, clock) -> Iterator[Callable[..., Web]]:
    """Makes shops, all behind one sandbox."""
    with httpx.Client(transport=InProcess(sandbox), base_url=sandbox.base_url) as client:

        def open_shopify(name: str = "demo", **wishes: Any) -> Web:
            answer = client.post(f"{CONTROL}/shops", json={"name": name, **wishes})
            assert answer.status_code == 201, answer.text
            return Web(client, sandbox.shopify.sites[name], clock)

        yield open_shopify


@pytest.fixture
def web(open_shopify) -> Web:
    """A small shop with a permanent token."""
    return open_shopify(products=20, variable=4, orders=60)


@pytest.fixture
def fresh(web) -> Web:
    """A shop that does not have the app."""
    web.control("POST", "/uninstall")
    return web


class TestConsent:
    def test_shows_a_page_to_install_or_cancel_and_returns_a_signed_callback(self, fresh):
        page = fresh.authorize()
        assert page.status_code == 200
        assert 'action="grant"' in page.text  # relative, so that it works below /at/{host}/ too
        secret = page.text.split('name="authenticity_token" value="')[1].split('"')[0]
        form = {"authenticity_token": secret, "decision": "install"}
        back = fresh.client.post(f"{fresh.url}/admin/oauth/grant", data=form)
        assert back.status_code == 302
        assert back.headers["location"].startswith(f"{RETURN}?")
        told = dict(parse_qsl(urlsplit(back.headers["location"]).query))
        assert set(told) == {"code", "hmac", "host", "shop", "state", "timestamp"}
        assert (told["shop"], told["state"]) == ("demo.myshopify.com", "s1")
        assert told["timestamp"] == str(fresh.site.shop.now())
        text = "&".join(f"{name}={told[name]}" for name in sorted(told) if name != "hmac")
        assert told["hmac"] == hmac.new(CLIENT_SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()

    def test_signs_callbacks_as_the_vectors_do(self):
        vectors = json.loads((SHARED / "vectors" / "shopify.json").read_text())
        callbacks = [one for one in vectors if one["other"]["kind"] == "oauth_callback" and one["valid"]]
        plain = [one for one in callbacks if all(isinstance(value, str) for value in one["other"]["params"].values())]
        assert plain
        for one in plain:
            params = {k: v for k, v in one["other"]["params"].items() if k not in ("hmac", "signature")}
            assert signature(params, one["secret"]) == one["other"]["params"]["hmac"], one["name"]

    def test_cancel_returns_access_denied(self, web):
        back = web.authorize(_sandbox="deny")
        told = dict(parse_qsl(urlsplit(back.headers["location"]).query))
        assert (told["error"], told["state"], "code" in told) == ("access_denied", "s1", False)

    def test_a_page_decides_once(self, fresh):
        secret = fresh.authorize().text.split('name="authenticity_token" value="')[1].split('"')[0]
        form = {"authenticity_token": secret, "decision": "cancel"}
        assert fresh.client.post(f"{fresh.url}/admin/oauth/grant", data=form).status_code == 302
        assert fresh.client.post(f"{fresh.url}/admin/oauth/grant", data=form).status_code == 422

    def test_auto_approves_when_told_to(self, open_shopify):
        web = open_shopify("auto", products=1, orders=1, auto_approve=True)
        assert web.authorize().status_code == 302
        web.control("PUT", "/auto_approve", auto_approve=False)
        web.control("POST", "/uninstall")
        assert web.authorize().status_code == 200

    def test_asks_again_only_for_scopes_that_are_not_granted(self, web):
        web.pair()
        assert web.authorize().status_code == 302
        assert web.authorize(scope=f"{SCOPES},read_inventory").status_code == 200

    @pytest.mark.parametrize(
        "wrong",
        [
            {"client_id": "another"},
            {"redirect_uri": ""},
            {"redirect_uri": "http://elsewhere.example.com/"},
            {"redirect_uri": "https://[x/"},
            {"state": ""},
            {"scope": ""},
            {"scope": "everything"},
            {"grant_options[]": "per-user"},
        ],
    )
    def test_refuses_a_wrong_request_on_a_page_and_sends_nobody_back(self, web, wrong):
        answer = web.authorize(**wrong)
        assert answer.status_code == 400
        assert "location" not in answer.headers

    def test_returns_only_to_registered_addresses_where_there_are_any(self, fresh):
        fresh.client.put(f"{CONTROL}/app", json={"redirects": [RETURN]})
        assert fresh.authorize().status_code == 200
        assert fresh.authorize(redirect_uri=f"{RETURN}/").status_code == 400

    def test_an_unknown_shop_is_a_page_not_found(self, web):
        assert web.client.get("https://nobody.myshopify.com/admin/oauth/authorize").status_code == 404

    def test_works_in_a_browser_below_at(self, web):
        answer = web.client.get(f"/at/demo.myshopify.com/admin/oauth/authorize?client_id={CLIENT_ID}")
        assert answer.status_code == 400
        assert "redirect_uri" in answer.text


class TestTokens:
    def test_a_code_gives_a_pair_that_opens_the_api_for_an_hour(self, web):
        granted = web.pair()
        assert granted["expires_in"] == 3600
        assert granted["refresh_token_expires_in"] == 90 * DAY
        assert granted["scope"] == SCOPES
        web.pass_seconds(3599)
        assert web.opens(granted["access_token"])
        web.pass_seconds(1)
        assert not web.opens(granted["access_token"])

    def test_without_expiring_it_is_permanent_and_given_again(self, web):
        web.control("POST", "/uninstall")
        granted = web.token(code=web.code()).json()
        assert set(granted) == {"access_token", "scope"}
        assert web.token(code=web.code()).json()["access_token"] == granted["access_token"]
        web.pass_seconds(400 * DAY)
        assert web.opens(granted["access_token"])

    def test_takes_a_form_as_well(self, web):
        form = APP | {"code": web.code(), "expiring": "1"}
        assert web.client.post(f"{web.url}/admin/oauth/access_token", data=form).json()["expires_in"] == 3600

    def test_a_code_works_once_and_for_a_minute(self, web):
        code = web.code()
        assert web.token(code=code).status_code == 200
        again = web.token(code=code)
        assert (again.status_code, again.json()["error"]) == (400, "invalid_request")
        late = web.code()
        web.pass_seconds(60)
        assert web.token(code=late).status_code == 400

    def test_a_new_grant_replaces_the_pair(self, web):
        old = web.pair()
        new = web.pair()
        assert not web.opens(old["access_token"])
        assert web.refresh(old["refresh_token"]).json()["error"] == "invalid_grant"
        assert web.opens(new["access_token"])

    @pytest.mark.parametrize(
        ("wrong", "status", "error"),
        [
            ({"client_id": "another"}, 400, "application_cannot_be_found"),
            ({"client_secret": "another"}, 401, "invalid_client"),
            ({"grant_type": "password"}, 400, "invalid_request"),
            ({"grant_type": "client_credentials"}, 400, "shop_not_permitted"),
            ({}, 400, "invalid_request"),
        ],
    )
    def test_refuses_who_and_what_it_does_not_know(self, web, wrong, status, error):
        answer = web.token(**wrong)
        assert (answer.status_code, answer.json()["error"]) == (status, error)

    def test_a_refresh_rotates_both_tokens(self, web):
        old = web.pair()
        new = web.refresh(old["refresh_token"]).json()
        assert new["access_token"] != old["access_token"]
        assert new["refresh_token"] != old["refresh_token"]
        assert not web.opens(old["access_token"])
        assert web.opens(new["access_token"])

    def test_a_lost_answer_can_be_asked_for_again(self, web):
        old = web.pair()["refresh_token"]
        lost = web.refresh(old).json()
        web.pass_seconds(29 * DAY)
        new = web.refresh(old).json()
        assert not web.opens(lost["access_token"])
        assert web.refresh(lost["refresh_token"]).status_code == 400
        assert web.opens(new["access_token"])

    def test_a_retry_ends_thirty_days_after_the_first_use(self, web):
        old = web.pair()["refresh_token"]
        web.refresh(old)
        web.pass_seconds(30 * DAY)
        assert web.refresh(old).json()["error"] == "invalid_grant"

    def test_a_retry_never_outlives_the_ninety_days(self, web):
        old = web.pair()["refresh_token"]
        web.pass_seconds(80 * DAY)
        assert web.refresh(old).status_code == 200
        web.pass_seconds(10 * DAY)
        assert web.refresh(old).status_code == 400

    @pytest.mark.parametrize("use", ["access", "refresh"])
    def test_reuse_after_the_replacement_was_used_revokes_the_grant(self, web, use):
        old = web.pair()["refresh_token"]
        new = web.refresh(old).json()
        if use == "access":
            assert web.opens(new["access_token"])
        else:
            new = web.refresh(new["refresh_token"]).json()
        answer = web.refresh(old)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        assert not web.opens(new["access_token"])
        assert web.refresh(new["refresh_token"]).status_code == 400
        assert web.control("GET", "")["live_grants"] == 0

    def test_reuse_can_be_made_harmless(self, web):
        web.control("PUT", "/settings", revoke_on_reuse=False)
        old = web.pair()["refresh_token"]
        new = web.refresh(old).json()
        assert web.opens(new["access_token"])
        assert web.refresh(old).status_code == 400
        assert web.opens(new["access_token"])

    def test_only_the_next_refresh_can_be_made_the_use_that_counts(self, web):
        web.control("PUT", "/settings", access_counts_as_use=False)
        old = web.pair()["refresh_token"]
        new = web.refresh(old).json()
        assert web.opens(new["access_token"])
        assert web.refresh(old).status_code == 200

    def test_a_dead_refresh_token_can_be_refused_as_seen_in_production(self, web):
        web.control("PUT", "/settings", observed_refusal=True)
        answer = web.refresh("shprt_unknown")
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_request")

    def test_a_grant_refreshed_now_and_then_lives_a_hundred_days(self, web):
        token = web.pair()["refresh_token"]
        for _ in range(2):
            web.pass_seconds(50 * DAY)
            token = web.refresh(token).json()["refresh_token"]
        assert web.control("GET", "")["live_grants"] >= 1

    def test_a_grant_left_alone_dies_after_ninety_days(self, web):
        token = web.pair()["refresh_token"]
        web.control("PUT", "/clock", advance=90 * DAY)
        assert web.refresh(token).json()["error"] == "invalid_grant"
        assert web.control("GET", "")["live_grants"] == 0

    def test_a_permanent_token_is_exchanged_and_dies(self, web):
        old = web.access
        body = {"grant_type": EXCHANGE, "subject_token": old, "expiring": "1"}
        body |= {"subject_token_type": OFFLINE, "requested_token_type": OFFLINE}
        new = web.token(**body).json()
        assert new["refresh_token_expires_in"] == 90 * DAY
        assert not web.opens(old)
        web.pass_seconds(6 * DAY)
        again = web.token(**body).json()
        assert (again["access_token"], again["refresh_token"]) == (new["access_token"], new["refresh_token"])
        assert again["refresh_token_expires_in"] == 84 * DAY
        assert web.opens(again["access_token"])
        assert web.refresh(new["refresh_token"]).status_code == 200
        assert web.token(**body).json()["error"] == "invalid_subject_token"

    def test_an_exchange_can_be_retried_for_seven_days(self, web):
        body = {"grant_type": EXCHANGE, "subject_token": web.access, "expiring": "1"}
        body |= {"subject_token_type": OFFLINE, "requested_token_type": OFFLINE}
        web.token(**body)
        web.pass_seconds(7 * DAY)
        assert web.token(**body).status_code == 400

    def test_both_client_secrets_work_after_a_rotation(self, web):
        web.client.put(f"{CONTROL}/app", json={"client_secret": "shpss_new"})
        assert web.token(code=web.code(), client_secret="shpss_new").status_code == 200
        assert web.token(code=web.code()).status_code == 200


class TestApi:
    def test_refuses_a_token_that_it_does_not_know(self, web):
        web.access = "shpat_unknown"
        answer = web.graphql("{shop{id}}")
        assert answer.status_code == 401
        assert answer.json()["errors"].startswith("[API] Invalid API key or access token")

    def test_refuses_permanent_tokens_once_the_policy_is_in_force(self, web):
        web.control("PUT", "/settings", refuse_permanent=True)
        assert web.graphql("{shop{id}}").status_code == 403

    def test_an_old_version_falls_forward_and_a_future_one_is_unknown(self, web):
        call = {"json": {"query": "{shop{id}}"}, "headers": {"X-Shopify-Access-Token": web.access}}
        old = web.client.post(f"{web.url}/admin/api/2021-01/graphql.json", **call)
        assert old.headers["x-shopify-api-version"] == "2026-10"
        assert web.client.post(f"{web.url}/admin/api/2031-01/graphql.json", **call).status_code == 404
        assert web.client.get(f"{web.url}/admin/api/2026-10/orders.json").status_code == 404

    @pytest.mark.parametrize("body", [b"", b"[]", b'{"query": 1}', b'{"query": "{shop{id}}", "variables": []}'])
    def test_a_body_without_a_query_is_a_bad_request(self, web, body):
        headers = {"X-Shopify-Access-Token": web.access, "content-type": "application/json"}
        url = f"{web.url}/admin/api/2026-10/graphql.json"
        answer = web.client.post(url, content=body, headers=headers)
        assert answer.status_code == (200 if b"[]}" in body else 400)

    def test_tells_who_the_shop_and_the_app_are(self, web):
        told = web.data(
            "{shop{id name myshopifyDomain currencyCode ianaTimezone email plan{publicDisplayName}}"
            "currentAppInstallation{accessScopes{handle}}}"
        )
        assert told["shop"]["myshopifyDomain"] == "demo.myshopify.com"
        assert told["shop"]["currencyCode"] == "EUR"
        handles = {one["handle"] for one in told["currentAppInstallation"]["accessScopes"]}
        assert handles == set(SCOPES.split(","))

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ("{orders(first:1){nodes{colour}}}", "undefinedField"),
            ("{orders(first:1,colour:RED){nodes{id}}}", "argumentNotAccepted"),
            ('{orders(first:"many"){nodes{id}}}', "invalidDocument"),
            ("{orders{nodes{id}}}", "BAD_REQUEST"),
            ("{orders(first:251){nodes{id}}}", "BAD_REQUEST"),
            ('{orders(first:1,after:"nonsense"){nodes{id}}}', "BAD_REQUEST"),
            ('{order(id:"nonsense"){id}}', "INVALID_GLOBAL_ID"),
            ("{orders(first:1){nodes{risk{recommendation}}}}", "NOT_IN_SANDBOX"),
            ("query($n:Int!){orders(first:$n){nodes{id}}}", "INVALID_VARIABLE"),
        ],
    )
    def test_a_wrong_document_is_an_error_with_http_200(self, web, query, code):
        assert web.code_of(query) == code

    def test_a_document_that_is_none_is_a_syntax_error(self, web):
        (error,) = web.graphql("{shop{id}").json()["errors"]
        assert error["message"].startswith("syntax error")

    def test_a_missing_scope_denies_the_field(self, web):
        web.access = web.control("POST", "/tokens", scopes=["read_orders"])["access_token"]
        assert web.code_of("{products(first:1){nodes{id}}}") == "ACCESS_DENIED"
        answer = web.graphql('{orders(first:20,query:"status:any"){nodes{id customer{id}}}}').json()
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"ACCESS_DENIED"}
        assert answer["errors"][0]["path"][:2] == ["orders", "nodes"]
        assert "read_customers" in answer["errors"][0]["message"]
        assert (
            web.code_of(f'{{node(id:"{web.control("GET", "/truth")["products"][0]["id"]}"){{id}}}}') == "ACCESS_DENIED"
        )

    def test_pages_through_all_orders_once(self, web):
        seen, after = [], None
        while True:
            page = web.data(
                'query($a:String){orders(first:7,after:$a,sortKey:UPDATED_AT,query:"status:any")'
                "{pageInfo{hasNextPage endCursor} nodes{id updatedAt}}}",
                a=after,
            )["orders"]
            seen += page["nodes"]
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                break
        truth = web.control("GET", "/truth")["orders"]
        assert {one["id"]: one["updatedAt"] for one in seen} == {one["id"]: one["modified_gmt"] + "Z" for one in truth}
        assert len(seen) == len(truth)
        assert [one["updatedAt"] for one in seen] == sorted(one["updatedAt"] for one in seen)

    def test_pages_backwards_and_in_reverse(self, web):
        every = [one["id"] for one in web.data("{products(first:250){nodes{id}}}")["products"]["nodes"]]
        last = web.data("{products(last:3){nodes{id} pageInfo{startCursor hasPreviousPage}}}")["products"]
        assert [one["id"] for one in last["nodes"]] == every[-3:]
        before = web.data("query($b:String){products(last:2,before:$b){nodes{id}}}", b=last["pageInfo"]["startCursor"])[
            "products"
        ]["nodes"]
        assert [one["id"] for one in before] == every[-5:-3]
        first = web.data("{products(first:2,reverse:true){nodes{id} pageInfo{endCursor}}}")["products"]
        assert [one["id"] for one in first["nodes"]] == every[:-3:-1]
        rest = web.data(
            "query($a:String){products(first:1,reverse:true,after:$a){nodes{id}}}", a=first["pageInfo"]["endCursor"]
        )["products"]["nodes"]
        assert rest[0]["id"] == every[-3]

    def test_a_cursor_holds_when_its_own_row_moves(self, web):
        query = "query($a:String){products(first:5,after:$a,sortKey:UPDATED_AT){nodes{id} pageInfo{endCursor}}}"
        first = web.data(query)["products"]
        second = web.data(query, a=first["pageInfo"]["endCursor"])["products"]
        web.control("PUT", f"/products/{first['nodes'][-1]['id']}", title="Moved")
        assert web.data(query, a=first["pageInfo"]["endCursor"])["products"]["nodes"] == second["nodes"]

    @pytest.mark.parametrize(
        ("query", "test"),
        [
            ("status:any updated_at:>='{t}'", lambda one, t: one["modified_gmt"] + "Z" >= t),
            ("status:any AND updated_at:<{t}", lambda one, t: one["modified_gmt"] + "Z" < t),
            ('status:any created_at:>"{t}"', lambda one, t: one["created_gmt"] + "Z" > t),
            ("status:cancelled", lambda one, _: one["status"] == "cancelled"),
            (
                "status:any (financial_status:paid OR financial_status:pending)",
                lambda one, _: one["financial"] in ("PAID", "PENDING"),
            ),
            ("status:any NOT financial_status:paid", lambda one, _: one["financial"] != "PAID"),
            ("status:any -financial_status:paid,voided", lambda one, _: one["financial"] not in ("PAID", "VOIDED")),
        ],
    )
    def test_understands_search_queries(self, web, query, test):
        truth = web.control("GET", "/truth")["orders"]
        middle = sorted(one["modified_gmt"] for one in truth)[len(truth) // 2] + "Z"
        found = web.data("query($q:String){orders(first:250,query:$q){nodes{id}}}", q=query.replace("{t}", middle))[
            "orders"
        ]["nodes"]
        wanted = {one["id"] for one in truth if test(one, middle)}
        assert {one["id"] for one in found} == wanted
        assert 0 < len(wanted) < len(truth)

    def test_lists_closed_orders_only_when_asked_and_old_ones_only_with_the_scope(self, web):
        every = len(web.site.shop.orders)
        count = "query($q:String){ordersCount(query:$q){count precision}}"
        assert web.data(count, q="status:any")["ordersCount"] == {"count": every, "precision": "EXACT"}
        assert web.data(count)["ordersCount"]["count"] < every
        web.pass_seconds(100 * DAY)
        assert web.data(count, q="status:any")["ordersCount"]["count"] == 0
        web.access = web.control("POST", "/tokens", scopes=["read_orders", "read_all_orders"])["access_token"]
        assert web.data(count, q="status:any")["ordersCount"]["count"] == every

    def test_an_unknown_search_field_is_ignored_with_a_warning(self, web):
        answer = web.graphql('{products(first:250,query:"colour:red"){nodes{id}}}').json()
        assert len(answer["data"]["products"]["nodes"]) == 20
        assert answer["extensions"]["search"][0]["warnings"][0]["field"] == "colour"

    def test_long_orders_and_wide_products_need_more_pages(self, web):
        lines = "lineItems(first:50){nodes{id} pageInfo{hasNextPage}}"
        orders = web.data(f'{{orders(first:50,query:"status:any"){{nodes{{{lines}}}}}}}')["orders"]["nodes"]
        assert any(one["lineItems"]["pageInfo"]["hasNextPage"] for one in orders)
        products = web.data("{products(first:20){nodes{variants(first:100){nodes{id} pageInfo{hasNextPage}}}}}")
        assert any(one["variants"]["pageInfo"]["hasNextPage"] for one in products["products"]["nodes"])

    def test_gives_an_order_with_its_lines_buyer_and_fees(self, web):
        product = web.control("POST", "/products", title="Löffel 🥄", price="19.90", sku="S-1")
        line = {"product_id": product["id"], "quantity": 3, "properties": {"Gravur": "Für Änne"}}
        made = web.control("POST", "/orders", line_items=[line], buyer=17, note="Ring")
        order = web.data(
            """query($id:ID!){order(id:$id){name note createdAt displayFinancialStatus
            totalPriceSet{shopMoney{amount currencyCode}} customer{displayName email}
            shippingAddress{city countryCodeV2} transactions{kind fees{amount{amount} type}}
            lineItems(first:5){nodes{title sku quantity originalUnitPriceSet{shopMoney{amount}}
            customAttributes{key value} product{id} variant{id price}}}}}""",
            id=made["id"],
        )["order"]
        assert order["totalPriceSet"]["shopMoney"] == {"amount": "64.6", "currencyCode": "EUR"}
        assert order["customer"] == {"displayName": "Buyer 17", "email": "buyer17@example.com"}
        (sale,) = order["transactions"]
        assert sale["fees"] == [{"amount": {"amount": "2.17"}, "type": "processing_fee"}]
        (bought,) = order["lineItems"]["nodes"]
        assert bought["customAttributes"] == [{"key": "Gravur", "value": "Für Änne"}]
        assert (bought["product"]["id"], bought["variant"]["price"]) == (product["id"], "19.90")

    def test_looks_up_nodes_by_id(self, web):
        truth = web.control("GET", "/truth")
        ids = [truth["orders"][0]["id"], truth["products"][0]["id"], "gid://shopify/Order/1"]
        nodes = web.data("query($ids:[ID!]!){nodes(ids:$ids){__typename id ... on Order{name}}}", ids=ids)["nodes"]
        assert [one and one["__typename"] for one in nodes] == ["Order", "Product", None]
        assert web.data("query($id:ID!){order(id:$id){id}}", id=ids[1])["order"] is None

    def test_a_currency_without_cents_has_none(self, open_shopify):
        truth = open_shopify("yen", products=5, orders=20, currency="JPY").control("GET", "/truth")
        prices = [one["price"] for one in truth["products"]]
        assert all(amount.endswith(".00") for amount in prices + [one["total"] for one in truth["orders"]])

    def test_the_same_seed_makes_the_same_shop(self, open_shopify):
        truths = [open_shopify("same", orders=30).control("GET", "/truth") for _ in range(2)]
        assert truths[0] == truths[1]


class TestCost:
    @pytest.mark.parametrize(
        ("query", "cost"),
        [
            # Measured on the real API: https://github.com/microsoft/BCApps/pull/5926
            ("{products(first:200){pageInfo{hasNextPage} edges{cursor node{id updatedAt}}}}", 12),
            ('{product(id:"gid://shopify/Product/1"){variants(first:200){edges{cursor node{id updatedAt}}}}}', 13),
            (
                "{products(first:100){edges{node{id media(first:1){edges{node{id ... on MediaImage{image{url}}}}}}}}}",
                47,
            ),
            ('{productVariants(query:"sku:1",first:1){edges{node{legacyResourceId product{legacyResourceId}}}}}', 4),
            ("{currentBulkOperation(type:MUTATION){id status}}", 1),
        ],
    )
    def test_queries_cost_what_the_platform_says(self, query, cost):
        document = Documents().read(query)
        operation = operation_of(document, None)
        assert operation is not None
        assert Meter(document, {}, ["read_products"]).requested(operation) == cost

    def test_tells_the_cost_and_gives_back_what_was_not_needed(self, web):
        cost = web.graphql('{orders(first:50,query:"id:1"){nodes{id}}}').json()["extensions"]["cost"]
        assert cost["requestedQueryCost"] == 9
        assert cost["actualQueryCost"] == 2
        assert cost["throttleStatus"] == {
            "maximumAvailable": 2000.0,
            "currentlyAvailable": 1998,
            "restoreRate": 100.0,
        }

    def test_a_mutation_costs_ten(self, web):
        answer = web.graphql(SUBSCRIBE, topic="ORDERS_CREATE", **{"with": {"uri": "https://localhost:19500/a"}})
        assert answer.json()["extensions"]["cost"]["actualQueryCost"] == 10

    def test_throttles_with_http_200_until_the_bucket_has_refilled(self, web):
        web.control("PUT", "/settings", bucket=20, rate=2)
        query = "{products(first:250){nodes{id variants(first:1){nodes{id}}}}}"
        assert web.code_of(query) == "THROTTLED"
        web.control("PUT", "/settings", bucket=50)
        assert web.code_of(query) == "THROTTLED"
        cost = web.graphql(query).json()["extensions"]["cost"]
        assert cost["actualQueryCost"] is None
        missing = cost["requestedQueryCost"] - cost["throttleStatus"]["currentlyAvailable"]
        web.pass_seconds(missing // 2 + 1)
        assert "errors" not in web.graphql(query).json()

    def test_a_query_above_the_limit_is_never_run(self, web):
        query = "{" + "".join(
            f"a{n}:products(first:250){{nodes{{id variants(first:250){{nodes{{id}}}}}}}} " for n in range(8)
        )
        answer = web.graphql(query + "}").json()
        (error,) = answer["errors"]
        assert error["extensions"]["code"] == "MAX_COST_EXCEEDED"
        assert error["extensions"]["cost"] > 1000
        assert "data" not in answer

    def test_a_better_plan_has_a_bigger_bucket(self, open_shopify):
        cost = (
            open_shopify("plus", products=1, orders=1, plan="Plus").graphql("{shop{id}}").json()["extensions"]["cost"]
        )
        assert cost["throttleStatus"]["restoreRate"] == 1000.0


class TestNewestOrders:
    """As our adapter asks for them at the beginning of a first import."""

    def store(self, web):
        return Connection(web.url, {"access_token": web.access}, web.site.shop.domain, "EUR")

    def newest(self, web):
        return Adapter().newest_orders(self.store(web), Plain(web.client), datetime.fromtimestamp(web.clock(), UTC))

    def test_the_last_created_come_first_the_one_that_is_placed_meanwhile_included(self, web):
        web.pass_seconds(60)
        placed = web.control("POST", "/orders", line_items=[{"quantity": 1}])["id"]
        found = self.newest(web)
        truth = web.control("GET", "/truth")["orders"]
        assert found[0].id == placed
        assert [short(one.created_at) for one in found] == sorted(f"{one['created_gmt']}Z" for one in truth)[:-26:-1]
        assert found[3] == Adapter().fetch_one(self.store(web), Resource.ORDERS, found[3].id, Plain(web.client))

    def test_they_spend_little_of_the_budget_of_the_import_after_them(self, web):
        self.newest(web)
        left = web.graphql("{shop{id}}").json()["extensions"]["cost"]["throttleStatus"]["currentlyAvailable"]
        assert left > 1800

    def test_one_that_cannot_be_read_is_left_out(self, web):
        last, *others = self.newest(web)
        web.site.shop.orders[int(last.id.rpartition("/")[2])].updated = -1
        assert self.newest(web) == others

    def test_throttled_they_say_when_to_come_back(self, web):
        web.control("PUT", "/settings", bucket=200, rate=10)
        self.newest(web)
        with pytest.raises(PlatformError) as throttled:
            self.newest(web)
        told = throttled.value
        assert told.refusal is Refusal.RATE_LIMITED
        web.clock.moment = math.ceil(told.retry_at.timestamp())
        assert self.newest(web)

    @pytest.mark.parametrize(
        ("fault", "refusal"),
        [
            ({"kind": "status", "status": 503}, Refusal.TRANSIENT),
            ({"kind": "html"}, Refusal.NOT_THE_PLATFORM),
            ({"kind": "broken_json"}, Refusal.NOT_THE_PLATFORM),
            ({"kind": "reset"}, Refusal.UNREACHABLE),
        ],
    )
    def test_faults_are_told_apart_and_pass(self, web, fault, refusal):
        web.control("POST", "/faults", **fault, path="graphql", times=1)
        with pytest.raises(PlatformError) as broken:
            self.newest(web)
        assert broken.value.refusal is refusal
        assert self.newest(web)


class TestBulk:
    QUERY = '{orders(query:"status:any"){edges{node{id name lineItems{edges{node{id quantity}}}}}}}'

    def start(self, web, query=QUERY, *, group=True):
        """A new operation's id."""
        run = web.data(RUN, query=query, group=group)["bulkOperationRunQuery"]
        assert run["userErrors"] == []
        assert run["bulkOperation"]["status"] == "CREATED"
        return run["bulkOperation"]["id"]

    def finish(self, web, id):
        """The operation when it is done."""
        web.pass_seconds(1)
        for _ in range(100):
            one = web.data(POLL, id=id)["bulkOperation"]
            if one["status"] not in ("CREATED", "RUNNING"):
                return one
        raise AssertionError(one)

    def rows(self, web, url):
        """The lines of a result."""
        answer = web.client.get(url)
        assert answer.status_code == 200
        return [json.loads(line) for line in answer.text.splitlines()]

    @pytest.mark.parametrize("group", [True, False])
    def test_gives_every_order_with_its_lines_as_children(self, web, group):
        id = self.start(web, group=group)
        assert web.data(POLL, id=id)["bulkOperation"]["status"] == "RUNNING"
        done = self.finish(web, id)
        assert done["status"] == "COMPLETED"
        rows = self.rows(web, done["url"])
        orders = web.site.shop.orders.values()
        assert {one["id"] for one in rows if "__parentId" not in one} == {f"gid://shopify/Order/{o.id}" for o in orders}
        assert sum("__parentId" in one for one in rows) == sum(len(one.lines) for one in orders)
        assert int(done["objectCount"]) == len(rows)
        assert int(done["rootObjectCount"]) == len(orders)
        assert int(done["fileSize"]) == len(web.client.get(done["url"]).content)
        follows = all(
            row["__parentId"] in (before["id"], before.get("__parentId"))
            for before, row in pairwise(rows)
            if "__parentId" in row
        )
        assert follows is group

    def test_a_result_is_read_in_ranges(self, web):
        url = self.finish(web, self.start(web))["url"]
        whole = web.client.get(url).content
        part = web.client.get(url, headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, whole[10:20])
        assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"
        assert web.client.get(url, headers={"Range": f"bytes={len(whole) - 5}-"}).content == whole[-5:]
        assert web.client.get(url, headers={"Range": "bytes=-5"}).content == whole[-5:]
        assert web.client.get(url, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416

    def test_a_result_needs_its_signature_and_ends_after_seven_days(self, web):
        url = self.finish(web, self.start(web))["url"]
        assert url.startswith("https://storage.googleapis.com/")
        assert web.client.get(url.replace("Signature=", "Signature=0")).status_code == 403
        assert web.client.get("https://storage.googleapis.com/another").status_code == 404
        web.pass_seconds(7 * DAY)
        assert web.client.get(url).status_code == 400

    def test_nothing_found_has_no_address(self, web):
        done = self.finish(web, self.start(web, '{orders(query:"id:1"){edges{node{id}}}}'))
        assert (done["status"], done["url"], done["objectCount"]) == ("COMPLETED", None, "0")

    @pytest.mark.parametrize(
        "query",
        [
            "{shop{id}}",
            "{orders{edges{node{colour}}}}",
            "{orders{edges{node{name lineItems{edges{node{id}}}}}}}",
            "{" + " ".join(f"a{n}:products{{edges{{node{{id}}}}}}" for n in range(6)) + "}",
            "{products{edges{node{id variants{edges{node{id media{edges{node{id}}}}}}}}}}",
            "mutation{appUninstall{app{id}}}",
        ],
    )
    def test_refuses_queries_that_bulk_cannot_run(self, web, query):
        run = web.data(RUN, query=query, group=False)["bulkOperationRunQuery"]
        assert run["bulkOperation"] is None
        assert run["userErrors"][0]["code"] == "INVALID"

    def test_runs_five_at_once(self, web):
        for _ in range(5):
            self.start(web)
        run = web.data(RUN, query=self.QUERY, group=False)["bulkOperationRunQuery"]
        assert run["userErrors"][0]["code"] == "LIMIT_REACHED"

    def test_can_be_cancelled(self, web):
        id = self.start(web)
        told = web.data(
            "mutation($id:ID!){bulkOperationCancel(id:$id){bulkOperation{status} userErrors{message}}}", id=id
        )
        assert told["bulkOperationCancel"]["bulkOperation"]["status"] == "CANCELING"
        assert self.finish(web, id)["status"] == "CANCELED"

    def test_fails_where_a_scope_is_missing(self, web):
        web.access = web.control("POST", "/tokens", scopes=["read_orders"])["access_token"]
        done = self.finish(web, self.start(web, "{products{edges{node{id}}}}"))
        assert (done["status"], done["errorCode"]) == ("FAILED", "ACCESS_DENIED")

    def test_tells_by_webhook_that_it_ended(self, web, receiver):
        web.subscribe("BULK_OPERATIONS_FINISH")
        id = self.start(web)
        self.finish(web, id)
        web.deliver()
        body = json.loads(receiver.requests[-1].content)
        assert foreign(published("bulk_operations_finish"), body) == []
        assert (body["admin_graphql_api_id"], body["status"]) == (id, "completed")


class TestWebhooks:
    def test_signs_what_it_sends_as_the_vectors_do(self, web, receiver):
        web.subscribe("ORDERS_CREATE")
        web.control("POST", "/orders", line_items=[{"title": "Löffel 🥄"}])
        web.deliver()
        (sent,) = receiver.requests
        vectors = json.loads((SHARED / "vectors" / "shopify.json").read_text())
        known = next(one for one in vectors if one["name"] == "unicode-utf8-body")

        def signed(secret: str, body: bytes) -> str:
            return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()

        assert (
            signed(known["secret"], base64.b64decode(known["body_base64"])) == known["headers"]["X-Shopify-Hmac-Sha256"]
        )
        assert sent.headers["x-shopify-hmac-sha256"] == signed(CLIENT_SECRET, sent.content)
        assert sent.headers["x-shopify-topic"] == "orders/create"
        assert sent.headers["x-shopify-shop-domain"] == "demo.myshopify.com"
        assert sent.headers["x-shopify-api-version"] == "2026-10"
        assert sent.headers["x-shopify-triggered-at"].endswith("Z")
        assert sent.headers["x-shopify-webhook-id"] != sent.headers["x-shopify-event-id"]
        assert "Löffel 🥄".encode() in sent.content

    def test_payloads_have_no_field_and_no_type_that_the_published_ones_lack(self, web):
        shop = web.site.shop
        order, product = published("orders_updated"), published("products_update")
        for one in shop.orders.values():
            assert foreign(order, order_body(shop, one)) == []
        for one in shop.products.values():
            assert foreign(product, product_body(shop, one)) == []

    def test_a_subscription_is_made_listed_changed_and_deleted(self, web):
        id = web.subscribe("ORDERS_UPDATED")
        listed = web.data(
            "{webhookSubscriptions(first:10){nodes{id topic uri endpoint{__typename} apiVersion{handle}}}}"
        )
        (one,) = listed["webhookSubscriptions"]["nodes"]
        assert (one["id"], one["topic"], one["uri"]) == (id, "ORDERS_UPDATED", "https://localhost:19500/hook")
        change = """mutation($id:ID!,$with:WebhookSubscriptionInput!){
        webhookSubscriptionUpdate(id:$id,webhookSubscription:$with){webhookSubscription{uri} userErrors{message}}}"""
        changed = web.data(change, id=id, **{"with": {"uri": "https://localhost:19500/other"}})
        assert changed["webhookSubscriptionUpdate"]["webhookSubscription"]["uri"].endswith("/other")
        delete = (
            "mutation($id:ID!){webhookSubscriptionDelete(id:$id){deletedWebhookSubscriptionId userErrors{message}}}"
        )
        assert web.data(delete, id=id)["webhookSubscriptionDelete"]["deletedWebhookSubscriptionId"] == id
        assert web.data(delete, id=id)["webhookSubscriptionDelete"]["userErrors"] != []

    @pytest.mark.parametrize(
        ("topic", "uri", "message"),
        [
            ("ORDERS_CREATE", "https://localhost:19500/hook", "Address for this topic has already been taken"),
            ("ORDERS_UPDATED", "http://localhost:19500/hook", "Address protocol is not supported"),
            ("ORDERS_UPDATED", "", "Address can't be blank"),
            ("PRODUCTS_UPDATE", "https://localhost:19500/p", "You cannot create a webhook subscription"),
        ],
    )
    def test_refuses_an_address_taken_or_wrong_and_a_topic_without_its_scope(self, web, topic, uri, message):
        web.access = web.control("POST", "/tokens", scopes=["read_orders"])["access_token"]
        web.subscribe("ORDERS_CREATE")
        told = web.data(SUBSCRIBE, topic=topic, **{"with": {"uri": uri}})["webhookSubscriptionCreate"]
        assert told["webhookSubscription"] is None
        assert told["userErrors"][0]["message"].startswith(message)

    def test_the_merchants_acts_have_their_topics(self, web, receiver):
        for topic in (
            "ORDERS_CREATE",
            "ORDERS_PAID",
            "ORDERS_UPDATED",
            "ORDERS_CANCELLED",
            "ORDERS_DELETE",
            "ORDERS_FULFILLED",
            "PRODUCTS_CREATE",
            "PRODUCTS_UPDATE",
            "PRODUCTS_DELETE",
        ):
            web.subscribe(topic)
        product = web.control("POST", "/products", title="New", price="3.00")["id"]
        web.control("PUT", f"/products/{product}", price="4.00")
        web.control("POST", f"/products/{product}/delete")
        order = web.control("POST", "/orders", financial_status="PENDING")["id"]
        web.control("PUT", f"/orders/{order}", financial_status="PAID")
        web.control("PUT", f"/orders/{order}", fulfillment_status="FULFILLED")
        web.control("POST", f"/orders/{order}/cancel", reason="FRAUD")
        web.control("DELETE", f"/orders/{order}")
        web.deliver()
        assert [one.headers["x-shopify-topic"] for one in receiver.requests] == [
            "products/create",
            "products/update",
            "products/delete",
            "orders/create",
            "orders/updated",
            "orders/paid",
            "orders/updated",
            "orders/fulfilled",
            "orders/cancelled",
            "orders/updated",
            "orders/delete",
        ]

    def test_subscriptions_share_an_event_and_include_their_fields(self, web, receiver):
        web.subscribe("PRODUCTS_UPDATE", "/a", includeFields=["id", "updated_at", "variants.id"])
        web.subscribe("PRODUCTS_UPDATE", "/b", name="second")
        web.control("PUT", f"/products/{web.control('GET', '/truth')['products'][1]['id']}", price="1.00")
        web.deliver()
        first, second = receiver.requests
        assert first.headers["x-shopify-event-id"] == second.headers["x-shopify-event-id"]
        assert first.headers["x-shopify-webhook-id"] != second.headers["x-shopify-webhook-id"]
        body = json.loads(first.content)
        assert set(body) == {"id", "updated_at", "variants"}
        assert set(body["variants"][0]) == {"id"}
        assert second.headers["x-shopify-name"] == "second"

    def test_retries_eight_times_in_four_hours_with_the_first_payload_and_then_deletes(self, web, receiver):
        receiver.answers["/hook"] = 500
        web.subscribe("PRODUCTS_UPDATE")
        product = web.control("GET", "/truth")["products"][0]["id"]
        web.control("PUT", f"/products/{product}", title="First")
        web.deliver()
        web.control("PUT", "/delivery", paused=False)
        for delay in RETRY_DELAYS:
            assert web.deliver() == []
            web.pass_seconds(delay - 1)
            assert web.deliver() == []
            web.pass_seconds(1)
            assert web.control("GET", "/truth")["webhooks"] != []
            assert len(web.deliver()) == 1
        assert sum(RETRY_DELAYS) == 4 * 3600
        assert len(receiver.requests) == 9
        assert len({one.content for one in receiver.requests}) == 1
        assert len({one.headers["x-shopify-webhook-id"] for one in receiver.requests}) == 1
        assert web.control("GET", "/truth")["webhooks"] == []

    @pytest.mark.parametrize("answer", [302, 404, httpx.ReadTimeout("slow")])
    def test_only_a_2xx_in_time_is_a_success(self, web, receiver, answer):
        receiver.answers["/hook"] = answer
        web.subscribe("PRODUCTS_UPDATE")
        web.control("PUT", f"/products/{web.control('GET', '/truth')['products'][0]['id']}", title="First")
        web.deliver()
        receiver.answers.clear()
        web.pass_seconds(RETRY_DELAYS[0])
        assert [one["status"] for one in web.deliver()] == [200]
        assert web.control("GET", "/deliveries")["waiting"] == 0

    def test_weather_doubles_and_loses_deliveries(self, web, receiver):
        web.subscribe("PRODUCTS_UPDATE")
        product = web.control("GET", "/truth")["products"][0]["id"]
        web.control("PUT", f"/products/{product}", title="First")
        web.deliver(copies=2)
        assert len(receiver.requests) == 2
        web.control("PUT", f"/products/{product}", title="Second")
        assert [one["lost"] for one in web.deliver(lose=1.0)] == [True]
        assert len(receiver.requests) == 2

    def test_an_uninstall_kills_the_tokens_before_it_tells(self, web, receiver):
        web.client.put(f"{CONTROL}/app", json={"compliance_url": "https://localhost:19500/compliance"})
        pair = web.pair()
        web.subscribe("APP_UNINSTALLED", "/gone")
        web.subscribe("ORDERS_CREATE", "/orders")
        assert web.data("mutation{appUninstall{app{id} userErrors{message}}}")["appUninstall"]["userErrors"] == []
        assert not web.opens(pair["access_token"])
        assert web.refresh(pair["refresh_token"]).status_code == 400
        web.deliver()
        (gone,) = receiver.requests
        assert gone.headers["x-shopify-topic"] == "app/uninstalled"
        assert foreign(published("app_uninstalled"), json.loads(gone.content)) == []
        assert json.loads(gone.content)["myshopify_domain"] == "demo.myshopify.com"
        assert web.control("GET", "/truth")["webhooks"] == []
        web.pass_seconds(48 * 3600 - 1)
        assert web.deliver() == []
        web.pass_seconds(1)
        web.deliver()
        redact = receiver.requests[-1]
        assert (redact.url.path, redact.headers["x-shopify-topic"]) == ("/compliance", "shop/redact")
        assert json.loads(redact.content) == {"shop_id": web.site.shop.id, "shop_domain": "demo.myshopify.com"}

    def test_a_reinstall_in_time_keeps_the_shop(self, web):
        web.client.put(f"{CONTROL}/app", json={"compliance_url": "https://localhost:19500/compliance"})
        web.pair()
        web.control("POST", "/uninstall")
        web.pair()
        web.pass_seconds(60 * 3600)
        assert web.deliver() == []

    def test_compliance_topics_go_to_the_apps_one_address(self, web, receiver):
        web.client.put(f"{CONTROL}/app", json={"compliance_url": "https://localhost:19500/compliance"})
        web.control("POST", "/compliance", topic="customers/redact", payload={"customer": {"id": 1}})
        web.deliver()
        assert receiver.requests[0].headers["x-shopify-topic"] == "customers/redact"

    def test_a_change_of_scopes_is_told_and_bites(self, web, receiver):
        web.subscribe("APP_SCOPES_UPDATE")
        web.control("PUT", "/scopes", scopes=["read_orders"])
        web.deliver()
        body = json.loads(receiver.requests[0].content)
        assert foreign(published("app_scopes_update"), body) == []
        assert (body["previous"], body["current"]) == (SCOPES.split(","), ["read_orders"])
        assert web.code_of("{products(first:1){nodes{id}}}") == "ACCESS_DENIED"

    def test_after_a_rotation_deliveries_are_signed_with_the_old_secret_for_an_hour(self, web, receiver):
        web.subscribe("PRODUCTS_UPDATE")
        web.client.put(f"{CONTROL}/app", json={"client_secret": "shpss_new"})
        product = web.control("GET", "/truth")["products"][0]["id"]
        for _ in range(2):
            web.control("PUT", f"/products/{product}", price="2.00")
            web.deliver()
            web.pass_seconds(3600)
        wanted = [
            base64.b64encode(hmac.digest(secret.encode(), one.content, "sha256")).decode()
            for secret, one in zip((CLIENT_SECRET, "shpss_new"), receiver.requests, strict=True)
        ]
        assert [one.headers["x-shopify-hmac-sha256"] for one in receiver.requests] == wanted

    def test_the_background_worker_sends_unless_paused(self, web, sandbox, receiver):
        web.subscribe("PRODUCTS_UPDATE")
        product = web.control("GET", "/truth")["products"][0]["id"]
        web.control("PUT", "/delivery", paused=True)
        web.control("PUT", f"/products/{product}", price="2.00")
        asyncio.run(sandbox.shopify.deliver())
        assert receiver.requests == []
        web.control("PUT", "/delivery", paused=False)
        asyncio.run(sandbox.shopify.deliver())
        assert len(receiver.requests) == 1


class TestFaults:
    def test_a_lost_answer_to_a_refresh_has_taken_effect(self, web):
        old = web.pair()
        web.control("POST", "/faults", kind="reset", path="/admin/oauth/access_token", times=1, after_effect=True)
        with pytest.raises(httpx.ReadError):
            web.refresh(old["refresh_token"])
        assert not web.opens(old["access_token"])
        assert web.refresh(old["refresh_token"]).status_code == 200

    def test_faults_meet_the_api_and_the_storage(self, web):
        web.control("POST", "/faults", kind="status", status=503, path="graphql", times=1)
        assert web.graphql("{shop{id}}").status_code == 503
        assert web.graphql("{shop{id}}").status_code == 200
        bulk = TestBulk()
        url = bulk.finish(web, bulk.start(web))["url"]
        web.control("POST", "/faults", kind="broken_json", path="/storage.googleapis.com/")
        assert len(web.client.get(url).content) < len(web.site.bulk.operations.popitem()[1].result)

    def test_calls_are_counted_by_route_status_and_field(self, web):
        web.graphql("{shop{id} orders(first:1){nodes{id}}}")
        calls = web.control("GET", "/calls")
        assert calls["total"] == 1
        assert calls["operations"] == {"shop": 1, "orders": 1}
        assert calls["statuses"] == {"200": 1}

    def test_what_does_not_exist_is_404_and_what_is_wrong_400(self, web):
        assert web.client.get(f"{CONTROL}/shops/nobody").status_code == 404
        assert web.client.post(f"{CONTROL}/shops/demo/orders/1/delete").status_code == 404
        assert web.client.post(f"{CONTROL}/shops/demo/faults", json={"kind": "unheard"}).status_code == 400
        order = next(iter(web.site.shop.orders))
        answer = web.client.put(f"{CONTROL}/shops/demo/orders/{order}", json={"financial_status": "unheard"})
        assert answer.status_code == 400


def test_the_schema_here_is_the_published_one() -> None:
    contract = json.loads(gzip.decompress((SHARED / "contracts" / "shopify" / "admin_2026-10.json.gz").read_bytes()))
    schema = build_client_schema(contract["data"], assume_valid=True)
    ours = admin().schema
    assert set(ours.type_map) == set(schema.type_map)
    for name in sorted(schema.type_map)[::9]:
        theirs = getattr(schema.type_map[name], "fields", {})
        assert {k: str(v.type) for k, v in theirs.items()} == {
            k: str(v.type) for k, v in getattr(ours.type_map[name], "fields", {}).items()
        }
    for document in (SUBSCRIBE, RUN, POLL):
        assert validate(schema, parse(document)) == []


def test_is_served_over_tls_by_its_own_names(running: Running) -> None:
    with httpx.Client(base_url=running.base_url, verify=ssl.create_default_context(cafile=running.ca)) as client:
        client.post(f"{CONTROL}/shops", json={"name": "served", "products": 2, "orders": 2}).raise_for_status()
        answer = client.get("/admin/oauth/authorize", headers={"host": "served.myshopify.com"})
        assert answer.status_code == 400
    assert Shopify.hosts == (".myshopify.com", "storage.googleapis.com")


def published(name: str) -> Json:
    """The payload that Shopify publishes for a topic."""
    read: Json = json.loads((SHARED / "contracts" / "shopify" / "webhooks" / f"{name}.json").read_text())
    return dict(read["payload"])


def foreign(published: Any, ours: Any, path: str = "") -> list[str]:
    """What ours has and the published one has not: names and types; null fits all, an empty list any list."""
    if published is None or ours is None:
        return []
    if isinstance(published, dict) and isinstance(ours, dict):
        found = [f"{path} has {name}" for name in ours.keys() - published.keys()]
        for name in ours.keys() & published.keys():
            found += foreign(published[name], ours[name], f"{path}.{name}")
        return found
    if isinstance(published, list) and isinstance(ours, list):
        return [line for one in ours for line in (foreign(published[0], one, f"{path}[]") if published else [])]
    same = type(published) is type(ours)
    return [] if same else [f"{path}: published {published!r}, ours {ours!r}"]
