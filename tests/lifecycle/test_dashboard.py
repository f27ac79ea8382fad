"""The dashboard: the real server, asked over the network as browsers and programs do."""

import json
import os
import re
import signal
import subprocess
import sys
from html import escape
from pathlib import Path

import httpx
import jsonschema
import pytest
from openapi_spec_validator import validate
from starlette.routing import Mount

from queuectl import Spool, lookup, processes
from queuectl.dashboard import app, openapi
from queuectl.dashboard.desk import Options
from queuectl.filename import Name, encode
from queuectl.job import IGNORED
from tests.support import Workers, environment, ids_in, names, until
from tests.web import Dashboard

SCHEMA = Path(__file__).parents[2] / "docs" / "job.schema.json"

EVIL = "<script>alert(\"x\")</script> & 'quotes' <img src=x onerror=y>"


@pytest.fixture
def reader(spool, path):
    with Dashboard(path) as dashboard:
        yield dashboard


@pytest.fixture
def actor(spool, path):
    with Dashboard(path, "--allow-actions") as dashboard:
        yield dashboard


def run_all(path):
    with Workers(path, "--drain") as workers:
        workers.process.wait(50)


# -- looking


def test_every_page_shows_what_came_from_a_job_escaped(spool, path):
    spool.enqueue(
        {
            "id": "evil",
            "command": ["sh", "-c", f"echo '{EVIL.replace(chr(39), '')}' >&2; exit 1", EVIL],
            "name": EVIL,
            "max_retries": 1,
            "meta": {EVIL: EVIL},
            "env": {EVIL.replace("=", ""): "secret-value"},
        }
    )
    run_all(path)

    with Dashboard(path, "--allow-actions") as dashboard:
        pages = [
            dashboard.get(where).text
            for where in (
                "/",
                "/jobs",
                "/jobs?state=dead",
                "/jobs/evil",
                f"/jobs?text={EVIL}&batch={EVIL}",
            )
        ]

    assert all(
        "<script>alert" not in page and "<img" not in page and "secret-value" not in page
        for page in pages
    )
    assert escape("<script>alert(") in pages[2]


def test_the_overview_shows_who_works_and_why_jobs_wait(spool, path):
    spool.enqueue({"id": "long", "command": "sleep 600"})
    with Workers(path) as workers, Dashboard(path) as dashboard:
        [worker] = workers.up()
        until(lambda: ids_in(path, "processing") == ["long"])
        spool.enqueue({"id": "later", "command": "true", "delay": "2h"})
        spool.enqueue({"id": "asleep", "command": "true"}, hold=True)

        shown = until(
            lambda: (
                (text := dashboard.get("/").text)
                and "due in" in text
                and "</a>: held" in text
                and "/jobs/long" in text
                and text
            )
        )

    rows = re.findall(r"<tr>.*?</tr>", shown, re.DOTALL)
    [row] = [row for row in rows if worker["worker"] in row]
    assert worker["host"] in row
    assert "/jobs/long" in row
    assert shown.count("<figure") == 4


def test_pages_of_jobs_that_are_not_there_say_so(reader):
    for where in (
        "/jobs/nobody",
        "/jobs/..%2f..%2fspool.json",
        "/jobs/nobody?at=pending/../../x",
        "/nothing",
        "/static/../app.py",
    ):
        assert reader.http.get(where).status_code == 404
    assert reader.get("/api/jobs/nobody", code=404).json()["error"].startswith("no job 'nobody'")
    assert "Traceback" not in reader.get("/jobs?state=nowhere", code=400).text


def test_a_hint_leads_to_no_file_outside_of_the_states(reader, path):
    name = encode(Name(1_700_000_000.0, 5, 1, "outside"))
    (path / name).write_text('{"command": "true"}')

    for place in (f"processing/../{name}", f"blocked/../{name}", f"tmp/{name}", name):
        reader.get("/api/jobs/outside", at=place, code=404)


def test_a_log_is_plain_text_and_nothing_else_can_be_read(spool, path):
    spool.enqueue({"id": "says", "command": "echo '<b>hello</b>'"})
    run_all(path)

    with Dashboard(path) as dashboard:
        answer = dashboard.get("/jobs/says/log/1/out")
        others = [
            dashboard.http.get(f"/jobs/{id}/log/1/{stream}").status_code
            for id, stream in (("says", "x"), ("..%2fspool", "out"))
        ]

    assert (answer.text, answer.headers["content-type"]) == (
        "<b>hello</b>\n",
        "text/plain; charset=utf-8",
    )
    assert others == [404, 404]


