"""eBay's own OpenAPI documents as judges of what is asked of it and of what it answers."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from openapi_schema_validator import OAS30Validator

from shared.platforms import ebay
from shared.platforms.base import Answer, Json

CONTRACTS = Path(__file__).parents[3] / "shared" / "contracts" / "ebay"
DIFFERENCES = {
    "aspects": "the contract calls it a string; it is an object of lists, as eBay's own samples show",
    "Destination.deliveryConfig": "the contract calls it a string where it is read, and an object where it is written",
    "token endpoint": "named in the contracts as the schemes' tokenUrl, and described by no call",
}
"""Where we leave the contracts, and why."""


def contract_of(name: str) -> Json:
    """A contract, closed: what it does not name is not allowed."""
    document = json.loads((CONTRACTS / name).read_text())
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        if "properties" in schema:
            schema["additionalProperties"] = False
        if "aspects" in schema.get("properties", {}):
            schema["properties"]["aspects"] = {"type": "object", "additionalProperties": {"type": "array"}}
    if "Destination" in schemas:
        schemas["Destination"]["properties"]["deliveryConfig"] = {"$ref": "#/components/schemas/DeliveryConfig"}
    return document


@cache
def operations() -> list[tuple[str, list[str], Json, Json]]:
    """Verb, parts of the address, operation and its contract, for every operation."""
    found = []
    for file in sorted(CONTRACTS.glob("*_oas3.json")):
        document = contract_of(file.name)
        for server in document["servers"]:
            base = server["url"].format(basePath=server["variables"]["basePath"]["default"])
            for path, methods in document["paths"].items():
                for verb, operation in methods.items():
                    found.append((verb.upper(), (base + path).split("/"), operation, document))
    return found


def operation_of(method: str, url: str) -> tuple[Json, Json]:
    parts = url.split("/")
    found = [
        (sum(each.startswith("{") for each in pattern), operation, document)
        for verb, pattern, operation, document in operations()
        if verb == method
        and len(pattern) == len(parts)
        and all(one == other or (one.startswith("{") and other) for one, other in zip(pattern, parts, strict=True))
    ]
    assert found, f"{method} {url} is in no contract"
    _, operation, document = min(found, key=lambda each: each[0])
    return operation, document


@dataclass
class Asked:
    """One request, as the platform sees it."""

    method: str
    url: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    content: bytes | None
    basic: tuple[str, str] | None
    repeatable: bool

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl((self.content or b"").decode(), strict_parsing=True))


VALIDATORS: dict[int, OAS30Validator] = {}
"""Made once for each schema of the contracts: finding what a schema refers to takes longer than validating."""


def check_schema(value: Any, schema: Json, document: Json) -> None:
    if id(schema) not in VALIDATORS:
        VALIDATORS[id(schema)] = OAS30Validator({"allOf": [schema], "components": document["components"]})
    VALIDATORS[id(schema)].validate(value)


def check_request(asked: Asked, *, by_app: bool) -> None:
    """Fails for a request that the contracts do not allow, in our app's own name or a seller's."""
    assert not urlsplit(asked.url).query
    operation, document = operation_of(asked.method, asked.url)
    known = {each["name"]: each for each in operation.get("parameters", []) if each["in"] == "query"}
    assert set(asked.query) <= set(known), "a parameter that the contract does not know"
    for name, text in asked.query.items():
        check_schema(text, known[name]["schema"], document)
    scopes = (
        {scope for each in operation["security"] for scope in each["api_auth"]} if "security" in operation else None
    )
    if by_app:
        assert ebay.SCOPES[0] in scopes, "not with an application token"
    elif scopes is not None and asked.path.rpartition("/")[2] not in {"destination", "config"}:
        assert scopes & {*ebay.SCOPES, ebay.SIGNED_SCOPE}, "the app does not ask for the scope"
    if "requestBody" in operation:
        check_schema(asked.body, operation["requestBody"]["content"]["application/json"]["schema"], document)
    else:
        assert asked.body is None


def check_answer(asked: Asked, answer: Answer) -> None:
    """Fails for an answer that the contracts do not allow: it would be a test of nothing."""
    operation, document = operation_of(asked.method, asked.url)
    if answer.status >= 400:
        return
    described = operation["responses"][str(answer.status)]
    if answer.body:
        check_schema(json.loads(answer.body), described["content"]["application/json"]["schema"], document)
