"""Stream of deliveries, and the queue of those to try again: apply each one."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from shared import clock, egress, webhooks, workers
from shared.observability import logger


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return workers.each(event, lambda record: webhooks.process(webhooks.key_in(record), egress.client(), clock.now()))
