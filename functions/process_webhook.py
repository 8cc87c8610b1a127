"""Stream of deliveries, and the queue of those to try again: apply each one."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from shared import clock, egress, webhooks, workers
from shared.observability import logger

SPARE = 10.0
"""Seconds for what follows the last call to a platform."""


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    # what a platform does not answer in time is tried again, and does not take the whole batch with it
    http = egress.client().within(context.get_remaining_time_in_millis() / 1000 - SPARE)
    with webhooks.Handling(http, clock.now) as handling:
        return workers.each(event, handling.take)
