"""A real web server that can be told to misbehave."""

import contextlib
import functools
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Server:
    """What it answers, and what it was asked.

    Args:
        url: of its folder.
        faults: what goes wrong with the next answers for a file, by its name: a status, `half` of the file, or
            `silence`, in which it lasts until the client gives up.
        asked: how often for each name.
    """

    url: str
    faults: dict[str, list[int | str]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)


class _Handler(SimpleHTTPRequestHandler):
    server: Any

    def do_GET(self) -> None:
        state: Server = self.server.state
        name = self.path.rpartition("/")[2]
        state.asked[name] += 1
        fault = state.faults[name].pop(0) if state.faults.get(name) else None
        if isinstance(fault, int):
            self.send_error(fault)
        elif fault == "silence":
            self.server.is_closing.wait()
        elif fault == "half":
            data = Path(self.translate_path(self.path)).read_bytes()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
        else:
            super().do_GET()

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve a folder."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))
    server.state = Server(f"http://127.0.0.1:{server.server_address[1]}")
    server.is_closing = threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.state
    finally:
        server.is_closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
