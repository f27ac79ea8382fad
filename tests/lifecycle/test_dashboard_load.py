"""The dashboard under load, and asked by those who mean no good."""

import asyncio
import contextlib
import logging
import os
import re
import resource
import socket
import subprocess
import sys
import time

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from uvicorn.server import ServerState

from queuectl.dashboard import app, connections, guesses, journal, stream
from queuectl.dashboard.connections import Connection
from queuectl.dashboard.deeds import ReadOnly
from queuectl.dashboard.desk import Desk, Options
from queuectl.dashboard.door import HEADERS, Door
from queuectl.dashboard.guesses import Guesses, network
from queuectl.dashboard.pages import Pages
from queuectl.filename import Name, encode
from tests.fuzz.routes import ask, check
from tests.support import PATIENCE, environment, until
from tests.web import Dashboard

HALF = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "


def desk_of(spool, **options):
    """A desk without a counter: what asks for counts fails."""
    return Desk(spool, Options(**options), None)


async def hello(scope, receive, send):
    await PlainTextResponse("hello")(scope, receive, send)


@contextlib.asynccontextmanager
async def served(application):
    """A server with the connections of the dashboard: its port, and its state."""
    config, state = uvicorn.Config(application, http=Connection, log_config=None), ServerState()
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    try:
        yield server.sockets[0].getsockname()[1], state
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()


async def eventually(condition):
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  anything may be the condition
            await asyncio.sleep(0.005)


async def until_closed(reader):
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(PATIENCE):
            await reader.read()


# -- connections


@pytest.mark.parametrize(
    ("limit", "begin"),
    [("HEAD", b""), ("HEAD", HALF), ("BODY", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n1")],
)
def test_a_request_that_does_not_come_ends_its_connection(monkeypatch, limit, begin):
    monkeypatch.setattr(connections, limit, 0.1)

    async def wait(scope, receive, send):
        while (await receive()).get("more_body"):
            pass

    async def play():
        async with served(wait) as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            if limit == "BODY":
                begin_ = begin.replace(b"\r\n\r\n", b"\r\nHost: x\r\n\r\n")
                writer.write(begin_)
            else:
                writer.write(begin)
            await until_closed(reader)
            writer.close()

    asyncio.run(play())


def test_a_head_that_comes_byte_by_byte_gains_no_time(monkeypatch):
    monkeypatch.setattr(connections, "HEAD", 0.1)

    async def play():
        async with served(hello) as (port, state):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            ended = asyncio.ensure_future(until_closed(reader))
            writer.write(HALF)
            while not ended.done():
                writer.write(b"x")
                await asyncio.sleep(0.01)
            writer.close()
            await eventually(lambda: not state.connections)

    asyncio.run(play())


def test_an_answer_may_take_as_long_as_it_takes():
    async def play():
        seen = []

        async def look(scope, receive, send):
            [connection] = state.connections
            seen.append((connection._reading, connection.is_waiting()))
            await hello(scope, receive, send)

        async with served(look) as (port, state):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for number in range(2):
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await reader.readuntil(b"hello")
                assert len(seen) == number + 1
                await eventually(lambda: next(iter(state.connections))._reading)
            writer.close()
        assert seen == [(None, False)] * 2

    asyncio.run(play())


def test_an_answer_that_is_not_read_ends_its_connection(monkeypatch):
    monkeypatch.setattr(connections, "STALLED", 0.1)

    async def play():
        ended = []

        async def flood(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(64):
                await send(
                    {"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True}
                )
            ended.append(True)

        async with served(flood) as (port, state):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await eventually(lambda: ended and not state.connections)
            writer.close()

    asyncio.run(play())


@pytest.mark.parametrize(("most", "each"), [(20, 1000), (1000, 20)])
def test_a_new_connection_takes_the_place_of_one_that_waits_longest(monkeypatch, most, each):
    monkeypatch.setattr(Connection, "most", most)
    monkeypatch.setattr(connections, "EACH", each)

    async def play():
        async with served(hello) as (port, state):
            first, held = await asyncio.open_connection("127.0.0.1", port)
            held.write(HALF)
            with contextlib.ExitStack() as stack:
                for _ in range(50):
                    half = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                    half.send(HALF)
                    await asyncio.sleep(0)
                    assert len(state.connections) <= 20
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await reader.readuntil(b"hello")
                await until_closed(first)
                assert len(state.connections) == 20
            writer.close()
            held.close()

    asyncio.run(play())


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"\0" * 99 + b"\r\n\r\n",
    ],
)
def test_what_is_no_http_is_answered_with_the_headers_of_every_answer(data):
    async def play():
        async with served(hello) as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            answer = (await reader.read()).decode().lower()
            writer.close()
        assert answer.startswith("http/1.1 400")
        assert all(f"\r\n{name}: " in answer for name in HEADERS)

    asyncio.run(play())


def test_half_sent_requests_and_few_descriptors_keep_nobody_out(spool, path):
    with Dashboard(path) as dashboard:
        pid, port = dashboard.process.pid, int(dashboard.url.rpartition(":")[2])
        in_use = len(os.listdir(f"/proc/{pid}/fd"))
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (in_use + 40, before[1]))
        with contextlib.ExitStack() as stack:
            for _ in range(60):
                half = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                half.send(HALF)
            until(lambda: "Too many open files" in dashboard.log.read_text())
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
            for _ in range(240):
                half = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                half.send(HALF)
            assert dashboard.get("/healthz").json() == {"healthy": True}
        lines = dashboard.log.read_text().splitlines()
        assert len([line for line in lines if "Too many" in line]) <= 2
        assert len(lines) < 10


def test_few_descriptors_allow_few_connections(spool, path):
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (500, 500));"
        "from queuectl.dashboard import connections as c; c.fit_descriptors(); print(c.Connection.most)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment(path),
        check=True,
    )

    assert 8 <= int(done.stdout) < 100


