"""GET /stores/{storeId}/designs: the designs linked to a store."""

from aws_lambda_powertools.event_handler import Response

from shared import api, designs, schemas, stores

app = api.resolver()


@app.get("/stores/<storeId>/designs", **api.describes(schemas.DesignLinkList, 200, "List a store's designs"))
def list_store_designs(storeId: str, limit: api.Limit = api.LIMIT, cursor: api.Cursor = None) -> Response[str]:
    rows, further = designs.of_store(stores.load(storeId, api.caller(app)), limit, cursor)
    return api.reply(schemas.DesignLinkList(items=[designs.to_view(row) for row in rows], next_cursor=further))


lambda_handler = api.entrypoint(app)
