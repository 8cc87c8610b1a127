"""Queue and event bus that Amazon writes into: verify a notification and store it as a delivery."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from shared import clock, intake, workers
from shared.observability import logger
from shared.platforms.base import PlatformName


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any] | None:
    now = clock.now()
    if "Records" in event:
        return workers.each(event, lambda record: intake.take_in_message(PlatformName.AMAZON, record, now))
    intake.take_in_event(PlatformName.AMAZON, event, now)
    return None
