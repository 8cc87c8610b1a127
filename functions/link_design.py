"""PUT /stores/{storeId}/designs/{designId}: link a design to a store."""

from aws_lambda_powertools.event_handler import Response

from shared import api, clock, designs, schemas, stores

app = api.resolver()


@app.put("/stores/<storeId>/designs/<designId>", **api.describes(schemas.DesignLink, 200, "Link a design"))
def link_design(storeId: str, designId: str) -> Response[str]:
    store = stores.load(storeId, api.caller(app))
    return api.reply(designs.to_view(designs.link(store, designId, clock.now())))


lambda_handler = api.entrypoint(app)
