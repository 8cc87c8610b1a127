"""A local OIDC issuer: tokens for whoever asks, where an organisation's own issuer stands on AWS."""

import time
from collections.abc import Sequence

from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

ALL_SCOPES = "stores:read stores:write"
LIFE = 24 * 60 * 60


class Issuer:
    """Signs tokens with a key that lives as long as the process."""

    def __init__(self, url: str, audience: str) -> None:
        self.url = url
        self.audience = audience
        self._key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)

    def token(self, user: str, teams: Sequence[str] = (), scope: str = ALL_SCOPES, life: int = LIFE) -> str:
        """A token of ``user``, who is in ``teams``."""
        issued = int(time.time())
        claims = {"iss": self.url, "aud": self.audience, "sub": user, "scope": scope, "iat": issued}
        claims |= {"exp": issued + life, "teams": list(teams)}
        return jwt.encode({"alg": "RS256", "kid": self._key.kid}, claims, self._key)

    def app(self) -> Starlette:
        """What API Gateway reads, and ``POST /token`` for those who want to be somebody."""
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._configuration),
                Route("/.well-known/jwks.json", self._keys),
                Route("/token", self._token, methods=["POST"]),
            ]
        )

    async def _configuration(self, _: Request) -> JSONResponse:
        return JSONResponse({"issuer": self.url, "jwks_uri": f"{self.url}/.well-known/jwks.json"})

    async def _keys(self, _: Request) -> JSONResponse:
        return JSONResponse({"keys": [self._key.as_dict(private=False)]})

    async def _token(self, request: Request) -> JSONResponse:
        wish = await request.json()
        token = self.token(wish["user"], wish.get("teams", ()), wish.get("scope", ALL_SCOPES))
        return JSONResponse({"access_token": token, "token_type": "Bearer", "expires_in": LIFE})
