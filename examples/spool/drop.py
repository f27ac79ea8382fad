"""Drop a job for each shell command on stdin into a queuectl spool: python3 drop.py SPOOL < commands

Needs no queuectl: whole in tmp/, on disk, then one rename into pending/.
"""

import json
import os
import sys

spool = sys.argv[1]
for number, command in enumerate(sys.stdin):
    name = f"python-{os.getpid()}-{number}.json"
    with open(f"{spool}/tmp/{name}", "x") as file:
        json.dump({"command": command.rstrip("\n")}, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{spool}/tmp/{name}", f"{spool}/pending/{name}")
directory = os.open(f"{spool}/pending", os.O_RDONLY)
os.fsync(directory)  # the names are on disk now, too
