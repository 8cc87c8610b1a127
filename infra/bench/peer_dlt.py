"""A small REST source in dlt, run with the peer's own Python: a WooCommerce shop's orders.

    python infra/bench/peer_dlt.py extract|store DOMAIN KEY SECRET

Prints ``{"records": …}``.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import dlt  # type: ignore[import-not-found]  # installed for the peer alone
from dlt.sources.helpers.rest_client import RESTClient  # type: ignore[import-not-found]
from dlt.sources.helpers.rest_client.auth import HttpBasicAuth  # type: ignore[import-not-found]
from dlt.sources.helpers.rest_client.paginators import PageNumberPaginator  # type: ignore[import-not-found]


def main(how: str, domain: str, key: str, secret: str) -> None:
    """Extract all orders, and with ``store`` normalise and load them into DuckDB."""
    seen = 0

    @dlt.resource(name="orders", primary_key="id")  # type: ignore[untyped-decorator]
    def orders() -> Iterator[Any]:
        nonlocal seen
        client = RESTClient(
            base_url=f"{domain}/wp-json/wc/v3",
            auth=HttpBasicAuth(key, secret),
            paginator=PageNumberPaginator(base_page=1, page_param="page", total_path=None),
        )
        query = {"per_page": 100, "status": "any", "orderby": "modified", "order": "asc"}
        for page in client.paginate("orders", params=query):
            seen += len(page)
            yield page

    pipeline = dlt.pipeline("peer", destination="duckdb", pipelines_dir="pipelines", dataset_name="shop")
    if how == "store":
        pipeline.run(orders())
    else:
        pipeline.extract(orders())
    print(json.dumps({"records": seen}))


if __name__ == "__main__":
    main(*sys.argv[1:])
