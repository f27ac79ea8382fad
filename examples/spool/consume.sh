#!/bin/sh
# A consumer that is not queuectl: run the jobs of a spool that are due, one after the other, until none is:
#   sh consume.sh SPOOL
# It follows docs/format.md; the numbers below are those of its chapter "What a consumer does". It wants Linux, jq, and
# flock and setsid of util-linux. What it cannot do it leaves to queuectl's workers: drops that are still to be admitted, jobs
# with fields that are not in KNOWN, and the rescue of the dead. Its own jobs are rescued by them, should it die. As shells do, it
# takes a signal for an exit code above 128.
set -eu
spool=$(cd "${1:?"usage: sh consume.sh SPOOL"}" && pwd)
mask=$(umask)
umask 077
KNOWN='["command","id","priority","run_at","delay","created_at","max_retries","cwd","env","stdin","name","meta","batch",
    "submitted_by","state","attempts","updated_at"]'
NAME='[0-9]{8}T[0-9]{6}\.[0-9]{6}Z-p[0-9]-a(0|[1-9][0-9]{0,5})-[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.json'

say() { echo "$(date -u +%FT%TZ) $*" >&2; }
now() { date +%s.%6N; }
stamp() { date -u -d "@$1" +%Y%m%dT%H%M%S.%6NZ; }
iso() { date -u -d "@$1" +%FT%T.%6NZ; }
setting() { # NAME DEFAULT: a number
    cat "$spool/config.json" 2>/dev/null | jq -s --arg name "$1" --argjson default "$2" '(.[0] // {})[$name] | numbers // $default' | grep . || echo "$2"
}
# A move to a name that only we use: the source must be gone to us, or, if the answer was lost on a network, the target be there.
move() { mv -T "$1" "$2" 2>/dev/null || [ -e "$2" ]; }

# 1. Only a spool that we know.
jq -e '.version == 1' "$spool/spool.json" >/dev/null || { say "$spool is no spool of version 1"; exit 1; }
if [ -e "$spool/config.json" ]; then
    jq -e 'keys - (keys - ["timeout","max_output","success_codes","no_retry_codes","retry_after_codes"]) == []' "$spool/config.json" >/dev/null ||
        { say "$spool/config.json has settings for all jobs that only queuectl's workers follow"; exit 1; }
fi

# 2. Become a worker: the lock, then the record, then the directory. In this order, so that whoever sees one may trust those before.
host=$(uname -n | sed 's/[^A-Za-z0-9.]/-/g; s/^[.-]*//; s/[.-]*$//' | cut -c 1-40)
me="$host-$$-$(od -An -N3 -tx1 /dev/urandom | tr -d ' \n')"
mine="$spool/processing/$me"
record="$spool/workers/$me.json"
exec 9> "$spool/workers/$me.lock"
flock 9
jq -n --arg worker "$me" --arg host "$host" --arg boot "$(cat /proc/sys/kernel/random/boot_id)" \
    --arg space "$(readlink /proc/self/ns/pid | tr -cd 0-9)" --argjson pid "$$" --argjson now "$(now)" \
    '{worker: $worker, host: $host, boot: $boot, space: $space, pid: $pid, supervisor: "", supervisor_pid: $pid, started_at: $now}' \
    > "$spool/tmp/$me"
mv "$spool/tmp/$me" "$record"
mkdir "$mine"

stopping=
trap 'stopping=1' TERM INT HUP # finish the job at hand
leave() { # 9. What is still ours goes back, uncounted by its name; then directory, record, lock.
    for left in "$mine"/*.json; do [ ! -e "$left" ] || give_back "${left##*/}"; done
    if rmdir "$mine" 2>/dev/null; then rm -f "$record" "$spool/workers/$me.stop" "$spool/workers/$me.lock"; fi
}
trap leave EXIT

part() { echo "$1" | sed -E "s/^(.{23})-p(.)-a([0-9]+)-(.*)\.json$/\\$2/"; } # NAME 1..4: time, priority, attempts, id

# 3. What is due, the best first: names only. Where the clock of a file server differs from ours, its clock would count.
due() {
    (cd "$spool" && for state in pending failed; do ls "$state" | sed "s|^|$state/|"; done) |
        LC_ALL=C grep -Ex "(pending|failed)/$NAME" |
        awk -v now="$(stamp "$(now)")" '{ name = substr($0, index($0, "/") + 1) } substr(name, 1, 23) <= now { print substr(name, 26, 1), name, $0 }' |
        LC_ALL=C sort -k1,1nr -k2,2 | cut -d ' ' -f 3
}

