# What the scripts beside it share; read with `.`. Needs $here. Everything lies in $work, which goes with the script.
work=$(mktemp -d)
bin=${REGIE_BIN:-${CARGO_TARGET_DIR:-$here/target}/release/regie}
pids=''
ups=''
cleanup() {
    for folder in $ups; do "$bin" -C "$folder" down >/dev/null 2>&1 || true; done
    # shellcheck disable=SC2086
    [ -z "$pids" ] || kill $pids 2>/dev/null || true
    # They write to the folder to their end.
    # shellcheck disable=SC2086
    [ -z "$pids" ] || wait $pids 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT INT TERM

# The job that does nothing, and the one that says how late it is, in a Laravel application: laravel FOLDER CONNECTION
laravel() {
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
    sed -i "s/^QUEUE_CONNECTION=.*/QUEUE_CONNECTION=$2/; s/^APP_ENV=.*/APP_ENV=production/; s/^APP_DEBUG=.*/APP_DEBUG=false/" "$1/.env"
    echo 'REDIS_HOST=redis' >>"$1/.env"
    [ "$2" = database ] || return 0
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

# Debian's redis-server, as a team runs it: redis_server SOCKET
redis_server() {
    redis-server --port 0 --unixsocket "$1" --save '' --appendonly yes --appendfsync everysec --dir "$work" \
        >"$work/redis.log" &
    pids="$pids $!"
}

# Régie in a folder: up FOLDER QUEUE WORKERS [MORE]
up() {
    cat >"$1/regie.toml" <<TOML
[gateway]
listen = ["127.0.0.1:0"]
[schedule]
enabled = false
[workers.default]
queues = ["$2"]
min = $3
max = $3
${4:-}
TOML
    ups="$ups $1"
    "$bin" -C "$1" up -d >"$work/up.log" 2>&1 || { cat "$work/up.log" >&2; exit 1; }
}

# Of two files with the seconds of each round: compare THEIRS OURS JOBS NAME
compare() {
    sort -n "$1" >"$1.sorted"
    sort -n "$2" >"$2.sorted"
    paste "$1.sorted" "$2.sorted" | awk -v jobs="$3" -v name="$4" '
    { t[NR] = $1; o[NR] = $2 }
    END {
        m = int((NR + 1) / 2)
        printf "%-26s %8.0f jobs/s\n", name, jobs / t[m]
        printf "%-26s %8.0f jobs/s\n", "Régie", jobs / o[m]
        printf "%-26s %8.2f  (%.2f to %.2f)\n", "ratio", t[m] / o[m], t[1] / o[NR], t[NR] / o[1]
    }'
}
