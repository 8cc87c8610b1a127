from datetime import timedelta

import pytest
from fakes import Clock, FakePlatform, NoHttp
from test_sync import connected, queued  # noqa: F401

from shared import clients, designs, exact_json, platforms, records, removal, settings, stores
from shared.models import Claim, Credentials, Delivery, Order, Product, Store, StoreDesign, SyncRun, SyncState
from shared.platforms.base import PlatformError, PlatformName, Record, Refusal, Resource
from shared.stores import Caller