def test_every_answer_forbids_what_is_not_its_own(reader):
    for where in (
        "/",
        "/jobs",
        "/nothing",
        "/api/status",
        "/api/nothing",
        "/static/style.css",
        "/healthz",
    ):
        headers = reader.http.get(where).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == (
            "nosniff",
            "DENY",
        )


def test_pages_have_no_script_or_style_of_their_own(actor, spool):
    spool.enqueue({"id": "one", "command": "true"})

    for where in ("/", "/jobs", "/jobs/one"):
        page = actor.get(where).text
        assert " style=" not in page
        assert re.findall(r"<[^>]*\son\w+=", page) == []
        assert page.count("<script") == page.count('<script src="/static/')
        assert "http://" not in page.replace(actor.url, "")


def test_the_status_is_that_of_the_command(spool, path, queuectl):
    spool.enqueue_all(["true", {"command": "true", "delay": "1h"}])

    with Dashboard(path) as dashboard:
        dashboard.counted(pending=2)
        shown, said = dashboard.get("/api/status").json(), queuectl.json("status")

    assert {**shown, "oldest_ready_seconds": 0} == {
        **said,
        "oldest_ready_seconds": 0,
        "counted_at": shown["counted_at"],
    }
    assert shown["oldest_ready_seconds"] is not None


def test_a_record_is_that_of_the_command(spool, path, queuectl):
    spool.enqueue({"id": "one", "command": "echo hi"})
    run_all(path)

    with Dashboard(path) as dashboard:
        assert dashboard.get("/api/jobs/one").json() == queuectl.json("show", "one")
        assert dashboard.get("/api/jobs", state="completed").json()["jobs"] == queuectl.json(
            "list", "--state", "completed"
        )


def all_pages(dashboard, **words):
    ids, after, complete = [], None, []
    while True:
        found = dashboard.get("/api/jobs", **words, **({"after": after} if after else {})).json()
        ids += [job["id"] for job in found["jobs"]]
        complete.append(found["complete"])
        after = found["next"]
        if not after:
            return ids


def test_cursors_show_every_job_once_in_the_order_of_the_command(spool, path, queuectl):
    spool.enqueue_all(
        [
            {"id": f"j{n}", "command": "true", "priority": n % 10, "delay": 3600 * (n % 3 == 0)}
            for n in range(75)
        ]
    )

    with Dashboard(path) as dashboard:
        ids = all_pages(dashboard, limit="10")

    assert ids == [record["id"] for record in queuectl.json("list", "--limit", "0")]


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
def test_cursors_lead_from_drops_to_jobs(spool, path, limit):
    for number in range(3):
        (path / "pending" / f"drop-{number}.json").write_text('{"command": "true"}')
    spool.enqueue_all([{"id": f"j{number}", "command": "true"} for number in range(3)])

    with Dashboard(path) as dashboard:
        ids = all_pages(dashboard, limit=str(limit))

    assert ids == ["drop-0.json", "drop-1.json", "drop-2.json", "j0", "j1", "j2"]


def test_a_large_directory_is_listed_from_an_index(spool, path):
    for n in range(3200):
        (path / "completed" / encode(Name(1_700_000_000.0 + n, 5, 1, f"job-{n}"))).write_bytes(
            b'{"command": "true"}'
        )

    with Dashboard(path) as dashboard:
        dashboard.counted(completed=3200)
        first = dashboard.get("/api/jobs", state="completed", limit="200").json()
        second = dashboard.get(
            "/api/jobs", state="completed", limit="200", after=first["next"]
        ).json()
        ids = all_pages(dashboard, state="completed", limit="200", id="job-31")
        times = all_pages(
            dashboard, state="completed", since="2023-11-14T22:13:25Z", until="2023-11-14T22:13:30Z"
        )
        page = dashboard.get("/jobs?state=completed").text

        # A job that ends now comes before all of the index.
        (path / "completed" / encode(Name(1_800_000_000.0, 5, 1, "newest"))).write_bytes(
            b'{"command": "true"}'
        )
        until(
            lambda: (
                dashboard.get("/api/jobs", state="completed", limit="1").json()["jobs"][0]["id"]
                == "newest"
            )
        )
        assert dashboard.get("/api/jobs/job-5").json()["state"] == "completed"

    assert [job["id"] for job in first["jobs"] + second["jobs"]] == [
        f"job-{n}" for n in range(3199, 2799, -1)
    ][: len(first["jobs"] + second["jobs"])]
    assert ids == [f"job-{n}" for n in range(3199, 3099, -1)] + ["job-31"] or set(ids) == {
        f"job-{n}" for n in [31, *range(310, 320), *range(3100, 3200)]
    }
    assert times == [f"job-{n}" for n in range(10, 4, -1)]
    assert "3,200" in page


