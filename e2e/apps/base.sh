#!/bin/sh
# Copies an application of this folder, with the example it is based on, to a new folder:
#   base.sh laravel-fresh /tmp/somewhere
set -eu
[ $# -eq 2 ] || { echo 'usage: base.sh NAME FOLDER' >&2; exit 64; }
here=$(cd "$(dirname "$0")" && pwd)
name=$1 folder=$2
case "$name" in
    laravel-*) base=$here/../../examples/laravel ;;
    symfony | symfony-*) base=$here/../../examples/symfony ;;
    tour) base=$here/../../examples/tour ;;
    *) base= ;;
esac
[ -n "$base" ] || [ -d "$here/$name" ] || { echo "base.sh: no application $name" >&2; exit 64; }
mkdir -p "$folder"
# Only what belongs to the application: not what running the example in place has left behind.
if [ -n "$base" ]; then
    (cd "$base" && tar -cf - --exclude=./.regie --exclude=./.env.local --exclude=./var \
        --exclude='./database/*.sqlite*' --exclude='./storage/logs/*.log' --exclude='./bootstrap/cache/*.php' \
        --exclude='./storage/framework/views/*.php' .) | tar -xf - -C "$folder"
    case "$name" in laravel-*) rm -f "$folder/.env" ;; esac
fi
if [ -d "$here/$name" ]; then
    (cd "$here/$name" && tar -cf - --exclude=./.regie .) | tar -xf - -C "$folder"
fi
