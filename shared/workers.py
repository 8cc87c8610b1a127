"""The edge of the functions that nobody waits for: records of a stream or a queue, each on its own."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.typing import LambdaContext

from shared.observability import logger

MARGIN = timedelta(seconds=45)
"""What a run may still need after its last look at the clock: one call to a platform, and letting go."""


def each(event: dict[str, Any], work: Callable[[Mapping[str, Any]], object]) -> dict[str, Any]:
    """Works off every record, and names those that failed so that only they come again."""
    source = event["Records"][0]["eventSource"]
    kind = EventType.SQS if source == "aws:sqs" else EventType.DynamoDBStreams
    processor = BatchProcessor(event_type=kind, raise_on_entire_batch_failure=False)
    with processor(records=event["Records"], handler=lambda record: _done(work, record.raw_event)):
        processor.process()
    response: dict[str, Any] = dict(processor.response())
    return response


def _done(work: Callable[[Mapping[str, Any]], object], record: Mapping[str, Any]) -> object:
    """What failed comes again, and is told: the batch keeps it to itself."""
    try:
        return work(record)
    except Exception as error:
        logger.exception("record_failed", error=type(error).__name__)
        raise


def deadline(context: LambdaContext, now: datetime) -> datetime:
    """When to stop, with time to spare before Lambda stops us."""
    return now + timedelta(milliseconds=context.get_remaining_time_in_millis()) - MARGIN
