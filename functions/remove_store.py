"""Stream of stores being removed, and the queue of those to go on with: remove all they had."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from shared import clock, egress, removal, workers
from shared.observability import logger


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    deadline = workers.deadline(context, clock.now())
    return workers.each(
        event, lambda record: removal.remove(removal.store_in(record), egress.client(), clock.now, deadline)
    )
