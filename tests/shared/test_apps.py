import json
import traceback

import pytest

from shared import apps, clients
from shared.platforms.base import PlatformName

SHOPIFY = PlatformName.SHOPIFY
SECRET = "shpss_0123456789abcdef"
WHOLE = {"clientId": "id", "clientSecret": SECRET}


@pytest.fixture
def registration(aws):
    """Puts a text into the platform's secret, as an operator does."""
    apps.forget()

    def put(text):
        name = f"storelink/apps/{SHOPIFY}"
        try:
            clients.secrets().create_secret(Name=name, SecretString=text)
        except clients.secrets().exceptions.ResourceExistsException:
            clients.secrets().put_secret_value(SecretId=name, SecretString=text)

    yield put
    apps.forget()


def test_reads_what_the_operator_stored(registration):
    registration(json.dumps({**WHOLE, "previousClientSecret": "old", "serviceId": "7", "market": "US"}))

    app = apps.get(SHOPIFY)

    assert (app.client_id, app.client_secret, app.previous_client_secret) == ("id", SECRET, "old")
    assert app.more == {"serviceId": "7", "market": "US"}


def test_a_registration_is_read_once_in_five_minutes(registration):
    registration(json.dumps(WHOLE))
    apps.get(SHOPIFY)
    registration(json.dumps({**WHOLE, "clientSecret": "another"}))

    assert apps.get(SHOPIFY).client_secret == SECRET
    apps.forget()
    assert apps.get(SHOPIFY).client_secret == "another"


def test_a_platform_without_a_registration_is_missing_and_found_once_it_is_there(registration):
    with pytest.raises(apps.AppMissing, match="SHOPIFY"):
        apps.get(SHOPIFY)

    registration(json.dumps(WHOLE))

    assert apps.get(SHOPIFY).client_id == "id"


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        "{" + SECRET,
        json.dumps([SECRET]),
        json.dumps(SECRET),
        "null",
        "{}",
        json.dumps({"clientSecret": SECRET}),
        json.dumps({"clientId": "", "clientSecret": SECRET}),
        json.dumps({"clientId": "id", "clientSecret": ""}),
        json.dumps({"clientId": 1, "clientSecret": SECRET}),
        json.dumps({**WHOLE, "previousClientSecret": None}),
        json.dumps({**WHOLE, "more": {"secret": SECRET}}),
    ],
)
def test_what_is_no_registration_is_missing_and_its_text_is_nowhere(registration, text):
    registration(text)

    with pytest.raises(apps.AppMissing) as missing:
        apps.get(SHOPIFY)

    assert SECRET not in "".join(traceback.format_exception(missing.value))
    assert SECRET not in repr(missing.value)


def test_a_registration_prints_no_secret(registration):
    registration(json.dumps({**WHOLE, "previousClientSecret": SECRET, "key": SECRET}))

    assert SECRET not in repr(apps.get(SHOPIFY))
