#!/bin/sh
# The store beside Debian's redis-server: redis-benchmark against both, alternated, and the ratios.
#
#   bench/store/run.sh [--pin] [--everysec] [ROUNDS] [REQUESTS] [TEST…]
#
# --pin keeps the servers on one processor and the client on another; --everysec gives both an append-only file that is
# synced each second. Without names all tests are run; `set`, `set-P16`, `queue-pop`, `memory` and so on name single ones.
# For each test, one request at a time and with pipelining of 16, it prints the median of the rounds' requests per
# second of both, the median of the rounds' ratios and where the middle half of them lies, the ratio of processor time per
# request (which a busy machine disturbs less), and the median p99 of both. Last comes the memory that a million keys of
# 100 bytes take. Needs the packages redis-server, redis-tools, python3, php-cli and php-laravel-framework.
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
rounds=${1:-21}
requests=${2:-20000}
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

# Rounds are short and many, the two servers take turns at being the first, and what counts is the median of the rounds'
# own ratios: so what else the machine does meets both.
both() {
    test_name=$1
    shift
    wanted "$test_name" || return 0
    round=0
    while [ "$round" -lt "$rounds" ]; do
        [ $((round % 2)) = 1 ] || measure "$test_name" redis "$redis_port" "$redis" "$requests" "$@"
        measure "$test_name" store "$store_port" "$store" "$requests" "$@"
        [ $((round % 2)) = 0 ] || measure "$test_name" redis "$redis_port" "$redis" "$requests" "$@"
        round=$((round + 1))
    done
    awk -v name="$test_name" '
        # Each list is kept in order.
        function put(list, value,   i) {
            for (i = ++n[list]; i > 1 && values[list, i - 1] > value; i--) values[list, i] = values[list, i - 1]
            values[list, i] = value
        }
        function at(list, part) { return values[list, 1 + int((n[list] - 1) * part + 0.5)] }
        { put($1, $2); put($1 " p99", $3); cpu[$1] += $4; rate[$1, ++rounds[$1]] = $2 }
        END {
            for (i = 1; i <= rounds["store"]; i++) put("ratio", rate["store", i] / rate["redis", i])
            work = cpu["store"] ? cpu["redis"] / cpu["store"] : 0
            printf "%-14s redis %9.0f/s  store %9.0f/s  ratio %.2f (half of them %.2f to %.2f)  per processor second %.2f  p99 ms %.2f %.2f\n",
                name, at("redis", 0.5), at("store", 0.5), at("ratio", 0.5), at("ratio", 0.25), at("ratio", 0.75), work,
                at("redis p99", 0.5), at("store p99", 0.5)
        }' "$work/$test_name"
    # The next one of this name begins anew.
    rm "$work/$test_name"
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
