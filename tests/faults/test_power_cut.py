"""Power cuts: a spool on a file system of its own, whose image is copied while it is mounted, mounted again and recovered.

A life of jobs is lived on ext4, xfs and btrfs, and the power is cut after each of its steps and after each disk call inside
them. In every copy, after the journal's replay and the recovery of the next start (of another boot), and then:
every job that was acknowledged is in exactly one place with its bytes unchanged; an outcome that was made durable is still
there with its record; what was removed for good stays so.

The negative controls leave syncs out and must see jobs lost, torn or doubled: so these tests would notice.
"""

import contextlib
import copy
import json
import os
import shutil
import stat
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from queuectl import (
    Spool,
    actions,
    admission,
    disk,
    host,
    liveness,
    lookup,
    recovery,
    renewal,
    results,
)
from queuectl.layout import STATES
from tests.faults import image, seam

#: Jobs of a negative control, and of a bulk in a life.
MANY, BULK = 100, 5

#: Seconds until the kernel writes by itself (30, as the images are mounted); a negative control that took longer would prove nothing.
WRITEBACK = 25

#: Bytes of memory that must be free for keeping the images there: a test holds up to 110 MB of them, several run at a time.
ROOM = 1 << 30


@pytest.fixture
def store(tmp_path):
    """Where images are kept: in memory if there is room, so that their syncs do not wait for the disk of this machine."""
    shm = "/dev/shm"
    is_roomy = os.path.isdir(shm) and shutil.disk_usage(shm).free > ROOM
    with tempfile.TemporaryDirectory(prefix="queuectl-", dir=shm if is_roomy else tmp_path) as path:
        yield Path(path)


@pytest.fixture(params=sorted(image.KINDS))
def disc(request, store, tmp_path):
    """An empty image of each kind."""
    if why := image.obstacle(request.param):
        pytest.skip(why)
    made = image.Image(request.param, store / "image")
    made.make()
    try:
        with made.mounted(tmp_path / "mount"):
            pass
    except image.CannotMount as error:
        pytest.skip(f"cannot mount an image: {error}")
    return made


@dataclass
class Ledger:
    """What callers were promised: the bytes of every job, where those are whose end was made durable, what is gone."""

    bytes: dict[str, bytes] = field(default_factory=dict)
    ends: dict[str, tuple[str, bool]] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)

    def faults(self, spool):
        """What is not as promised, as a list of (what, id or path)."""
        found = [entry for state in STATES for entry in spool.entries(state)]
        count = Counter(entry.name.id for entry in found) + Counter(dropped(spool))
        wanted = set(self.bytes)
        wrong = [("doubled", id) for id in count if count[id] > 1]
        wrong += [("lost", id) for id in wanted - self.doubtful if not count[id]]
        wrong += [("back", id) for id in self.gone if count[id]]
        wrong += [
            ("torn", entry.file)
            for entry in found
            if not is_whole(spool, entry, self.bytes.get(entry.name.id))
        ]
        wrong += [
            ("moved", e.file)
            for e in found
            if e.name.id in self.ends and not has_ended(spool, e, self.ends[e.name.id])
        ]
        return wrong + [("left", name) for name in spool.workers() if spool.held_by(name)]


def dropped(spool):
    """The ids in drops that wait for their admission."""
    return [entry.name.id for entry in lookup.drops(spool)]


def is_whole(spool, entry, data):
    """Whether a job's file holds what was enqueued; one that was not acknowledged must be readable."""
    if data is None:
        return lookup.read(spool, entry.file) is not None
    with open(spool.at(entry.file), "rb") as file:
        return file.read() == data


def has_ended(spool, entry, end):
    """Whether a job is where it ended, and its last record says so."""
    state, recorded = end
    return entry.state == state and (
        not recorded or (lookup.last_run(spool, entry) or {}).get("outcome") == state
    )


