"""Imports the routes of an HTTP API into the engine, which ignores the OpenAPI body that SAM puts them in.

Whatever is in the body and not understood here stops the import: a route that is silently missing, or open, would be
worse than none.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

METHODS = {"get", "put", "post", "delete", "options", "head", "patch"}
INTEGRATION = re.compile(
    r"arn:\$\{AWS::Partition\}:apigateway:\$\{AWS::Region\}:lambda:path/2015-03-31/functions/\$\{(\w+)\.Arn\}/invocations"
)


class NotUnderstoodError(Exception):
    """The body has something that this importer does not know."""


@dataclass(frozen=True)
class Route:
    """One method and path, the function that serves it and who may call it."""

    key: str
    """As API Gateway names it, e.g. ``GET /stores/{storeId}``."""
    function: str
    """The function's logical id."""
    authorizer: str | None
    scopes: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.key.split(" ")[0]

    @property
    def path(self) -> str:
        """The path with its parameters in braces."""
        return self.key.split(" ")[1]


@dataclass(frozen=True)
class JwtAuthorizer:
    """Whose tokens are accepted."""

    issuer: str
    audience: tuple[str, ...]
    identity_source: str


@dataclass
class Body:
    """What an HTTP API's OpenAPI body says."""

    routes: list[Route] = field(default_factory=list)
    authorizers: dict[str, JwtAuthorizer] = field(default_factory=dict)


def parse(body: Mapping[str, Any], parameters: Mapping[str, str]) -> Body:
    """What ``body`` says, its references to the stack's ``parameters`` resolved."""
    _only(body, {"openapi", "info", "paths", "components", "tags"}, "the body")
    parsed = Body()
    components = body.get("components", {})
    _only(components, {"securitySchemes"}, "components")
    for name, scheme in components.get("securitySchemes", {}).items():
        parsed.authorizers[name] = _authorizer(name, scheme, parameters)
    for path, operations in body["paths"].items():
        _only(operations, METHODS, path)
        for method, operation in operations.items():
            parsed.routes.append(_route(f"{method.upper()} {path}", operation, parsed.authorizers))
    return parsed


def _route(key: str, operation: Mapping[str, Any], authorizers: Mapping[str, JwtAuthorizer]) -> Route:
    _only(operation, {"x-amazon-apigateway-integration", "security", "responses", "parameters"}, key)
    integration = operation["x-amazon-apigateway-integration"]
    fixed = {"httpMethod": "POST", "type": "aws_proxy", "payloadFormatVersion": "2.0"}
    _only(integration, {*fixed, "uri"}, f"the integration of {key}")
    if any(integration.get(name) != value for name, value in fixed.items()):
        raise NotUnderstoodError(f"the integration of {key} is {integration}")
    function = INTEGRATION.fullmatch(integration["uri"].get("Fn::Sub", ""))
    if not function:
        raise NotUnderstoodError(f"{key} leads to {integration['uri']}")
    match operation.get("security"):
        case [{"NONE": []}]:
            return Route(key, function[1], None)
        case [dict(security)] if len(security) == 1 and security.keys() <= authorizers.keys():
            [(authorizer, scopes)] = security.items()
            return Route(key, function[1], authorizer, tuple(scopes))
        case security:
            raise NotUnderstoodError(f"the security of {key} is {security}")


def _authorizer(name: str, scheme: Mapping[str, Any], parameters: Mapping[str, str]) -> JwtAuthorizer:
    _only(scheme, {"type", "x-amazon-apigateway-authorizer"}, f"the authorizer {name}")
    authorizer = scheme["x-amazon-apigateway-authorizer"]
    _only(authorizer, {"type", "identitySource", "jwtConfiguration"}, f"the authorizer {name}")
    if authorizer["type"] != "jwt":
        raise NotUnderstoodError(f"the authorizer {name} is of type {authorizer['type']}")
    jwt = authorizer["jwtConfiguration"]
    _only(jwt, {"issuer", "audience"}, f"the tokens of the authorizer {name}")
    return JwtAuthorizer(
        _resolved(jwt["issuer"], parameters),
        tuple(_resolved(each, parameters) for each in jwt["audience"]),
        authorizer["identitySource"],
    )


