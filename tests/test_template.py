"""The template and the code agree, and the template keeps the security rows."""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from infra import describe, template
from shared import intake, settings
from shared.platforms.base import PlatformName

TEMPLATE = template.load()
FUNCTIONS = template.functions(TEMPLATE)
FOLDER = template.PATH.parent / "functions"

APPS = dict.fromkeys(("ShopifyApp", "TikTokShopApp", "EtsyApp", "AmazonApp", "EbayApp"), "GetSecretValue")

# What each function may do: resource → actions, whose service the resource tells. The whole of it.
PERMISSIONS: dict[str, dict[str, str]] = {
    "create_store": {
        "StoresTable": "GetItem PutItem",
        "ClaimsTable": "GetItem PutItem UpdateItem",
        "CredentialsTable": "PutItem",
        "SyncStatesTable": "GetItem PutItem UpdateItem",
        "KeyGroupsTable": "GetItem PutItem",
        "IdempotencyTable": "DeleteItem GetItem PutItem UpdateItem",
        "ApiCredentialsKey": "Decrypt GenerateDataKey",
        "WebhookSecretsKey": "Decrypt GenerateDataKey",
        "SyncQueue": "SendMessage",
        **APPS,
    },
    "list_stores": {
        "StoresTable/index/byUser": "Query",
        "StoresTable/index/byTeam": "Query",
        "SyncStatesTable": "BatchGetItem",
    },
    "get_store": {
        "StoresTable": "GetItem",
        "SyncStatesTable": "GetItem",
    },
    "update_store": {
        "StoresTable": "GetItem PutItem",
        "ClaimsTable": "DeleteItem GetItem PutItem UpdateItem",
        "SyncStatesTable": "GetItem UpdateItem",
    },
    "delete_store": {
        "StoresTable": "GetItem PutItem",
        "ClaimsTable": "DeleteItem",
        "SyncStatesTable": "UpdateItem",
    },
    "make_store_primary": {
        "StoresTable": "GetItem PutItem",
        "ClaimsTable": "GetItem PutItem UpdateItem",
        "SyncStatesTable": "GetItem",
    },
    "replace_credentials": {
        "StoresTable": "GetItem PutItem",
        "CredentialsTable": "GetItem UpdateItem",
        "SyncStatesTable": "GetItem UpdateItem",
        "KeyGroupsTable": "GetItem PutItem",
        "ApiCredentialsKey": "Decrypt GenerateDataKey",
        "WebhookSecretsKey": "Decrypt GenerateDataKey",
        "SyncQueue": "SendMessage",
        **APPS,
    },
    "start_authorization": {
        "AuthorizationsTable": "PutItem",
        "StoresTable": "GetItem",
        "IdempotencyTable": "DeleteItem GetItem PutItem UpdateItem",
        **APPS,
    },
    "finish_authorization": {
        "AuthorizationsTable": "GetItem UpdateItem",
        "StoresTable": "GetItem PutItem",
        "ClaimsTable": "GetItem PutItem UpdateItem",
        "CredentialsTable": "GetItem PutItem UpdateItem",
        "SyncStatesTable": "PutItem UpdateItem",
        "KeyGroupsTable": "GetItem PutItem",
        "ApiCredentialsKey": "Decrypt GenerateDataKey",
        "WebhookSecretsKey": "Decrypt GenerateDataKey",
        "SyncQueue": "SendMessage",
        **APPS,
    },
    "request_sync": {
        "StoresTable": "GetItem",
        "SyncStatesTable": "UpdateItem",
        "IdempotencyTable": "DeleteItem GetItem PutItem UpdateItem",
        "SyncQueue": "SendMessage",
    },
    "list_syncs": {
        "StoresTable": "GetItem",
        "SyncStatesTable": "GetItem",
        "SyncRunsTable": "Query",
    },
    "list_products": {
        "StoresTable": "GetItem",
        "ProductsTable": "BatchGetItem Query",
        "ChangesTable": "Query",
    },
    "get_product": {
        "StoresTable": "GetItem",
        "ProductsTable": "GetItem",
    },
    "list_orders": {
        "StoresTable": "GetItem",
        "OrdersTable": "BatchGetItem Query",
        "OrdersTable/index/byCreated": "Query",
        "ChangesTable": "Query",
    },
    "get_order": {
        "StoresTable": "GetItem",
        "OrdersTable": "GetItem",
    },
    "link_design": {
        "StoresTable": "GetItem",
        "StoreDesignsTable": "GetItem PutItem",
    },
    "unlink_design": {
        "StoresTable": "GetItem",
        "StoreDesignsTable": "DeleteItem",
    },
    "list_store_designs": {
        "StoresTable": "GetItem",
        "StoreDesignsTable": "Query",
    },
    "list_design_stores": {
        "StoresTable": "BatchGetItem",
        "StoreDesignsTable/index/byDesign": "Query",
    },
    "list_deliveries": {
        "StoresTable": "GetItem",
        "DeliveriesTable": "BatchGetItem",
        "HandledDeliveriesTable": "Query",
    },
    "replay_delivery": {
        "StoresTable": "GetItem",
        "DeliveriesTable": "UpdateItem",
        "IdempotencyTable": "DeleteItem GetItem PutItem UpdateItem",
    },
    "replay_deliveries": {
        "StoresTable": "GetItem",
        "DeliveriesTable": "BatchGetItem Query UpdateItem",
        "HandledDeliveriesTable": "BatchGetItem Query",
        "IdempotencyTable": "DeleteItem GetItem PutItem UpdateItem",
    },
    "receive_webhook": {
        "DeliveryBodies/*": "PutObject",
        "CredentialsTable": "GetItem",
        "ClaimsTable": "BatchGetItem",
        "KeyGroupsTable": "GetItem",
        "SigningKeysTable": "GetItem PutItem UpdateItem",
        "DeliveriesTable": "PutItem",
        "WebhookSecretsKey": "Decrypt",
        **APPS,
    },
    "describe_api": {},
    "receive_notifications": {
        "ClaimsTable": "BatchGetItem",
        "DeliveriesTable": "PutItem",
        "NotificationQueue": "DeleteMessage GetQueueAttributes ReceiveMessage",
        "EventDeadLetters": "SendMessage",
        "AmazonApp": "GetSecretValue",
    },
    "process_webhook": {
        "DeliveryBodies/*": "GetObject",
        "DeliveriesTable/stream": "DescribeStream GetRecords GetShardIterator ListStreams",
        "DeliveriesTable": "DeleteItem GetItem UpdateItem",
        "HandledDeliveriesTable": "BatchGetItem UpdateItem",
        "StoresTable": "GetItem PutItem",
        "ClaimsTable": "DeleteItem",
        "SyncStatesTable": "GetItem UpdateItem",
        "PrivacyRequestsTable": "PutItem",
        "ProductsTable": "GetItem PutItem",
        "OrdersTable": "GetItem PutItem",
        "OrdersTable/index/byBuyer": "Query",
        "CredentialsTable": "GetItem UpdateItem",
        "KeyGroupsTable": "GetItem",
        "BudgetsTable": "GetItem UpdateItem",
        "ApiCredentialsKey": "Decrypt",
        "DeliveryQueue": "DeleteMessage GetQueueAttributes ReceiveMessage SendMessage",
        "DeliveryDeadLetters": "SendMessage",
        "EventDeadLetters": "SendMessage",
        **APPS,
    },
    "dispatch_syncs": {
        "SyncStatesTable/index/wheel": "Query",
        "SyncStatesTable": "GetItem UpdateItem",
        "SyncQueue": "SendMessage",
    },
    "sync_store": {
        "DeliveriesTable": "Query",
        "HandledDeliveriesTable": "BatchGetItem Query",
        "DeliveryBodies/*": "GetObject PutObject",
        "DeliveryQueue": "SendMessage",
        "SyncStatesTable": "UpdateItem",
        "StoresTable": "GetItem PutItem",
        "CredentialsTable": "GetItem UpdateItem",
        "KeyGroupsTable": "GetItem",
        "BudgetsTable": "GetItem UpdateItem",
        "ProductsTable": "BatchGetItem BatchWriteItem PutItem Query",
        "OrdersTable": "BatchGetItem BatchWriteItem PutItem Query",
        "SyncRunsTable": "PutItem",
        "SyncQueue": "DeleteMessage GetQueueAttributes ReceiveMessage SendMessage",
        "ApiCredentialsKey": "Decrypt",
        "WebhookSecretsKey": "Decrypt",
        **APPS,
    },
    "refresh_tokens": {
        "CredentialsTable/index/refreshDue": "Query",
        "CredentialsTable": "GetItem UpdateItem",
        "StoresTable": "GetItem PutItem",
        "SyncStatesTable": "UpdateItem",
        "KeyGroupsTable": "GetItem",
        "BudgetsTable": "GetItem UpdateItem",
        "ApiCredentialsKey": "Decrypt",
        **APPS,
    },
    "publish_changes": {
        "StoresTable/stream": "DescribeStream GetRecords GetShardIterator ListStreams",
        "ProductsTable/stream": "DescribeStream GetRecords GetShardIterator ListStreams",
        "OrdersTable/stream": "DescribeStream GetRecords GetShardIterator ListStreams",
        "SyncRunsTable/stream": "DescribeStream GetRecords GetShardIterator ListStreams",
        "PrivacyRequestsTable/stream": "DescribeStream GetRecords GetShardIterator ListStreams",
        "ProductsTable": "PutItem",
        "OrdersTable": "PutItem",
        "ChangesTable": "PutItem",
        "EventBus": "PutEvents",
        "EventDeadLetters": "SendMessage",
    },
    "remove_store": {
        "DeliveryBodies": "ListBucket",
        "DeliveryBodies/*": "DeleteObject",
        "StoresTable/stream": "DescribeStream GetRecords GetShardIterator ListStreams",
        "StoresTable": "DeleteItem GetItem",
        "CredentialsTable": "DeleteItem GetItem UpdateItem",
        "SyncStatesTable": "DeleteItem GetItem UpdateItem",
        "ProductsTable": "BatchWriteItem Query",
        "OrdersTable": "BatchWriteItem Query",
        "ChangesTable": "BatchWriteItem Query",
        "SyncRunsTable": "BatchWriteItem Query",
        "StoreDesignsTable": "BatchWriteItem Query",
        "DeliveriesTable": "BatchWriteItem Query",
        "HandledDeliveriesTable": "BatchWriteItem Query",
        "KeyGroupsTable": "GetItem",
        "BudgetsTable": "GetItem UpdateItem",
        "ApiCredentialsKey": "Decrypt",
        "RemovalQueue": "DeleteMessage GetQueueAttributes ReceiveMessage SendMessage",
        "EventDeadLetters": "SendMessage",
        **APPS,
    },
    "expire_personal_data": {
        "OrdersTable/index/personalDue": "Query",
        "OrdersTable": "GetItem PutItem",
        "EventDeadLetters": "SendMessage",
    },
    "reconcile_apps": {
        "EventDeadLetters": "SendMessage",
        "EbayApp": "GetSecretValue",
    },
    "rotate_keys": {
        "KeyGroupsTable": "GetItem PutItem UpdateItem",
        "CredentialsTable": "GetItem UpdateItem",
        "StoresTable/index/byPlatform": "Query",
        "ApiCredentialsKey": "Decrypt GenerateDataKey",
        "WebhookSecretsKey": "Decrypt GenerateDataKey",
    },
}

