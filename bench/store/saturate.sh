#!/bin/sh
# The store beside Debian's redis-server when the servers are the slower end: with 16 commands in a pipeline redis-benchmark
# takes as much processor time as they do, so here a client asks that costs less.
#
#   bench/store/saturate.sh [ROUNDS] [REQUESTS]
#
# Servers on one processor, the client on another; prints the ratios of requests per second and of processor time for a
# request. Needs cc and the packages redis-server, redis-tools and python3.
set -eu
rounds=${1:-5}
requests=${2:-400000}
pin=1
. "$(dirname "$0")/common.sh"
build_store
cc -O2 -o "$work/client" "$here/bench/store/client.c"
mkdir "$work/redis"
redis_port=$(free_port)
serve redis redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --dir "$work/redis" --daemonize no
until_answers "$redis_port" redis
store store

# both NAME LENGTH-OF-ANSWER WORD…
both() {
    what=$1 length=$2
    shift 2
    command=$(printf '*%d\r\n_' $#)
    command=${command%_}
    for word; do
        command=$(printf '%s$%d\r\n%s\r\n_' "$command" ${#word} "$word")
        command=${command%_}
    done
    round=0
    while [ "$round" -lt "$rounds" ]; do
        for who in redis store; do
            eval "port=\$${who}_port pid=\$${who}_pid"
            before=$(cpu_us "$pid")
            rate=$($client_side "$work/client" "$port" "$requests" "$command" "$length")
            echo "$who $rate $(($(cpu_us "$pid") - before))" >>"$work/$what"
        done
        round=$((round + 1))
    done
    awk -v what="$what" '
        { rate[$1] += $2; us[$1] += $3 }
        END { printf "%-6s requests/s %.2f  per processor second %.2f\n", what, rate["store"] / rate["redis"], us["redis"] / us["store"] }' "$work/$what"
}

for port in "$redis_port" "$store_port"; do
    redis-cli -p "$port" set key xxx >/dev/null
    redis-cli -p "$port" hset hash field xxx >/dev/null
done
both get 9 GET key
both set 5 SET key xxx
both spop 5 SPOP none
both sadd 4 SADD set member
both hset 4 HSET hash field value
both hget 11 HGET hash field
