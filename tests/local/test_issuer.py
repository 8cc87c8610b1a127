"""The local issuer is one that an OIDC client believes."""

import time
from typing import Any

from joserfc import jwt
from joserfc.jwk import KeySet
from starlette.testclient import TestClient

from infra.local.issuer import Issuer

ISSUER = Issuer("http://127.0.0.1:8703", "storelink")
CLIENT = TestClient(ISSUER.app())


def claims(token: str) -> dict[str, Any]:
    """What a token says, if the published keys signed it."""
    configuration = CLIENT.get("/.well-known/openid-configuration").json()
    keys = CLIENT.get(configuration["jwks_uri"].removeprefix(ISSUER.url)).json()
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
    [key] = CLIENT.get("/.well-known/jwks.json").json()["keys"]

    assert key.keys() == {"kty", "use", "alg", "kid", "n", "e"}


def test_gives_a_token_to_whoever_asks() -> None:
    wish = {"user": "demo-user-3", "teams": ["a", "b"], "scope": "stores:read"}

    said = claims(CLIENT.post("/token", json=wish).json()["access_token"])

    assert (said["sub"], said["teams"], said["scope"]) == ("demo-user-3", ["a", "b"], "stores:read")
