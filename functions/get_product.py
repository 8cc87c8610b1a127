"""GET /stores/{storeId}/products/{productId}: one product of a store."""

from aws_lambda_powertools.event_handler import Response

from shared import api, platforms, records, schemas, stores
from shared.platforms.base import Resource

app = api.resolver()


@app.get("/stores/<storeId>/products/<productId>", **api.describes(schemas.ProductView, 200, "Read a product"))
def get_product(storeId: str, productId: str) -> Response[str]:
    store = stores.load(storeId, api.caller(app))
    id = platforms.whole_id(store.platform, Resource.PRODUCTS, productId)
    return api.reply(schemas.ProductView.model_validate(records.get(store.id, Resource.PRODUCTS, id)))


lambda_handler = api.entrypoint(app)