def test_filters_find_jobs_by_what_they_say(spool, path):
    spool.enqueue_all([
        {"id": "a", "command": "make Report", "batch": "night"},
        {"id": "b", "command": "true", "name": "the report", "batch": "day"},
        {"id": "c", "command": "true", "batch": "night"},
    ])  # fmt: skip

    with Dashboard(path) as dashboard:
        assert all_pages(dashboard, text="report") == ["a", "b"]
        assert all_pages(dashboard, batch="night") == ["a", "c"]
        assert all_pages(dashboard, id="c") == ["c"]
        assert (
            dashboard.get("/api/jobs", since="soon", code=400)
            .json()["error"]
            .startswith("since 'soon' is no time")
        )


# -- streams


def test_a_change_is_told_to_those_who_listen(spool, reader):
    with reader.stream("/api/events") as stream:
        until(lambda: stream.events)
        spool.enqueue("true")
        until(
            lambda: any(
                status["jobs"]["pending"] == 1 for name, status in stream.events if name == "change"
            )
        )


def test_what_a_running_job_prints_can_be_followed_to_its_end(spool, path, reader, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    spool.enqueue(
        {"id": "talks", "command": f"echo first; echo oops >&2; read x < {gate}; echo last"}
    )

    with Workers(path), reader.stream("/api/jobs/talks/follow") as stream:
        until(lambda: {name for name, _ in stream.events} == {"out", "err"})
        gate.write_text("go\n")
        until(lambda: stream.events[-1][0] == "over")

    assert "".join(data["text"] for name, data in stream.events if name == "out") == "first\nlast\n"
    assert "".join(data["text"] for name, data in stream.events if name == "err") == "oops\n"
    assert stream.events[-1][1]["state"] == "completed"


# -- who may come in


def test_nothing_is_done_by_a_dashboard_that_only_shows(spool, reader, path):
    spool.enqueue({"id": "one", "command": "true"})

    reader.post("/api/jobs", {"command": "true"}, code=403)
    reader.post("/api/jobs/one/cancel", code=403)
    reader.post("/api/pause", code=403)
    reader.post("/api/workers/x/stop", code=403)
    assert (
        reader.http.post("/act", data={"act": "cancel", "job": "one", "sure": "yes"}).status_code
        == 403
    )
    assert reader.http.post("/spool", data={"act": "pause"}).status_code == 403
    for answer in (
        reader.http.post("/enqueue", data={"command": "true"}),
        reader.http.get("/enqueue"),
    ):
        assert answer.status_code == 403
        assert "only shows" in answer.text

    assert ids_in(path, "pending") == ["one"]
    assert not spool.is_paused()
    assert "<button name=" not in reader.get("/jobs/one").text


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
    ],
    ids=str,
)
def test_a_page_of_another_site_can_do_nothing(actor, spool, headers):
    answer = actor.http.post(
        "/api/jobs",
        content='{"command": "true"}',
        headers={"content-type": "application/json", **headers},
    )

    assert answer.status_code in (400, 403, 415)
    assert spool.count("pending") == 0


@pytest.mark.parametrize("token", ["", "wrong", "é"])
def test_a_form_needs_the_token_of_this_server(actor, spool, path, token):
    spool.enqueue({"id": "one", "command": "true"})

    answer = actor.http.post(
        "/act", data={"act": "hold", "job": "one", "token": token}, headers={"origin": actor.url}
    )

    assert answer.status_code == 403
    assert (
        actor.http.post(
            "/enqueue", data={"command": "true", "token": token}, headers={"origin": actor.url}
        ).status_code
        == 403
    )
    assert ids_in(path, "pending") == ["one"]


def test_nothing_is_changed_by_get(actor):
    for where in ("/act", "/spool", "/api/pause", "/api/jobs/x/cancel", "/api/workers/x/stop"):
        assert actor.http.get(where).status_code in (404, 405)


