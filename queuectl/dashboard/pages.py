"""The pages, for people: made here whole, so that they also work without a script.

Promises
    Whatever came from a job is escaped.
    A form without the token of this server does nothing; what cannot be undone is asked first.
Leaves to others
    which jobs (listing), what is done to them (deeds), how it looks (templates, static).
Raises
    QueuectlError, which the application makes a page of.
"""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Iterator
from typing import IO, Any
from urllib.parse import parse_qs, quote, urlencode

import jinja2
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse

from queuectl import __version__, disk, lookup, render, units, waiting
from queuectl.dashboard import answers, deeds, listing, plots
from queuectl.dashboard.desk import DAY, HOUR, Desk, buckets
from queuectl.errors import IdTaken, InvalidJob, QueuectlError, Wrong
from queuectl.filename import is_id
from queuectl.layout import STATES, Entry

#: Bytes of each stream that a job's page shows; all of it is one click away.
SHOWN = 64 * 1024

#: Seconds for which all jobs are looked for that something shall be done to.
PATIENCE = 10

#: The words of a URL that filter a list.
FILTERS = ("state", "id", "batch", "text", "since", "until")


#: The fields of the form for a job, besides its command: key, label, an example.
FIELDS = (
    ("id", "Id", "made for you"),
    ("name", "Name", "nightly report"),
    ("cwd", "Directory", "/srv/site"),
    ("priority", "Priority, 0 to 9", "5"),
    ("delay", "Not before", "10m"),
    ("timeout", "Timeout", "1h"),
    ("max_retries", "Attempts in all", "3"),
    ("limit", "Limit", "gpu:0"),
    ("batch", "Batch", "photos"),
)

#: Those of them that are whole numbers.
WHOLE = frozenset({"priority", "max_retries"})


class BadToken(QueuectlError):
    """A form came without the token of this server."""