class Life:
    """A life of jobs in the spool at `path`. `steps` lives it, step by step; `ledger` is what was promised so far."""

    def __init__(self, path):
        self.path, self.spool, self.ledger = path, Spool(path), Ledger()
        self.workers, self.locks, self.taken, self.filed = [], [], {}, {}

    def close(self):
        """Let go of the file system."""
        for lock in self.locks:
            os.close(lock)

    def steps(self, before, amid):
        """Each kind of step. What was not synced must survive the syncs of others: one follows each move.

        `before` comes before a job's first move, `amid` between its claim and its end: commits, or nothing.
        """
        yield self.enqueue  # into a spool that is not there yet
        self.enroll()
        one, two, three, four, chosen, drop = (
            "bulk-1",
            "bulk-2",
            "bulk-3",
            "bulk-4",
            "chosen",
            "dropped",
        )
        yield from (self.enqueue, self.of(chosen, self.enqueue_chosen), self.bulk)
        yield from (
            *before,
            self.of(one, self.claim),
            self.enqueue,
            *amid,
            self.of(one, self.complete),
            self.enqueue,
        )
        yield from (*before, self.of(one, self.remove), self.enqueue)
        # Two that end at once, and only one of them is made durable.
        yield from (*before, self.of(two, self.claim), self.of(three, self.claim_beside), *amid)
        yield from (
            self.of(three, self.complete),
            self.of(two, self.complete),
            self.of(two, self.sync_outcome),
            self.enqueue,
        )
        yield from (
            *before,
            self.of(four, self.claim),
            *amid,
            self.of(four, self.fail),
            self.of(chosen, self.bury),
        )
        yield from (*before, self.of(chosen, self.revive), self.enqueue, self.of(chosen, self.bury))
        yield from (
            self.of(drop, self.drop),
            self.renew,
            *before,
            self.of(drop, self.admit),
            self.enqueue,
            self.renew,
        )
        yield from (
            *before,
            self.of(drop, self.claim),
            *amid,
            self.of(drop, self.release),
            self.enqueue,
        )
        yield from (
            *before,
            self.of(drop, self.claim),
            *amid,
            self.of(drop, self.complete),
            self.of(drop, self.flush),
        )

    def of(self, id, verb):
        """A step that does something to one job."""

        def step():
            self.id = id
            verb()

        step.__name__ = f"{verb.__name__} {id}"
        return step

    def enroll(self):
        """This process as two workers."""
        for _ in range(2):
            record, lock = liveness.enroll(self.spool, "super-1-abc", os.getpid())
            self.workers.append(record.worker)
            self.locks.append(lock)

    # -- steps: what is promised changes when they return

    def acknowledge(self, *ids):
        for id in ids:
            [entry] = self.spool.entries_of(id)
            self.ledger.bytes[id] = (self.path / entry.file).read_bytes()

    def enqueue(self):
        self.acknowledge(self.spool.enqueue("true"))

    def enqueue_chosen(self):
        self.acknowledge(self.spool.enqueue({"command": "true", "id": self.id}))

    def bulk(self, turn="bulk", count=BULK):
        jobs = [
            {"command": f"echo {i}", **({"id": f"{turn}-{i}"} if i % 5 else {})}
            for i in range(count)
        ]
        self.acknowledge(*self.spool.enqueue_all(jobs))

    def drop(self):
        """Another program's job, made durable by it."""
        data = json.dumps({"command": "true", "id": self.id}).encode()
        disk.write(self.spool.at("tmp", "theirs"), data)
        disk.rename(self.spool.at("tmp", "theirs"), self.spool.at("pending", f"{self.id}.json"))
        disk.sync(self.spool.at("tmp"))
        disk.sync(self.spool.at("pending"))
        self.ledger.bytes[self.id] = data

    def admit(self):
        assert (
            admission.admit(self.spool, f"{self.id}.json", self.workers[0], last=True).name.id
            == self.id
        )

    def claim(self, worker=0):
        [entry] = self.spool.entries_of(self.id)
        self.taken[self.id] = self.spool.claim(entry.file, self.workers[worker], time.time())

    def claim_beside(self):
        self.claim(1)

    def complete(self):
        self.end("completed")

    def fail(self):
        self.end("dead")

    def end(self, state):
        taken = self.taken[self.id]
        target = self.spool.target(taken, state, time.time())
        results.append(
            self.spool.at("results"), self.id, recovery.blank(taken, target) | {"outcome": state}
        )
        assert self.spool.file(taken, target)
        self.filed[self.id] = target

    def release(self):
        assert self.spool.release(self.taken[self.id])

    def sync_outcome(self):
        """What `durability strict` does before the next claim."""
        self.spool.sync_outcome(self.taken[self.id], self.filed[self.id])
        self.ledger.ends[self.id] = ("completed", True)

    def commit(self):
        """What the flusher does twice a second."""
        disk.sync_all(self.spool.path)
        self.ledger.gone |= self.ledger.doubtful

    def flush(self):
        self.commit()
        self.ledger.ends[self.id] = ("completed", True)

    def renew(self):
        """What the doctor does to a directory that once was huge."""
        renewal.renew(self.spool, "pending")

    def bury(self):
        """Cancel or any other durable move of a job that no worker holds."""
        self.move("dead")

    def revive(self):
        self.move("pending")

    def move(self, state):
        self.ledger.ends.pop(self.id, None)
        [entry] = self.spool.entries_of(self.id)
        assert self.spool.move(entry, state, entry.name)
        self.ledger.ends[self.id] = (state, False)

    def remove(self):
        """The ledger says beforehand that the job may go; that it is gone is promised once that was synced."""
        self.ledger.doubtful.add(self.id)
        assert actions.remove(self.spool, lookup.find(self.spool, self.id))


