//! Keys of the file itself and of the logs.

use super::key::{Form, Key, accepted, honoured, refused};

pub(super) const KEYS: &[Key] = &[
    honoured(
        "version",
        Form::Text,
        "0.1",
        "version of this file's format; only `0.1` exists",
    ),
    honoured(
        "log.level",
        Form::Text,
        "info",
        "log level: `error`, `warn`, `info`, `debug` or `trace`",
    ),
    honoured(
        "log.formatter",
        Form::Text,
        "text",
        "format of the application log: `text` (for people on a terminal, otherwise `logfmt`), `logfmt`, `json` or \
         `logstash`",
    ),
    honoured(
        "log.fields.*",
        Form::Text,
        "",
        "fields that every line of the application log carries",
    ),
    honoured(
        "log.accesslog.disabled",
        Form::Switch,
        "false",
        "turns off the access log: one line per request on standard output, in the Combined Log Format",
    ),
    refused(
        "log.hooks",
        "to get mail about errors, use a program that reads the log; hooks with `disabled: true` are ignored",
    ),
    accepted(
        "log.reportcaller",
        Form::Switch,
        "log lines name their module, but never a line of code",
    ),
    honoured(
        "loglevel",
        Form::Text,
        "",
        "deprecated name of `log.level`; if both are set, `log.level` takes effect",
    ),
];
