"""Writes what the API says about itself: ``openapi.json`` and ``docs.html``, from the functions' own routes.

python -m infra.describe FOLDER
"""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver

from infra import template

TITLE = "storelink"
SCHEME = "caller"

PROBLEM = {
    "description": "A problem: see /docs",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}

NOT_OURS = {"HTTPValidationError", "ValidationError", "ResponseValidationError"}

Document = dict[str, Any]


def openapi() -> Document:
    """One OpenAPI document of all functions that have a resolver."""
    _be_deployed()
    document: Document = {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": "1", "description": "Connects stores and keeps them in sync."},
        "paths": {},
        "components": {
            "schemas": {"Problem": importlib.import_module("shared.schemas").ProblemView.model_json_schema()},
            "securitySchemes": {SCHEME: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }
    scopes = dict(_scopes())
    for part in _parts():
        schemas = part.get("components", {}).get("schemas", {})
        document["components"]["schemas"] |= {name: each for name, each in schemas.items() if name not in NOT_OURS}
        for path, operations in part["paths"].items():
            for method, operation in operations.items():
                required = scopes[method.upper(), path]
                operation["security"] = [{SCHEME: required}] if required else []
                operation["responses"]["default"] = PROBLEM
                del operation["responses"]["422"]  # Powertools' own form, which our problems replace
                document["paths"].setdefault(path, {})[method] = operation
    return document


def _parts() -> Iterator[Document]:
    """The document of each function."""
    for name in sorted(template.functions(template.load())):
        resolver = getattr(importlib.import_module(f"functions.{name}"), "app", None)
        if resolver is not None:
            _take_default_answers(resolver)
            schema = resolver.get_openapi_schema(title=TITLE, version="1")
            yield schema.model_dump(by_alias=True, exclude_none=True, mode="json")


def _take_default_answers(resolver: APIGatewayHttpResolver) -> None:
    """Powertools takes numbers alone as the key of an answer; what any failure looks like is added here instead."""
    for route in (*resolver._static_routes, *resolver._dynamic_routes):  # noqa: SLF001 - it offers no other way
        (route.responses or {}).pop("default", None)  # type: ignore[call-overload]


def _be_deployed() -> None:
    """Give the functions the environment that importing them asks for."""
    for name, value in template.load()["Globals"]["Function"]["Environment"]["Variables"].items():
        os.environ.setdefault(name, value if isinstance(value, str) else "1")
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")


def _scopes() -> Iterator[tuple[tuple[str, str], list[str]]]:
    """The scopes that each route asks for, which is the template's business."""
    for function in template.functions(template.load()).values():
        for event in function.get("Events", {}).values():
            if event["Type"] == "HttpApi":
                route = event["Properties"]
                yield (route["Method"], route["Path"]), route["Auth"].get("AuthorizationScopes", [])


def docs(document: Document) -> str:
    """A page for people: the routes, and what each problem means; a problem's ``type`` leads here."""
    problems = importlib.import_module("shared.problems").every()
    routes = "".join(
        f"<tr><td><code>{method.upper()}</code></td><td><code>{escape(path)}</code></td>"
        f"<td>{escape(operation.get('summary', ''))}</td>"
        f"<td>{escape(' '.join(next(iter(each.values()))[0] for each in operation['security']))}</td></tr>\n"
        for path, operations in sorted(document["paths"].items())
        for method, operation in operations.items()
    )
    explained = "".join(
        f'<h3 id="{each.name()}">{escape(each.title)}</h3>\n<p>{each.status}. {escape(each.__doc__ or "")}</p>\n'
        for each in sorted(problems, key=lambda each: (each.status, each.name()))
    )
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{TITLE}</title>\n'
        f"<style>body{{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}}"
        f"td{{padding:.1rem 1rem .1rem 0}}:target{{background:#ffd}}</style>\n"
        f'<h1>{TITLE}</h1>\n<p>The whole description: <a href="openapi.json">openapi.json</a>.</p>\n'
        f"<h2>Routes</h2>\n<table>\n{routes}</table>\n<h2>Problems</h2>\n{explained}</html>\n"
    )


def main() -> None:
    """Write both into the folder that the command line names."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    document = openapi()
    (folder / "openapi.json").write_text(json.dumps(document, separators=(",", ":")))
    (folder / "docs.html").write_text(docs(document))


if __name__ == "__main__":
    main()
