"""The local issuer is one that an OIDC client believes."""

import asyncio
import time
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import KeySet

from infra.local.issuer import Issuer

ISSUER = Issuer("http://127.0.0.1:8703", "storelink")


def ask(method: str, path: str, wish: Any = None) -> Any:
    async def asked() -> Any:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(ISSUER.app()), base_url=ISSUER.url) as client:
            return (await client.request(method, path, json=wish)).json()

    return asyncio.run(asked())


def claims(token: str) -> dict[str, Any]:
    """What a token says, if the published keys signed it."""
    configuration = ask("GET", "/.well-known/openid-configuration")
    keys = ask("GET", configuration["jwks_uri"])
    return jwt.decode(token, KeySet.import_key_set(keys), algorithms=["RS256"]).claims


def test_its_keys_verify_its_tokens() -> None:
    now = int(time.time())

    said = claims(ISSUER.token("demo-user-2", ["demo-team"]))

    assert said["iss"] == ISSUER.url
    assert said["aud"] == "storelink"
    assert said["sub"] == "demo-user-2"
    assert said["teams"] == ["demo-team"]
    assert said["scope"] == "stores:read stores:write"
    assert said["iat"] <= now + 1 < said["exp"]


def test_publishes_no_private_key() -> None:
    [key] = ask("GET", "/.well-known/jwks.json")["keys"]

    assert key.keys() == {"kty", "use", "alg", "kid", "n", "e"}


def test_gives_a_token_to_whoever_asks() -> None:
    wish = {"user": "demo-user-3", "teams": ["a", "b"], "scope": "stores:read"}

    said = claims(ask("POST", "/token", wish)["access_token"])

    assert (said["sub"], said["teams"], said["scope"]) == ("demo-user-3", ["a", "b"], "stores:read")
