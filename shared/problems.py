"""Every failure that a caller can meet, one class each, rendered as RFC 9457 problem details.

    Problem
    ├── what the caller sent     BodyMalformed, RequestInvalid, BodyTooLarge, MediaTypeUnsupported,
    │                            MetadataTooLarge, SettingsTooLarge, CursorInvalid, IdempotencyKeyInvalid,
    │                            IdempotencyKeyReused, VersionConflict, CallbackInvalid
    ├── what is not there        StoreNotFound, ProductNotFound, OrderNotFound, DeliveryNotFound, DesignNotFound,
    │                            RouteNotFound, MethodNotAllowed, ConnectionUnknown, AuthorizationInvalid
    ├── who may                  CallerUnknown, TeamNotYours, OwnerOnly, AuthorizationDenied
    ├── what stands against it   StoreAlreadyConnected, IdentityMismatch, AuthorizationFailed, PlatformUnavailable,
    │                            SyncNotPossible, SyncLimited, IdempotencyInProgress
    ├── what the platform said   CredentialsRefused, PermissionMissing, AddressRefused, PlatformUnreachable,
    │                            NotThePlatform, PlatformBusy
    ├── webhooks                 SignatureInvalid, DeliveryEmpty
    └── our fault                ServiceBusy, InternalError

A title never changes between occurrences; a detail never holds a secret. Each class has its heading in
``docs/problems.md``.
"""

import re
from typing import Any, ClassVar


class Problem(Exception):
    """A failure with a status and a fixed title; ``extras`` are further members of the body."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retry_after: int | None = None
    """Seconds after which trying again makes sense, for the ``Retry-After`` header."""

    def __init__(self, detail: str, *, retry_after: int | None = None, **extras: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extras = extras
        if retry_after is not None:
            self.retry_after = retry_after

    @classmethod
    def name(cls) -> str:
        """The class name in kebab-case: the last part of the ``type`` URI."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()


def render(problem: Problem, docs_url: str) -> dict[str, Any]:
    """The ``application/problem+json`` body."""
    return {
        "type": f"{docs_url}#{problem.name()}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        **problem.extras,
    }


class BodyMalformed(Problem):
    """The body is not JSON as RFC 8259 and this API understand it."""

    status = 400
    title = "The body is not well-formed JSON"


class RequestInvalid(Problem):
    """A field, parameter or header has a value that is not allowed; ``errors`` lists each."""

    status = 422
    title = "The request has invalid values"


class BodyTooLarge(Problem):
    """The body is over the limit."""

    status = 413
    title = "The body is too large"


class MediaTypeUnsupported(Problem):
    """The body's media type is not JSON."""

    status = 415
    title = "The media type is not supported"


class MetadataTooLarge(Problem):
    """The metadata is over 16 KiB."""

    status = 422
    title = "The metadata is too large"


class SettingsTooLarge(Problem):
    """The settings are over 16 KiB."""

    status = 422
    title = "The settings are too large"


class CursorInvalid(Problem):
    """The cursor was not given out for this list, this caller and these filters."""

    status = 400
    title = "The cursor is not valid here"


class IdempotencyKeyInvalid(Problem):
    """The Idempotency-Key is empty, too long or has characters that are not visible ASCII."""

    status = 400
    title = "The Idempotency-Key is not valid"


class IdempotencyKeyReused(Problem):
    """The Idempotency-Key came before, with another body."""

    status = 422
    title = "The Idempotency-Key was used with another request"


class IdempotencyInProgress(Problem):
    """A request with this Idempotency-Key is still being worked on."""

    status = 409
    title = "A request with this Idempotency-Key is in progress"
    retry_after = 1


class VersionConflict(Problem):
    """The store has changed since the version that If-Match names."""

    status = 412
    title = "The store has another version"


class CallerUnknown(Problem):
    """The token names no user."""

    status = 401
    title = "The caller is not known"


class TeamNotYours(Problem):
    """The caller's token does not list the team."""

    status = 403
    title = "The team is not one of yours"


