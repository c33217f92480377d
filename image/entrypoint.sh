#!/bin/sh
# Accepts the arguments that registry:2 accepts: a configuration file, a command of `registry`, options, or another program.
set -e

case "$1" in
    *.yaml | *.yml) set -- registry serve "$@" ;;
    serve | garbage-collect | config | htpasswd | access | health | doctor | help | -*) set -- registry "$@" ;;
esac

exec "$@"
