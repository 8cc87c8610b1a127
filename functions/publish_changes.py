"""Streams of stores, products, orders and sync runs: announce what changed on the bus."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from shared import changes
from shared.observability import logger


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> None:
    logger.info("published", events=changes.publish(event["Records"]))