SERVICES = {
    "App": "secretsmanager",
    "Bodies": "s3",
    "Bus": "events",
    "Key": "kms",
    "Letters": "sqs",
    "Queue": "sqs",
    "Table": "dynamodb",
}
PURPOSES = {"ApiCredentialsKey": "api", "WebhookSecretsKey": "webhook"}

# Routes that anyone may call; each proves its caller by other means, or tells nothing.
OPEN = {
    "GET /authorizations/{platform}/callback",
    "POST /authorizations/WOO_COMMERCE/callback",
    "GET /webhooks/{platform}",
    "POST /webhooks/{platform}",
    "GET /webhooks/{platform}/{connection}",
    "POST /webhooks/{platform}/{connection}",
    "POST /webhooks/{platform}/{connection}/{topic}",
    "GET /openapi.json",
    "GET /docs",
    "GET /health",
}


def resources_of(statement: dict[str, Any]) -> list[str]:
    """What a statement names, as the table above does."""
    named = statement["Resource"]
    return [name_of(each) for each in (named if isinstance(named, list) else [named])]


def name_of(resource: Any) -> str:
    match resource:
        case {"Fn::GetAtt": [name, "Arn" | "Id"]}:
            return str(name)
        case {"Fn::GetAtt": [name, "StreamArn"]}:
            return f"{name}/stream"
        case {"Fn::Sub": text} if found := re.fullmatch(r"\$\{(\w+)\.Arn\}(/index/\w+|/\*)", text):
            return f"{found[1]}{found[2]}"
    raise AssertionError(f"{resource} names no one resource")


