//! Keys that say who may do what.

use super::key::{Form, Key, honoured, refused};

pub(super) const KEYS: &[Key] = &[
    honoured(
        "auth.none",
        Form::Any,
        "",
        "states that clients do not log in; suppresses the warning about a server without a login",
    ),
    honoured(
        "auth.htpasswd.path",
        Form::Text,
        "",
        "file of users and passwords, as `registry htpasswd` and `htpasswd` write it; reloaded when it changes",
    ),
    honoured(
        "auth.htpasswd.realm",
        Form::Text,
        "Registry",
        "name that clients show when they ask for a login",
    ),
    honoured(
        "auth.htpasswd.autocreate",
        Form::Switch,
        "false",
        "extension: creates a missing file, with a user `docker` whose random password is logged once; registry:2 always \
         does this",
    ),
    honoured(
        "auth.htpasswd.formats",
        Form::List,
        "",
        "extension: formats of passwords with which users can log in: `bcrypt`, `sha512-crypt`, `sha256-crypt`, `apr1`, \
         `ssha`, `sha`, `md5-crypt`, `des-crypt`. Without this key all are; registry:2 reads only `bcrypt`",
    ),
    refused(
        "auth.silly",
        "this accepts any credentials; use `auth.htpasswd`, or no login",
    ),
    refused(
        "auth.token",
        "token services are not implemented yet; use `auth.htpasswd`",
    ),
    honoured(
        "access.rules",
        Form::Text,
        "",
        "extension: file of access rules (`docs/access.md`); reloaded when it changes",
    ),
];
