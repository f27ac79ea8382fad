"""The scenarios of two hosts, in small, on NFS v4.2; in full size and elsewhere by hand: `python -m tests.hosts --help`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.hosts.lab import Lab, obstacle
from tests.hosts.scenarios import SCENARIOS
from tests.hosts.site import SMALL, Rows

pytestmark = [
    pytest.mark.skipif(bool(obstacle()), reason=str(obstacle())),
    pytest.mark.timeout(1200),  # machines boot here, on a machine that is busy with other tests
]


@pytest.fixture(scope="module")
def play() -> Iterator[Callable[[str], Rows]]:
    """Plays a scenario in a lab that all share, until one of them has left it as nobody knows."""
    with ExitStack() as stack:
        labs: list[Lab] = []

        def act(name: str) -> Rows:
            lab = labs.pop() if labs else stack.enter_context(Lab())
            try:
                rows = SCENARIOS[name](lab, SMALL)
            except BaseException:
                stack.close()
                raise
            labs.append(lab)
            return rows

        yield act


def test_jobs_from_two_hosts_run_exactly_once_on_either(play):
    rows = play("share")

    assert rows["runs"] == SMALL.jobs


def test_a_host_that_is_cut_off_has_ended_its_jobs_when_the_other_begins_them_and_works_again_when_it_is_back(
    play,
):
    rows = play("guard")

    assert rows["jobs taken over"] == rows["runs lost with their worker"]


def test_late_outcomes_of_a_host_that_was_cut_off_are_dropped(play):
    rows = play("fence")

    assert rows["jobs taken over and fenced off"] == rows["runs lost with their worker"]


def test_jobs_of_a_host_without_power_run_on_the_other(play):
    assert play("power")["jobs taken over"]


def test_a_crash_of_the_server_under_load_loses_nothing_that_was_acknowledged(play):
    assert play("server")["jobs acknowledged"]


def test_clocks_an_hour_apart_neither_rescue_nor_delay_a_job(play):
    assert play("clocks")["runs"]


def test_where_root_is_nobody_another_user_works_and_root_is_told_no(play):
    assert play("squash")["runs"]
