"""GET /stores/{storeId}/syncs: how a store's syncs went, newest first."""

from aws_lambda_powertools.event_handler import Response

from shared import api, clock, schemas, stores, sync

app = api.resolver()


@app.get("/stores/<storeId>/syncs", **api.describes(schemas.SyncRunList, 200, "List a store's syncs"))
def list_syncs(storeId: str, limit: api.Limit = api.LIMIT, cursor: api.Cursor = None) -> Response[str]:
    store, state = stores.view(storeId, api.caller(app))
    runs, further = sync.history(store.id, limit, cursor)
    return api.reply(
        schemas.SyncRunList(
            items=[sync.to_view(run) for run in runs],
            next_cursor=further,
            last_sync_at=state.last_sync_at if state else None,
            first_import=sync.progress(state, clock.now()),
            quiet_runs=int(state.quiet_runs) if state else 0,
        )
    )


lambda_handler = api.entrypoint(app)
