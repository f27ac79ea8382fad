#!/bin/sh
# Drop a job for each line of stdin, a shell command, into a queuectl spool:  sh drop.sh SPOOL < commands
# Each is written whole in tmp/, is on disk, and then comes into pending/ by one rename, under a name that nobody else uses.
set -eu
spool=${1:?"usage: sh drop.sh SPOOL < commands"}
umask 077
export LC_ALL=C

# JSON wants \ and " escaped, and every control character; a line has no newline.
escape='s/\\/\\\\/g; s/"/\\"/g'
code=1
while [ "$code" -lt 32 ]; do
    [ "$code" -eq 10 ] || escape="$escape; s/$(printf "\\$(printf %03o "$code")")/\\\\u$(printf %04x "$code")/g"
    code=$((code + 1))
done

while IFS= read -r command || [ -n "$command" ]; do
    [ -n "$command" ] || continue
    file=$(mktemp "$spool/tmp/sh-$(date +%s)-$$-XXXXXX")
    printf '{"command": "%s"}\n' "$(printf '%s\n' "$command" | sed "$escape")" > "$file"
    sync "$file" 2>/dev/null || sync # older ones sync everything
    mv "$file" "$spool/pending/${file##*/}.json"
done
sync "$spool/tmp" "$spool/pending" 2>/dev/null || sync # the names are on disk now, too
