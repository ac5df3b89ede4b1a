#!/bin/sh
# The store beside Debian's redis-server: redis-benchmark against both, alternated, and the ratios.
#
#   bench/store/run.sh [--pin] [--everysec] [ROUNDS] [REQUESTS] [TEST…]
#
# --pin keeps the servers on one processor and the client on another; --everysec gives both an append-only file that is
# synced each second. Without names all tests are run; `set`, `set-P16`, `queue-pop`, `memory` and so on name single ones.
# For each test, one request at a time and with pipelining of 16, it prints the median of the rounds' requests per
# second of both, their ratio with its spread, the ratio of processor time per request (which a busy machine disturbs
# less), and the median p99 of both. Last comes the memory that a million keys of 100 bytes take. Needs the packages
# redis-server, redis-tools, python3, php-cli and php-laravel-framework.
set -eu
pin=0 settings=
while :; do
    case ${1:-} in
        --pin) pin=1 ;;
        --everysec) settings='--appendonly yes --appendfsync everysec' ;;
        *) break ;;
    esac
    shift
done
rounds=${1:-5}
requests=${2:-100000}
[ $# -gt 2 ] && shift 2 || set --
only=" $* "
. "$(dirname "$0")/common.sh"
build_store

mkdir "$work/redis" "$work/store"
redis_port=$(free_port)
# shellcheck disable=SC2086 # several words, or none
serve redis redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --dir "$work/redis" --daemonize no $settings
redis=$redis_pid
until_answers "$redis_port" redis
if [ -n "$settings" ]; then
    # shellcheck disable=SC2086
    store store --dir "$work/store" $settings
else
    store store
fi
store=$store_pid

wanted() { [ "$only" = "  " ] || case $only in *" $1 "*) ;; *) return 1 ;; esac }

both() {
    test_name=$1
    shift
    wanted "$test_name" || return 0
    round=0
    while [ "$round" -lt "$rounds" ]; do
        measure "$test_name" redis "$redis_port" "$redis" "$requests" "$@"
        measure "$test_name" store "$store_port" "$store" "$requests" "$@"
        round=$((round + 1))
    done
    sort -k1,1 -k2,2n "$work/$test_name" | awk -v name="$test_name" '
        function median(who,   i, j, t, m) {
            m = n[who]
            for (i = 2; i <= m; i++)
                for (j = i; j > 1 && p99[who, j] < p99[who, j - 1]; j--) { t = p99[who, j]; p99[who, j] = p99[who, j - 1]; p99[who, j - 1] = t }
            return p99[who, int((m + 1) / 2)]
        }
        { n[$1]++; rate[$1, n[$1]] = $2; p99[$1, n[$1]] = $3; cpu[$1] += $4 }
        END {
            middle = int((n["redis"] + 1) / 2)
            ratio = rate["store", middle] / rate["redis", middle]
            low = rate["store", 1] / rate["redis", n["redis"]]
            high = rate["store", n["store"]] / rate["redis", 1]
            work = cpu["store"] ? cpu["redis"] / cpu["store"] : 0
            printf "%-14s redis %9.0f/s  store %9.0f/s  ratio %.2f (%.2f to %.2f)  per processor second %.2f  p99 ms %.2f %.2f\n",
                name, rate["redis", middle], rate["store", middle], ratio, low, high, work,
                median("redis"), median("store")
        }'
}

for test in set get incr lpush rpop sadd hset zadd spop lrange_100 mset; do
    both "$test" -t "$test"
done
# Pipelined requests take so little time each that more of them are needed for a steady figure.
requests=$((requests * 3))
for test in set get incr lpush rpop sadd hset zadd spop lrange_100 mset; do
    both "$test-P16" -t "$test" -P 16
done
requests=$((requests / 3))
payload='{"uuid":"6f1c","displayName":"App\\Jobs\\Send","job":"Illuminate\\Queue\\CallQueuedHandler@call","maxTries":null,"data":{"commandName":"App\\Jobs\\Send","command":"O:13:\"App\\Jobs\\Send\":0:{}"},"attempts":0}'
# Laravel's own scripts to the letter: the store knows the one that pops by its digest. `queue-pop-lua` has another letter,
# so it runs in Lua on both sides.
scripts=/usr/share/php/Illuminate/Queue/LuaScripts.php
if wanted queue-push || wanted queue-pop || wanted queue-pop-lua; then
    [ -r "$scripts" ] || { echo "$scripts is missing: install php-laravel-framework" >&2; exit 69; }
    script() { php -r 'require $argv[1]; echo Illuminate\Queue\LuaScripts::{$argv[2]}();' "$scripts" "$1"; }
    # What is popped must have been pushed.
    [ "$only" = "  " ] || only="$only queue-push "
    both queue-push eval "$(script push)" 2 q q:n "$payload"
    both queue-pop eval "$(script pop)" 3 q q:r q:n 1700000000
    both queue-push eval "$(script push)" 2 q q:n "$payload"
    both queue-pop-lua eval "$(script pop) " 3 q q:r q:n 1700000000
fi

wanted memory || exit 0
for port in "$redis_port" "$store_port"; do
    redis-cli -p "$port" flushall >/dev/null
done
sleep 1
memory() { awk '/VmRSS/ { print $2 }' "/proc/$1/status"; }
redis_before=$(memory $redis)
store_before=$(memory $store)
for port in "$redis_port" "$store_port"; do
    awk 'BEGIN { v = sprintf("%0100d", 7); sub(/^0/, "x", v); for (i = 0; i < 1000000; i++) printf "SET key:%012d %s\r\n", i, v }' |
        redis-cli -p "$port" --pipe >/dev/null
done
echo "$redis_before $(memory $redis) $store_before $(memory $store)" | awk '{
    printf "memory of 1,000,000 keys of 100 bytes: redis %d MiB, store %d MiB, ratio %.2f\n", ($2 - $1) / 1024, ($4 - $3) / 1024, ($4 - $3) / ($2 - $1)
}'
