"""A small HTTP service that translates pictures; Python's own server and nothing else.

    python examples/http_server.py glyphs-64 --port 8000
    curl --data-binary @letter.png 'http://127.0.0.1:8000/translate?to=dejavu-serif' > serif.png

``GET /`` answers with the domains. ``POST /translate?to=DOMAIN[&seed=N][&size=input]`` takes a picture and
answers with a PNG; what is wrong with a request is a 400 with a JSON object. One picture computes at a time.
Put a real server with TLS and users before it where strangers can reach it.
"""

from __future__ import annotations

import argparse
import io
import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sivae_translate import SivaeError, Style, Translator
from sivae_translate.data.reading import open_image

LARGEST = 20_000_000
"""Most bytes of a picture."""
SECONDS = 30
"""How long a client may take to send one."""


class Service(ThreadingHTTPServer):
    """Serves one model."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], translator: Translator) -> None:
        super().__init__(address, Handler)
        self.translator, self.lock = translator, Lock()

    def translate(self, body: bytes, query: dict[str, str]) -> bytes:
        """The picture in ``body``, translated, as PNG."""
        source = open_image(io.BytesIO(body), self.translator.processor.reading)
        name, seed = query.get("to", ""), query.get("seed")
        style = Style.domain(name) if seed is None else Style.draw(name, int(seed))
        size: Any = query.get("size", "model")
        with self.lock:
            made = self.translator(source, style, size=size)
        file = io.BytesIO()
        made.save(file, "PNG")
        return file.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Service
    timeout = SECONDS

    def do_GET(self) -> None:
        """The domains."""
        if urlsplit(self.path).path != "/":
            self._json(HTTPStatus.NOT_FOUND, {"error": "there is only / and /translate"})
            return
        self._json(HTTPStatus.OK, {"domains": self.server.translator.domains})

    def do_POST(self) -> None:
        """A translation."""
        url = urlsplit(self.path)
        length = self.headers.get("Content-Length", "")
        if url.path != "/translate":
            self._json(HTTPStatus.NOT_FOUND, {"error": "there is only / and /translate"})
        elif not length.isdecimal():
            self._json(HTTPStatus.LENGTH_REQUIRED, {"error": "Content-Length is missing"})
        elif int(length) > LARGEST:
            self._json(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"more than {LARGEST} bytes"})
        else:
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            self._translate(self.rfile.read(int(length)), query)

    def _translate(self, body: bytes, query: dict[str, str]) -> None:
        try:
            self._send(HTTPStatus.OK, self.server.translate(body, query), "image/png")
        except SivaeError as error:
            self._json(HTTPStatus.BAD_REQUEST, {"error": error.what, "remedy": error.remedy})
        except ValueError as error:
            self._json(HTTPStatus.BAD_REQUEST, {"error": str(error)})

    def _json(self, status: HTTPStatus, value: Any) -> None:
        self._send(status, json.dumps(value).encode() + b"\n", "application/json")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            self.send_header("Connection", "close")  # the rest of the body is not read
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", help="run folder, model file, pretrained model or USER/NAME")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    with Service((options.host, options.port), Translator.from_pretrained(options.run)) as service:
        print(f"serving http://{options.host}:{service.server_port}")
        service.serve_forever()


if __name__ == "__main__":
    main()
