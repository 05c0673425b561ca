"""The HTTP example translates as the library does, and answers bad requests."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from threading import Thread

import numpy as np
import pytest
from PIL import Image

from examples.http_server import LARGEST, Service
from sivae_translate import Translator


@pytest.fixture(scope="module")
def service(translator: Translator) -> Iterator[Service]:
    with Service(("127.0.0.1", 0), translator) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def ask(service: Service, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", service.server_port, timeout=30)
    connection.request(method, path, body)
    answer = connection.getresponse()
    return answer.status, answer.read()


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_pictures_are_translated_as_by_the_library(
    service: Service, translator: Translator, pixels: np.ndarray
) -> None:
    assert json.loads(ask(service, "GET", "/")[1]) == {"domains": ["cats", "dogs", "foxes"]}
    with ThreadPoolExecutor(2) as threads:  # two clients at once
        paths = ("/translate?to=dogs", "/translate?to=foxes&seed=3")
        answers = [*threads.map(lambda path: ask(service, "POST", path, png(pixels[0])), paths)]
    for (status, body), style in zip(answers, ("dogs", ("foxes", 3)), strict=True):
        assert status == 200
        expected: np.ndarray = np.asarray(translator(pixels[0], style))
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(body))), expected)
    wide = png(np.tile(pixels[0], (1, 2, 1)))
    made = ask(service, "POST", "/translate?to=dogs&size=input", wide)[1]
    assert Image.open(io.BytesIO(made)).size == (64, 32)


def test_bad_requests_say_what_is_wrong(service: Service, pixels: np.ndarray) -> None:
    picture = png(pixels[0])
    for path, body, status, word in (
        ("/translate?to=dogs", b"not a picture", 400, "image"),
        ("/translate?to=dog", picture, 400, "dogs"),
        ("/translate?to=dogs&seed=x", picture, 400, "x"),
        ("/elsewhere", picture, 404, "/translate"),
    ):
        got, answer = ask(service, "POST", path, body)
        assert (got, word in answer.decode()) == (status, True), answer
    assert ask(service, "GET", "/elsewhere")[0] == 404
    connection = HTTPConnection("127.0.0.1", service.server_port, timeout=30)
    connection.putrequest("POST", "/translate")
    connection.putheader("Content-Length", str(LARGEST + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413
