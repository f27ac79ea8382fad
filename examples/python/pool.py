"""Work on several jobs at once, each in a process of its own: python pool.py SPOOL PROCESSES

One consumer holds one job; for more there are more consumers. Threads do as well, where the work waits for a network.
"""

import multiprocessing
import sys

from queuectl import Spool


def work(path: str) -> None:
    """One consumer, until nothing is left."""
    for job in Spool(path).consume(wait=False):
        with job:
            if job.task != "square":
                job.fail(f"no task {job.task!r} here", retry=False)
            # One write for the whole line: print makes two where Python is told not to buffer, and processes share this pipe.
            sys.stdout.write(f"{job.payload['number'] ** 2}\n")
            sys.stdout.flush()


def main() -> None:
    """Start the processes and wait for them."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(sys.argv[1],)) for _ in range(int(sys.argv[2]))]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


if __name__ == "__main__":
    main()
