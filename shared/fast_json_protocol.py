"""botocore's JSON protocol at the speed of :mod:`json`.

On its own botocore walks every node of a request and of an answer beside the service's model, which is most of what a
page of items costs, and works out its endpoint and its name anew for each call. Here a request is dumped and an answer
is loaded as a whole; of the model is used what cannot be told from JSON: where bytes and times are. All else stays
botocore's: TLS, signatures, attempts, time limits, events, and every answer that is an error.

It leans on parts of botocore that are not promised to stay. ``tests/shared/test_fast_json_protocol.py`` holds it to
what botocore's own parser and serialiser say.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from botocore.endpoint_provider import RuleSetEndpoint
from botocore.exceptions import HTTPClientError, ParamValidationError
from botocore.model import OperationModel, Shape
from botocore.parsers import JSONParser, ResponseParser, ResponseParserError, ResponseParserFactory
from botocore.regions import EndpointRulesetResolver
from botocore.serialize import JSONSerializer
from botocore.session import Session

Json = dict[str, Any]

Conversion = Callable[[Any], Any]
"""Makes a value of what JSON has in its place; a structure, map or list is changed in place, and given back."""

_WRONG = (ValueError, TypeError, AttributeError, OverflowError, RecursionError)
"""What parsing raises where an answer is not what the model says."""


class GarbledAnswer(HTTPClientError, ResponseParserError):
    """What AWS said cannot be read, in every attempt."""

    fmt = "The answer cannot be read: {error}"


def use(session: Session) -> None:
    """Have the clients that the session makes from now on read JSON this way; DynamoDB's writes it, too."""
    session.register_component("response_parser_factory", _Parsers())
    session.register("creating-client-class.dynamodb", _mix_in)
    session.register("after-call", _refuse_garbled)


# ── Requests ─────────────────────────────────────────────────────────────────────────────────────


class FastSerializer(JSONSerializer):
    """Dumps the parameters as they are. A binary attribute must be given as bytes."""

    def serialize_to_request(self, parameters: Mapping[str, Any], operation_model: OperationModel) -> Json:
        """The request; its body apart, botocore's."""
        # AWS would pass over a condition with a typing error in its name.
        if unknown := parameters.keys() - operation_model.input_shape.members.keys():
            raise ParamValidationError(report=f"{operation_model.name} has no {', '.join(sorted(unknown))}.")
        request: Json = super().serialize_to_request({}, operation_model)
        request["body"] = json.dumps(parameters, default=_in_json).encode()
        return request


