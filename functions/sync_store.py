"""Queue of stores that are due: sync several at once, since each waits for its platform."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from shared import clock, egress, sync, workers
from shared.observability import logger


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    deadline = workers.deadline(context, clock.now())
    return workers.each(event, lambda record: sync.work_off(record["body"], egress.client(), clock.now, deadline))
