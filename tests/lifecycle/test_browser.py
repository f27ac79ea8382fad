"""The dashboard in a real browser: Chromium, driven by Playwright.

With `--pictures DIR` it writes the pictures of docs/dashboard.md there: pytest tests/lifecycle/test_browser.py --pictures docs
"""

import math
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from queuectl import actions, host, lookup, results
from queuectl.filename import Name, encode
from tests.support import PATIENCE, Workers, ids_in, until
from tests.web import Dashboard

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
    pytest.mark.timeout(240),
]


@contextmanager
def browser_page(**options):
    """A page in a browser of its own; at its end it has complained of nothing and asked nobody else for anything."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        page = browser.new_page(**{"viewport": {"width": 1200, "height": 850}, **options})
        page.set_default_timeout(PATIENCE * 1000)
        expect.set_options(timeout=PATIENCE * 1000)
        said, asked = [], set()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.add(request.url.split("/")[2]))
        yield page
        browser.close()
    # Pages that are not there are asked for and forms with faults are sent on purpose, and a plain text has no icon.
    assert [text for text in said if "responded with a status of 4" not in text] == []
    assert len(asked) == 1, asked


#: Puts another text in the place of one, wherever a page shows it; of a prefix with "-" also in the place of it alone.
RENAME = """([from, to]) => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const text = texts.currentNode;
        text.data = text.data.replaceAll(from, to);
        if (text.data === from.replace(/-$/, "")) { text.data = to.replace(/-$/, ""); }
    }
}"""


@pytest.fixture
def picture(request, path, tmp_path):
    """Take the picture of a page for the documents, if those are wanted; there the spool is /srv/jobs, on mars."""
    into = request.config.getoption("--pictures")

    def take(page, name):
        if into:
            page.evaluate(RENAME, [str(path), "/srv/jobs"])
            page.evaluate(RENAME, [str(tmp_path), "/srv"])
            page.evaluate(RENAME, [f"{host.place().host}-", "mars-"])
            page.screenshot(path=Path(into) / f"dashboard-{name}.png")

    return take


def some_history(spool):
    """A day in which jobs have ended, more of them by day than by night."""
    now = time.time()
    for number in range(1500):
        at = now - 86000 * (number / 1500) ** 1.3
        state, took = (
            ("dead" if number % 31 == 0 else "completed"),
            2 + 1.5 * math.sin(at / 9000) + (number % 17) / 20,
        )
        file = f"{state}/{encode(Name(at, 5, 1, f'job-{number}'))}"
        run = {
            "attempt": 1,
            "claim": f"processing/w/{number}",
            "to": file,
            "outcome": state,
            "duration": took,
        }
        results.append(spool.at("results"), f"job-{number}", run)
        Path(spool.at(file)).write_text('{"command": "make thumbnails"}')


def live(page, url):
    """Open an address, and wait until the page hears of changes."""
    page.goto(url)
    expect(page.locator("#live")).to_have_text("live")


def test_a_job_is_watched_failing_and_retried_from_the_dead_letters(spool, path, tmp_path, picture):
    gate, mended = tmp_path / "gate", tmp_path / "mended"
    os.mkfifo(gate)
    command = f"echo building; read x < {gate}; [ -e {mended} ] && echo all is well && exit; echo 'no disk <b>space</b>' >&2; exit 3"

    with Dashboard(path, "--allow-actions") as dashboard, Workers(path), browser_page() as page:
        live(page, dashboard.url)
        expect(page.locator(".card.processing .count")).to_have_text("0")

        # It is enqueued elsewhere, and is seen running without a click.
        spool.enqueue(
            {"id": "nightly", "name": "the nightly build", "command": command, "max_retries": 1}
        )
        expect(page.locator(".card.processing .count")).to_have_text("1")

        page.get_by_role("link", name="nightly").click()
        expect(page.locator("#state")).to_have_text("processing")
        expect(page.locator("#out-1")).to_have_text("building\n", use_inner_text=False)
        picture(page, "running")

        # It fails while we look, and its log says why.
        gate.write_text("go\n")
        expect(page.locator("#state")).to_have_text("dead")
        expect(page.locator("#err-1")).to_have_text("no disk <b>space</b>\n")
        page.get_by_role("link", name="all of it").nth(1).click()
        assert "no disk <b>space</b>" in page.locator("body").inner_text()
        page.go_back()

        page.get_by_role("link", name="Dead letters").click()
        expect(page.locator("tbody tr")).to_contain_text("exit code 3")
        picture(page, "dead")
        mended.touch()
        page.get_by_label("choose nightly").check()
        page.get_by_role("button", name="Retry").click()
        expect(page.get_by_text("No jobs here.")).to_be_visible()

        page.goto(f"{dashboard.url}/jobs/nightly")
        expect(page.locator("#state")).to_have_text("processing")
        gate.write_text("go\n")
        expect(page.locator("#state")).to_have_text("completed")
        expect(page.locator("#out-1")).to_contain_text("all is well")
        expect(page.locator(".runs li")).to_have_count(2)

    assert ids_in(path, "completed") == ["nightly"]


def test_a_job_is_enqueued_by_the_form_while_others_come(spool, path):
    with Dashboard(path, "--allow-actions") as dashboard, Workers(path), browser_page() as page:
        live(page, dashboard.url)
        page.get_by_role("link", name="Enqueue").click()
        expect(page.locator("#live")).to_have_text("live")
        page.get_by_label("Command, for the shell").fill("echo from a form")
        page.get_by_label("Priority, 0 to 9").fill("11")
        page.get_by_role(
            "heading"
        ).click()  # nothing is being written any more, so the page is brought up to date
        with page.expect_response("**/enqueue"):
            spool.enqueue({"id": "other", "command": "true"})
        expect(page.get_by_label("Priority, 0 to 9")).to_have_value("11")
        page.get_by_role("button", name="Enqueue").click()
        expect(page.get_by_role("alert")).to_contain_text("from 0 to 9")
        page.get_by_label("Priority, 0 to 9").fill("7")
        page.get_by_label("Id").fill("mine")
        page.get_by_role("button", name="Enqueue").click()

        expect(page.locator("#state")).to_have_text("completed")
        expect(page.locator("#out-1")).to_have_text("from a form\n")


def test_what_somebody_chooses_stays_chosen_and_is_asked_back(spool, path):
    spool.enqueue_all([{"id": f"j{n}", "command": "true"} for n in range(4)])

    with Dashboard(path, "--allow-actions") as dashboard, browser_page() as page:
        dashboard.counted(pending=4)
        live(page, f"{dashboard.url}/jobs")
        page.get_by_label("choose j1").check()
        spool.enqueue({"id": "later", "command": "true"})
        dashboard.counted(pending=5)
        page.get_by_label("choose j3").check()
        page.get_by_role("button", name="Cancel").click()

        expect(page.get_by_role("heading")).to_contain_text("Cancel: 2 jobs?")
        page.get_by_role("link", name="No, go back").click()
        page.get_by_label("all on this page").check()
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Yes, cancel").click()
        expect(page.get_by_role("heading")).to_have_text("Cancel: 5 done")

    assert len(ids_in(path, "dead")) == 5


def some_of_everything(spool, path):
    """A spool with jobs in every state, and a past."""
    some_history(spool)
    for n in range(12):
        spool.enqueue(
            {
                "id": f"thumb-{n}",
                "name": "thumbnails",
                "command": f"echo {n}; sleep 0.0{n}",
                "batch": "photos",
            }
        )
    spool.enqueue(
        {"id": "mail", "command": "echo 'no route to host' >&2; exit 75", "max_retries": 1}
    )
    with Workers(path, "--drain") as workers:
        workers.process.wait(50)
    spool.enqueue({"id": "retried", "command": "echo trying; false", "max_retries": 5})
    with Workers(path):
        until(lambda: ids_in(path, "failed") == ["retried"])
    spool.enqueue_all(
        [
            {"id": "report", "command": "make report", "priority": 8},
            {"id": "backup", "command": "true", "delay": "2h"},
        ]
    )
    spool.enqueue({"id": "asleep", "command": "true"})
    actions.hold(spool, lookup.find(spool, "asleep"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible_on_a_phone_and_on_a_desk(spool, path, picture, scheme):
    some_of_everything(spool, path)
    pages = [
        "/",
        "/jobs",
        "/jobs?state=completed",
        "/jobs?state=dead",
        "/jobs/mail",
        "/jobs/report",
        "/jobs/nobody",
        "/jobs?state=nowhere",
        "/enqueue",
    ]

    spool.enqueue(
        {
            "id": "train",
            "name": "training",
            "command": "echo epoch 1; exec sleep 600",
            "priority": 9,
        }
    )
    with (
        Dashboard(path, "--allow-actions") as dashboard,
        Workers(path),
        browser_page(color_scheme=scheme) as page,
    ):
        dashboard.counted(failed=1, held=1, pending=2, processing=1)
        for width in (1200, 390):
            page.set_viewport_size({"width": width, "height": 844})
            for where in pages:
                page.goto(dashboard.url + where)
                found = Axe().run(page)
                assert found.violations_count == 0, f"{where}: {found.generate_report()}"
                assert page.evaluate("document.documentElement.scrollWidth") <= width, where
            page.goto(dashboard.url)
            expect(page.locator("#live")).to_have_text("live")
            if (width, scheme) in ((1200, "light"), (390, "dark")):
                picture(page, "desk" if scheme == "light" else "phone")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")

        page.goto(f"{dashboard.url}/jobs/mail")
        page.get_by_role("button", name="Remove").click()
        expect(page.get_by_text("They go for good")).to_be_visible()
        page.wait_for_load_state()
        assert Axe().run(page).violations_count == 0


def test_without_a_script_every_page_is_there(spool, path):
    some_of_everything(spool, path)

    with Dashboard(path) as dashboard, browser_page(java_script_enabled=False) as page:
        dashboard.counted(failed=1, held=1)
        page.goto(dashboard.url)
        page.get_by_role("link", name="completed").click()
        page.get_by_role("link", name="thumb-11").click()
        assert "11" in page.locator("#out-1").inner_text()
        expect(page.get_by_text("read-only")).to_be_visible()
