"""Schedule, every minute: refresh the tokens that are due, and announce the grants that end."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from shared import clock, egress, tokens, workers
from shared.observability import logger


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(_event: dict[str, Any], context: LambdaContext) -> None:
    deadline = workers.deadline(context, clock.now())
    logger.info("refreshed", stores=tokens.refresh_due(egress.client(), clock.now, deadline))
