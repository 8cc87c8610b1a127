"""GET /designs/{designId}/stores: the caller's stores that a design is linked to."""

from aws_lambda_powertools.event_handler import Response

from shared import api, designs, schemas

app = api.resolver()


@app.get("/designs/<designId>/stores", **api.describes(schemas.DesignLinkList, 200, "List a design's stores"))
def list_design_stores(designId: str, limit: api.Limit = api.LIMIT, cursor: api.Cursor = None) -> Response[str]:
    rows, further = designs.stores_of(designId, api.caller(app), limit, cursor)
    return api.reply(schemas.DesignLinkList(items=[designs.to_view(row) for row in rows], next_cursor=further))


lambda_handler = api.entrypoint(app)