def granted(function: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for statement in template.statements(FUNCTIONS[function]):
        for resource in resources_of(statement):
            found.setdefault(resource, set()).update(statement["Action"])
    return found


def expected(function: str) -> dict[str, set[str]]:
    return {
        resource: {f"{service_of(resource)}:{action}" for action in actions.split()}
        for resource, actions in PERMISSIONS[function].items()
    }


def service_of(resource: str) -> str:
    kind = re.findall(r"[A-Z][a-z]+", resource.split("/", maxsplit=1)[0])[-1]
    return SERVICES[kind]


def routes() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each route as (key, function, event properties)."""
    for function, properties in FUNCTIONS.items():
        for event in properties.get("Events", {}).values():
            if event["Type"] == "HttpApi":
                route = event["Properties"]
                yield f"{route['Method']} {route['Path']}", function, route


def properties_of(kind: str) -> dict[str, dict[str, Any]]:
    return {name: each["Properties"] for name, each in template.of_type(TEMPLATE, kind).items()}


# ── Functions ────────────────────────────────────────────────────────────────────────────────────


def test_every_handler_has_its_block_and_every_block_its_handler() -> None:
    handlers = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}

    assert set(FUNCTIONS) == handlers == set(PERMISSIONS)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_block_is_named_and_described_as_its_handler(function: str) -> None:
    logical_id = f"{function.title().replace('_', '')}Function"
    block = TEMPLATE["Resources"][logical_id]["Properties"]
    docstring = ast.get_docstring(ast.parse((FOLDER / f"{function}.py").read_text())) or ""

    assert block["Handler"] == f"functions.{function}.lambda_handler"
    assert block["Description"] == docstring.splitlines()[0]
    assert len(block["Description"]) <= 256


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_do_what_the_table_says_and_nothing_else(function: str) -> None:
    assert granted(function) == expected(function)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_statement_has_a_wildcard(function: str) -> None:
    every_object = '{"Fn::Sub": "${DeliveryBodies.Arn}/*"}'

    assert "*" not in json.dumps(template.statements(FUNCTIONS[function])).replace(every_object, "")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_key_serves_a_function_only_under_the_purpose_of_the_key(function: str) -> None:
    for statement in template.statements(FUNCTIONS[function]):
        if any(action.startswith("kms:") for action in statement["Action"]):
            [key] = resources_of(statement)

            assert statement["Condition"] == {"StringEquals": {"kms:EncryptionContext:purpose": PURPOSES[key]}}


def test_the_function_that_anyone_can_call_opens_no_api_credentials() -> None:
    callers = {function for key, function, _ in routes() if key in OPEN and "webhooks" in key}

    assert callers == {"receive_webhook"}
    assert "ApiCredentialsKey" not in granted("receive_webhook")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_sam_adds_no_leave_to_read_every_stream_and_queue(function: str) -> None:
    kinds = {event["Type"] for event in FUNCTIONS[function].get("Events", {}).values()}

    assert kinds <= {"HttpApi", "ScheduleV2"}  # for others SAM attaches managed policies with a resource of "*"


def test_an_answer_comes_before_the_api_gives_up() -> None:
    timeouts = {function: FUNCTIONS[function].get("Timeout", 10) for _, function, _ in routes()}

    assert max(timeouts.values()) < 30


def test_the_environment_is_what_the_settings_ask_for() -> None:
    given: dict[str, Any] = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    environment = dict.fromkeys(given, "1")
    libraries = {name for name in given if name.startswith(("POWERTOOLS_", "PYDANTIC_"))}

    assert settings.parse(environment)
    for name in given.keys() - libraries:
        with pytest.raises(KeyError, match=name):
            settings.parse({key: value for key, value in environment.items() if key != name})


def test_nothing_deployed_can_open_loopback_addresses() -> None:
    assert "STORELINK_LOCAL" not in template.PATH.read_text()


# ── API ──────────────────────────────────────────────────────────────────────────────────────────


def test_every_route_asks_for_a_token_but_the_open_ones() -> None:
    opened = {key for key, _, route in routes() if route["Auth"] == {"Authorizer": "NONE"}}

    assert opened == OPEN


@pytest.mark.parametrize(("key", "route"), [(key, route) for key, _, route in routes() if key not in OPEN])
def test_a_route_asks_for_the_scope_of_its_method(key: str, route: dict[str, Any]) -> None:
    scope = "stores:read" if key.startswith("GET ") else "stores:write"

    assert route["Auth"] == {"AuthorizationScopes": [scope]}
    assert TEMPLATE["Resources"]["Api"]["Properties"]["Auth"]["DefaultAuthorizer"] == "Caller"


def test_the_routes_of_the_code_are_those_of_the_template() -> None:
    described = describe.openapi()["paths"]
    coded = {f"{method.upper()} {path}" for path, operations in described.items() for method in operations}
    without_resolver = {key for key, function, _ in routes() if function in {"receive_webhook", "describe_api"}}

    assert coded | without_resolver == {key for key, _, _ in routes()}


# ── State ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", template.of_type(TEMPLATE, "AWS::DynamoDB::Table"))
def test_a_table_is_sealed_restorable_and_outlives_the_stack(name: str) -> None:
    table = TEMPLATE["Resources"][name]
    properties = table["Properties"]

    assert table["DeletionPolicy"] == table["UpdateReplacePolicy"] == "Retain"
    assert properties["DeletionProtectionEnabled"] is True
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert properties["SSESpecification"] == {"SSEEnabled": True}
    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    words = re.findall(r"[A-Z][a-z]+", name.removesuffix("Table"))
    assert properties["TableName"] == {"Fn::Sub": f"${{AWS::StackName}}-{'-'.join(words).lower()}"}


@pytest.mark.parametrize("name", PURPOSES)
def test_a_key_rotates_and_opens_nothing_outside_its_purpose(name: str) -> None:
    key = TEMPLATE["Resources"][name]
    administration, use = key["Properties"]["KeyPolicy"]["Statement"]

    assert key["DeletionPolicy"] == key["UpdateReplacePolicy"] == "Retain"
    assert key["Properties"]["EnableKeyRotation"] is True
    assert not {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:CreateGrant"} & set(administration["Action"])
    assert "*" not in json.dumps([administration["Action"], use["Action"]])
    assert use["Condition"]["StringEquals"] == {
        "kms:EncryptionContext:purpose": PURPOSES[name],
        "kms:EncryptionContext:service": "storelink",
    }


@pytest.mark.parametrize("name", properties_of("AWS::SQS::Queue"))
def test_a_queue_is_sealed_and_gives_up_into_a_watched_one(name: str) -> None:
    queues = properties_of("AWS::SQS::Queue")
    watched = {
        alarm["Dimensions"][0]["Value"]["Fn::GetAtt"][0]
        for alarm in properties_of("AWS::CloudWatch::Alarm").values()
        if alarm["MetricName"] == "ApproximateNumberOfMessagesVisible" and alarm["Threshold"] == 1
    }
    end = queues[name].get("RedrivePolicy", {"deadLetterTargetArn": {"Fn::GetAtt": [name, "Arn"]}})

    assert queues[name]["SqsManagedSseEnabled"] is True
    assert name_of(end["deadLetterTargetArn"]) in watched
    assert queues[name_of(end["deadLetterTargetArn"])]["MessageRetentionPeriod"] == 14 * 24 * 3600


@pytest.mark.parametrize("name", APPS)
def test_a_registration_is_named_as_the_code_asks_for_it_and_has_no_value_in_the_template(name: str) -> None:
    secret = TEMPLATE["Resources"][name]
    platforms = {each.title().replace("_", "").replace("Tiktok", "TikTok") + "App": each for each in PlatformName}

    assert secret["Properties"]["Name"] == {"Fn::Sub": f"${{AWS::StackName}}/apps/{platforms[name]}"}
    assert secret["Properties"].keys() == {"Name", "Description"}
    assert secret["DeletionPolicy"] == secret["UpdateReplacePolicy"] == "Retain"


def test_the_bucket_is_sealed_closed_and_empties_itself_after_the_deliveries() -> None:
    bucket = TEMPLATE["Resources"]["DeliveryBodies"]
    [rule] = bucket["Properties"]["LifecycleConfiguration"]["Rules"]

    assert set(bucket["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["Properties"]["BucketEncryption"]
    assert rule == {"Status": "Enabled", "ExpirationInDays": intake.KEPT.days + 1}


@pytest.mark.parametrize("name", properties_of("AWS::Logs::MetricFilter"))
def test_what_is_counted_in_the_logs_is_logged_and_watched(name: str) -> None:
    logged = re.fullmatch(r'{ \$\.message = "(\w+)" }', properties_of("AWS::Logs::MetricFilter")[name]["FilterPattern"])
    sources = "".join(path.read_text() for path in template.PATH.parent.glob("shared/*.py"))
    watched = {alarm["MetricName"] for alarm in properties_of("AWS::CloudWatch::Alarm").values()}

    assert logged is not None
    assert f'"{logged[1]}"' in sources
    assert name in watched


# ── Sources, schedules, logs ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", properties_of("AWS::Lambda::EventSourceMapping"))
def test_a_source_is_one_that_its_function_may_read_and_reports_each_failure(name: str) -> None:
    mapping = TEMPLATE["Resources"][name]["Properties"]
    function = FUNCTIONS[handler_of(mapping["FunctionName"])]
    source = name_of(mapping["EventSourceArn"])
    may = granted(handler_of(mapping["FunctionName"]))

    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    if source.endswith("/stream"):
        end = name_of(mapping["DestinationConfig"]["OnFailure"]["Destination"])
        assert "dynamodb:GetRecords" in may[source]
        assert "sqs:SendMessage" in may[end]
        assert mapping["BisectBatchOnFunctionError"] is True
        assert "MaximumRetryAttempts" in mapping or mapping["MaximumRecordAgeInSeconds"] < 24 * 3600
        assert source.removesuffix("/stream") in streaming_tables()
    else:
        assert "sqs:ReceiveMessage" in may[source]
        assert TEMPLATE["Resources"][source]["Properties"]["VisibilityTimeout"] >= 6 * function["Timeout"]


def streaming_tables() -> set[str]:
    return {name for name, table in properties_of("AWS::DynamoDB::Table").items() if "StreamSpecification" in table}


def handler_of(reference: dict[str, str]) -> str:
    return str(TEMPLATE["Resources"][reference["Ref"]]["Properties"]["Handler"].split(".")[1])


def test_every_stream_is_read() -> None:
    sources = {name_of(each["EventSourceArn"]) for each in properties_of("AWS::Lambda::EventSourceMapping").values()}

    assert {f"{table}/stream" for table in streaming_tables()} <= sources


@pytest.mark.parametrize(
    ("mapping", "pattern"),
    [
        ("ProcessWebhookFromStream", {"dynamodb": {"NewImage": {"outcome": {"S": ["PENDING"]}}}}),
        ("RemoveStoreFromStream", {"dynamodb": {"NewImage": {"removing": {"BOOL": [True]}}}}),
        ("PublishSyncs", {"eventName": ["INSERT", "MODIFY"]}),
        ("PublishPrivacyRequests", {"eventName": ["INSERT"]}),
    ],
)
def test_a_stream_wakes_its_function_only_for_what_concerns_it(mapping: str, pattern: dict[str, Any]) -> None:
    [criterion] = TEMPLATE["Resources"][mapping]["Properties"]["FilterCriteria"]["Filters"]

    assert json.loads(criterion["Pattern"]) == pattern


@pytest.mark.parametrize("function", ["dispatch_syncs", "refresh_tokens", "rotate_keys"])
def test_a_schedule_that_fails_leaves_a_dead_letter(function: str) -> None:
    [event] = FUNCTIONS[function]["Events"].values()
    invocation = FUNCTIONS[function]["EventInvokeConfig"]

    assert name_of(event["Properties"]["DeadLetterConfig"]["Arn"]) == "EventDeadLetters"
    assert event["Properties"]["RetryPolicy"].keys() == {"MaximumRetryAttempts", "MaximumEventAgeInSeconds"}
    assert name_of(invocation["DestinationConfig"]["OnFailure"]["Destination"]) == "EventDeadLetters"


@pytest.mark.parametrize("name", properties_of("AWS::Logs::LogGroup"))
def test_logs_are_kept_for_a_time_that_is_set(name: str) -> None:
    assert TEMPLATE["Resources"][name]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    assert TEMPLATE["Globals"]["Function"]["LoggingConfig"]["LogGroup"] == {"Ref": "FunctionLogs"}
