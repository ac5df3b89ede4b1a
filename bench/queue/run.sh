#!/bin/sh
# Laravel's jobs on Régie beside queue:work and redis-server: the same application, the same number of PHP processes.
#
#   bench/queue/run.sh [ROUNDS] [JOBS] [WORKERS] [redis|database]
#
# Both sides are up and idle; the rounds alternate. In each one N no-op jobs are pushed, many a pipeline, and the time
# until none is left is taken, pushing included. The side that does not work at the moment has nothing to do. Last
# come the milliseconds from a dispatch to the start of its job, on idle workers. queue:work asks with --sleep=0.05;
# with its own default of 3 seconds its latency would be that. With `database`, each side has a SQLite file of its own, and
# no latency is taken. Needs redis-server, php-redis, php-laravel-framework.
set -eu
rounds=${1:-5}
jobs=${2:-10000}
workers=${3:-1}
driver=${4:-redis}
here=$(cd "$(dirname "$0")/../.." && pwd)
. "$here/bench/queue/application.sh"

laravel "$work/theirs" "$driver"
redis_server "$work/redis.sock"
export APP_ENV=production APP_DEBUG=false
theirs() { (cd "$work/theirs" && REDIS_HOST="$work/redis.sock" REDIS_PORT=0 "$@"); }
count=0
while [ "$count" -lt "$workers" ]; do
    # One process, whose number is the worker's.
    (
        cd "$work/theirs"
        export REDIS_HOST="$work/redis.sock" REDIS_PORT=0
        exec php -d opcache.enable_cli=1 artisan queue:work "$driver" --sleep=0.05 >"$work/worker.$count.log" 2>&1
    ) &
    pids="$pids $!"
    count=$((count + 1))
done

laravel "$work/ours" "$driver"
up "$work/ours" "$driver:default" "$workers"
ours() { "$bin" -C "$work/ours" run "$@"; }

# The first jobs find cold caches, on both sides.
ours php push.php rate 1000 >/dev/null
theirs php push.php rate 500 >/dev/null
round=0
while [ "$round" -lt "$rounds" ]; do
    theirs php push.php rate "$jobs" >>"$work/theirs.s"
    ours php push.php rate "$jobs" >>"$work/ours.s"
    round=$((round + 1))
done
printf '%d workers, %d no-op jobs, %d rounds\n' "$workers" "$jobs" "$rounds"
compare "$work/theirs.s" "$work/ours.s" "$jobs" "queue:work $driver"
for side in theirs ours; do
    [ "$driver" = redis ] || break
    $side php push.php latency 200 | sort -n >"$work/$side.ms"
    awk -v side="$side" '{ v[NR] = $1 } END { printf "dispatch to start, %-6s  p50 %.2f ms, p99 %.2f ms\n", side, v[int(NR * 0.5)], v[int(NR * 0.99)] }' "$work/$side.ms"
done
