"""Logs: names and counts, never credentials or payloads."""

from aws_lambda_powertools.logging import Logger

logger = Logger()
