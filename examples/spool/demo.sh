#!/bin/sh
# A real batch in a spool of its own: some hundred files are compressed and checksummed by jobs that come from the
# command line and, as dropped files, from sh, Python and Node; one job fails twice and then works, one never does.
# At the end the outputs are compared with what the tools give directly. Leaves nothing behind.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
PATH="$root/.venv/bin:$PATH"
export PATH
command -v queuectl >/dev/null || { echo "demo: no queuectl on the PATH; see Install in README.md" >&2; exit 1; }
python=$(command -v python3)

work=$(mktemp -d)
export QUEUECTL_SPOOL="$work/spool"
finish() {
    queuectl worker stop --now >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP
mkdir "$work/out" "$work/expected"

echo "== Real files: the modules of this machine's Python"
library=$("$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
find "$library" -maxdepth 2 -name '*.py' -type f | grep -v "[' ]" | sort | head -n 300 > "$work/files"
total=$(wc -l < "$work/files" | tr -d ' ')
echo "$total files"

# The command for file number $1 at path $2, with its output in directory $3.
command_for() {
    echo "gzip -nc '$2' > '$3/$1.gz' && cksum < '$2' > '$3/$1.sum'"
}

number=0
while IFS= read -r file; do
    number=$((number + 1))
    command_for "$number" "$file" "$work/out" >> "$work/commands"
    command_for "$number" "$file" "$work/expected" >> "$work/direct"
done < "$work/files"

echo
echo "== Two workers in the background"
queuectl config set backoff_max 1
queuectl worker start --count 2 --daemon

echo
echo "== Jobs, from everywhere"
awk 'NR % 4 == 0' "$work/commands" > "$work/some"
echo "$(wc -l < "$work/some" | tr -d ' ') from the command line, as JSON lines"
"$python" -c 'import json, sys
for line in sys.stdin: print(json.dumps({"command": line.rstrip("\n"), "name": "gzip"}))' < "$work/some" | queuectl enqueue - > "$work/ids"

drop() { # REMAINDER LABEL PROGRAM...: every fourth command, dropped as a file by PROGRAM
    awk "NR % 4 == $1" "$work/commands" > "$work/some"
    label=$2
    shift 2
    if command -v "$1" >/dev/null; then
        "$@" "$QUEUECTL_SPOOL" < "$work/some"
        echo "$(wc -l < "$work/some" | tr -d ' ') dropped by $label"
    else
        sh "$here/drop.sh" "$QUEUECTL_SPOOL" < "$work/some"
        echo "$(wc -l < "$work/some" | tr -d ' ') dropped by sh, because there is no $label here"
    fi
}
drop 1 sh sh "$here/drop.sh"
drop 2 Python "$python" "$here/drop.py"
drop 3 Node node "$here/drop.mjs"

queuectl enqueue --id flaky -c "echo try >> '$work/tries'; test \$(wc -l < '$work/tries') -ge 3"
queuectl enqueue --id hopeless --max-retries 2 -c 'echo "this will never work" >&2; exit 7'

echo
echo "== Wait for all of them"
queuectl wait flaky && echo "flaky worked in the end"
queuectl wait hopeless || echo "hopeless gave up with exit code $?"
until [ "$(find "$work/out" -name '*.sum' | wc -l)" -ge "$total" ] && [ -z "$(ls "$QUEUECTL_SPOOL/pending" "$QUEUECTL_SPOOL/failed" | grep json)" ]; do
    sleep 0.2
done
queuectl worker stop

echo
echo "== queuectl status"
queuectl status
echo
echo "== queuectl dlq list"
queuectl dlq list
echo
echo "== The spool: a directory is the queue, a file is a job"
for directory in pending processing failed completed dead rejected; do
    count=$(find "$QUEUECTL_SPOOL/$directory" -name '*.json' -type f | wc -l | tr -d ' ')
    echo "$directory/    $count"
    find "$QUEUECTL_SPOOL/$directory" -name '*.json' -type f | sort | head -n 2 | sed 's|.*/|    |'
done

echo
echo "== The same directly, and compared"
sh -e "$work/direct"
diff -r "$work/out" "$work/expected"
completed=$(find "$QUEUECTL_SPOOL/completed" -name '*.json' | wc -l | tr -d ' ')
test "$completed" -eq $((total + 1))
test "$(wc -l < "$work/tries" | tr -d ' ')" -eq 3
echo "$((2 * total)) outputs are equal; $completed jobs completed, 1 dead, none lost"
