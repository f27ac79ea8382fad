"""Precedence: the order in which jobs must come into the queue so that each finds those it waits for. Pure.

Raises
    InvalidJob for jobs that wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Sequence

from queuectl.errors import InvalidJob
from queuectl.job import Job


def order(jobs: Sequence[Job]) -> list[int]:
    """The positions of the jobs, so that each comes after those among them that it waits for; else as they are."""
    if not any(job.predecessors for job in jobs):
        return list(range(len(jobs)))
    from graphlib import CycleError, TopologicalSorter

    at = {job.id: index for index, job in enumerate(jobs) if job.id is not None}
    sorter = TopologicalSorter(
        {index: [at[id] for id in job.predecessors if id in at] for index, job in enumerate(jobs)}
    )
    try:
        return list(sorter.static_order())
    except CycleError as error:
        circle = " after ".join(str(jobs[index].id) for index in reversed(error.args[1]))
        raise InvalidJob(f"jobs wait for each other in a circle: {circle}", "after") from None
