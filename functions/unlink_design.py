"""DELETE /stores/{storeId}/designs/{designId}: take a design's link away."""

from aws_lambda_powertools.event_handler import Response

from shared import api, designs, stores

app = api.resolver()


@app.delete("/stores/<storeId>/designs/<designId>", **api.describes_nothing("Unlink a design"))
def unlink_design(storeId: str, designId: str) -> Response[str]:
    designs.unlink(stores.load(storeId, api.caller(app)), designId)
    return api.nothing()


lambda_handler = api.entrypoint(app)
