from shared import stores, connecting, sync, webhooks, api, changes, designs, removal, rotation, authorizations
from shared.models import *
def test_import(aws, now):
    from tests_helpers import any_store
