"""The registry: one line per platform."""

from collections.abc import Mapping

from shared.platforms.base import (
    Capabilities,
    GrantsByOAuth,
    GuidedGrant,
    ManagesSubscriptions,
    Platform,
    PlatformName,
    ReceivesWebhooks,
    Resource,
    RevokesGrants,
    ShortensIds,
)
from shared.platforms.shopify import Shopify
from shared.platforms.tiktok_shop import TikTokShop
from shared.platforms.woocommerce import WooCommerce

PLATFORMS: Mapping[PlatformName, Platform] = {
    PlatformName.SHOPIFY: Shopify(),
    PlatformName.WOO_COMMERCE: WooCommerce(),
    PlatformName.TIKTOK_SHOP: TikTokShop(),
}

_ABILITIES: Mapping[str, type] = {
    "webhooks": ReceivesWebhooks,
    "subscriptions": ManagesSubscriptions,
    "guided grant": GuidedGrant,
    "OAuth": GrantsByOAuth,
    "revocation": RevokesGrants,
}


def get(name: PlatformName) -> Platform | None:
    """The adapter of a platform, where there is one."""
    return PLATFORMS.get(name)


def whole_id(name: str, resource: Resource, text: str) -> str:
    """The id of a platform's record that a caller means who asks for one by its address."""
    platform = get(PlatformName(name))
    return platform.whole_id(resource, text) if isinstance(platform, ShortensIds) else text


def capabilities(name: PlatformName) -> Capabilities:
    """What a platform's adapter can do beyond connecting and syncing."""
    platform = get(name)
    fits = frozenset(ability for ability, protocol in _ABILITIES.items() if isinstance(platform, protocol))
    return Capabilities(name, fits)
