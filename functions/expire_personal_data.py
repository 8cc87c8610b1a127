"""Schedule, every hour: take out of orders what their platform lets us hold no longer."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from shared import clock, records, workers
from shared.observability import logger


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(_event: dict[str, Any], context: LambdaContext) -> None:
    deadline = workers.deadline(context, clock.now())
    logger.info("personal_data_expired", orders=records.expire_personal(clock.now, deadline))
