"""PynamoDB on the shared DynamoDB client.

On its own every model makes a session, a client and a connection pool: 55 ms and a TLS handshake each.
"""

from functools import cache

from botocore.client import BaseClient
from pynamodb.connection import Connection, TableConnection
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


def table_name(table: str) -> str:
    """The table's name in this deployment."""
    return f"{settings.current().table_prefix}-{table}"
