"""POST /stores: connect a store with a key; its credentials are proved, then stored encrypted."""

from aws_lambda_powertools.event_handler import Response

from shared import api, clock, connecting, egress, schemas, stores

app = api.resolver()


@app.post("/stores", **api.describes(schemas.StoreView, 201, "Connect a store with a key"))
def create_store(new: schemas.NewStore) -> Response[str]:
    http = egress.client().within(egress.CALLER_WAITS)
    store = connecting.connect(new, api.caller(app), http, clock.now())
    return api.with_etag(stores.to_view(store, None), 1, 201, location=f"/stores/{store.id}")


def show_again(path: str, caller: stores.Caller) -> Response[str]:
    store, state = stores.view(path.removeprefix("/stores/"), caller)
    return api.with_etag(stores.to_view(store, state), int(store.version), 201, location=path)


lambda_handler = api.entrypoint(app, api.Once(reread=show_again))
