//! Table of all keys of the configuration: form, role, default and description.
//!
//! The table drives the environment's rules, the search for unknown keys, the defaults, `registry config check`, and
//! `docs/configuration.md`. A test asserts that exactly the honoured keys of the table are read.

/// Key of the configuration.
#[derive(Debug)]
pub(crate) struct Key {
    /// Path from the root, separated by dots. A last part `*` stands for names that the user chooses.
    pub(crate) path: &'static str,
    pub(crate) form: Form,
    pub(crate) role: Role,
    /// Default as written in a file; empty if there is none.
    pub(crate) default: &'static str,
    /// Purpose of the key, or the reason for which it is accepted or refused.
    pub(crate) about: &'static str,
}

/// Form of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    /// Text that is never printed.
    Secret,
    Switch,
    Count,
    /// Size in bytes: `512m`, `10g`.
    Size,
    /// Duration in Go's syntax: `1h30m`. A number without a unit counts nanoseconds.
    Duration,
    /// List of texts. A single value is a list of one.
    List,
    /// Section that has an effect by its presence.
    Mark,
    /// Any value, with everything below it.
    Any,
}

/// Treatment of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The key takes effect.
    Honoured,
    /// registry:2 needs the key and this server does not; `config check` says so.
    Accepted,
    /// Ignoring the key silently would be wrong: the server does not start.
    Refused,
}

/// Refused keys whose items can be disabled one by one.
const WITH_DISABLED_ITEMS: [&str; 3] = ["log.hooks", "notifications.endpoints", "middleware"];

impl Key {
    /// Returns true if items below the key with `disabled: true` are ignored.
    pub(crate) fn has_disabled_items(&self) -> bool {
        WITH_DISABLED_ITEMS.contains(&self.path)
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('.')
    }
}

/// Entry of the table for a path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known {
    /// Key, or a path below a key that takes any value.
    Key(&'static Key),
    /// Section with keys below it.
    Section,
    Unknown,
}

/// Looks a path up.
pub(crate) fn find(path: &[&str]) -> Known {
    if let Some(key) = KEYS.iter().find(|key| covers(key, path)) {
        return Known::Key(key);
    }
    let is_section = KEYS.iter().any(|key| {
        let mut segments = key.segments();
        path.iter().all(|name| segments.next() == Some(name)) && segments.next().is_some()
    });
    if is_section {
        Known::Section
    } else {
        Known::Unknown
    }
}

/// Finds a key by its exact path.
pub(crate) fn key(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Returns the names directly below a section.
pub(crate) fn below(section: &[&str]) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = KEYS
        .iter()
        .filter_map(|key| {
            let mut segments = key.segments();
            section
                .iter()
                .all(|name| segments.next() == Some(name))
                .then(|| segments.next())?
        })
        .collect();
    names.dedup();
    names
}

fn covers(key: &Key, path: &[&str]) -> bool {
    let mut names = path.iter();
    for segment in key.segments() {
        match names.next() {
            Some(name) if segment == *name || segment == "*" => {}
            _ => return false,
        }
    }
    names.next().is_none() || matches!(key.form, Form::Any)
}

const fn honoured(path: &'static str, form: Form, default: &'static str, about: &'static str) -> Key {
    Key {
        path,
        form,
        role: Role::Honoured,
        default,
        about,
    }
}

const fn accepted(path: &'static str, form: Form, about: &'static str) -> Key {
    Key {
        path,
        form,
        role: Role::Accepted,
        default: "",
        about,
    }
}

const fn refused(path: &'static str, about: &'static str) -> Key {
    Key {
        path,
        form: Form::Any,
        role: Role::Refused,
        default: "",
        about,
    }
}

