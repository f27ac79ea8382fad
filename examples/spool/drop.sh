#!/bin/sh
# Drop a job for each shell command on stdin into a queuectl spool:  drop.sh SPOOL < commands
set -eu
spool=$1
number=0
while IFS= read -r command; do
    number=$((number + 1))
    name="sh-$$-$number.json"
    # JSON wants \ and " escaped; a line has no newline, and tabs are written as such.
    text=$(printf '%s' "$command" | sed 's/\\/\\\\/g; s/"/\\"/g; s/	/\\t/g')
    printf '{"command": "%s"}\n' "$text" > "$spool/tmp/$name"
    sync "$spool/tmp/$name" 2>/dev/null || sync # on disk before it has a name that counts
    mv "$spool/tmp/$name" "$spool/pending/$name"
done
sync "$spool/pending" 2>/dev/null || sync
