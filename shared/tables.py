"""PynamoDB on the shared DynamoDB client.

On its own every model makes a session, a client and a connection pool: 55 ms and a TLS handshake each.
"""

from functools import cache
from typing import Any

from botocore.client import BaseClient
from pynamodb.connection import Connection, TableConnection
from pynamodb.exceptions import PynamoDBException
from pynamodb.models import Model

from shared import clients, settings


class SharedConnection(Connection):
    """A connection that asks for the shared client instead of making its own."""

    @property
    def client(self) -> BaseClient:
        """The DynamoDB client of this execution environment."""
        return clients.dynamodb()


class Table(Model):
    """What our models derive from."""

    @classmethod
    def _get_connection(cls) -> TableConnection:
        table = super()._get_connection()
        if not isinstance(table.connection, SharedConnection):
            shared = SharedConnection()
            shared.add_meta_table(table.get_meta_table())
            table.connection = shared
        return table


@cache
def connection() -> SharedConnection:
    """What a `TransactWrite` or `TransactGet` is given."""
    return SharedConnection()


def condition_failed(error: PynamoDBException) -> bool:
    """Whether a write was refused because its condition did not hold.

    PynamoDB's own way to ask fails where a call got no answer at all, and so no response to look into.
    """
    response: dict[str, Any] = getattr(error.cause, "response", None) or {}
    return bool(response.get("Error", {}).get("Code") == "ConditionalCheckFailedException")


def table_name(table: str) -> str:
    """The table's name in this deployment."""
    return f"{settings.current().table_prefix}-{table}"
