"""Streams of stores, products, orders and sync runs: note what changed in the feed, announce it on the bus."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from shared import changes, clock
from shared.observability import logger


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> None:
    logger.debug("published", events=changes.publish(event["Records"], clock.now()))