class Pages:
    """The pages of one dashboard."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(os.path.join(os.path.dirname(__file__), "templates")),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "ago": self._ago, "command": _command, "short": render.short, "seconds": plots.seconds, "span": units.ago, "url": _url, "urlencode": _quoted,
        }  # fmt: skip
        self._templates.globals |= {"version": __version__, "desk": desk, "states": STATES}

    def _page(self, name: str, request: Request, *, code: int = 200, **values: Any) -> Response:
        scope = request.scope
        here = b"?".join(filter(None, (scope["raw_path"], scope["query_string"]))).decode("latin-1")
        more = {
            "here": here if request.method == "GET" else "",
            "acting": self._desk.options.allow_actions,
            "token": self._desk.token,
        }
        return answers.Page(self._templates.get_template(name).render(**more, **values), code)

    def _ago(self, text: str | None) -> str:
        """How long ago a time was, or how long it is until then."""
        if not text:
            return "-"
        past = self._desk.spool.now() - units.instant(text)
        return f"{units.ago(past)} ago" if past >= 0 else f"in {units.ago(-past)}"

    def error(self, request: Request, message: str, code: int) -> Response:
        """A refusal as a page."""
        return self._page("error.html", request, code=code, message=message)

    # -- looking

    def overview(self, request: Request) -> Response:
        """/: how things are."""
        desk = self._desk
        report, now = desk.counter.report, desk.spool.now()
        hour, day = buckets(report, now, *HOUR), buckets(report, now, *DAY)
        drawn = [
            ("hour-ends", "Ended in the last hour", plots.throughput(hour, HOUR[1])),
            ("day-ends", "Ended in the last day", plots.throughput(day, DAY[1])),
            ("hour-times", "Run time in the last hour", plots.run_times(hour, HOUR[1])),
            ("day-times", "Run time in the last day", plots.run_times(day, DAY[1])),
        ]
        waits = self._waits()
        return self._page(
            "overview.html",
            request,
            status=desk.status(),
            counts=desk.states(),
            plots=drawn,
            waits=waits,
        )

    def _waits(self) -> list[tuple[str, str, int]]:
        """Why jobs wait: (state, reason, how many of those that are looked at), of the first of each state."""
        found: dict[tuple[str, str], int] = {}
        for state in ("blocked", "held", "pending", "failed"):
            if self._desk.counter.report["jobs"][state]:
                shown = listing.page(
                    self._desk.spool, self._desk.counter, listing.Filter(state), "", 20
                )
                for record in shown.records:
                    if record["waits"]:
                        key = (state, record["waits"])
                        found[key] = found.get(key, 0) + 1
        return [
            (state, why, count)
            for (state, why), count in sorted(found.items(), key=lambda item: -item[1])
        ][:8]

    def jobs(self, request: Request) -> Response:
        """/jobs: those of one state, a page at a time; dead letters with why they died."""
        desk, words = self._desk, request.query_params
        wanted = listing.read_filter(words, desk.spool.now())
        shown = listing.page(desk.spool, desk.counter, wanted, words.get("after", ""))
        if wanted.state == "dead":
            for record in shown.records:
                record |= self._end(record)
        kept = {key: words[key] for key in FILTERS if words.get(key)}
        acts = deeds.acts_for(desk, wanted.state)
        return self._page(
            "jobs.html",
            request,
            wanted=wanted,
            words=kept,
            shown=shown,
            acts=acts,
            counts=desk.states(),
            after=words.get("after", ""),
        )

    def _end(self, record: dict[str, Any]) -> dict[str, Any]:
        entry = listing.at_place(self._desk.spool, record["file"], record["id"])
        run = (lookup.last_run(self._desk.spool, entry) if entry else None) or {}
        return {"reason": run.get("reason"), "stderr": (run.get("stderr_tail") or "").strip()}

    def job(self, request: Request) -> Response:
        """/jobs/ID: everything about one."""
        desk, id = self._desk, request.path_params["id"]
        entry = listing.find(desk.spool, desk.counter, id, request.query_params.get("at", ""))
        settings, why = desk.spool.settings(), waiting.Reasons(desk.spool).of
        entry, record = lookup.view(
            desk.spool,
            entry,
            lambda e: (e, lookup.full_record(desk.spool, e, settings, why)),
        )
        runs = record.pop("runs")
        attempt = max([entry.name.attempts, *(run["attempt"] or 0 for run in runs[-1:])])
        output = (
            {stream: self._tail(entry, attempt, stream) for stream in ("out", "err")}
            if attempt
            else {}
        )
        spans = [
            (
                units.instant(run["started_at"]),
                units.instant(run["finished_at"]),
                run["outcome"] or "unknown",
            )
            for run in runs
            if run["started_at"] and run["finished_at"]
        ]
        if entry.state == "processing":
            spans.append((entry.name.time, max(entry.name.time, desk.spool.now()), "processing"))
        return self._page(
            "job.html",
            request,
            job=record,
            runs=runs,
            bars=plots.timeline(spans),
            attempt=attempt,
            output=output,
            acts=deeds.acts_for(desk, entry.state),
            path=desk.spool.at(entry.file),
        )

    def _tail(self, entry: Entry, attempt: int, stream: str) -> dict[str, Any]:
        try:
            file = _opened(self._desk.spool.log(entry.name.id, attempt, stream))
        except OSError as error:
            return {"text": f"(cannot be read: {error.strerror})", "at": 0, "cut": False}
        if file is None:
            return {"text": "", "at": 0, "cut": False}
        with file:
            size = os.fstat(file.fileno()).st_size
            data = os.pread(file.fileno(), min(size, SHOWN), max(0, size - SHOWN))
        return {"text": data.decode(errors="replace"), "at": size, "cut": size > SHOWN}

    def log(self, request: Request) -> Response:
        """/jobs/ID/log/ATTEMPT/STREAM: the whole of what an attempt has printed by now, as text."""
        id, stream = request.path_params["id"], request.path_params["stream"]
        attempt = answers.whole(request.path_params["attempt"])
        if attempt is None or stream not in ("out", "err") or not is_id(id):
            return PlainTextResponse("no such log\n", 404)
        file = _opened(self._desk.spool.log(id, attempt, stream))
        if file is None:
            return PlainTextResponse("")  # nothing was printed, or the log is gone
        size = os.fstat(file.fileno()).st_size
        headers = {"content-length": str(size), "content-type": "text/plain; charset=utf-8"}
        if request.method == "HEAD":
            file.close()
            return Response(headers=headers)
        return StreamingResponse(_pieces(file, size), headers=headers)

    # -- acting

    async def act(self, request: Request) -> Response:
        """POST /act: do something to jobs, after asking where that is due."""
        return await run_in_threadpool(self._act, request, await _posted(request))

    def _act(self, request: Request, form: dict[str, list[str]]) -> Response:
        self._check(form)
        verb, jobs = _one(form, "act"), [_job(text) for text in form.get("job", ())]
        if verb not in deeds.ACTS:
            raise Wrong("choose what to do")
        value = deeds.priority(_one(form, "value")) if verb == "priority" else 0
        if _one(form, "scope") == "all":
            jobs = self._all_that_match(form)
        if not jobs:
            raise Wrong("choose one job at least")
        if len(jobs) > deeds.MOST:
            raise Wrong(f"these are {len(jobs)} jobs; at most {deeds.MOST} at once")
        act, back = deeds.ACTS[verb], _local(_one(form, "back"))
        if not _one(form, "sure") and (act.asks or len(jobs) > 1):
            return self._page(
                "confirm.html",
                request,
                act=act,
                verb=verb,
                jobs=jobs,
                value=value,
                back=back,
                target="/act",
            )
        done, refused = deeds.do_all(self._desk, verb, jobs, value)
        if not refused and len(jobs) == 1:
            return RedirectResponse("/jobs" if verb == "remove" else back, 303)
        return self._page("done.html", request, act=act, done=done, refused=refused, back=back)

    def _all_that_match(self, form: dict[str, list[str]]) -> list[tuple[str, str]]:
        """Every job that the filter of the page lets through, up to the most that are done at once."""
        wanted = listing.read_filter(
            {key: _one(form, key) for key in FILTERS}, self._desk.spool.now()
        )
        found: list[tuple[str, str]] = []
        after, ends = "", time.monotonic() + PATIENCE
        while len(found) < deeds.MOST:
            if time.monotonic() > ends:
                raise Wrong(
                    f"to look through all of these takes longer than {PATIENCE} s; give a time or a part of an id as well, and try again"
                )
            shown = listing.page(
                self._desk.spool,
                self._desk.counter,
                wanted,
                after,
                min(listing.MOST, deeds.MOST - len(found)),
            )
            found += [(record["id"], record["file"]) for record in shown.records]
            after = shown.next
            if not after:
                break
        return found

    def form(self, request: Request) -> Response:
        """/enqueue: a form for a job."""
        deeds.allow(self._desk)
        return self._form(request, {})

    def _form(
        self, request: Request, given: dict[str, str], why: str = "", code: int = 200
    ) -> Response:
        return self._page("enqueue.html", request, code=code, fields=FIELDS, given=given, why=why)

    async def enqueue(self, request: Request) -> Response:
        """POST /enqueue: put a job into the queue, or show the form again with what is wrong."""
        return await run_in_threadpool(self._enqueue, request, await _posted(request))

    def _enqueue(self, request: Request, form: dict[str, list[str]]) -> Response:
        self._check(form)
        # A browser sends the ends of lines as networks have them, and the shell wants those of Unix.
        given = {
            key: _one(form, key).replace("\r\n", "\n").strip()
            for key in ("command", *(key for key, _, _ in FIELDS))
        }
        record = {
            key: int(text) if key in WHOLE and text.isdecimal() and len(text) < 10 else text
            for key, text in given.items()
            if text
        }
        try:
            id = deeds.enqueue(self._desk, record)
        except (InvalidJob, IdTaken) as error:
            return self._form(
                request, given, str(error), 409 if isinstance(error, IdTaken) else 422
            )
        return RedirectResponse(f"/jobs/{id}", 303)

    async def steer(self, request: Request) -> Response:
        """POST /spool: pause or resume it, or stop the supervisor of a worker."""
        return await run_in_threadpool(self._steer, request, await _posted(request))

    def _steer(self, request: Request, form: dict[str, list[str]]) -> Response:
        self._check(form)
        what, worker = _one(form, "act"), _one(form, "worker")
        if what == "stop" and not _one(form, "sure"):
            return self._page("stop.html", request, worker=worker)
        if what == "stop":
            deeds.stop_worker(self._desk, worker)
        elif what in ("pause", "resume"):
            deeds.pause(self._desk, on=what == "pause")
        else:
            raise Wrong("choose what to do")
        return RedirectResponse("/", 303)

    def _check(self, form: dict[str, list[str]]) -> None:
        deeds.allow(self._desk)
        if not hmac.compare_digest(_one(form, "token").encode(), self._desk.token.encode()):
            raise BadToken(
                "this form is not of this server's, or of before its last start; go back, reload the page and try again"
            )


def _opened(path: str) -> IO[bytes] | None:
    """The plain file at `path`; None if there is none."""
    try:
        return open(disk.open_plain(path), "rb", buffering=0)
    except FileNotFoundError:
        return None


def _pieces(file: IO[bytes], size: int) -> Iterator[bytes]:
    """The first `size` bytes of a file that may grow, and close it."""
    with file:
        while size and (data := file.read(min(size, SHOWN))):
            size -= len(data)
            yield data


async def _posted(request: Request) -> dict[str, list[str]]:
    """The fields of the form that was sent."""
    return parse_qs((await request.body()).decode(errors="replace"), keep_blank_values=True)


def _one(form: dict[str, list[str]], key: str) -> str:
    return form.get(key, [""])[0]


def _job(text: str) -> tuple[str, str]:
    """The id of a job and the file it was in when the form was made."""
    id, _, file = text.partition(" ")
    return id, file


def _local(path: str) -> str:
    """Where to go back to, on this server and nowhere else."""
    return (
        path
        if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
        else "/"
    )


def _command(value: Any) -> str:
    return "(cannot be read)" if value is None else render.command(value)


def _quoted(text: str) -> str:
    """`text` as a part of a URL; a file name may be no UTF-8."""
    return quote(os.fsencode(text))


def _url(words: dict[str, str], **more: str) -> str:
    """The list with these words, some of them changed; those that are empty are left out."""
    return "/jobs?" + urlencode({key: value for key, value in {**words, **more}.items() if value})
