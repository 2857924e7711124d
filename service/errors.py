"""What can go wrong, each with its HTTP status (RFC 9457); `service.problem_responses` says so to the client.

Code anywhere in the service raises a `Problem`; endpoints hold no try/except. `detail` is read by the
person who sent the request: it says what came, what was expected, and never a path of the server.
No web framework here: the process that draws figures needs only this.
"""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

PROBLEM_JSON = "application/problem+json"
UNKNOWN_PARAMETER = "unknown_parameter"  # of pydantic's findings, one whose message says all
LONGEST_VALUE = 200  # characters of what a client sent that an answer repeats
MOST_VALUES = 10  # of a list of them


class ProblemBody(BaseModel):
    """RFC 9457 `application/problem+json`. `type` is a page of this service that explains the problem."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["/problems/unknown-model"])
    title: str = Field(examples=["Unknown model"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["there is no model 'mnits'; there are mnist, cifar10, …"])
    instance: str | None = Field(None, description="the path that was asked for, as it came")


class Problem(Exception):  # noqa: N818 — RFC 9457's own word
    """A request that cannot be answered. Subclasses give the type; the docstring is the page's text."""

    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    status: ClassVar[int] = 500
    retry_after: ClassVar[int | None] = None
    """seconds after which the same request may well succeed"""

    def __init__(self, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}
        if self.retry_after is not None:
            self.headers.setdefault("Retry-After", str(self.retry_after))

    def members(self, instance: str | None = None) -> dict[str, object]:
        """What the answer's body says."""
        return {
            "type": f"/problems/{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
        }

    def body(self, instance: str | None = None) -> ProblemBody:
        """The same as a model. An overload has many refusals: one for each would double what they cost."""
        return ProblemBody.model_validate(self.members(instance))


class UnknownModel(Problem):
    """No model or alias has this name. GET /models lists those there are, and those refused with the reason."""

    slug, title, status = "unknown-model", "Unknown model", 404


class UnknownVersion(Problem):
    """The model is there, this version of it is not. GET /models/{model} lists its versions."""

    slug, title, status = "unknown-version", "Unknown version", 404


class UnknownLayer(Problem):
    """The model has no layer of this name. GET /models/{model}/layers lists them."""

    slug, title, status = "unknown-layer", "Unknown layer", 404


class UnknownDataset(Problem):
    """The service holds no test images of a data set of this name."""

    slug, title, status = "unknown-dataset", "Unknown data set", 404


class UnknownSample(Problem):
    """The data set has no test image at this index; indices count from 0 in the original order."""

    slug, title, status = "unknown-sample", "Unknown sample", 404


class NotInArtifact(Problem):
    """The model was published without what this answer is made of. GET /models/{model} says what it has."""

    slug, title, status = "not-in-artifact", "Not in the artifact", 404


class NotFound(Problem):
    """The service has nothing at this path. GET /docs lists every path."""

    slug, title, status = "not-found", "Not found", 404


class MethodNotAllowed(Problem):
    """The path is right and the method is not. The Allow header names those that are."""

    slug, title, status = "method-not-allowed", "Method not allowed", 405


class NotAcceptable(Problem):
    """None of the formats asked for, by Accept or ?format=, can be made here. The detail lists those that can."""

    slug, title, status = "not-acceptable", "Not acceptable", 406


class TooManyBytes(Problem):
    """The body is larger than the service takes. Send a smaller file or fewer at once, or raise the limit:
    CONVSCOPE_MAX_BODY_BYTES for a request with one image, CONVSCOPE_MAX_BATCH_BYTES for /predict/{model}/batch and for
    all of /v2, where CONVSCOPE_MAX_JSON_BYTES is that of the JSON."""

    slug, title, status = "too-many-bytes", "Too many bytes", 413


class TooManyPixels(Problem):
    """The image has more pixels than the service decodes, or more than 65,535 along a side. Send it smaller, or raise
    CONVSCOPE_MAX_PIXELS."""

    slug, title, status = "too-many-pixels", "Too many pixels", 413


class NotAnImage(Problem):
    """The body, by its Content-Type or by its bytes, is no PNG, JPEG, WEBP, GIF or BMP image."""

    slug, title, status = "not-an-image", "Not an image", 415


class UndecodableImage(Problem):
    """The body begins like an image and cannot be decoded: it is truncated or damaged."""

    slug, title, status = "undecodable-image", "Undecodable image", 422


class BlankImage(Problem):
    """There is nothing on the picture that stands out from its ground, so there is no digit to name."""

    slug, title, status = "blank-image", "Blank image", 422


class InvalidParameter(Problem):
    """A parameter or field is missing, of the wrong kind, or out of range; the detail says what was expected."""

    slug, title, status = "invalid-parameter", "Invalid parameter", 422


class NotHttp(Problem):
    """What came over the connection is no HTTP/1.1 request, or ends as none; the connection is closed."""

    slug, title, status = "not-http", "Not an HTTP request", 400


class HeadTooLong(Problem):
    """The request line and the headers are longer than the service takes, or what comes after a body in chunks is; the
    connection is closed. Send fewer cookies, or what is long in the body."""

    slug, title, status = "head-too-long", "Head too long", 431


class NotReady(Problem):
    """The service is starting, stopping, holds no model that it can serve, or was given no more threads or files by the
    system. Retry-After says when to ask again."""

    slug, title, status = "not-ready", "Not ready", 503
    retry_after = 1


class QueueFull(Problem):
    """More images wait than the service can answer in time, so it refuses at once. Retry after Retry-After."""

    slug, title, status = "queue-full", "Queue full", 503
    retry_after = 1


class DeadlinePassed(Problem):
    """The answer was not ready within the time allowed for one request. Send fewer or smaller images at once, or raise
    CONVSCOPE_DEADLINE."""

    slug, title, status = "deadline-passed", "Deadline passed", 504


class InternalError(Problem):
    """Something failed inside the service. It is in its log with the time; nothing of it is shown here."""

    def __init__(self, detail: str = "something failed inside the service; it is in the log") -> None:
        super().__init__(detail)


def counted(number: int, noun: str) -> str:
    """For a detail: `1 file`, `1,025 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def brief(text: str) -> str:
    """For a detail: what a client sent, of any length."""
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def listed(values: Sequence[object]) -> str:
    """For a detail: what a client sent, of any number and length."""
    more = f" and {len(values) - MOST_VALUES:,} more" if len(values) > MOST_VALUES else ""
    return ", ".join(map(_shortened, values[:MOST_VALUES])) + more


def problem_types() -> dict[str, type[Problem]]:
    """Every problem type by its slug: what /problems/{slug} explains."""
    return {subclass.slug: subclass for subclass in Problem.__subclasses__()}


def _shortened(value: object) -> str:
    return brief(repr(value))
