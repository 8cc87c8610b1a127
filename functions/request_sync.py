"""POST /stores/{storeId}/syncs: sync a store now."""

from aws_lambda_powertools.event_handler import Response

from shared import api, clock, schemas, stores, sync

app = api.resolver()


@app.post("/stores/<storeId>/syncs", **api.describes(schemas.SyncRequested, 202, "Sync a store now"))
def request_sync(storeId: str, wanted: schemas.NewSync) -> Response[str]:
    now = clock.now()
    store = stores.load(storeId, api.caller(app))
    sync.request(store, wanted.full, wanted.allow_deletes, now)
    return api.reply(schemas.SyncRequested(store=store.id, queued_at=now, full=wanted.full), 202)


lambda_handler = api.entrypoint(app, api.Once())
