"""The HTTP side of the simulated model server: vLLM's endpoints, and `/admin/config`."""

import asyncio
import uuid
from typing import Any, NoReturn

import msgspec
from aiohttp import web
from prometheus_client import generate_latest

from outrider.serving.simulator.faults import Fate
from outrider.serving.simulator.http_metrics import HttpMetrics
from outrider.serving.simulator.middleware import (
    ADMIN_PATH,
    InFlight,
    errors_as_json,
    finishing_headers,
    guarding,
    observing,
)
from outrider.serving.simulator.profile import SIMULATED_VERSION
from outrider.serving.simulator.protocol import (
    ApiError,
    ChatRequest,
    CompletionRequest,
    Prompt,
    TokenizeRequest,
    chat_prompt,
    check_common,
    completion_prompts,
    decode,
    given_up,
    messages_prompt,
)
from outrider.serving.simulator.responses import Chat, Completion, Shape, encode
from outrider.serving.simulator.service import Service
from outrider.serving.simulator.settings import SettingsError, as_dict
from outrider.serving.simulator.streams import Reply, send_stream
from outrider.serving.simulator.tokens import token_id, tokenize

LARGEST_BODY = 8 * 2**20
"""Bytes. Ten times what fills a context of 128k tokens, and little enough not to hold up the other requests."""
METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""What vLLM declares."""


def make_app(service: Service, in_flight: InFlight) -> web.Application:
    """The application. `service.run()` must run beside it for requests to make progress."""
    flags = service.flags
    app = web.Application(
        client_max_size=LARGEST_BODY,
        middlewares=[
            observing(HttpMetrics(service.registry), flags, in_flight),
            errors_as_json,
            guarding(flags.api_key),
        ],
    )
    app.on_response_prepare.append(finishing_headers(flags, in_flight))
    handlers = Handlers(service)
    app.router.add_routes(
        [
            web.post("/v1/completions", handlers.completions),
            web.post("/v1/chat/completions", handlers.chat),
            web.get("/v1/models", handlers.models, allow_head=False),
            web.get("/health", handlers.health, allow_head=False),
            web.get("/ping", handlers.health, allow_head=False),
            web.post("/ping", handlers.health),
            web.get("/version", handlers.version, allow_head=False),
            web.get("/metrics", handlers.metrics, allow_head=False),
            web.post("/tokenize", handlers.tokenize),
            web.get(ADMIN_PATH, handlers.get_config, allow_head=False),
            web.post(ADMIN_PATH, handlers.post_config),
        ]
    )
    return app


class Handlers:
    """One method for each endpoint."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._created = int(service.clock.now())

    # --- answers -----------------------------------------------------------------------------------------------

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = decode(await request.read(), _content_type(request), CompletionRequest)
        model = self._service.model_named(body.model)
        check_common(body, max_logprobs=self._service.flags.max_logprobs)
        return await self._answer(request, body, Completion(body), completion_prompts(body), model)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = decode(await request.read(), _content_type(request), ChatRequest)
        model = self._service.model_named(body.model)
        check_common(body, max_logprobs=self._service.flags.max_logprobs)
        prompt = chat_prompt(body, auto_tools=self._service.flags.enable_auto_tool_choice)
        return await self._answer(request, body, Chat(body), [prompt], model)

    async def _answer(
        self,
        request: web.Request,
        body: CompletionRequest | ChatRequest,
        shape: Shape,
        prompts: list[Prompt],
        model: str,
    ) -> web.StreamResponse:
        self._service.check_lengths(body, prompts)
        fate = self._service.faults.next_fate(max(len(prompt.pieces) for prompt in prompts))
        await self._suffer(fate)
        job = self._service.start(body, prompts, fate)
        reply = Reply(
            job=job,
            shape=shape,
            head={
                "id": f"{shape.prefix}-{body.request_id or request.headers.get('X-Request-Id') or uuid.uuid4().hex}",
                "created": int(self._service.clock.now()),
                "model": model,
                "system_fingerprint": self._service.fingerprint,
            },
        )
        try:
            if body.stream:
                options = body.stream_options
                return await send_stream(
                    request,
                    reply,
                    include_usage=self._service.flags.enable_force_include_usage
                    or bool(options and options.include_usage),
                    running_usage=bool(options and options.include_usage and options.continuous_usage_stats),
                    truncate=fate.truncate,
                )
            while not job.finished:
                await job.progress.wait()
                job.progress.clear()
            if job.given_up:
                raise given_up()
            return _json(reply.whole())
        finally:
            # Also where the client has gone: aiohttp cancels the handler then.
            self._service.engine.abort(job.sequences)

    async def _suffer(self, fate: Fate) -> None:
        """What the settings do to a request before the engine sees it."""
        if fate.hang:
            await self._hang()
        if fate.delay_seconds:
            await self._service.clock.sleep(fate.delay_seconds)
        if fate.error is not None:
            raise fate.error

    async def _hang(self) -> NoReturn:
        """Until the client goes away or the server ends."""
        await asyncio.Event().wait()
        raise AssertionError("nobody sets this event")

    # --- everything else ---------------------------------------------------------------------------------------

    async def models(self, _request: web.Request) -> web.Response:
        flags = self._service.flags
        base = [self._model(name, root=flags.model, parent=None) for name in flags.names]
        adapters = self._service.adapters.items()
        tuned = [self._model(name, root=path, parent=flags.names[0]) for name, path in adapters]
        return _json({"object": "list", "data": base + tuned})

    def _model(self, name: str, *, root: str, parent: str | None) -> dict[str, Any]:
        permission = {
            "id": f"modelperm-{token_id(name):x}",
            "object": "model_permission",
            "created": self._created,
            "allow_create_engine": False,
            "allow_sampling": True,
            "allow_logprobs": True,
            "allow_search_indices": False,
            "allow_view": True,
            "allow_fine_tuning": False,
            "organization": "*",
            "group": None,
            "is_blocking": False,
        }
        return {
            "id": name,
            "object": "model",
            "created": self._created,
            "owned_by": "vllm",
            "root": root,
            "parent": parent,
            "max_model_len": self._service.profile.max_model_len if parent is None else None,
            "permission": [permission],
        }

    async def health(self, _request: web.Request) -> web.Response:
        """An empty body, 200 or 503. A wedged engine is healthy: that is what makes wedges dangerous."""
        return web.Response(status=503 if self._service.settings.health_failure else 200)

    async def version(self, _request: web.Request) -> web.Response:
        return _json({"version": f"{SIMULATED_VERSION}+outrider.simulator"})

    async def metrics(self, _request: web.Request) -> web.Response:
        if self._service.settings.metrics_failure:
            raise ApiError(503, "The metrics cannot be had (injected by metrics-failure)")
        text = generate_latest(self._service.registry)
        return web.Response(body=text, headers={"Content-Type": METRICS_CONTENT_TYPE})

    async def tokenize(self, request: web.Request) -> web.Response:
        body = decode(await request.read(), _content_type(request), TokenizeRequest)
        self._service.model_named(body.model)
        if body.prompt is not None:
            pieces = tokenize(body.prompt)
        elif body.messages:
            pieces = messages_prompt(body.messages).pieces
        else:
            raise ApiError(400, "either prompt or messages must be given", param="prompt")
        return _json(
            {
                "count": len(pieces),
                "max_model_len": self._service.profile.max_model_len,
                "tokens": [token_id(piece) for piece in pieces],
                "token_strs": pieces if body.return_token_strs else None,
            }
        )

    async def get_config(self, _request: web.Request) -> web.Response:
        return _json(as_dict(self._service.settings))

    async def post_config(self, request: web.Request) -> web.Response:
        try:
            changes = msgspec.json.decode(await request.read())
            settings = self._service.change_settings(changes)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ApiError(400, f"not JSON: {error}") from error
        except SettingsError as error:
            raise ApiError(400, str(error)) from error
        return _json(as_dict(settings))


def _content_type(request: web.Request) -> str:
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _json(body: Any) -> web.Response:
    return web.Response(body=encode(body), content_type="application/json")
