#!/bin/sh
# Every measurement of the queues, one after the other; about ten minutes.
set -eu
here=$(dirname "$0")
echo '== Laravel, Redis, one worker'
"$here/run.sh" 5 10000 1
echo '== Laravel, Redis, two workers'
"$here/run.sh" 3 20000 2
echo '== Laravel, a table in SQLite, one worker'
"$here/run.sh" 3 2000 1 database
echo '== Symfony Messenger, a stream, one worker'
"$here/symfony.sh" 5 10000 1
echo '== Symfony Messenger, a stream, two workers'
"$here/symfony.sh" 3 20000 2
echo '== A million waiting jobs, two workers'
"$here/million.sh" 1000000
