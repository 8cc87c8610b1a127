"""Etsy's published contract as a judge of what we ask and of what stand-ins answer."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from openapi_schema_validator import OAS30Validator

from shared.platforms.base import Answer, Json

CONTRACT = Path(__file__).parents[3] / "shared" / "contracts" / "etsy" / "openapi.json"
DIFFERENCES = {
    "x-api-key": "keystring and shared secret since February 2026; the contract, of 2024, knows the keystring only",
    "host": "api.etsy.com, as Etsy's pages write it now; the contract's openapi.etsy.com is the same service",
    "/v3/public/oauth/token": "the contract names it as the scheme's tokenUrl and describes no call",
    "scopes": "the contract's answer of tokenScopes has no properties; it has a list called scopes",
    "webhooks": "younger than the contract",
    "capitals": "the contract spells an order's states small, the service with capitals",
}
"""Where we leave the contract, and why: platforms.md is newer."""


@cache
def contract() -> Json:
    """The whole of it."""
    return json.loads(CONTRACT.read_text())


@cache
def operations() -> list[tuple[str, list[str], Json]]:
    """Verb, segments of the path, and the operation."""
    return [
        (method.upper(), path.split("/"), operation)
        for path, methods in contract()["paths"].items()
        for method, operation in methods.items()
        if isinstance(operation, dict) and "operationId" in operation
    ]


def operation_of(method: str, path: str) -> tuple[Json, dict[str, str]]:
    """The operation that the contract has for a request, and what stands in its path; fixed segments win."""
    parts = path.split("/")
    found = [
        (sum(each.startswith("{") for each in pattern), operation, dict(zip(pattern, parts, strict=True)))
        for verb, pattern, operation in operations()
        if verb == method
        and len(pattern) == len(parts)
        and all(one == other or one.startswith("{") for one, other in zip(pattern, parts, strict=True))
    ]
    assert found, f"{method} {path} is not in the contract"
    _, operation, segments = min(found, key=lambda each: each[0])
    return operation, {name.strip("{}"): value for name, value in segments.items() if name.startswith("{")}


def typed(text: str, schema: Json) -> Any:
    """A parameter's text as the type that the contract says it has."""
    match schema["type"]:
        case "integer":
            return int(text)
        case "boolean":
            return {"true": True, "false": False}[text]
        case "array":
            return [typed(each, schema["items"]) for each in text.split(",")]
    return text


def check_schema(value: Any, schema: Json) -> None:
    """Fails for a value that a schema of the contract does not allow."""
    whole = {"allOf": [schema], "components": contract()["components"]}
    OAS30Validator(whole).validate(value)


def check_request(
    method: str,
    url: str,
    params: Mapping[str, str],
    headers: Mapping[str, str],
    content: bytes,
    key: str,
) -> None:
    """Fails for a request that the contract does not allow."""
    there = urlsplit(url)
    assert (there.scheme, there.netloc, there.query) == ("https", "api.etsy.com", "")
    operation, segments = operation_of(method, there.path)
    known = {each["name"]: each for each in operation.get("parameters", [])}
    assert set(params) | set(segments) <= set(known), "a parameter that the contract does not know"
    assert {name for name, each in known.items() if each.get("required")} <= set(params) | set(segments)
    for name, text in {**params, **segments}.items():
        check_schema(typed(text, known[name]["schema"]), known[name]["schema"])
    assert headers["x-api-key"] == key
    if any("oauth2" in each for each in operation.get("security", [])):
        assert headers["authorization"].startswith("Bearer ")
    if "requestBody" in operation:
        body = operation["requestBody"]["content"][headers["content-type"]]["schema"]
        check_schema(dict(parse_qsl(content.decode(), strict_parsing=True)), body)


def check_answer(method: str, url: str, answer: Answer) -> None:
    """Fails for an answer that the contract does not allow: it would be a test of nothing."""
    operation, _ = operation_of(method, urlsplit(url).path)
    described = operation["responses"].get(str(answer.status), operation["responses"]["500"])
    body = json.loads(answer.body)
    for row in [*body.get("results", []), body]:
        if isinstance(row.get("status"), str):
            row["status"] = row["status"].lower()  # see DIFFERENCES: capitals
    check_schema(body, described["content"]["application/json"]["schema"])
