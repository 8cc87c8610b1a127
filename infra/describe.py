"""Describes the API: one OpenAPI document out of all functions' resolvers, and a page that shows it.

    python -m infra.describe FOLDER

Written into the artifact by the build, where ``functions/describe_api.py`` finds it.
"""

import html
import json
import os
import re
import sys
from collections.abc import Iterator
from importlib import import_module, resources
from pathlib import Path
from typing import Any

from infra import template
from shared.schemas import ProblemView
from shared.settings import Settings

PROBLEMS = Path(__file__).parent.parent / "docs/problems.md"
TITLE = "storelink"
_TOKEN = "token"  # noqa: S105 - the name of the security scheme
_SWAGGER = "aws_lambda_powertools.event_handler.openapi.swagger_ui"

Json = dict[str, Any]

IDEMPOTENT = frozenset({"create_store", "start_authorization", "request_sync", "replay_delivery", "replay_deliveries"})
VERSIONED = frozenset({"update_store", "delete_store", "make_store_primary", "replace_credentials"})
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Repeats with the same key and body get the first one's answer, for a day.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
_VERSION = {
    "name": "If-Match",
    "in": "header",
    "description": "The ETag of the version that is meant; without it, whichever there is.",
    "schema": {"type": "string", "examples": ['"3"']},
}
_JSON_OBJECT = {"application/json": {"schema": {"type": "object"}}}
_PLATFORM = {"$ref": "#/components/schemas/PlatformName"}


def describe(folder: Path) -> None:
    """Writes ``openapi.json`` and ``docs.html`` into ``folder``."""
    document = openapi()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "openapi.json").write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8")
    (folder / "docs.html").write_text(page(document), encoding="utf-8")


def openapi() -> Json:
    """The OpenAPI 3.1 document of every route of the template."""
    schemas: Json = {"ProblemView": ProblemView.model_json_schema()}
    paths: Json = {}
    for function, method, path, scopes in routes():
        operation = _described(function, schemas).get(path, {}).get(method) or _plain(function, method, path)
        several = function in {"receive_webhook", "finish_authorization", "describe_api"}
        operation["operationId"] = re.sub(r"\W+", "_", f"{method}{path}").strip("_") if several else function
        operation["security"] = [{_TOKEN: scopes}] if scopes else []
        operation["responses"].pop("422", None)  # Powertools' own; ours is a problem like all others
        operation["responses"].setdefault("default", _PROBLEM)
        operation["responses"].get("204", {}).pop("content", None)
        if function in IDEMPOTENT | VERSIONED:
            operation.setdefault("parameters", []).append(_KEY if function in IDEMPOTENT else _VERSION)
        paths.setdefault(path, {})[method] = operation
    for unused in ("HTTPValidationError", "ValidationError", "ResponseValidationError"):
        schemas.pop(unused, None)
    scheme = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "Scopes: stores:read, -:write"}
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": "1", "description": "Failures are problem details (RFC 9457)."},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {_TOKEN: scheme}},
    }


def routes() -> Iterator[tuple[str, str, str, list[str]]]:
    """Function, method, path and scopes of every route; no scopes where no token is asked for."""
    for function, properties in template.functions(template.load()).items():
        for event in properties.get("Events", {}).values():
            if event["Type"] == "HttpApi":
                route = event["Properties"]
                yield function, route["Method"].lower(), route["Path"], route["Auth"].get("AuthorizationScopes", [])


def page(document: Json) -> str:
    """The document shown by Swagger UI, which Powertools ships, and all problems below it."""
    assets = resources.files(_SWAGGER)
    script = (assets / "swagger-ui-bundle.min.js").read_text(encoding="utf-8")
    style = (assets / "swagger-ui.min.css").read_text(encoding="utf-8")
    # "</" would end the script element
    shown = json.dumps(document, separators=(",", ":")).replace("</", "<\\/")
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{TITLE}</title><style>{style}
#problems {{ max-width: 60rem; margin: 0 auto; padding: 0 1.25rem 4rem; font-family: sans-serif; line-height: 1.5 }}
#problems :target {{ background: #fff3bf }}</style></head>
<body><div id="swagger-ui"></div><section id="problems">{_problems()}</section>
<script>{script}</script>
<script>SwaggerUIBundle({{dom_id: "#swagger-ui", spec: {shown}}})
if (location.hash) document.querySelector(location.hash)?.scrollIntoView()</script>
</body></html>
"""


def _problems() -> str:
    """docs/problems.md as HTML: headings, paragraphs, bold, code and links are all it has."""
    blocks = []
    for block in PROBLEMS.read_text(encoding="utf-8").strip().split("\n\n"):
        text = html.escape(block)
        text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
        text = re.sub(r"`(.+?)`", r"<code>\1</code>", text)
        text = re.sub(r"\[(.+?)\]\((.+?)\)", r'<a href="\2">\1</a>', text)
        heading = re.fullmatch(r"(#+) (.+)", text)
        if heading is None:
            blocks.append(f"<p>{text}</p>")
        else:
            level = len(heading[1])
            blocks.append(f'<h{level} id="{heading[2].lower()}">{heading[2]}</h{level}>')
    return "\n".join(blocks)


def _described(function: str, schemas: Json) -> Json:
    """The paths of a function's resolver; its schemas are added to ``schemas``."""
    for name in set(Settings._fields) - {"local_ca", "local_platforms"}:
        os.environ.setdefault(name.upper(), "1")  # the functions ask for it when they are imported; nothing is called
    resolver = getattr(import_module(f"functions.{function}"), "app", None)
    if resolver is None:
        return {}
    own = resolver.get_openapi_schema(title=TITLE, version="1").model_dump(
        mode="json", by_alias=True, exclude_none=True
    )
    for name, schema in own.get("components", {}).get("schemas", {}).items():
        if schemas.setdefault(name, schema) != schema:
            raise SystemExit(f"Two functions mean different things by {name}.")
    paths: Json = own["paths"]
    return paths


def _plain(function: str, method: str, path: str) -> Json:
    """An operation of a function that has no resolver."""
    if function == "receive_webhook":
        names = re.findall(r"{(\w+)}", path)
        return {
            "summary": "A platform announces what changed" if method == "post" else "A platform checks the address",
            "description": "Signed as the platform does; the body's shape is the platform's own.",
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": _PLATFORM if name == "platform" else _TEXT}
                for name in names
            ],
            **({"requestBody": {"content": _JSON_OBJECT}} if method == "post" else {}),
            "responses": {"200": {"description": "It is stored, or was already"}},
        }
    summaries = {"/openapi.json": "This document", "/docs": "This document for people", "/health": "That it is there"}
    content = {"text/html": {"schema": _TEXT}} if path == "/docs" else _JSON_OBJECT
    return {"summary": summaries[path], "responses": {"200": {"description": summaries[path], "content": content}}}


_TEXT = {"type": "string"}
_PROBLEM = {
    "description": "A problem",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemView"}}},
}


if __name__ == "__main__":
    describe(Path(sys.argv[1]))