# -- the log


def test_one_kind_of_event_is_one_line_a_minute(capfd, monkeypatch):
    teller = logging.getLogger("some of this test")
    monkeypatch.setattr(teller, "handlers", [journal.Journal()])

    for number in range(500):
        teller.warning("refused %s\x1b[1m\nmore", number)
        teller.error("Task at 0x%x failed" % number, exc_info=ValueError("a\nb"))  # noqa: UP031
    monkeypatch.setattr(journal, "SILENCE", 0.0)
    teller.warning("refused %s\x1b[1m\nmore", "again")

    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "\x1b" not in "".join(lines)
    assert "ValueError" in lines[1]
    assert "left_out=499" in lines[2]


# -- passwords


def test_each_wrong_password_makes_the_next_answer_slower():
    found = Guesses()

    delays = [found.delay("10.0.0.1") for _ in range(12)]

    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (guesses.FIRST, guesses.LONGEST)
    assert found.delay("10.0.0.2") == guesses.FIRST
    for number in range(5000):
        found.delay(f"a{number}")
    assert len(found._wrong) == guesses.KEPT


@pytest.mark.parametrize(
    ("client", "known"),
    [
        (("10.1.2.3", 5), "10.1.2.3"),
        (("::ffff:10.1.2.3", 5), "10.1.2.3"),
        (("2001:db8::1:2:3:4", 5), "2001:db8::/64"),
        (("fe80::1%eth0", 5), "fe80::/64"),
        (None, ""),
    ],
)
def test_an_address_is_what_a_host_cannot_choose(client, known):
    assert network(client) == known


def test_of_one_address_few_wrong_passwords_wait_and_no_more_are_looked_at():
    door = Door(hello, Options(password=b"open sesame"))

    def login(password, address="10.0.0.1"):
        from base64 import b64encode

        code = b64encode(b"x:" + password).decode()
        headers = [("authorization", f"Basic {code}")]
        return ask(door, "GET", "/", headers, client=(address, 1))

    async def play():
        wrong = [asyncio.ensure_future(login(b"guess")) for _ in range(guesses.EACH)]
        await eventually(lambda: door._guesses._waiting["10.0.0.1"] == guesses.EACH)
        refused, other = await login(b"open sesame"), await login(b"open sesame", "10.0.0.2")
        none = await ask(door, "GET", "/", client=("10.0.0.1", 1))
        for task in wrong[1:]:
            task.cancel()
        late = await wrong[0]
        await asyncio.gather(*wrong, return_exceptions=True)
        right = await login(b"open sesame")
        assert not door._guesses._waiting
        return [answer.status for answer in (refused, other, none, late, right)]

    assert asyncio.run(play()) == [429, 200, 401, 401, 200]


def test_when_many_addresses_wait_one_that_has_guessed_gets_no_further_guess():
    found = Guesses()
    found._waiting.update({f"a{n}": 1 for n in range(guesses.WAITING)})

    assert not found.refuses("new")
    asyncio.run(found.punish("new"))
    assert found.refuses("new")


# -- streams


def test_of_many_streams_at_once_as_many_open_as_may(spool):
    streams = stream.Streams(desk_of(spool))

    async def play():
        over = asyncio.Event()

        async def source():
            yield ": begun\n\n"
            await over.wait()

        async def open_one(method="GET"):
            statuses = []

            async def send(message):
                statuses.append(message.get("status"))

            async def receive():
                await over.wait()
                return {"type": "http.disconnect"}

            scope = {"type": "http", "method": method}
            await stream._Stream(streams, source())(scope, receive, send)
            return statuses[0]

        heads = [await open_one("HEAD") for _ in range(120)]
        assert (streams.open, set(heads)) == (0, {200})
        tasks = [asyncio.ensure_future(open_one()) for _ in range(300)]
        await eventually(lambda: sum(task.done() for task in tasks) == 300 - stream.MOST)
        assert streams.open == stream.MOST
        tasks[0].cancel()
        over.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert streams.open == 0
        return found

    found = asyncio.run(play())
    assert (found.count(200), found.count(503)) == (stream.MOST - 1, 300 - stream.MOST)