def test_names_that_others_could_point_here_are_unknown(reader):
    port = reader.url.rpartition(":")[2]

    known = {
        host: reader.http.get("/healthz", headers={"host": host}).status_code
        for host in (
            f"localhost:{port}",
            f"127.0.0.1:{port}",
            "[::1]",
            "evil.example",
            "localhost.evil.example",
            "a b",
            "",
        )
    }

    assert known == {
        f"localhost:{port}": 200,
        f"127.0.0.1:{port}": 200,
        "[::1]": 200,
        "evil.example": 400,
        "localhost.evil.example": 400,
        "a b": 400,
        "": 400,
    }


def test_another_name_can_be_given_to_it(spool, path):
    with Dashboard(path, "--public-host", "Jobs.Example") as dashboard:
        assert dashboard.http.get("/", headers={"host": "jobs.example"}).status_code == 200


def test_a_password_opens_all_pages_and_only_that(spool, path, tmp_path):
    secret = tmp_path / "password"
    secret.touch(0o600)
    secret.write_text("open sesame: ä\n")

    with Dashboard(
        path,
        "--password-file",
        str(secret),
        "--host",
        "0.0.0.0",
        auth=("anybody", "open sesame: ä"),
    ) as dashboard:
        url = dashboard.url.replace("0.0.0.0", "127.0.0.1")
        for where in ("/", "/api/status", "/metrics", "/static/style.css", "/nothing"):
            assert httpx.get(url + where, trust_env=False).status_code == 401
            assert httpx.get(url + where, auth=dashboard.auth, trust_env=False).status_code == (
                404 if where == "/nothing" else 200
            )
        for auth in (("anybody", "wrong"), ("open sesame: ä", ""), ("anybody", "open sesame: ä ")):
            answer = httpx.get(f"{url}/api/status", auth=auth, trust_env=False)
            assert (answer.status_code, answer.headers["www-authenticate"][:5]) == (401, "Basic")
        assert httpx.get(f"{url}/healthz", trust_env=False).json() == {"healthy": True}


def test_it_listens_beyond_this_machine_only_with_a_password(spool, queuectl, tmp_path):
    assert "give --password-file" in queuectl.refusal(
        "dashboard", "--host", "0.0.0.0", "--port", "0", code=2
    )

    secret = tmp_path / "password"
    for text, mode, why in (
        ("long enough", 0o644, "others can read"),
        ("short", 0o600, "8 characters or more"),
    ):
        secret.write_text(text)
        secret.chmod(mode)
        assert why in queuectl.refusal("dashboard", "--password-file", str(secret), code=2)
    assert "cannot read" in queuectl.refusal(
        "dashboard", "--password-file", str(tmp_path / "none"), code=2
    )


# -- acting


def test_a_job_can_be_enqueued_by_the_rules_of_the_command(actor, path):
    assert actor.post("/api/jobs", {"id": "one", "command": "true", "priority": 9}, code=201) == {
        "id": "one"
    }

    assert (
        "is taken" in actor.post("/api/jobs", {"id": "one", "command": "true"}, code=409)["error"]
    )
    assert (
        actor.post("/api/jobs", {"command": "true", "priority": 10}, code=422)["field"]
        == "priority"
    )
    assert (
        "did you mean"
        in actor.post("/api/jobs", {"command": "true", "prioritty": 1}, code=422)["error"]
    )
    actor.post("/api/jobs", {"id": "k1", "command": "true", "unique": "key"}, code=201)
    assert (
        "is held by job k1"
        in actor.post("/api/jobs", {"command": "true", "unique": "key"}, code=409)["error"]
    )
    assert (
        actor.http.post(
            "/api/jobs", content=b"{", headers={"content-type": "application/json"}
        ).status_code
        == 422
    )
    assert (
        actor.http.post(
            "/api/jobs", content=b"x" * 2_000_000, headers={"content-type": "application/json"}
        ).status_code
        == 413
    )
    assert ids_in(path, "pending") == ["k1", "one"]


def form(actor, **fields):
    token = re.search(r'name="token" value="([^"]+)"', actor.http.get("/enqueue").text)[1]
    return actor.http.post(
        "/enqueue",
        data={"token": token, **fields},
        headers={"origin": actor.url},
        follow_redirects=False,
    )


def test_a_job_can_be_enqueued_by_a_form(actor, spool, path):
    answer = form(
        actor,
        command="echo one\r\necho two",
        id="one",
        priority="9",
        delay="1h",
        cwd="",
        name=" a name ",
        limit="gpu:0",
    )

    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs/one")
    job = lookup.read(spool, lookup.find(spool, "one").file)
    assert (job.command, job.priority, job.delay) == ("echo one\necho two", 9, 3600.0)
    assert (job.cwd, job.name, job.limit) == (None, "a name", "gpu:0")