# Whether we can do all that a job asks for. Nobody rewrites a job, so we may look before we claim it. An id that a caller chose
# is held by a second name of the file; whoever comes first makes it.
is_simple() { # FILE
    id=$(part "${1##*/}" 4)
    [ -f "$1" ] && [ ! -L "$1" ] && [ -O "$1" ] && jq -e --argjson known "$KNOWN" --arg id "$id" 'keys - $known == [] and (.id // $id) == $id
        and ([.command] | flatten | length > 0 and all(type == "string") and (.[0] | test("[^ \t\r\n]")))
        and (.command | type == "string" or (.[0] | test("=") | not))
        and (.env // {} | type == "object" and all(type == "string") and all(keys[]; test("^[^=]+$"))) and (.cwd // "/" | startswith("/"))
        and (.stdin // "" | type == "string") and (.max_retries // 1 | . == floor and . >= 1)
        and ([.. | strings, (objects | keys[]) | explode[] | select(. == 0)] == [])' "$1" >/dev/null 2>&1 &&
        { echo "$id" | grep -Eqx '[0-9][0-9a-hjkmnp-tv-z]{16}' || [ "$1" -ef "$spool/ids/$id" ] || ln -T "$1" "$spool/ids/$id" 2>/dev/null; }
}

give_back() { # NAME: as if it had never been claimed
    attempts=$(part "$1" 3)
    move "$mine/$1" "$spool/pending/$(part "$1" 1)-p$(part "$1" 2)-a$((attempts > 0 ? attempts - 1 : 0))-$(part "$1" 4).json"
}

# While a command runs: 5. beat, 6. look whether somebody wants it ended. Ends with us; and if we cannot beat, the command does.
watch() { # PID
    interval=$(setting heartbeat_interval 10) signal=TERM
    while sleep "$interval" && kill -0 "$$" 2>/dev/null; do
        if ! touch -c "$record" || [ ! -e "$record" ] || [ -e "$mine/$name.cancel" ]; then kill -s "$signal" -- "-$1" 2>/dev/null && signal=KILL; fi
    done
}

work() { # FILE, a path from the spool
    old=${1##*/}
    # 4. Claim: the rename says whose it is. From here on the attempt counts.
    name="$(stamp "$(now)")-p$(part "$old" 2)-a$(($(part "$old" 3) + 1))-$(part "$old" 4).json"
    move "$spool/$1" "$mine/$name" || return 0 # another worker was faster
    id=$(part "$name" 4) attempt=$(part "$name" 3) claim="processing/$me/$name"
    job=$(cat "$mine/$name")
    ask() { printf '%s' "$job" | jq -r "$@"; }
    say "started $id, attempt $attempt"

    out="$spool/logs/$id.$attempt.out" err="$spool/logs/$id.$attempt.err"
    rm -f "$out" "$err" # of an attempt that had this number before: its file may still be written to
    input=/dev/null
    if [ "$(ask 'has("stdin") and .stdin != null')" = true ]; then input="$spool/tmp/$me" && ask -j .stdin > "$input"; fi
    # Each word is quoted for the shell: a list runs without one of its own, a string is for /bin/sh -c. By the last four variables
    # a rescue finds what we have started.
    start=$(ask --arg spool "$spool" --arg worker "$me" --arg id "$id" --arg attempt "$attempt" '
        [(.env // {}) + {QUEUECTL_SPOOL: $spool, QUEUECTL_WORKER: $worker, QUEUECTL_JOB_ID: $id, QUEUECTL_ATTEMPT: $attempt} |
        to_entries[] | "\(.key)=\(.value)"] + (.command | if type == "string" then ["/bin/sh", "-c", .] else . end) | @sh')
    started=$(now)
    (
        exec 9>&- # the lock is ours, not our command's
        cd "$(ask '.cwd // env.HOME // "/"')" || exit 127
        umask "$mask"
        eval "exec setsid env -- $start"
    ) < "$input" > "$out" 2> "$err" &
    pid=$!
    (exec 9>&- && watch "$pid") > /dev/null 2>&1 & # `watch 9>&-` would keep a copy of the lock
    watcher=$!
    while :; do
        code=0 && wait "$pid" || code=$?
        kill -0 "$pid" 2>/dev/null || break # else it was our signal that ended the wait
    done
    kill "$watcher" 2>/dev/null || :
    rm -f "$spool/tmp/$me"
    ended=$(now)

    # 7. Decide, and say where it goes: the record first, then the move that commits it.
    outcome=completed reason='' state=completed time=$ended max=$(ask '.max_retries // empty')
    if [ "$code" -ne 0 ]; then
        outcome=failed reason="exit code $code" state=failed
        wait=$(awk -v base="$(setting backoff_base 2)" -v most="$(setting backoff_max 3600)" -v n="$attempt" \
            'BEGIN { wait = base ^ n; print wait < most ? wait : most }')
        time=$(awk -v a="$ended" -v b="$wait" 'BEGIN { printf "%.6f", a + b }')
        if [ -e "$mine/$name.cancel" ]; then outcome=cancelled reason="cancelled while it ran"; fi
        if [ "$outcome" = cancelled ] || [ "$attempt" -ge "${max:-$(setting max_retries 3)}" ]; then state=dead time=$ended; fi
    fi
    to="$state/$(stamp "$time")-p$(part "$name" 2)-a$attempt-$id.json" history="$spool/results/$id.jsonl"
    line=$(jq -cn --arg claim "$claim" --arg to "$to" --arg worker "$me" --arg host "$host" --arg outcome "$outcome" --arg reason "$reason" \
        --argjson attempt "$attempt" --argjson code "$code" --arg began "$(iso "$started")" --arg done "$(iso "$ended")" \
        --argjson seconds "$(awk -v a="$started" -v b="$ended" 'BEGIN { printf "%.6f", (b > a ? b - a : 0) }')" \
        --arg out "$(tail -c 4096 "$out" | tr -d '\0')" --arg err "$(tail -c 4096 "$err" | tr -d '\0')" \
        '{attempt: $attempt, claim: $claim, to: $to, worker: $worker, host: $host, started_at: $began, finished_at: $done,
          duration: $seconds, outcome: $outcome, reason: (if $reason == "" then null else $reason end), exit_code: $code, signal: null,
          cpu_seconds: null, max_rss_kb: null, stdout_tail: $out, stderr_tail: $err}')
    for log in "$out" "$err"; do [ -s "$log" ] || rm -f "$log"; done
    if [ -s "$history" ] && [ -n "$(tail -c 1 "$history")" ]; then line="
$line"; fi # a crash tore the last line: close it
    printf '%s\n' "$line" >> "$history"
    sync "$history" "$spool/results"

    # A note for each hook that waits for this end; it is there before the job has moved.
    batch=$(ask '.batch // empty')
    [ ! -e "$spool/hooks/$state" ] || note "$state~${to##*/}" "../../$to"
    [ ! -e "$spool/hooks/batch-done" ] || [ -z "$batch" ] || [ "$state" = failed ] || note "batch-done~${to##*/}" "$batch"

    # 8. The move commits. It is the fence: if our claim is gone, others took us for dead, and the job is theirs.
    if ! move "$spool/$claim" "$spool/$to"; then
        say "lost $id: rescued meanwhile, its outcome is dropped"
        return 0
    fi
    sync "$mine" "$spool/$state" || : # the directory that was left first
    rm -f "$mine/$name.cancel"
    say "$state $id${reason:+: $reason}"
    [ "$state" = failed ] || wake "after.$id"
}

note() { mkdir -p "$spool/hooks/due" && ln -sn "$2" "$spool/hooks/due/$1" 2>/dev/null || :; }

wake() { # What waited for the end of this job is judged again, by whoever claims it.
    for waiting in "$spool/blocked/$1"/*.json; do
        [ ! -e "$waiting" ] || move "$waiting" "$spool/pending/${waiting##*/}" || :
    done
    rmdir "$spool/blocked/$1" 2>/dev/null || :
}

left=' '
while [ -z "$stopping" ] && [ ! -e "$spool/paused" ] && [ -e "$record" ] && [ ! -e "$spool/workers/$me.stop" ]; do
    next=
    for file in $(due); do
        case $left in *" $file "*) continue ;; esac
        if is_simple "$spool/$file"; then next=$file && break; fi
        left="$left$file "
    done
    [ -n "$next" ] || break
    touch -c "$record"
    work "$next"
done
