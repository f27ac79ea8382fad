"""Drop a job for each line of stdin, a shell command, into a queuectl spool:  python3 drop.py SPOOL < commands

Needs no queuectl: whole in tmp/, on disk, then one rename into pending/, under a name that nobody else uses.
"""

import json
import os
import sys
import uuid

if len(sys.argv) != 2:
    sys.exit("usage: python3 drop.py SPOOL < commands")
spool = sys.argv[1]
for line in sys.stdin.buffer:
    command = line.rstrip(b"\n").decode()
    if command:
        name = f"python-{uuid.uuid4()}.json"
        descriptor = os.open(f"{spool}/tmp/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w") as file:
            json.dump({"command": command}, file)
            file.flush()
            os.fsync(descriptor)
        os.rename(f"{spool}/tmp/{name}", f"{spool}/pending/{name}")
for name in ("tmp", "pending"):
    directory = os.open(f"{spool}/{name}", os.O_RDONLY)
    os.fsync(directory)  # the names are on disk now, too
    os.close(directory)
