#!/bin/sh
# Accepts the arguments that registry:2 accepts: a configuration file, a command of `registry`, options, or another program.
# `cp`, `du`, `ls` and `rm` are the programs of the image, as with registry:2; as commands, they are `registry ls` and so on.
set -e

case "$1" in
    *.yaml | *.yml) set -- registry serve "$@" ;;
    serve | health | doctor | config | access | htpasswd | help | -*) set -- registry "$@" ;;
    copy-storage | export | garbage-collect | history | import | restore | retention | storage | uploads | verify) set -- registry "$@" ;;
esac

exec "$@"
