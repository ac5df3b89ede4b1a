#!/bin/sh
# Many waiting jobs: do memory and speed stay flat, and how long do `stats` and a dispatch take meanwhile?
#
#   bench/queue/million.sh [JOBS]
#
# The speed with ten thousand jobs in the queue is compared with the speed with a million (JOBS). Then the queue's
# numbers are asked for, and jobs are dispatched from PHP while both workers are busy. Needs php-redis and
# php-laravel-framework, and 3 GB of memory.
set -eu
jobs=${1:-1000000}
here=$(cd "$(dirname "$0")/../.." && pwd)
. "$here/bench/queue/application.sh"
laravel "$work/ours" redis
up "$work/ours" "redis:default" 2 '[store]
maxmemory = "2gb"'
ours() { "$bin" -C "$work/ours" run "$@"; }
queue() { "$bin" -C "$work/ours" queue "$@" >/dev/null; }
# Proportional set size of a program's process, in MB.
memory() {
    pid=$("$bin" -C "$work/ours" status --json | php -r '
        foreach (json_decode(stream_get_contents(STDIN), true)["rows"] as $row) {
            if ($row["name"] === $argv[1]) { echo $row["pid"]; }
        }' "$1")
    awk '/^Pss:/ { sum += $2 } END { printf "%.0f", sum / 1024 }' "/proc/$pid/smaps_rollup"
}
quantiles() {
    sort -n | awk -v what="$1" '{ v[NR] = $1 }
    function at(share) { i = int(NR * share) + 1; return i < NR ? v[i] : v[NR] }
    END { printf "%-34s p50 %.2f ms, p99 %.2f ms\n", what, at(0.5), at(0.99) }'
}
speed() {
    best=0
    for _ in 1 2 3; do
        seconds=$(ours php push.php drain "$1")
        best=$(awk -v n="$1" -v s="$seconds" -v b="$best" 'BEGIN { v = n / s; printf "%.0f", (v > b ? v : b) }')
    done
    echo "$best"
}

# The first jobs find cold caches.
ours php push.php rate 2000 >/dev/null
queue pause default
ours php push.php fill 40000 >/dev/null
few_mb=$(memory jobs)
queue resume default
few=$(speed 10000)
queue clear default --force
queue pause default
waiting=$(ours php push.php fill "$jobs")
printf '%d jobs wait; the store has %d MB\n' "$waiting" "$(memory store)"
ours php push.php stats "$work/ours/.regie/run/jobs.sock" | quantiles 'stats, the queue paused'
queue resume default
many=$(speed 10000)
printf 'jobs/s with few waiting %d, with many %d, ratio %s\n' "$few" "$many" "$(awk -v a="$many" -v b="$few" 'BEGIN { printf "%.2f", a / b }')"
printf 'memory of the runner: %d MB with few waiting, %d MB with many\n' "$few_mb" "$(memory jobs)"
ours php push.php stats "$work/ours/.regie/run/jobs.sock" | quantiles 'stats, at full speed'
ours php push.php dispatch 2000 | quantiles 'dispatch from PHP, at full speed'
