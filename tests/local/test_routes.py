"""The importer understands what SAM makes of our template, and stops at anything else."""

import copy
from typing import Any

import pytest

from infra.local import routes
from infra.local.routes import JwtAuthorizer, NotUnderstoodError, Route

PARAMETERS = {"JwtIssuer": "http://127.0.0.1:8703", "JwtAudience": "storelink"}


def any_body(**changes: Any) -> dict[str, Any]:
    """A body as SAM writes it, with one closed and one open route."""
    body: dict[str, Any] = {
        "openapi": "3.0.1",
        "info": {"version": "1.0", "title": {"Ref": "AWS::StackName"}},
        "paths": {
            "/stores/{storeId}": {"get": any_operation("GetStoreFunction", [{"Caller": ["stores:read"]}])},
            "/health": {"get": any_operation("DescribeApiFunction", [{"NONE": []}])},
        },
        "components": {
            "securitySchemes": {
                "Caller": {
                    "type": "oauth2",
                    "x-amazon-apigateway-authorizer": {
                        "type": "jwt",
                        "identitySource": "$request.header.Authorization",
                        "jwtConfiguration": {"issuer": {"Ref": "JwtIssuer"}, "audience": [{"Ref": "JwtAudience"}]},
                    },
                }
            }
        },
        "tags": [{"name": "httpapi:createdBy"}],
    }
    return {**body, **changes}


def any_operation(function: str, security: list[dict[str, list[str]]]) -> dict[str, Any]:
    arn = f"arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}:lambda:path/2015-03-31/functions/${{{function}.Arn}}"
    return {
        "x-amazon-apigateway-integration": {
            "httpMethod": "POST",
            "type": "aws_proxy",
            "uri": {"Fn::Sub": f"{arn}/invocations"},
            "payloadFormatVersion": "2.0",
        },
        "security": security,
        "responses": {},
    }


def test_reads_routes_with_their_function_and_who_may_call_them() -> None:
    assert routes.parse(any_body(), PARAMETERS).routes == [
        Route("GET /stores/{storeId}", "GetStoreFunction", "Caller", ("stores:read",)),
        Route("GET /health", "DescribeApiFunction", None),
    ]


def test_reads_whose_tokens_are_accepted() -> None:
    assert routes.parse(any_body(), PARAMETERS).authorizers == {
        "Caller": JwtAuthorizer("http://127.0.0.1:8703", ("storelink",), "$request.header.Authorization")
    }


HEALTH = ("paths", "/health", "get")
CALLER = ("components", "securitySchemes", "Caller", "x-amazon-apigateway-authorizer")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("x-amazon-apigateway-cors",), {}),
        (("components", "schemas"), {}),
        (("paths", "/health", "x-amazon-apigateway-any-method"), {}),
        ((*HEALTH, "requestBody"), {}),
        ((*HEALTH, "security"), []),
        ((*HEALTH, "security"), None),
        ((*HEALTH, "security"), [{"Unknown": []}]),
        ((*HEALTH, "security"), [{"Caller": []}, {"NONE": []}]),
        ((*HEALTH, "security"), [{"NONE": ["stores:read"]}]),
        ((*HEALTH, "x-amazon-apigateway-integration", "timeoutInMillis"), 1000),
        ((*HEALTH, "x-amazon-apigateway-integration", "payloadFormatVersion"), "1.0"),
        ((*HEALTH, "x-amazon-apigateway-integration", "uri"), {"Fn::Sub": "https://example.com"}),
        ((*CALLER, "type"), "request"),
        ((*CALLER, "jwtConfiguration", "issuer"), {"Fn::ImportValue": "elsewhere"}),
        ((*CALLER, "jwtConfiguration", "issuer"), {"Ref": "NoParameter"}),
    ],
)
def test_stops_at_what_it_does_not_know(place: tuple[str, ...], value: Any) -> None:
    body = copy.deepcopy(any_body())
    part = body
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value

    with pytest.raises(NotUnderstoodError):
        routes.parse(body, PARAMETERS)