class Cuts:
    """The power cuts of a life: each image that differs, with all that was promised while the disk looked like that."""

    def __init__(self, disc, tmp_path):
        self.disc, self.point = disc, tmp_path / "mount"
        self.images, self.mark = [], None

    def __call__(self, where, ledger):
        if self.mark is None or self.disc.mark(self.point) != self.mark:
            copied, self.mark = self.disc.cut(
                self.point, self.disc.path.parent / f"cut-{len(self.images)}"
            )
            self.images.append((copied, []))
        promises = self.images[-1][1]
        if not promises or promises[-1][1] != ledger:
            promises.append((where, copy.deepcopy(ledger)))

    def faults(self):
        """What is not as promised, after the next start on each image."""
        spool, wrong = Spool(self.point / "spool"), []
        for copied, promises in self.images:
            with copied.mounted(self.point):
                recover(spool)
                wrong += [
                    (where, fault) for where, ledger in promises for fault in ledger.faults(spool)
                ]
            copied.path.unlink()
        return wrong


def live(life, parted, cuts, monkeypatch):
    """Live a life, and cut after each disk call and after each step."""
    before, amid = ([life.commit] if when in parted else [] for when in ("before", "amid"))
    for number, step in enumerate(life.steps(before, amid)):
        where = f"step {number}, {getattr(step, '__name__', '')}"
        with monkeypatch.context() as patch:
            stand_in = cutting(life, cuts, where)
            patch.setattr(disk, "os", stand_in)
            patch.setattr(disk, "libc", stand_in)
            step()
        cuts(where, life.ledger)


def cutting(life, cuts, where):
    """The seam that cuts after each call."""

    def at(number):
        def act(real):
            answer = real()
            cuts(f"{where}, {stand_in.calls[-1]} (call {number})", life.ledger)
            return answer

        return act

    stand_in = seam.Seam(at)
    return stand_in


def recover(spool):
    """What the next start of a supervisor does, at once."""
    if not os.path.exists(spool.at("spool.json")):
        return
    spool.restore()
    spool.sweep()
    recovery.rescue(spool, liveness.Observer(spool))
    assert set(os.listdir(spool.at("tmp"))) <= {
        "theirs"
    }  # what another program left waits for an hour


