"""GET /openapi.json, /docs and /health: what this API is, and that it is there."""

from pathlib import Path
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from shared.observability import logger

_PAGES = {
    "/openapi.json": ("openapi.json", "application/json"),
    "/docs": ("docs.html", "text/html; charset=utf-8"),
}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'"
"""The page has its scripts inside and may ask nobody but this API."""
_FOLDER = Path(__file__).parent.parent / "described"
"""Written by the build from the resolvers of all functions."""


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    path = event["rawPath"]
    logger.info("described", path=path)
    if path not in _PAGES:
        return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": '{"status":"ok"}'}
    name, media_type = _PAGES[path]
    headers = {"Content-Type": media_type, "Content-Security-Policy": _POLICY}
    return {"statusCode": 200, "headers": headers, "body": (_FOLDER / name).read_text(encoding="utf-8")}
