"""What platforms send about our app as a whole, whichever store: kept as it should be."""

from datetime import datetime

from shared import apps, platforms
from shared.apps import AppMissing
from shared.observability import logger
from shared.platforms.base import Http, ManagesAppSubscriptions, PlatformError, PlatformName
from shared.settings import current


def reconcile(http: Http, now: datetime) -> None:
    """Makes the app's address and subscriptions at every platform those that should exist.

    A platform where we are not registered is passed over; one that refuses does not hold up the others.
    """
    for name in PlatformName:
        adapter = platforms.get(name)
        if isinstance(adapter, ManagesAppSubscriptions):
            _reconcile(name, adapter, http, now)


def _reconcile(name: PlatformName, adapter: ManagesAppSubscriptions, http: Http, now: datetime) -> None:
    try:
        done = adapter.reconcile_app(apps.get(name), f"{current().public_url}/webhooks/{name}", http, now)
    except AppMissing:
        logger.info("app_not_registered", platform=name)
    except PlatformError as error:
        logger.error("app_subscriptions_failed", platform=name, refusal=error.refusal, detail=error.detail)
    else:
        logger.info("app_subscriptions", platform=name, done=done._asdict())