def _in_json(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return b64encode(value).decode()
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(f"No JSON for a {type(value).__name__}.")


class _OneEndpoint:
    """An endpoint that the rules are asked for once.

    They give another one only to a table that is named by its ARN, which ours never are.
    """

    def __init__(self, rules: EndpointRulesetResolver) -> None:
        self._rules = rules
        self._found: RuleSetEndpoint | None = None
        self.auth_schemes_to_signing_ctx = rules.auth_schemes_to_signing_ctx

    def construct_endpoint(self, **call: Any) -> RuleSetEndpoint:
        """What the rules say for any call."""
        if self._found is None:
            self._found = self._rules.construct_endpoint(**call)
        return self._found


class _DynamoDBClient:
    """Comes before botocore's client among the bases of DynamoDB's."""

    def __init__(self, **parts: Any) -> None:
        endpoint = _OneEndpoint(parts["endpoint_ruleset_resolver"])
        super().__init__(**{**parts, "serializer": FastSerializer(), "endpoint_ruleset_resolver": endpoint})


def _mix_in(base_classes: list[type], **_: Any) -> None:
    base_classes.insert(0, _DynamoDBClient)


# ── Answers ──────────────────────────────────────────────────────────────────────────────────────


class FastParser(JSONParser):
    """Loads the answer, then converts only what the model says is not JSON's.

    Below the first level, members that are null or that the model does not know are left in.
    """

    def __init__(self) -> None:
        super().__init__()
        self._leaves = {"blob": self._blob_parser, "timestamp": self._timestamp_parser}
        self._conversions: WeakKeyDictionary[Shape, Conversion | None] = WeakKeyDictionary()

    def _do_parse(self, response: Json, shape: Shape | None) -> Json:
        if shape is None or shape.event_stream_name:
            parsed: Json = super()._do_parse(response, shape)
            return parsed
        try:
            parsed = self._read(response["body"], shape)
        except _WRONG as error:
            # A code for which botocore tries again; where that does not help, it is refused below. Some errors tell the
            # answer itself, which no log may have.
            return {"Error": {"Code": "RequestTimeout", "Message": type(error).__name__}}
        self._inject_response_metadata(parsed, response["headers"])
        return parsed

    def _read(self, body: bytes, shape: Shape) -> Json:
        loaded = json.loads(body.decode()) if body else {}
        known = shape.members
        parsed = {name: value for name, value in loaded.items() if value is not None and name in known}
        if shape not in self._conversions:
            self._conversions[shape] = _conversion(shape, self._leaves, {})
        convert = self._conversions[shape]
        return convert(parsed) if convert else parsed

    def _do_error_parse(self, response: Json, shape: Shape | None) -> Json:
        with suppress(*_WRONG):
            parsed: Json = super()._do_error_parse(response, shape)
            if isinstance(parsed["Error"]["Code"], str):
                return parsed
        by_status: Json = self._do_generic_error_parse(response)
        return by_status

    def _do_modeled_error_parse(self, response: Json, shape: Shape) -> Json:
        with suppress(*_WRONG):
            parsed: Json = super()._do_modeled_error_parse(response, shape)
            return parsed
        return {}


def _conversion(shape: Shape, leaves: Mapping[str, Conversion], made: dict[str, partial[Any]]) -> Conversion | None:
    """How values of a shape are made of JSON, ``None`` where they are as they come; ``made`` are those known."""
    if shape.type_name in leaves:
        return leaves[shape.type_name]
    if shape.name in made or not _holds(shape, leaves, set()):
        return made.get(shape.name)
    if shape.type_name == "structure":
        members: dict[str, Conversion] = {}
        made[shape.name] = partial(_in_structure, members)  # known before its members, which may hold it
        for name, member in shape.members.items():
            if convert := _conversion(member, leaves, made):
                members[name] = convert
    else:
        [part] = _parts(shape)
        convert = _conversion(part, leaves, made)
        assert convert, "it holds something to convert"
        if shape.type_name == "map" and part.type_name == "structure":
            made[shape.name] = partial(_in_item, *made[part.name].args)
        else:
            made[shape.name] = partial(_in_map if shape.type_name == "map" else _in_list, convert)
    return made[shape.name]


def _holds(shape: Shape, leaves: Mapping[str, Conversion], seen: set[str]) -> bool:
    """Whether something in such values must be converted."""
    if shape.type_name in leaves:
        return True
    if shape.name in seen:
        return False
    seen.add(shape.name)
    return any(_holds(part, leaves, seen) for part in _parts(shape))


def _parts(shape: Shape) -> Iterable[Shape]:
    if shape.type_name == "structure":
        members: Iterable[Shape] = shape.members.values()
        return members
    return [shape.value] if shape.type_name == "map" else [shape.member] if shape.type_name == "list" else []


def _in_structure(members: Mapping[str, Conversion], structure: Json) -> Json:
    for name, value in structure.items():
        if name in members and value is not None:
            structure[name] = members[name](value)
    return structure


def _in_map(convert: Conversion, mapping: Json) -> Json:
    for name, value in mapping.items():
        mapping[name] = convert(value)
    return mapping


def _in_item(members: Mapping[str, Conversion], item: Json) -> Json:
    """A map of structures, as an item is: most of them are as they come, which is asked faster than a call is made."""
    plain = members.keys().isdisjoint
    for attribute in item.values():
        if not plain(attribute):
            _in_structure(members, attribute)
    return item


def _in_list(convert: Conversion, values: list[Any]) -> list[Any]:
    return [convert(value) for value in values]


class _Parsers(ResponseParserFactory):
    """One parser for all JSON answers, since it keeps what it found out about their shapes."""

    def __init__(self) -> None:
        super().__init__()
        self._json = FastParser()

    def create_parser(self, protocol_name: str) -> ResponseParser:
        """The parser of a protocol."""
        return self._json if protocol_name == "json" else super().create_parser(protocol_name)


def _refuse_garbled(http_response: Any, parsed: Json, **_: Any) -> None:
    if http_response.status_code < 300 and "Error" in parsed:
        raise GarbledAnswer(error=parsed["Error"]["Message"])
