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
work=$(mktemp -d)
bin=${REGIE_BIN:-${CARGO_TARGET_DIR:-$here/target}/release/regie}
pids=''
cleanup() {
    "$bin" -C "$work/ours" down >/dev/null 2>&1 || true
    # shellcheck disable=SC2086
    [ -z "$pids" ] || kill $pids 2>/dev/null || true
    # They write to the folder to their end.
    # shellcheck disable=SC2086
    [ -z "$pids" ] || wait $pids 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT INT TERM

application() {
    sh "$here/e2e/apps/base.sh" laravel-ready "$1"
    mkdir -p "$1/app/Jobs"
    for name in Noop Late; do
        body=''
        [ "$name" = Noop ] || body='resolve("redis")->connection()->rpush("latency", microtime(true) - $this->at);'
        cat >"$1/app/Jobs/$name.php" <<PHP
<?php

namespace App\\Jobs;

use Illuminate\\Contracts\\Queue\\ShouldQueue;
use Illuminate\\Foundation\\Bus\\Dispatchable;
use Illuminate\\Queue\\InteractsWithQueue;

class $name implements ShouldQueue
{
    use Dispatchable, InteractsWithQueue;

    public function __construct(public float \$at = 0)
    {
    }

    public function handle(): void
    {
        $body
    }
}
PHP
    done
    cp "$here/bench/queue/push.php" "$1/push.php"
    : >"$1/database/database.sqlite"
    [ "$driver" = database ] || return 0
    cat >"$1/database/migrations/2026_01_02_000000_create_jobs_table.php" <<'PHP'
<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\Schema;

return new class extends Migration
{
    public function up(): void
    {
        Schema::create('jobs', function (Blueprint $table) {
            $table->bigIncrements('id');
            $table->string('queue')->index();
            $table->longText('payload');
            $table->unsignedTinyInteger('attempts');
            $table->unsignedInteger('reserved_at')->nullable();
            $table->unsignedInteger('available_at');
            $table->unsignedInteger('created_at');
        });
    }
};
PHP
    sed -i "s/^        'sync' => .*/&\n        'database' => ['driver' => 'database', 'table' => 'jobs', 'queue' => 'default', 'retry_after' => 90],/" \
        "$1/config/queue.php"
    (cd "$1" && php artisan migrate --force >/dev/null)
}

application "$work/theirs"
redis-server --port 0 --unixsocket "$work/redis.sock" --save '' --appendonly yes --appendfsync everysec \
    --dir "$work" >"$work/redis.log" &
pids="$pids $!"
export APP_ENV=production APP_DEBUG=false
theirs() { (cd "$work/theirs" && QUEUE_CONNECTION="$driver" REDIS_HOST="$work/redis.sock" REDIS_PORT=0 "$@"); }
count=0
while [ "$count" -lt "$workers" ]; do
    # One process, whose number is the worker's.
    (
        cd "$work/theirs"
        export QUEUE_CONNECTION="$driver" REDIS_HOST="$work/redis.sock" REDIS_PORT=0
        exec php -d opcache.enable_cli=1 artisan queue:work "$driver" --sleep=0.05 >"$work/worker.$count.log" 2>&1
    ) &
    pids="$pids $!"
    count=$((count + 1))
done

application "$work/ours"
sed -i "s/^QUEUE_CONNECTION=.*/QUEUE_CONNECTION=$driver/; s/^APP_ENV=.*/APP_ENV=production/; s/^APP_DEBUG=.*/APP_DEBUG=false/" "$work/ours/.env"
echo 'REDIS_HOST=redis' >>"$work/ours/.env"
cat >"$work/ours/regie.toml" <<TOML
[gateway]
listen = ["127.0.0.1:0"]
[schedule]
enabled = false
[workers.default]
queues = ["$driver:default"]
min = $workers
max = $workers
TOML
"$bin" -C "$work/ours" up -d >"$work/up.log" 2>&1 || { cat "$work/up.log" >&2; exit 1; }
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
for side in theirs ours; do
    [ "$driver" = redis ] || break
    $side php push.php latency 200 | sort -n >"$work/$side.ms"
done
sort -n "$work/theirs.s" >"$work/theirs.sorted"
sort -n "$work/ours.s" >"$work/ours.sorted"
paste "$work/theirs.sorted" "$work/ours.sorted" | awk -v jobs="$jobs" -v workers="$workers" -v driver="$driver" '
    { t[NR] = $1; o[NR] = $2 }
    END {
        m = int((NR + 1) / 2)
        printf "%d workers, %d no-op jobs, %d rounds\n", workers, jobs, NR
        printf "queue:work %-14s  %8.0f jobs/s\n", driver, jobs / t[m]
        printf "Régie                      %8.0f jobs/s\n", jobs / o[m]
        printf "ratio                      %8.2f  (%.2f to %.2f)\n", t[m] / o[m], t[1] / o[NR], t[NR] / o[1]
    }'
for side in theirs ours; do
    [ "$driver" = redis ] || break
    awk -v side="$side" '{ v[NR] = $1 } END { printf "dispatch to start, %-6s  p50 %.2f ms, p99 %.2f ms\n", side, v[int(NR * 0.5)], v[int(NR * 0.99)] }' "$work/$side.ms"
done