def test_head_takes_no_stream_of_the_real_server(spool, path):
    with Dashboard(path) as dashboard:
        for _ in range(stream.MOST + 5):
            answer = dashboard.http.head("/api/events")
            assert answer.headers["content-type"].startswith("text/event-stream")
        with dashboard.stream("/api/events") as events:
            until(lambda: events.events)


# -- every answer


def test_rights_come_before_the_body(spool):
    desk = desk_of(spool)

    async def receive():
        raise AssertionError("the body was asked for")

    async def play():
        routes = app.routes(desk, Pages(desk), app.Api(desk), app.Streams(desk))
        posts = [r for r in routes if isinstance(r, Route) and "POST" in r.methods]
        for route in posts:
            with pytest.raises(ReadOnly):
                await route.endpoint(Request({"type": "http", "method": "POST"}, receive))
        return len(posts)

    assert asyncio.run(play()) >= 8


def test_a_log_that_grows_is_sent_as_it_was(spool, path):
    log = path / "logs" / "grows.1.out"
    log.write_bytes(b"x" * 300_000)

    async def grow(scope, receive, send):
        request = Request({**scope, "path_params": params}, receive)

        async def send_and_grow(message):
            with log.open("ab") as file:
                file.write(b"y" * 1000)
            await send(message)

        await Pages(desk_of(spool)).log(request)(scope, receive, send_and_grow)

    params = {"id": "grows", "attempt": "1", "stream": "out"}
    answer = asyncio.run(ask(grow, "GET", "/jobs/grows/log/1/out"))

    assert answer.headers["content-length"] == "300000"
    assert (answer.body, answer.ended) == (b"x" * 300_000, 1)


def test_an_error_that_nobody_expected_is_a_page_with_headers_and_one_line(spool, caplog):
    door = app.application(desk_of(spool))

    for where in ("/", "/api/status"):
        answer = asyncio.run(ask(door, "GET", where))
        assert answer.status == 500
        assert HEADERS.keys() <= answer.headers.keys()
        assert "its log says more" in answer.body.decode()
        assert ("</html>" in answer.body.decode()) == (where == "/")
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 2


def test_a_job_is_shown_though_its_log_is_no_plain_file(spool, path, tmp_path):
    (tmp_path / "secret").write_text("what-lies-outside")
    for number in range(3):
        name = encode(Name(time.time(), 5, 1, f"job{number}"))
        (path / "completed" / name).write_bytes(b'{"command": "true"}')
    os.mkfifo(path / "logs" / "job0.1.out")
    (path / "logs" / "job1.1.out").symlink_to(tmp_path / "secret")
    (path / "logs" / "job2.1.out").mkdir()

    with Dashboard(path) as dashboard:
        for number in range(3):
            page = dashboard.get(f"/jobs/job{number}").text
            assert "cannot be read" in page
            assert "what-lies-outside" not in page
            answer = dashboard.http.get(f"/jobs/job{number}/log/1/out")
            assert answer.status_code == 503
            assert "what-lies-outside" not in answer.text


def test_names_that_are_no_text_are_shown_as_escapes(spool, path):
    with open(os.fsencode(path) + b"/pending/drop-\xff.json", "wb") as file:
        file.write(b'{"command": "true"}')

    with Dashboard(path) as dashboard:
        assert r"drop-\udcff.json" in dashboard.get("/jobs").text
        [job] = dashboard.get("/api/jobs").json()["jobs"]
        assert job["id"] == "drop-\udcff.json"
        for where in (
            "/api/jobs/x/follow?out=²",
            "/jobs/%00",
            "/api/jobs?after=%2B" + "9" * 5000,
            f"/jobs/x/log/{'9' * 23}/out",
            f"/jobs/x/log/{'9' * 5000}/out",
        ):
            answer = dashboard.http.get(where)
            assert answer.status_code < 500
            assert HEADERS.keys() <= answer.headers.keys()


def test_no_request_breaks_a_route(path, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.routes", "-count", "250"],
        capture_output=True,
        text=True,
        env=environment(path),
        timeout=55,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.match(r"250 requests", done.stdout)


def test_a_body_that_is_too_large_is_refused_with_headers(spool):
    door = app.application(desk_of(spool, allow_actions=True))
    headers = [("content-type", "application/json"), ("content-length", "9" * 12)]

    for method, where, status in (
        ("POST", "/api/jobs", 413),
        ("POST", "/act", 413),
        ("GET", "/api/openapi.json", 200),
    ):
        answer = asyncio.run(ask(door, method, where, headers, b"x" * 2_000_000))
        check(method, answer)
        assert answer.status == status
