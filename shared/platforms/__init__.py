"""The registry: three lines per platform.

An adapter is imported when its platform is first met: most functions meet few, and the receiver of webhooks
must start fast however many there are.
"""

from collections.abc import Callable, Mapping

from shared.platforms.base import (
    Capabilities,
    GrantsByOAuth,
    GuidedGrant,
    ManagesAppSubscriptions,
    ManagesSubscriptions,
    NotifiesApp,
    Platform,
    PlatformName,
    ReceivesFromQueue,
    ReceivesWebhooks,
    Resource,
    RevokesGrants,
    ShortensIds,
    ShowsNewest,
)


def _amazon() -> Platform:
    from shared.platforms.amazon import Amazon

    return Amazon()


def _custom() -> Platform:
    from shared.platforms.custom import Custom

    return Custom()


def _ebay() -> Platform:
    from shared.platforms.ebay import Ebay

    return Ebay()


def _etsy() -> Platform:
    from shared.platforms.etsy import Etsy

    return Etsy()


def _shopify() -> Platform:
    from shared.platforms.shopify import Shopify

    return Shopify()


def _tiktok_shop() -> Platform:
    from shared.platforms.tiktok_shop import TikTokShop

    return TikTokShop()


def _woocommerce() -> Platform:
    from shared.platforms.woocommerce import WooCommerce

    return WooCommerce()


ADAPTERS: Mapping[PlatformName, Callable[[], Platform]] = {
    PlatformName.AMAZON: _amazon,
    PlatformName.CUSTOM: _custom,
    PlatformName.EBAY: _ebay,
    PlatformName.ETSY: _etsy,
    PlatformName.SHOPIFY: _shopify,
    PlatformName.TIKTOK_SHOP: _tiktok_shop,
    PlatformName.WOO_COMMERCE: _woocommerce,
}


class _Met(dict[PlatformName, Platform]):
    """The adapters of the platforms that were met so far."""

    def __missing__(self, name: PlatformName) -> Platform:
        self[name] = adapter = ADAPTERS[name]()
        return adapter


PLATFORMS: Mapping[PlatformName, Platform] = _Met()

BY_KEY = "by key"
ABILITIES: Mapping[str, type] = {
    "approval at the store": GuidedGrant,
    "OAuth": GrantsByOAuth,
    "revocation": RevokesGrants,
    "webhooks": ReceivesWebhooks,
    "webhooks of the app": NotifiesApp,
    "notification queue": ReceivesFromQueue,
    "subscriptions": ManagesSubscriptions,
    "subscriptions of the app": ManagesAppSubscriptions,
    "newest orders first": ShowsNewest,
}
"""What not all can, beside ``BY_KEY``."""


def get(name: PlatformName) -> Platform | None:
    """The adapter of a platform, where there is one."""
    try:
        return PLATFORMS[name]
    except KeyError:
        return None


def whole_id(name: str, resource: Resource, text: str) -> str:
    """The id of a platform's record that a caller means who asks for one by its address."""
    platform = get(PlatformName(name))
    return platform.whole_id(resource, text) if isinstance(platform, ShortensIds) else text


def capabilities(name: PlatformName) -> Capabilities:
    """What a platform's adapter can do beyond probing a store and syncing it."""
    platform = PLATFORMS[name]
    fits = {ability for ability, protocol in ABILITIES.items() if isinstance(platform, protocol)}
    return Capabilities(name, frozenset(fits | ({BY_KEY} if platform.credential_sets else set())))