@pytest.mark.parametrize(
    ("fields", "code", "says"),
    [
        ({"id": "taken", "command": "true"}, 409, "is taken"),
        ({"command": " "}, 422, "command"),
        ({"command": "true", "priority": "high"}, 422, "priority"),
        ({"command": "true", "priority": "10"}, 422, "must be from 0 to 9"),
        ({"command": "true", "max_retries": "9" * 5000}, 422, "max_retries"),
        ({"command": "<b>true", "delay": "soon"}, 422, "delay"),
    ],
    ids=str,
)
def test_a_form_with_a_fault_comes_back_with_what_was_written(
    actor, spool, path, fields, code, says
):
    spool.enqueue({"id": "taken", "command": "true"})

    answer = form(actor, name="<i>mine", **fields)

    assert answer.status_code == code
    assert says in re.search(r'role="alert">(.*?)</p>', answer.text)[1]
    assert 'value="&lt;i&gt;mine"' in answer.text
    assert "<b>" not in answer.text
    assert ids_in(path, "pending") == ["taken"]


def test_every_action_does_what_the_command_does(actor, spool, path):
    spool.enqueue_all(
        [
            {"id": "one", "command": "true", "delay": "1h"},
            {"id": "bad", "command": "false", "max_retries": 1},
        ]
    )

    actor.post("/api/jobs/one/hold")
    assert ids_in(path, "held") == ["one"]
    actor.post("/api/jobs/one/release")
    actor.post("/api/jobs/one/priority", {"priority": 8})
    assert "-p8-" in names(path, "pending")[-1]
    assert "not held" in actor.post("/api/jobs/one/release", code=409)["error"]
    assert "needs" in actor.post("/api/jobs/one/priority", code=400)["error"]
    assert (
        "from 0 to 9" in actor.post("/api/jobs/one/priority", {"priority": 10}, code=400)["error"]
    )
    assert "no action" in actor.post("/api/jobs/one/explode", code=400)["error"]
    actor.post("/api/jobs/one/run")
    run_all(path)
    assert (ids_in(path, "completed"), ids_in(path, "dead")) == (["one"], ["bad"])
    actor.post("/api/jobs/bad/retry")
    assert ids_in(path, "pending") == ["bad"]
    actor.post("/api/jobs/bad/cancel")
    assert ids_in(path, "dead") == ["bad"]
    actor.post("/api/jobs/bad/remove")
    assert ids_in(path, "dead") == []
    actor.post("/api/jobs/bad/remove", code=404)


def test_the_spool_can_be_paused_and_a_worker_stopped(actor, spool, path):
    assert actor.post("/api/pause") == {"paused": True, "changed": True}
    assert spool.is_paused()
    assert "Paused" in actor.get("/").text
    assert actor.post("/api/resume") == {"paused": False, "changed": True}

    with Workers(path) as workers:
        name = workers.up()[0]["worker"]
        page = actor.form("/spool", act="stop", worker=name).text
        assert "Yes, stop" in page
        assert workers.process.poll() is None
        actor.post(f"/api/workers/{name}/stop", code=202)
        assert workers.process.wait(30) == 0
    assert "no worker" in actor.post("/api/workers/nobody/stop", code=404)["error"]


def test_many_jobs_are_acted_on_after_a_confirmation(actor, spool, path):
    spool.enqueue_all([{"id": f"j{n}", "command": "true"} for n in range(5)])
    files = {record["id"]: record["file"] for record in actor.get("/api/jobs").json()["jobs"]}
    chosen = [f"{id} {files[id]}" for id in ("j1", "j3")]

    asked = actor.form("/act", act="cancel", job=chosen, back="/jobs")
    assert "Cancel: 2 jobs?" in " ".join(asked.text.split())
    assert ids_in(path, "dead") == []

    done = actor.form("/act", act="cancel", job=[*chosen, "gone"], back="/jobs", sure="yes")
    assert ids_in(path, "dead") == ["j1", "j3"]
    assert "2 done, 1 refused" in done.text

    asked = actor.form("/act", act="hold", scope="all", state="pending", back="//evil.example")
    assert "Hold: 3 jobs?" in " ".join(asked.text.split())
    assert "evil" not in asked.text


