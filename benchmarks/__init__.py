"""Benchmarks: what queuectl costs beside the machine's own limit, and beside its peers.

    python -m benchmarks setup             once: the peers, into build/benchmarks and (as root) by apt
    python -m benchmarks all --json FILE   every part, as Markdown tables on stdout and as JSON in FILE
    python -m benchmarks drain             one part: drain, durable, waking, idle, enqueue, start, growth
    python -m benchmarks plot FILE         draw docs/drain.svg and docs/growth.svg from such a FILE

queuectl is measured from a wheel that is built from this checkout and installed into an environment of its own.
What a part compares is run in turns, so that a busy minute hits all of it, and is shown as a ratio with its spread.
As root everything happens on a fresh ext4 image with a journal, mounted through a loop device; else in the
temporary directory, or where --place says.

    arena      where it happens: programs, environments, what a run costs
    image      the ext4 image
    kit        building and installing what is measured
    peers      the other queues, each with its way to be filled, drained and woken
    figures    medians, spreads, Markdown
    plot       SVG
    inside/    what runs inside the environments of queuectl and of the peers
"""
