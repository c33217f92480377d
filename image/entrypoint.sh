#!/bin/sh
# What registry:2 is started with: a configuration file, a command of `registry`, its options, or any other program.
set -e

case "$1" in
    *.yaml | *.yml) set -- registry serve "$@" ;;
    serve | garbage-collect | config | htpasswd | access | health | doctor | help | -*) set -- registry "$@" ;;
esac

exec "$@"
