import pytest
from makers import any_store, call, stored

from shared.models import Claim, Store

pytestmark = pytest.mark.usefixtures("aws")


def delete(version=None):
    return call("delete_store", "DELETE", "/stores/store-1", headers={"if-match": version} if version else {})


def test_the_store_is_gone_at_once_and_its_claims_with_it():
    stored(any_store(is_primary=True))

    answer = delete('"1"')

    assert (answer.status, answer.text) == (204, "")
    assert call("get_store", "GET", "/stores/store-1").problem == "store-not-found"
    assert delete().problem == "store-not-found"
    assert list(Claim.scan()) == []


def test_what_remains_is_marked_for_the_stream_that_removes_it():
    stored(any_store())

    delete()

    row = Store.get("store-1")
    assert (row.removing, row.is_active, row.status) == (True, False, "DISCONNECTED")


@pytest.mark.parametrize(("version", "problem"), [('"2"', "version-conflict"), ("2", "request-invalid")])
def test_another_version_is_not_deleted(version, problem):
    stored(any_store())

    assert delete(version).problem == problem
    assert call("get_store", "GET", "/stores/store-1").status == 200