def test_one_job_is_acted_on_at_once_unless_that_cannot_be_undone(actor, spool, path):
    spool.enqueue({"id": "one", "command": "true"})

    assert (
        actor.form("/act", code=303, act="hold", job="one", back="/jobs/one").headers["location"]
        == "/jobs/one"
    )
    assert ids_in(path, "held") == ["one"]
    assert "for good" in actor.form("/act", act="remove", job="one", back="/jobs/one").text
    assert (
        actor.form("/act", code=303, act="remove", job="one", back="/jobs/one", sure="yes").headers[
            "location"
        ]
        == "/jobs"
    )
    assert actor.form("/act", code=400, act="hold").status_code == 400


# -- the program


def test_the_description_of_the_api_is_valid_and_whole(spool):
    described = openapi.document()
    desk = type("Desk", (), {"options": Options(), "spool": spool})()
    routes = [
        route
        for route in app.routes(desk, app.Pages(desk), app.Api(desk), app.Streams(desk))
        if not isinstance(route, Mount)
    ]

    validate(described)
    ours = {
        (route.path, method)
        for route in routes
        for method in route.methods
        if method != "HEAD"
        and (route.path.startswith("/api/") or route.path in ("/healthz", "/metrics"))
    }
    assert {
        (path, verb.upper()) for path, verbs in described["paths"].items() for verb in verbs
    } == ours


def test_answers_are_as_described(spool, path):
    described = openapi.document()
    spool.enqueue({"id": "one", "command": ["echo", "x"], "name": "n", "batch": "b", "delay": "1h"})

    def check(answer, name):
        schema = {"$ref": f"#/components/schemas/{name}", "components": described["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer.json())

    with Workers(path) as workers, Dashboard(path, "--allow-actions") as dashboard:
        workers.up()
        until(lambda: dashboard.get("/api/status").json()["workers"])
        check(dashboard.get("/api/status"), "Status")
        check(dashboard.get("/api/jobs"), "Page")
        check(dashboard.get("/api/jobs/one"), "Job")
        check(dashboard.get("/api/jobs/nobody", code=404), "Refusal")
        check(dashboard.http.post("/api/jobs/one/hold", json={}), "Done")
        check(dashboard.http.post("/api/jobs", json={"command": 3}), "Refusal")
    assert (
        set(described["components"]["schemas"]["NewJob"]["properties"])
        == set(json.loads(SCHEMA.read_text())["properties"]) - IGNORED
    )


def test_it_ends_when_told_with_streams_open_and_leaves_no_process(spool, path):
    with Dashboard(path) as dashboard, dashboard.stream("/api/events") as stream:
        until(lambda: stream.events)
        children = [
            pid
            for pid in os.listdir("/proc")
            if pid.isdigit() and parent(pid) == dashboard.process.pid
        ]
        assert len(children) == 1

        dashboard.process.send_signal(signal.SIGTERM)

        assert dashboard.process.wait(30) == 0
        until(lambda: not os.path.exists(f"/proc/{children[0]}"))


def parent(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return None


def test_the_counter_ends_with_a_killed_server(spool, path):
    with Dashboard(path) as dashboard:
        child = next(
            pid
            for pid in os.listdir("/proc")
            if pid.isdigit() and parent(pid) == dashboard.process.pid
        )
        dashboard.process.kill()
        until(lambda: not os.path.exists(f"/proc/{child}"))


def test_it_ends_with_a_line_when_its_counter_has_died(spool, path):
    with Dashboard(path) as dashboard:
        child = next(
            int(pid)
            for pid in os.listdir("/proc")
            if pid.isdigit() and parent(pid) == dashboard.process.pid
        )
        processes.kill(child)

        assert dashboard.process.wait(30) == 1
        assert (
            dashboard.log.read_text()
            .splitlines()[-1]
            .endswith("has died; start the dashboard again")
        )


def test_a_port_that_is_taken_is_refused_in_one_line(reader, queuectl):
    assert "choose others with" in queuectl.refusal(
        "dashboard", "--port", reader.url.rpartition(":")[2], code=1
    )


def test_without_the_extra_it_says_how_to_get_it(spool, path):
    code = """
import sys
sys.modules["starlette"] = sys.modules["prometheus_client"] = None
from queuectl.cli import invoke
sys.exit(invoke(sys.argv[1:]))
"""
    for command in ("dashboard", "metrics"):
        done = subprocess.run(
            [sys.executable, "-c", code, command],
            capture_output=True,
            text=True,
            env=environment(path),
            check=False,
        )

        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert done.stderr.endswith("pip install 'queuectl[web]'\n")


def test_a_spool_that_is_not_there_is_not_made(path, queuectl):
    assert "no spool at" in queuectl.refusal("dashboard", code=1)
    assert not Spool(path).exists()
