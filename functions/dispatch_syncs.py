"""Schedule, every minute: queue the stores that are due."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from shared import clock, sync
from shared.observability import logger


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(_event: dict[str, Any], _context: LambdaContext) -> None:
    logger.info("dispatched", stores=sync.dispatch(clock.now()))
