"""The result document: what consumers of the stream read. Its JSON Schema stands in ``result.schema.json``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from providers.errors import ProviderError

Status = Literal["ok", "failed", "expired", "cancelled"]
Kind = Literal["invalid_request", "not_found", "unavailable", "bad_response", "response_too_large", "internal"]


class ErrorDocument(BaseModel):
    """Why a message failed. ``retryable``: sending it again later may go well."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    code: str | None = None
    message: str
    http_status: int | None = None
    retryable: bool = False

    @classmethod
    def of(cls, error: ProviderError) -> ErrorDocument:
        """The document of a provider's error."""
        return cls(
            kind=error.kind,  # type: ignore[arg-type]  # pydantic checks it
            code=error.code,
            message=error.message,
            http_status=error.http_status,
            retryable=error.retryable,
        )


class Usage(BaseModel):
    """What the message cost: ``consumed`` units of the provider's, over all its requests."""

    model_config = ConfigDict(extra="forbid")

    unit: str
    consumed: Annotated[int, Field(ge=0)] = 0


class ResultDocument(BaseModel):
    """One message's result. Times are ISO 8601 in UTC, ending in Z."""

    model_config = ConfigDict(extra="forbid")

    v: Literal[1] = 1
    task_id: str
    task: str
    provider: str
    account: str
    status: Status
    request: dict[str, Any]
    meta: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, Any] | None = None
    error: ErrorDocument | None = None
    usage: Usage
    attempts: Annotated[int, Field(ge=0)] = 0
    deferrals: Annotated[int, Field(ge=0)] = 0
    enqueued_at: str | None = None
    started_at: str | None = None
    finished_at: str

    def fields(self) -> dict[str, str]:
        """The fields of the stream's entry."""
        return {
            "task_id": self.task_id,
            "task": self.task,
            "provider": self.provider,
            "account": self.account,
            "status": self.status,
            "result": self.text(),
        }

    def text(self) -> str:
        """The document as JSON: whatever a producer or a vendor put into it, half a surrogate pair included."""
        try:
            return self.model_dump_json()
        except ValueError:
            return json.dumps(dict(self), default=_plain)


def _plain(value: Any) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else str(value)


def now_text() -> str:
    """The present moment, as the document writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def schema() -> str:
    """The JSON Schema of the document, as it stands in ``result.schema.json``."""
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ResultDocument.model_json_schema(mode="serialization"),
    }
    return json.dumps(document, indent=2) + "\n"
