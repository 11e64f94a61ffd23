"""The payload logger inside an ASGI app: the same capture as the proxy's, without a second hop.

    app.add_middleware(PayloadLoggerMiddleware, log_url="http://broker-ingress…", inference_service="digits")

Invariant: this package and all that it imports need the standard library alone.
"""

from wayside.logger.asgi.middleware import PayloadLoggerMiddleware

__all__ = ["PayloadLoggerMiddleware"]
