"""`/exec/...` and `/attach/...`: a session with a container, over WebSocket or SPDY."""

from aiohttp import web

from outrider.kube.api import BadRequest
from outrider.local.kubelet.server.attach import NO_INPUT, attach
from outrider.local.kubelet.server.execute import execute
from outrider.local.kubelet.server.lookup import running_container
from outrider.local.kubelet.server.spdy_commands import is_spdy, serve_spdy
from outrider.local.kubelet.server.statuses import Status
from outrider.local.kubelet.server.streams import ClientStreams, Session, StreamOptions, stream_options
from outrider.local.kubelet.server.websocket import is_websocket, serve_websocket


async def exec_command(request: web.Request) -> web.StreamResponse:
    """Run a command beside the container."""
    command = request.query.getall("command", [])
    if not command or not command[0]:
        raise BadRequest("you must specify at least 1 command for the container")
    _, container, run = running_container(request)

    async def session(streams: ClientStreams) -> Status:
        return await execute(command, container.target, streams, run.wait())

    return await _serve(request, stream_options(request.query), session)


async def attach_to(request: web.Request) -> web.StreamResponse:
    """Send the container's output as it comes."""
    options = stream_options(request.query)
    _, container, run = running_container(request)
    if options.stdin:
        raise BadRequest(NO_INPUT.format(container.name))

    async def session(streams: ClientStreams) -> Status:
        return await attach(run.folder, streams)

    return await _serve(request, options, session)


async def _serve(request: web.Request, options: StreamOptions, session: Session) -> web.StreamResponse:
    if is_websocket(request):
        return await serve_websocket(request, options, session)
    if is_spdy(request):
        return await serve_spdy(request, options, session)
    raise BadRequest("this is for connections that are upgraded, to a WebSocket or to SPDY/3.1")
