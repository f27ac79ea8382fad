"""A test of a program that enqueues: pytest test_report.py. The fixture comes with queuectl."""

from pathlib import Path

from queuectl.testing import SpoolUnderTest


def order_report(spool: SpoolUnderTest, target: Path) -> str:
    """The code under test: it lets a shell command make a report."""
    return spool.enqueue(f"date > {target}.new && mv {target}.new {target}", name="report")


def test_the_report_is_made(queuectl_spool: SpoolUnderTest, tmp_path: Path) -> None:
    """Real workers run the job, in a process of their own."""
    id = order_report(queuectl_spool, tmp_path / "report.txt")

    [result] = queuectl_spool.drain(fail_on_dead=True)

    assert result.id == id
    assert (tmp_path / "report.txt").read_text()


def test_the_report_is_ordered_once(queuectl_spool: SpoolUnderTest, tmp_path: Path) -> None:
    """What was enqueued can be looked at without running it."""
    order_report(queuectl_spool, tmp_path / "report.txt")

    [job] = queuectl_spool.jobs("pending")
    assert job.name == "report"
