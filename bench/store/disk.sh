#!/bin/sh
# What keeping data costs the store: the log, a rewrite of it in the background, and the start.
#
#   bench/store/disk.sh [--pin] [ROUNDS] [REQUESTS] [MEGABYTES] [everysec|rewrite|start …]
#
# - everysec: `appendfsync everysec` beside no log at all, alternated: throughput and processor time of all threads.
# - rewrite: p99 of SET and GET while a log of MEGABYTES is written anew, beside p99 without that, alternated.
# - start: on a log, and on a snapshot, of a million small keys: keys per second of processor time.
# Without names all three. --pin keeps the servers on one processor and the clients on another. Needs the packages
# redis-tools and python3.
set -eu
pin=0
[ "${1:-}" != --pin ] || { pin=1; shift; }
rounds=${1:-5}
requests=${2:-300000}
megabytes=${3:-1000}
[ $# -gt 3 ] && shift 3 || set --
only=" $* "
. "$(dirname "$0")/common.sh"
build_store
wanted() { [ "$only" = "  " ] || case $only in *" $1 "*) ;; *) return 1 ;; esac }

everysec() {
    store plain
    mkdir "$work/logged"
    store logged --dir "$work/logged" --appendonly yes --appendfsync everysec
    for test in set incr lpush zadd set-P16 incr-P16 lpush-P16; do
        options="-t ${test%-P16}"
        case $test in *-P16) options="$options -P 16" ;; esac
        round=0
        while [ "$round" -lt "$rounds" ]; do
            # shellcheck disable=SC2086 # several words
            measure "$test" plain "$plain_port" "$plain_pid" "$requests" $options
            # shellcheck disable=SC2086
            measure "$test" logged "$logged_port" "$logged_pid" "$requests" $options
            round=$((round + 1))
        done
        sort -k1,1 -k2,2n "$work/$test" | awk -v name="$test" '
            { n[$1]++; rate[$1, n[$1]] = $2; cpu[$1] += $4 }
            END {
                middle = int((n["plain"] + 1) / 2)
                printf "everysec %-10s throughput %.2f of that without a log (%.2f to %.2f), processor time %.2f of it\n",
                    name, rate["logged", middle] / rate["plain", middle], rate["logged", 1] / rate["plain", n["plain"]],
                    rate["logged", n["logged"]] / rate["plain", 1], cpu["logged"] / cpu["plain"]
            }'
    done
    kill "$plain_pid" "$logged_pid"
}

rewrite() {
    mkdir "$work/big"
    store big --dir "$work/big" --appendonly yes --appendfsync everysec --auto-aof-rewrite-percentage 0
    awk -v keys=$((megabytes * 1000)) 'BEGIN {
        v = sprintf("%01000d", 7); sub(/^0/, "x", v)
        for (i = 0; i < keys; i++) printf "SET key:%012d %s\r\n", i, v
    }' | redis-cli -p "$big_port" --pipe >/dev/null
    is_writing() { redis-cli -p "$big_port" info persistence | grep -q 'aof_rewrite_in_progress:1'; }
    round=0
    count=50000
    while [ "$round" -lt "$rounds" ]; do
        for test in set get; do
            measure "calm-$test" calm "$big_port" "$big_pid" "$count" -t $test -r $((megabytes * 1000)) -d 1000
            redis-cli -p "$big_port" bgrewriteaof >/dev/null
            measure "rewrite-$test" rewrite "$big_port" "$big_pid" "$count" -t $test -r $((megabytes * 1000)) -d 1000
            is_writing && echo 1 >>"$work/whole-$test"
            while is_writing; do sleep 0.1; done
        done
        round=$((round + 1))
    done
    for test in set get; do
        cat "$work/calm-$test" "$work/rewrite-$test" | sort -k1,1 -k3,3n | awk -v test=$test -v mb="$megabytes" '
            { n[$1]++; p99[$1, n[$1]] = $3 }
            END {
                middle = int((n["calm"] + 1) / 2)
                printf "%s with %d MB of values: p99 %.2f ms (%.2f to %.2f), during a rewrite %.2f ms (%.2f to %.2f)\n", test, mb,
                    p99["calm", middle], p99["calm", 1], p99["calm", n["calm"]],
                    p99["rewrite", middle], p99["rewrite", 1], p99["rewrite", n["rewrite"]]
            }'
        echo "  rewrites that were still under way at the end of a run: $(cat "$work/whole-$test" 2>/dev/null | wc -l) of $rounds"
    done
    kill "$big_pid"
}

start() {
    mkdir "$work/small"
    store small --dir "$work/small" --appendonly yes --appendfsync no --auto-aof-rewrite-percentage 0
    awk 'BEGIN { for (i = 0; i < 1000000; i++) printf "SET key:%d value-%d\r\n", i, i }' |
        redis-cli -p "$small_port" --pipe >/dev/null
    for from in log snapshot; do
        if [ $from = snapshot ]; then
            redis-cli -p "$small_port" bgrewriteaof >/dev/null
            while redis-cli -p "$small_port" info persistence | grep -q 'aof_rewrite_in_progress:1'; do sleep 0.1; done
        fi
        round=0
        while [ "$round" -lt "$rounds" ]; do
            kill "$small_pid"
            wait "$small_pid" 2>/dev/null || true
            store small --dir "$work/small" --appendonly yes --appendfsync no --auto-aof-rewrite-percentage 0
            echo "$(cpu_us "$small_pid") $(sed -n 's/.* read in \([0-9]*\) ms.*/\1/p' "$work/small.log" | tail -n 1)" >>"$work/from-$from"
            round=$((round + 1))
        done
        sort -n "$work/from-$from" | awk -v from=$from '
            { n++; us[n] = $1; ms[n] = $2 }
            END {
                middle = int((n + 1) / 2)
                printf "start on a %s of 1,000,000 small keys: %.2f million per second of processor time (%.2f to %.2f), %d ms by the clock\n",
                    from, 1e6 / us[middle], 1e6 / us[n], 1e6 / us[1], ms[middle]
            }'
    done
}

for part in everysec rewrite start; do
    if wanted $part; then $part; fi
done
