"""Schedule, every hour: make what platforms send about our app what it should be."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from shared import app_subscriptions, clock, egress
from shared.observability import logger


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(_event: dict[str, Any], _context: LambdaContext) -> None:
    app_subscriptions.reconcile(egress.client(), clock.now())