def boot(monkeypatch):
    """From here on it is the next boot of this machine."""
    place, now = host.place()._replace(boot="0" * 36), time.time()
    monkeypatch.setattr(host, "booted_at", lambda: now)
    monkeypatch.setattr(host, "place", lambda: place)


#: When the file system is committed as a whole meanwhile, as it is every now and then: never; before each job's claim;
#: and between its claim and its end, too. A move of what was committed is another thing to a journal than one of what was not.
PARTED = {"never": (), "before-claims": ("before",), "around-claims": ("before", "amid")}


@pytest.mark.parametrize("committed", PARTED)
def test_a_power_cut_loses_doubles_and_tears_no_job(disc, tmp_path, monkeypatch, committed):
    cuts = Cuts(disc, tmp_path)
    with disc.mounted(cuts.point), contextlib.closing(Life(cuts.point / "spool")) as life:
        live(life, PARTED[committed], cuts, monkeypatch)

    boot(monkeypatch)
    assert len(cuts.images) > 30
    assert cuts.faults() == []


# -- many jobs at once, and negative controls: with syncs left out, the same eyes see jobs lost, torn and doubled


def cut_off(disc, tmp_path, monkeypatch, act, flush=os.fsync):
    """What is not as promised when the power fails after `act`, with `flush` for every sync. MANY jobs are safely there before."""
    cuts = Cuts(disc, tmp_path)
    with disc.mounted(cuts.point), contextlib.closing(Life(cuts.point / "spool")) as life:
        life.bulk("before", MANY)
        life.enroll()
        disk.sync_all(life.spool.path)
        started = time.monotonic()
        with monkeypatch.context() as patch:
            patch.setattr(disk, "_flush", flush)
            patch.setattr(disk, "sync_all", lambda path: None)
            act(life)
        cuts("end", life.ledger)
        assert time.monotonic() - started < WRITEBACK
    boot(monkeypatch)
    return Counter(what for _, (what, _) in cuts.faults())


def nothing(fd):
    """Instead of every fsync."""


def only_directories(fd):
    """An fsync that leaves out the files."""
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.fsync(fd)


def only_the_target(fd):
    """An fsync that leaves out the directory from which a job is buried."""
    if os.readlink(f"/proc/self/fd/{fd}").endswith("/dead"):
        os.fsync(fd)


def enqueue_all(life):
    life.bulk("after", MANY)


def enqueue_each(life):
    for _ in range(MANY):
        life.enqueue()


def each(life, *verbs):
    for entry in list(life.spool.entries("pending")):
        life.id = entry.name.id
        for verb in verbs:
            verb()


def bury_all(life):
    each(life, life.bury)


def complete_all(life):
    each(life, life.claim, life.complete, life.sync_outcome)


@pytest.mark.parametrize("act", [enqueue_all, enqueue_each, bury_all, complete_all])
def test_what_was_promised_of_many_jobs_is_kept_after_a_power_cut(disc, tmp_path, monkeypatch, act):
    assert cut_off(disc, tmp_path, monkeypatch, act) == {}


@pytest.mark.parametrize("act", [enqueue_all, enqueue_each])
def test_without_fsync_a_power_cut_loses_acknowledged_jobs(disc, tmp_path, monkeypatch, act):
    assert cut_off(disc, tmp_path, monkeypatch, act, nothing)["lost"] > 0


def test_without_fsync_of_the_file_a_power_cut_tears_acknowledged_jobs(disc, tmp_path, monkeypatch):
    assert cut_off(disc, tmp_path, monkeypatch, enqueue_each, only_directories)["torn"] > 0


def test_without_fsync_a_power_cut_undoes_durable_moves(disc, tmp_path, monkeypatch):
    assert cut_off(disc, tmp_path, monkeypatch, bury_all, nothing)["moved"] > 0


def test_without_fsync_of_the_source_directory_a_power_cut_doubles_jobs_on_btrfs(
    disc, tmp_path, monkeypatch
):
    doubled = cut_off(disc, tmp_path, monkeypatch, bury_all, only_the_target)["doubled"]

    assert (doubled > 0) == (disc.kind == "btrfs")
