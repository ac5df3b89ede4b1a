# What the store's benchmarks share; to be sourced. Sets `here`, `work` (removed at the end, when all servers are ended)
# and `program`, the optimised store.
#
# With `pin=1` servers run on the first processor and clients on the second, so that requests per second mean something
# on a machine with two: otherwise the scheduler's choice decides.
here=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
pids=
trap 'kill $pids 2>/dev/null || true; rm -rf "$work"' EXIT INT TERM

server_side= client_side=
if [ "${pin:-0}" = 1 ]; then
    command -v taskset >/dev/null || { echo "taskset is missing: install util-linux" >&2; exit 69; }
    [ "$(nproc)" -ge 2 ] || { echo "--pin takes two processors; this machine has one" >&2; exit 64; }
    server_side='taskset -c 0' client_side='taskset -c 1'
fi

build_store() {
    cargo build --quiet --manifest-path "$here/Cargo.toml" --profile bench -p regie-store --example store
    program=${CARGO_TARGET_DIR:-$here/target}/release/examples/store
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Processor time of all threads of a process, in microseconds.
cpu_us() { cat /proc/"$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%d", sum / 1000 }'; }

# serve NAME COMMAND…: starts it in the background and sets NAME_pid. The command is to become the server itself.
serve() {
    name=$1
    shift
    # shellcheck disable=SC2086 # several words, or none
    $server_side "$@" >"$work/$name.out" 2>>"$work/$name.log" </dev/null &
    eval "${name}_pid=$!"
    pids="$pids $!"
}

# store NAME OPTIONS…: starts a store on a free port, waits until it answers, and sets NAME_port and NAME_pid.
store() {
    port=$(free_port)
    name=$1
    shift
    serve "$name" "$program" --listen "127.0.0.1:$port" "$@"
    eval "${name}_port=$port"
    until_answers "$port" "$name"
}

# until_answers PORT NAME: a server that reads its data does not answer PONG yet.
until_answers() {
    tries=0
    until [ "$(redis-cli -p "$1" ping 2>/dev/null)" = PONG ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 6000 ] || { echo "$2 does not answer on port $1: $(tail -n 1 "$work/$2.log")" >&2; exit 69; }
        sleep 0.01
    done
}

# measure FILE WHO PORT PID REQUESTS OPTIONS…: appends "who requests/s p99-ms processor-microseconds" to the file.
measure() {
    file=$1 who=$2 port=$3 pid=$4 count=$5
    shift 5
    before=$(cpu_us "$pid")
    # shellcheck disable=SC2086
    line=$($client_side redis-benchmark -p "$port" -n "$count" -c 50 --csv "$@" 2>/dev/null | tail -n 1)
    after=$(cpu_us "$pid")
    # Counted from the end: the name of a script may hold anything.
    echo "$line" | awk -F'","' -v who="$who" -v us=$((after - before)) '{ print who, $(NF-6), $(NF-1), us }' >>"$work/$file"
}
