"""Schedule, every day: new keys for groups whose key is a year old, and old seals renewed."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from shared import clock, rotation, workers
from shared.observability import logger


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(_event: dict[str, Any], context: LambdaContext) -> None:
    logger.info("resealed", blobs=rotation.advance(clock.now, workers.deadline(context, clock.now())))