class OwnerOnly(Problem):
    """A member of the store's team may not do this; the store's own user may."""

    status = 403
    title = "Only the store's user can do this"


class RouteNotFound(Problem):
    """There is no such route."""

    status = 404
    title = "There is nothing here"


class MethodNotAllowed(Problem):
    """The route does not have this method."""

    status = 405
    title = "The method is not allowed here"


class StoreNotFound(Problem):
    """There is no store with this id that the caller can see."""

    status = 404
    title = "The store was not found"


class ProductNotFound(Problem):
    """The store has no product with this id."""

    status = 404
    title = "The product was not found"


class OrderNotFound(Problem):
    """The store has no order with this id."""

    status = 404
    title = "The order was not found"


class DeliveryNotFound(Problem):
    """The store has no webhook delivery with this id."""

    status = 404
    title = "The delivery was not found"


class DesignNotFound(Problem):
    """No design can have this id."""

    status = 404
    title = "The design was not found"


class ConnectionUnknown(Problem):
    """No store receives webhooks at this address."""

    status = 404
    title = "No store receives webhooks here"


class AuthorizationInvalid(Problem):
    """The authorisation attempt is unknown, expired or used."""

    status = 404
    title = "The authorisation attempt is not open"


class CallbackInvalid(Problem):
    """What came back from the platform's screen is not what the platform sends, or is about another shop."""

    status = 400
    title = "The answer of the platform is not valid"


class AuthorizationDenied(Problem):
    """The seller did not grant access."""

    status = 403
    title = "The seller did not grant access"


class AuthorizationFailed(Problem):
    """The seller granted access, but the store could not be connected with it."""

    status = 422
    title = "The store could not be connected"


class StoreAlreadyConnected(Problem):
    """This store of the platform is connected already."""

    status = 409
    title = "The store is connected already"


class IdentityMismatch(Problem):
    """The credentials open another store than the one named."""

    status = 409
    title = "The credentials belong to another store"


class PlatformUnavailable(Problem):
    """Stores of this platform cannot be connected this way."""

    status = 422
    title = "The platform is not available"


class CredentialsRefused(Problem):
    """The platform does not accept the credentials."""

    status = 422
    title = "The platform refused the credentials"


class PermissionMissing(Problem):
    """The platform knows the credentials, but they may not do what is needed."""

    status = 422
    title = "The credentials lack a permission"


class AddressRefused(Problem):
    """The address may not be called: not https, not public, or it redirects."""

    status = 422
    title = "The store's address cannot be used"


class PlatformUnreachable(Problem):
    """The store's platform gave no whole answer in time."""

    status = 422
    title = "The store could not be reached"


class NotThePlatform(Problem):
    """What answers at the address is not this platform."""

    status = 422
    title = "The address is not a store of this platform"


class PlatformBusy(Problem):
    """The platform asks to wait."""

    status = 503
    title = "The platform asks to wait"
    retry_after = 60


class SyncNotPossible(Problem):
    """The store cannot be synced in its present state."""

    status = 409
    title = "The store cannot be synced now"


class SyncLimited(Problem):
    """The store was asked to sync too often."""

    status = 429
    title = "The store was synced by request too often"
    retry_after = 60


class SignatureInvalid(Problem):
    """The delivery's signature is missing or does not match."""

    status = 401
    title = "The signature is not valid"


class DeliveryEmpty(Problem):
    """The delivery has no body."""

    status = 400
    title = "The delivery is empty"


class ServiceBusy(Problem):
    """We could not do it now; the same request can be sent again."""

    status = 503
    title = "The service is busy"
    retry_after = 5


class InternalError(Problem):
    """Something is wrong on our side; it has been logged."""

    status = 500
    title = "Internal error"


def every() -> list[type[Problem]]:
    """Each kind of problem, for the documentation and its test."""
    return sorted(Problem.__subclasses__(), key=lambda kind: kind.name())
