"""The local world's HTTP gateway: HTTPRoutes and Services in, requests to pods out."""

from outrider.local.gateway.gateway import Gateway, make_app

__all__ = ["Gateway", "make_app"]
