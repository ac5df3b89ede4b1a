#!/bin/sh
# Messenger's messages on Régie beside messenger:consume and redis-server: the same application, the same number of PHP
# processes.
#
#   bench/queue/symfony.sh [ROUNDS] [MESSAGES] [WORKERS]
#
# As in run.sh the rounds alternate, and the time from the first push until the stream is empty is taken. Handled messages
# are deleted from the stream, as by default from Symfony 6 on. messenger:consume asks with --sleep=0.05. Needs
# redis-server, php-redis, php-symfony-messenger and php-symfony-redis-messenger.
set -eu
rounds=${1:-5}
messages=${2:-10000}
workers=${3:-1}
here=$(cd "$(dirname "$0")/../.." && pwd)
. "$here/bench/queue/application.sh"
export APP_ENV=prod APP_DEBUG=0

application() {
    sh "$here/e2e/apps/base.sh" symfony-jobs "$1"
    mkdir -p "$1/storage"
    sed -i 's|redis://:word@127.0.0.1:1/orders/shop?lazy=1&dbindex=2|%env(MESSENGER_TRANSPORT_DSN)%|; s|sys_get_temp_dir()|dirname(__DIR__) . "/storage"|' \
        "$1/src/Kernel.php"
    cp "$here/bench/queue/send.php" "$1/send.php"
    printf 'APP_ENV=prod\nAPP_DEBUG=0\nAPP_SECRET=x\nMESSENGER_TRANSPORT_DSN=redis://redis:6379/orders?delete_after_ack=1\n' >"$1/.env"
}

application "$work/theirs"
redis_server "$work/redis.sock"
stream="redis://$work/redis.sock?stream=orders&group=symfony&delete_after_ack=1"
theirs() { (cd "$work/theirs" && MESSENGER_TRANSPORT_DSN="$stream" "$@"); }
theirs php messages.php setup
count=0
while [ "$count" -lt "$workers" ]; do
    # One process, whose number is the worker's.
    (
        cd "$work/theirs"
        export MESSENGER_TRANSPORT_DSN="$stream&consumer=c$count"
        exec php -d opcache.enable_cli=1 bin/console messenger:consume stream --sleep=0.05 >"$work/worker.$count.log" 2>&1
    ) &
    pids="$pids $!"
    count=$((count + 1))
done

application "$work/ours"
up "$work/ours" stream "$workers"
ours() { "$bin" -C "$work/ours" run "$@"; }
ours php messages.php setup

# The first messages find cold caches, on both sides.
ours php send.php 1000 >/dev/null
theirs php send.php 500 >/dev/null
round=0
while [ "$round" -lt "$rounds" ]; do
    theirs php send.php "$messages" >>"$work/theirs.s"
    ours php send.php "$messages" >>"$work/ours.s"
    round=$((round + 1))
done
printf '%d workers, %d no-op messages, %d rounds\n' "$workers" "$messages" "$rounds"
compare "$work/theirs.s" "$work/ours.s" "$messages" "messenger:consume"
