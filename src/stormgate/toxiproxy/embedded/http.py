"""The API as the small HTTP server's handler: one answer per request, in Toxiproxy's own words."""

from __future__ import annotations

import logging
from http import HTTPStatus

from stormgate.net.httpserver import Handler, HttpRequest, HttpResponse
from stormgate.toxiproxy.embedded.api import TEXT, Api, ApiAnswer, ApiCall

_LOG = logging.getLogger("toxiproxy")
BODY_MAX_BYTES = 16 * 1024 * 1024


def handler(api: Api) -> Handler:
    """What answers for this API."""

    async def handle(request: HttpRequest) -> HttpResponse:
        agent = request.headers.get("user-agent", "")
        try:
            answer = api.answer(ApiCall(request.method, request.target, agent, request.body))
        except (
            Exception
        ):  # the API must outlive a fault in one handler; clients see a 500 they understand
            _LOG.exception("%s %s", request.method, request.target)
            answer = ApiAnswer(500, TEXT, b'{"error":"internal error","status":500}\n')
        return _response(answer)

    return handle


def refusal(status: int) -> HttpResponse:
    """The answer to what is no request, or too long a one."""
    return _response(ApiAnswer(status, TEXT, f"{status} {HTTPStatus(status).phrase}\n".encode()))


def _response(answer: ApiAnswer) -> HttpResponse:
    headers = {"X-Toxiproxy-Request-Id": answer.request_id} if answer.request_id else {}
    return HttpResponse(answer.status, answer.body, headers, content_type=answer.content_type)
