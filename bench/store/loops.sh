#!/bin/sh
# What the way of asking the kernel costs: an epoll loop and an io_uring loop that answer and do nothing else, and
# redis-server with one thread and with a second one for its sockets, alternated.
#
#   bench/store/loops.sh [ROUNDS] [REQUESTS]
#
# Prints microseconds of processor time for a request, one at a time and 16 in a pipeline, with 50 connections. Needs cc
# and the packages redis-server, redis-tools and python3.
set -eu
rounds=${1:-5}
requests=${2:-100000}
. "$(dirname "$0")/common.sh"
cc -O2 -o "$work/loops" "$here/bench/store/loops.c"

start() {
    port=$(free_port)
    name=$1
    shift
    serve "$name" "$@" "$port"
    eval "${name}_port=$port"
}
start epoll "$work/loops" epoll
start uring "$work/loops" uring
start one redis-server --save '' --bind 127.0.0.1 --port
start two redis-server --save '' --bind 127.0.0.1 --io-threads 2 --io-threads-do-reads yes --port
sleep 1
for depth in 1 16; do
    round=0
    while [ "$round" -lt "$rounds" ]; do
        for who in epoll uring one two; do
            eval "measure depth-$depth $who \$${who}_port \$${who}_pid $((requests * (depth > 1 ? 4 : 1))) -t ping_inline -P $depth"
        done
        round=$((round + 1))
    done
    awk -v depth="$depth" -v all="$((requests * (depth > 1 ? 4 : 1) * rounds))" '
        { us[$1] += $4 }
        END {
            printf "%2d at a time: epoll %.2f us, io_uring %.2f us; redis-server %.2f us, with a second thread %.2f us\n",
                depth, us["epoll"] / all, us["uring"] / all, us["one"] / all, us["two"] / all
        }' "$work/depth-$depth"
done
