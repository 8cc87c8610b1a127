"""DELETE /stores/{storeId}: disconnect a store and remove all it had."""

from aws_lambda_powertools.event_handler import Response

from shared import api, clock, stores

app = api.resolver()


@app.delete("/stores/<storeId>", **api.describes_nothing("Disconnect a store"))
def delete_store(storeId: str) -> Response[str]:
    stores.begin_removal(storeId, api.caller(app), api.expected_version(app), clock.now())
    return api.nothing()


lambda_handler = api.entrypoint(app)
