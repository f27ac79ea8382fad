"""A dashboard for tests: the real command, the real server, on a port that was free."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx

from tests.support import PATIENCE, environment, until


class Dashboard:
    """A dashboard in the background: `with Dashboard(spool, "--allow-actions") as dashboard`."""

    def __init__(self, spool: Path, *words: str, auth: tuple[str, str] | None = None) -> None:
        self.spool, self.words, self.auth = spool, words, auth

    def __enter__(self) -> "Dashboard":
        self.log = self.spool.parent / f"dashboard-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "queuectl", "dashboard", "--port", "0", *self.words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(self.spool),
            )
        try:
            self.url = until(self._address).rstrip("/")
        except BaseException:
            self.__exit__()
            raise
        self.http = httpx.Client(
            base_url=self.url, auth=self.auth, timeout=PATIENCE, trust_env=False
        )
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "http"):
            self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait(10)
        assert "Traceback" not in self.log.read_text(), self.log.read_text()

    def _address(self) -> str | None:
        assert self.process.poll() is None, self.log.read_text()
        found = re.search(r"dashboard at (\S+)", self.log.read_text())
        return found.group(1) if found else None

    def get(self, path: str, code: int = 200, **words: str) -> httpx.Response:
        """GET an address; the test fails on another status."""
        answer = self.http.get(path, params=words or None)
        assert answer.status_code == code, f"{path}: {answer.status_code} {answer.text}"
        return answer

    def post(self, path: str, body: object = None, code: int = 200) -> dict:
        """POST JSON to the API."""
        answer = self.http.post(
            path,
            content=json.dumps(body if body is not None else {}),
            headers={"content-type": "application/json"},
        )
        assert answer.status_code == code, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def form(self, path: str, code: int = 200, **fields: str | list[str]) -> httpx.Response:
        """POST a form as a page of this dashboard would."""
        answer = self.http.post(
            path, data={"token": self.token, **fields}, headers={"origin": self.url}
        )
        assert answer.status_code == code, f"{path}: {answer.status_code} {answer.text}"
        return answer

    @property
    def token(self) -> str:
        """The token in the forms of this server."""
        return re.search(r'name="token" value="([^"]+)"', self.get("/").text).group(1)

    def counted(self, **jobs: int) -> None:
        """Wait until the dashboard has counted so many jobs in these states."""
        until(
            lambda: (
                {
                    state: count
                    for state, count in self.get("/api/status").json()["jobs"].items()
                    if state in jobs
                }
                == jobs
            )
        )

    def stream(self, path: str) -> "Stream":
        """Read a stream of events in the background."""
        return Stream(self, path)


class Stream:
    """The events of a stream, as they come."""

    def __init__(self, dashboard: Dashboard, path: str) -> None:
        self.client = httpx.Client(
            base_url=dashboard.url, auth=dashboard.auth, timeout=None, trust_env=False
        )
        self.path = path
        self.events: list[tuple[str, dict]] = []
        self.thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "Stream":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def _read(self) -> None:
        try:
            with self.client.stream("GET", self.path) as answer:
                name = ""
                for line in answer.iter_lines():
                    if line.startswith("event: "):
                        name = line.removeprefix("event: ")
                    elif line.startswith("data: "):
                        self.events.append((name, json.loads(line.removeprefix("data: "))))
        except (httpx.HTTPError, RuntimeError, OSError, AttributeError):
            pass  # closed at the end of the test