def _resolved(value: object, parameters: Mapping[str, str]) -> str:
    match value:
        case str(text):
            return text
        case {"Ref": name} if name in parameters:
            return parameters[name]
        case _:
            raise NotUnderstoodError(f"the value {value}")


def _only(mapping: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := mapping.keys() - known:
        raise NotUnderstoodError(f"{where} has {', '.join(sorted(unknown))}")


class Importer:
    """Puts a deployed stack's routes into the engine."""

    def __init__(self, client: Callable[[str], Any], stack: str) -> None:
        self._cloudformation = client("cloudformation")
        self._gateway = client("apigatewayv2")
        self._functions = client("lambda")
        self._stack = stack

    def run(self) -> tuple[str, list[Route]]:
        """Make the stack's one HTTP API serve what its body says; its id and its routes. Can be run again."""
        resources = self._cloudformation.get_template(StackName=self._stack, TemplateStage="Processed")["TemplateBody"][
            "Resources"
        ]
        apis = [name for name, each in resources.items() if each["Type"] == "AWS::ApiGatewayV2::Api"]
        if len(apis) != 1:
            raise NotUnderstoodError(f"the stack has the HTTP APIs {apis}")
        [stack] = self._cloudformation.describe_stacks(StackName=self._stack)["Stacks"]
        parameters = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
        body = parse(resources[apis[0]]["Properties"]["Body"], parameters)
        api_id = self._physical_id(apis[0])
        self._clear(api_id)
        authorizers = {name: self._create_authorizer(api_id, name, each) for name, each in body.authorizers.items()}
        integrations = {name: self._integrate(api_id, name) for name in {route.function for route in body.routes}}
        for route in body.routes:
            access = (
                {
                    "AuthorizationType": "JWT",
                    "AuthorizerId": authorizers[route.authorizer],
                    "AuthorizationScopes": list(route.scopes),
                }
                if route.authorizer
                else {"AuthorizationType": "NONE"}
            )
            target = f"integrations/{integrations[route.function]}"
            self._gateway.create_route(ApiId=api_id, RouteKey=route.key, Target=target, **access)
        return api_id, body.routes

    def _physical_id(self, logical_id: str) -> str:
        [resource] = self._cloudformation.describe_stack_resources(StackName=self._stack, LogicalResourceId=logical_id)[
            "StackResources"
        ]
        found: str = resource["PhysicalResourceId"]
        return found

    def _clear(self, api_id: str) -> None:
        for route in self._items("get_routes", ApiId=api_id):
            self._gateway.delete_route(ApiId=api_id, RouteId=route["RouteId"])
        for integration in self._items("get_integrations", ApiId=api_id):
            self._gateway.delete_integration(ApiId=api_id, IntegrationId=integration["IntegrationId"])
        for authorizer in self._items("get_authorizers", ApiId=api_id):
            self._gateway.delete_authorizer(ApiId=api_id, AuthorizerId=authorizer["AuthorizerId"])

    def _items(self, operation: str, **arguments: str) -> Iterator[dict[str, Any]]:
        yield from getattr(self._gateway, operation)(**arguments)["Items"]

    def _create_authorizer(self, api_id: str, name: str, authorizer: JwtAuthorizer) -> str:
        created = self._gateway.create_authorizer(
            ApiId=api_id,
            Name=name,
            AuthorizerType="JWT",
            IdentitySource=[authorizer.identity_source],
            JwtConfiguration={"Issuer": authorizer.issuer, "Audience": list(authorizer.audience)},
        )
        made: str = created["AuthorizerId"]
        return made

    def _integrate(self, api_id: str, function: str) -> str:
        arn = self._functions.get_function_configuration(FunctionName=self._physical_id(function))["FunctionArn"]
        created = self._gateway.create_integration(
            ApiId=api_id, IntegrationType="AWS_PROXY", IntegrationUri=arn, PayloadFormatVersion="2.0"
        )
        made: str = created["IntegrationId"]
        return made
