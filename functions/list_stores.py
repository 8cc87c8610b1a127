"""GET /stores: the caller's own stores and their teams', a page at a time."""

from typing import Annotated, Literal

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Query

from shared import api, schemas, stores
from shared.models import Status
from shared.platforms.base import PlatformName

app = api.resolver()


@app.get("/stores", **api.describes(schemas.StoreList, 200, "List stores"))
def list_stores(
    team_id: Annotated[str | None, Query(alias="teamId", max_length=128)] = None,
    platform: Annotated[PlatformName | None, Query()] = None,
    is_active: Annotated[bool | None, Query(alias="isActive")] = None,
    status: Annotated[Status | None, Query()] = None,
    sort: Annotated[Literal["createdAt", "lastSyncAt"], Query()] = "createdAt",
    limit: api.Limit = api.LIMIT,
    cursor: api.Cursor = None,
) -> Response[str]:
    filters = stores.Filters(team_id, platform, is_active, status, sort)
    rows, further = stores.page(api.caller(app), filters, limit, cursor)
    views = [stores.to_view(store, state) for store, state in rows]
    return api.reply(schemas.StoreList(items=views, next_cursor=further))


lambda_handler = api.entrypoint(app)
