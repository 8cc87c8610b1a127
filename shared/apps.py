"""Our registrations at the platforms, from Secrets Manager: one secret for each platform.

An operator puts ``{"clientId": …, "clientSecret": …}`` there, with what else the platform's page asks for.
While a client secret is rotated the old one stays as ``previousClientSecret``, so that no delivery that it
signed is refused.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from shared import clients
from shared.observability import logger
from shared.platforms.base import App, PlatformName
from shared.settings import current

CACHED_SECONDS = 300


class AppMissing(Exception):
    """The operator has not stored a usable registration at the platform, or it cannot be read now."""


def get(platform: PlatformName) -> App:
    """Our registration at a platform."""
    from aws_lambda_powertools.utilities.parameters.exceptions import (
        GetParameterError,
        TransformParameterError,
    )

    try:
        found = _secrets().get(f"{current().apps}/{platform}", max_age=CACHED_SECONDS, transform="json")
    except (GetParameterError, TransformParameterError) as error:
        if isinstance(error, GetParameterError):
            logger.warning("app_not_read", platform=platform, error=str(error))
        # neither cause nor context: the text of a secret that is no JSON would be in it
        raise AppMissing(f"There is no readable registration at {platform}.") from None
    return _read(platform, found)


def forget() -> None:
    """Empties the cache."""
    _secrets.cache_clear()


@cache
def _secrets() -> Any:
    # imported where a platform with an app is met: it costs 85 ms, most of it boto3
    from aws_lambda_powertools.utilities.parameters import SecretsProvider

    return SecretsProvider(boto3_client=clients.secrets())


def _read(platform: PlatformName, found: Any) -> App:
    texts: Mapping[str, str] = found if isinstance(found, dict) else {}
    if not all(isinstance(value, str) for value in texts.values()):
        raise AppMissing(f"The registration at {platform} holds something else than texts.")
    rest = {name: value for name, value in texts.items() if name not in _NAMES}
    client_id, client_secret, previous = (texts.get(name, "") for name in _NAMES)
    app = App(client_id, client_secret, previous, rest)
    if not (app.client_id and app.client_secret):
        raise AppMissing(f"The registration at {platform} lacks clientId or clientSecret.")
    return app


_NAMES = ("clientId", "clientSecret", "previousClientSecret")