/// Table of all keys. Keys of one section stand together.
pub(crate) const KEYS: &[Key] = &[
    honoured(
        "version",
        Form::Text,
        "0.1",
        "the version of this file's format; there is no other than 0.1",
    ),
    honoured(
        "log.level",
        Form::Text,
        "info",
        "what is logged: `error`, `warn`, `info`, `debug`, or `trace`",
    ),
    honoured(
        "log.formatter",
        Form::Text,
        "text",
        "`text` (for people on a terminal, else as `logfmt`), `logfmt`, `json`, or `logstash`",
    ),
    honoured(
        "log.fields.*",
        Form::Text,
        "",
        "what every line of the application log has",
    ),
    honoured(
        "log.accesslog.disabled",
        Form::Switch,
        "false",
        "no line per request on standard output, in the Combined Log Format",
    ),
    refused(
        "log.hooks",
        "mail about errors is the business of whatever reads the log; those with `disabled: true` are passed over",
    ),
    accepted(
        "log.reportcaller",
        Form::Switch,
        "log lines name the module that they come from, never a line of code",
    ),
    honoured(
        "loglevel",
        Form::Text,
        "",
        "the old spelling of `log.level`, which counts where both are given",
    ),
    honoured(
        "storage.filesystem.rootdirectory",
        Form::Text,
        "/var/lib/registry",
        "where images are kept, in registry:2's layout",
    ),
    honoured(
        "storage.filesystem.maxthreads",
        Form::Count,
        "100",
        "how many file operations run at once; 25 at least",
    ),
    honoured(
        "storage.filesystem.minfree",
        Form::Size,
        "0",
        "how much of the disk uploads leave free; below it they are refused, and everything else goes on",
    ),
    honoured(
        "storage.filesystem.wait",
        Form::Duration,
        "10s",
        "our own: how long a server that starts waits until another one has let go of the directory; then it ends with an error",
    ),
    honoured(
        "storage.inmemory",
        Form::Mark,
        "",
        "keeps images in memory, for tests: they are gone when the process ends",
    ),
    refused(
        "storage.s3",
        "object storage comes later; until then `storage.filesystem`",
    ),
    refused(
        "storage.azure",
        "object storage comes later; until then `storage.filesystem`",
    ),
    refused(
        "storage.gcs",
        "object storage comes later; until then `storage.filesystem`",
    ),
    refused(
        "storage.swift",
        "object storage comes later, without Swift, as in registry:3",
    ),
    refused(
        "storage.oss",
        "object storage comes later, without OSS, as in registry:3",
    ),
    honoured(
        "storage.delete.enabled",
        Form::Switch,
        "false",
        "whether clients may delete; without a configuration they may",
    ),
    honoured(
        "storage.maintenance.readonly.enabled",
        Form::Switch,
        "false",
        "whether nothing may be changed; any number of such servers read a directory beside the one that writes it",
    ),
    honoured(
        "storage.maintenance.uploadpurging.enabled",
        Form::Switch,
        "true",
        "whether upload sessions that were abandoned are ended",
    ),
    honoured(
        "storage.maintenance.uploadpurging.age",
        Form::Duration,
        "168h",
        "how long nothing was added to them; those that hold no byte go after an hour at the latest",
    ),
    honoured(
        "storage.maintenance.uploadpurging.interval",
        Form::Duration,
        "24h",
        "how often that is looked for; the first time is at the start",
    ),
    honoured(
        "storage.maintenance.uploadpurging.dryrun",
        Form::Switch,
        "false",
        "nothing is ended then",
    ),
    accepted(
        "storage.redirect.disable",
        Form::Switch,
        "a directory has nowhere to redirect to",
    ),
    accepted(
        "storage.cache.blobdescriptor",
        Form::Text,
        "no cache stands between clients and the directory, so none can be stale",
    ),
    accepted(
        "storage.cache.layerinfo",
        Form::Text,
        "the old spelling of `blobdescriptor`",
    ),
    accepted(
        "storage.cache.blobdescriptorsize",
        Form::Count,
        "there is no such cache",
    ),
    accepted(
        "storage.tag.concurrencylimit",
        Form::Count,
        "deleting a manifest reads its own tags only; all tags of its repository are read once after a start",
    ),
    honoured("auth.none", Form::Any, "", "nobody logs in"),
    honoured(
        "auth.htpasswd.path",
        Form::Text,
        "",
        "a file of users and passwords, as `registry htpasswd` and `htpasswd` write it; read again when it changes",
    ),
    honoured(
        "auth.htpasswd.realm",
        Form::Text,
        "Registry",
        "what people are told they log in to",
    ),
    honoured(
        "auth.htpasswd.autocreate",
        Form::Switch,
        "false",
        "makes the file if there is none, with a user `docker` whose random password is logged once; registry:2 always does",
    ),
    refused(
        "auth.silly",
        "it lets everybody in who shows any credentials: `auth.htpasswd`, or none",
    ),
    refused(
        "auth.token",
        "token services come later; until then `auth.htpasswd`",
    ),
    honoured(
        "access.rules",
        Form::Text,
        "",
        "our own: a file of access rules (`docs/access.md`), read again when it changes",
    ),
    honoured(
        "http.addr",
        Form::Text,
        ":5000",
        "where to listen; without a host, on IPv6 and IPv4. With `http.net: unix`, the path of a socket",
    ),
    honoured(
        "http.prefix",
        Form::Text,
        "",
        "the path before `/v2/`, as in `/registry/`",
    ),
    honoured(
        "http.host",
        Form::Text,
        "",
        "the URL by which clients know the registry; makes every `Location` absolute",
    ),
    honoured(
        "http.relativeurls",
        Form::Switch,
        "true",
        "a `Location` is a path; `false` makes it absolute, from the request and its `Forwarded` or `X-Forwarded-*` headers, unlike registry:2 only if asked",
    ),
    honoured(
        "http.tls.certificate",
        Form::Text,
        "",
        "a PEM file with the certificate and those above it; waited for, and reloaded when it changes",
    ),
    honoured("http.tls.key", Form::Text, "", "a PEM file with its private key"),
    honoured(
        "http.tls.clientcas",
        Form::List,
        "",
        "PEM files with the authorities for clients' certificates, reloaded when they change; who shows none of theirs is kept out",
    ),
    honoured(
        "http.tls.clientauth",
        Form::Text,
        "require-and-verify-client-cert",
        "or `verify-client-cert-if-given`; nothing that verifies nothing",
    ),
    honoured(
        "http.tls.minimumtls",
        Form::Text,
        "tls1.2",
        "or `tls1.3`; anything older is not spoken, and taken for `tls1.2` with a warning",
    ),
    honoured(
        "http.tls.ciphersuites",
        Form::List,
        "",
        "by registry:2's names; without any, all that have no known fault. Those that have are left out with a warning",
    ),
    honoured(
        "http.tls.letsencrypt.cachefile",
        Form::Text,
        "",
        "a directory (not a file, as in registry:2) for account and certificates; turns on certificates from an authority",
    ),
    honoured(
        "http.tls.letsencrypt.email",
        Form::Text,
        "",
        "whom the authority writes to",
    ),
    honoured(
        "http.tls.letsencrypt.hosts",
        Form::List,
        "",
        "the names to ask certificates for; there has to be one",
    ),
    honoured(
        "http.tls.letsencrypt.directoryurl",
        Form::Text,
        "",
        "another authority than Let's Encrypt",
    ),
    honoured(
        "http.tls.letsencrypt.directoryca",
        Form::Text,
        "",
        "our own: a PEM file to trust that authority's HTTPS by, instead of the system's authorities",
    ),
    honoured(
        "http.tls.letsencrypt.challenge",
        Form::Text,
        "tls-alpn-01",
        "our own: `tls-alpn-01`, on port 443 itself, or `http-01`, on that of `http.redirect.addr`",
    ),
    honoured(
        "http.redirect.addr",
        Form::Text,
        "",
        "our own: where to answer plain HTTP, as `:80`: the challenge `http-01`, and 308 to https for everything else",
    ),
    honoured(
        "http.redirect.port",
        Form::Count,
        "",
        "our own: the port of https that clients are sent to, if it is not that of `http.addr`",
    ),
    honoured(
        "http.net",
        Form::Text,
        "tcp",
        "or `unix`: a socket for a proxy on the same machine, which counts as `127.0.0.1`",
    ),
    honoured(
        "http.headers.*",
        Form::List,
        "",
        "header lines of every answer below `/v2/`, one per value; `Access-Control-*` go to the origins they allow",
    ),
    honoured(
        "http.proxies.trusted",
        Form::List,
        "",
        "our own: the networks whose proxies are believed; without it peers on loopback and private addresses, for as many \
         addresses as `hops`, and `[]` is nobody",
    ),
    honoured(
        "http.proxies.hops",
        Form::Count,
        "1",
        "our own: without `trusted`, how many proxies there are: the client is that many addresses from the right",
    ),
    honoured(
        "http.proxies.header",
        Form::Text,
        "X-Forwarded-For",
        "our own: the header in which they tell it, such as `CF-Connecting-IP`",
    ),
    honoured(
        "http.allow",
        Form::List,
        "",
        "our own: the networks that may connect, such as those of a proxy; others are answered 403",
    ),
    honoured(
        "http.maxblobsize",
        Form::Size,
        "",
        "our own: the largest blob, such as `100m`; larger ones are answered 413. Without it any size",
    ),
    honoured(
        "http.draintimeout",
        Form::Duration,
        "8s",
        "how long requests that run may go on after SIGTERM; `docker stop` kills after 10 s",
    ),
    honoured(
        "http.timeouts.firstbyte",
        Form::Duration,
        "30s",
        "our own: from a connection's beginning to its first byte",
    ),
    honoured(
        "http.timeouts.header",
        Form::Duration,
        "30s",
        "our own: from there to the end of a request's headers",
    ),
    honoured(
        "http.timeouts.bodyidle",
        Form::Duration,
        "900s",
        "our own: how long a body may stand still; a client may compress a layer while it sends it",
    ),
    honoured(
        "http.timeouts.untaken",
        Form::Duration,
        "60s",
        "our own: how long a client over HTTP/2 may take nothing of an answer; one that has taken some may pause for \
         `bodyidle`",
    ),
    honoured(
        "http.timeouts.queue",
        Form::Duration,
        "10s",
        "our own: how long a request waits while there are `limits.http2requests`",
    ),
    honoured(
        "http.timeouts.keepalive",
        Form::Duration,
        "300s",
        "our own: between two requests; longer than the proxy in front, or it answers 502 now and then",
    ),
    honoured(
        "http.debug.addr",
        Form::Text,
        "",
        "where health (`/debug/health`) and metrics are told, without a login",
    ),
    honoured(
        "http.debug.prometheus.enabled",
        Form::Switch,
        "false",
        "whether metrics are told there; `--debug-addr` turns them on",
    ),
    honoured(
        "http.debug.prometheus.path",
        Form::Text,
        "/metrics",
        "under which path",
    ),
    honoured(
        "http.http2.disabled",
        Form::Switch,
        "false",
        "whether HTTPS offers HTTP/1.1 only",
    ),
    accepted(
        "http.h2c",
        Form::Any,
        "HTTP/2 is spoken with those who begin with it",
    ),
    accepted(
        "http.secret",
        Form::Secret,
        "upload sessions need no signature: one process at a time has the directory, and goes on with those of the one before",
    ),
    accepted(
        "notifications.events",
        Form::Any,
        "without endpoints nobody is told",
    ),
    refused(
        "notifications.endpoints",
        "webhooks come later; those with `disabled: true` are passed over",
    ),
    accepted(
        "redis",
        Form::Any,
        "registry:2 keeps a cache there, and this server has none",
    ),
    honoured(
        "limits.connections",
        Form::Count,
        "4096",
        "our own: how many connections there may be at once; one on top takes the place of the one that has been idle \
         longest, or of one that has waited for its client for 5 s, and is answered 503 if there is none",
    ),
    honoured(
        "limits.http2streams",
        Form::Count,
        "100",
        "our own: how many requests one HTTP/2 connection may have open at once",
    ),
    honoured(
        "limits.http2requests",
        Form::Count,
        "4096",
        "our own: how many requests all HTTP/2 connections may have open at once; those on top wait, and take the place of \
         those whose clients neither send nor take anything",
    ),
    honoured(
        "limits.uploads",
        Form::Count,
        "100000",
        "our own: how many upload sessions may be open at once",
    ),
    honoured(
        "limits.repositoryuploads",
        Form::Count,
        "10000",
        "our own: the same, of one repository",
    ),
    honoured(
        "limits.useruploads",
        Form::Count,
        "",
        "our own: the same, of one user, or of the strangers of one address (in IPv6, of 64 bits of it). Without it a quarter of \
         `repositoryuploads`",
    ),
    honoured(
        "limits.namecomponents",
        Form::Count,
        "32",
        "our own: how many components the name of a repository has that a push creates; deeper ones that are there are served",
    ),
    honoured(
        "limits.documents",
        Form::Size,
        "256m",
        "our own: how much lies in memory of manifests that are being received, and again of manifests and lists that \
         clients have not taken yet, of those beyond 128 KiB",
    ),
    honoured(
        "health.storagedriver.enabled",
        Form::Switch,
        "true",
        "whether the storage is checked; a check that fails is told by the debug listener, and pulls go on",
    ),
    honoured(
        "health.storagedriver.interval",
        Form::Duration,
        "10s",
        "how often",
    ),
    honoured(
        "health.storagedriver.threshold",
        Form::Count,
        "3",
        "how many failures in a row are too many",
    ),
    honoured(
        "health.file",
        Form::Any,
        "",
        "a list of `{file, interval, threshold}`: while the file is there, the server is not well",
    ),
    honoured(
        "health.http",
        Form::Any,
        "",
        "a list of `{uri, statuscode, headers, timeout, interval, threshold}`: what has to answer HEAD with that status, 200 \
         unless given",
    ),
    honoured(
        "health.tcp",
        Form::Any,
        "",
        "a list of `{addr, timeout, interval, threshold}`: what has to accept connections",
    ),
    honoured(
        "catalog.maxentries",
        Form::Count,
        "",
        "how many repositories a page of the catalog has; a larger `n` is 400. Without it a page has 1,000, or `n` up to \
         10,000, and a `Link`",
    ),
    accepted("tags", Form::Any, "tags are listed in pages of 10,000"),
    accepted(
        "validation.enabled",
        Form::Switch,
        "manifests are always validated",
    ),
    accepted(
        "validation.disabled",
        Form::Switch,
        "manifests are always validated",
    ),
    honoured(
        "validation.manifests.urls.allow",
        Form::List,
        "",
        "regular expressions: each address that a layer gives in `urls` matches one of them, and the registry need not have such a \
         layer; without this section it need not have layers of nondistributable types, whatever their addresses, where \
         registry:2 takes no address",
    ),
    honoured(
        "validation.manifests.urls.deny",
        Form::List,
        "",
        "and none of these",
    ),
    honoured(
        "validation.manifests.sizes",
        Form::Text,
        "exact",
        "our own: `exact` refuses a manifest whose descriptors give another size than their content has; `any` accepts it, as \
         registry:2 does, with a warning in the log, if the content is whole",
    ),
    honoured(
        "validation.manifests.indexes.platforms",
        Form::Text,
        "all",
        "which images of an index have to be there: `all` or `none`",
    ),
    refused("validation.manifests.indexes.platformlist", "it is all or none"),
    refused("proxy", "a pull-through cache comes later"),
    refused("policy", "classes of repositories are not told apart"),
    refused(
        "middleware",
        "there is no middleware to configure; what has `disabled: true` is passed over",
    ),
    accepted(
        "compatibility.schema1",
        Form::Any,
        "signed manifests of Docker before 1.10 are neither accepted nor made, as in registry:3",
    ),
    honoured(
        "compatibility.refuseoldclients",
        Form::Switch,
        "false",
        "our own: docker before 1.6 is answered 404, as it would take this for a registry of version 1",
    ),
    accepted(
        "reporting",
        Form::Any,
        "errors are logged, and reported to no service",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_key_stands_twice_or_inside_another() {
        let mut seen = BTreeSet::new();
        for key in KEYS {
            assert!(seen.insert(key.path), "{} stands twice", key.path);
            let inside = KEYS
                .iter()
                .find(|other| other.path.starts_with(&format!("{}.", key.path)));
            assert!(
                inside.is_none(),
                "{} is inside of {}",
                inside.unwrap().path,
                key.path
            );
        }
    }

    #[test]
    fn keys_of_a_section_stand_together() {
        let mut closed = BTreeSet::new();
        let mut open = "";
        for key in KEYS {
            let section = key.segments().next().unwrap();
            if section != open {
                assert!(closed.insert(section), "{section} begins twice, at {}", key.path);
                open = section;
            }
        }
    }

    #[test]
    fn a_path_is_found_with_what_lies_below_it() {
        assert!(matches!(find(&["http", "addr"]), Known::Key(key) if key.path == "http.addr"));
        assert!(matches!(find(&["storage", "s3", "bucket"]), Known::Key(key) if key.path == "storage.s3"));
        assert!(matches!(find(&["http"]), Known::Section));
        assert!(matches!(find(&["http", "adr"]), Known::Unknown));
        assert!(matches!(find(&["http", "addr", "more"]), Known::Unknown));
    }
}
