"""GET and POST /webhooks/{platform}/{connection}: verify a delivery, store it, answer fast."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from shared import clock, intake
from shared.observability import logger


@logger.inject_lambda_context(correlation_id_path="requestContext.requestId", clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return intake.answer(event, clock.now())
