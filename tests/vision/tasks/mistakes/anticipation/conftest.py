"""A small procedure, and a server that stands for a language model."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vision.tasks.mistakes.procedure import Procedure

TEA = ["boil water", "warm pot", "add leaves", "pour", "drink"]


@pytest.fixture
def tea() -> Procedure:
    """Tea is poured after water and leaves; the pot is warmed now and then."""
    orders = [
        ["boil water", "warm pot", "add leaves", "pour", "drink"],
        ["boil water", "add leaves", "pour", "drink"],
        ["add leaves", "boil water", "pour", "drink"],
        ["boil water", "warm pot", "add leaves", "pour", "drink"],
        ["add leaves", "boil water", "pour", "drink"],
        ["boil water", "add leaves", "pour", "drink"],
    ]
    examples = [
        {"steps": o, "kind": ["tea", "green" if i % 2 else "black"]} for i, o in enumerate(orders)
    ]
    return Procedure(name="tea", examples=examples, steps=[*TEA, "spill"])


class Stub:
    """Answers of a server, and the requests it got."""

    def __init__(self) -> None:
        self.answer: Callable[[dict], str] = lambda request: "pour"
        self.delay = 0.0
        self.raw: bytes | None = None
        self.status = 200
        self.promised = 0  # bytes that are announced beyond those sent
        self.hangs_up = False
        self.requests: list[dict] = []
        self.url = ""


@pytest.fixture
def server() -> Iterator[Stub]:
    """A running stub of an OpenAI-compatible server."""
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send({"object": "list", "data": [{"id": "stub-1", "object": "model"}]})

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stub.requests.append(request)
            time.sleep(stub.delay)
            if stub.hangs_up:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            message = {"role": "assistant", "content": stub.answer(request)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self._send({"id": "1", "object": "chat.completion", "choices": [choice]})

        def _send(self, content: dict) -> None:
            body = stub.raw if stub.raw is not None else json.dumps(content).encode()
            self.send_response(stub.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body) + stub.promised))
            self.end_headers()
            with suppress(BrokenPipeError):  # the client may not have waited
                self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    stub.url = f"http://127.0.0.1:{httpd.server_address[1]}/v1"
    yield stub
    httpd.shutdown()
    httpd.server_close()
