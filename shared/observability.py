"""Logs and metrics: names and counts, never credentials or payloads.

A store's id is a log field and never a metric dimension: a metric for each store would cost more than
everything else together.
"""

from aws_lambda_powertools import Logger, Metrics

logger = Logger(log_uncaught_exceptions=False)
metrics = Metrics()

__all__ = ["logger", "metrics"]
