//! Table of all keys of the configuration: form, role, default and description.
//!
//! The table drives the environment's rules, the search for unknown keys, the defaults, `registry config check`, and
//! `docs/configuration.md`. A test asserts that exactly the honoured keys of the table are read.

use super::{
    bucket_keys::BUCKETS,
    key::{accepted, honoured, refused},
};

pub(crate) use super::key::{Form, Key, Role};

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

/// Finds a key of a bucket, such as `region` of `s3`, that a URL can have: one that takes effect, and no secret.
pub(crate) fn key_below(driver: &str, name: &str) -> Option<&'static str> {
    let found = key(&format!("storage.{driver}.{name}"))?;
    (found.role == Role::Honoured && found.form != Form::Secret).then_some(found.path)
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

/// Table of all keys. Keys of one section stand together.
pub(crate) const KEYS: &[Key] = &joined::<{ FIRST.len() + BUCKETS.len() + REST.len() }>();

const fn joined<const N: usize>() -> [Key; N] {
    let mut keys = [accepted("", Form::Any, ""); N];
    let (first, after) = keys.as_mut_slice().split_at_mut(FIRST.len());
    let (buckets, rest) = after.split_at_mut(BUCKETS.len());
    first.copy_from_slice(FIRST);
    buckets.copy_from_slice(BUCKETS);
    rest.copy_from_slice(REST);
    keys
}

/// Keys up to those of the buckets.
const FIRST: &[Key] = &[
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
    honoured(
        "storage.filesystem.rootdirectory",
        Form::Text,
        "/var/lib/registry",
        "directory of the images, in the layout of registry:2",
    ),
    honoured(
        "storage.filesystem.maxthreads",
        Form::Count,
        "100",
        "maximum number of concurrent file operations, at least 25",
    ),
    honoured(
        "storage.filesystem.minfree",
        Form::Size,
        "0",
        "extension: free space on the disk that uploads must leave; if there is less, uploads are refused, and all other \
         requests work",
    ),
    honoured(
        "storage.filesystem.wait",
        Form::Duration,
        "10s",
        "extension: how long a server that starts waits for another one to release the directory; after that it exits \
         with an error",
    ),
    honoured(
        "storage.inmemory",
        Form::Mark,
        "",
        "keeps the images in memory, for tests; they are lost when the process ends",
    ),
];

/// Keys after those of the buckets.
const REST: &[Key] = &[
    refused(
        "storage.swift",
        "Swift is not planned, as in registry:3; use `storage.s3` or `storage.filesystem`",
    ),
    refused(
        "storage.oss",
        "OSS is not planned, as in registry:3; use `storage.s3` with `regionendpoint` and `forcepathstyle: false`",
    ),
    honoured(
        "storage.delete.enabled",
        Form::Switch,
        "false",
        "allows clients to delete tags, manifests and blobs; without a configuration the default is `true`",
    ),
    honoured(
        "storage.maintenance.readonly.enabled",
        Form::Switch,
        "false",
        "refuses all changes; any number of read-only servers can use a directory beside the one that writes it",
    ),
    honoured(
        "storage.maintenance.retention.rules",
        Form::Text,
        "",
        "extension: file of rules that say which tags are kept (`docs/retention.md`); reloaded when it changes. Without it, every tag is kept",
    ),
    honoured(
        "storage.maintenance.retention.interval",
        Form::Duration,
        "24h",
        "extension: time between two runs that apply the rules; a run is due at the start, too",
    ),
    honoured(
        "storage.maintenance.uploadpurging.enabled",
        Form::Switch,
        "true",
        "ends abandoned upload sessions",
    ),
    honoured(
        "storage.maintenance.uploadpurging.age",
        Form::Duration,
        "168h",
        "time without new data after which an upload session is abandoned; empty sessions end after an hour at the latest",
    ),
    honoured(
        "storage.maintenance.uploadpurging.interval",
        Form::Duration,
        "24h",
        "interval of the search for abandoned sessions; the first search is at the start",
    ),
    honoured(
        "storage.maintenance.uploadpurging.dryrun",
        Form::Switch,
        "false",
        "if `true`, no session is ended",
    ),
    honoured(
        "storage.maintenance.trash.keep",
        Form::Duration,
        "168h",
        "time for which the deletion of a tag or manifest can be undone; the records of older ones are removed every hour",
    ),
    honoured(
        "storage.maintenance.trash.underpressure",
        Form::Text,
        "shrink",
        "extension: `shrink` removes the oldest of these records sooner while less than `storage.filesystem.minfree` is free, \
         a part of them after each collection, but none of the last 24 hours. It needs collections that remove content: see \
         `storage.maintenance.collect.enabled`. `keep` removes none sooner",
    ),
    honoured(
        "storage.maintenance.collect.enabled",
        Form::Switch,
        "",
        "extension: collects at the start, every day and after deletions, beside traffic, and keeps manifests without a tag. `false` never \
         collects. By default, a collection only reports in a directory that other software or an earlier version created, until it is \
         `true` or somebody has run `registry garbage-collect`",
    ),
    honoured(
        "storage.maintenance.collect.rate",
        Form::Count,
        "500",
        "extension: maximum number of items that these collections remove in a second. They also rest for three quarters of the time, so \
         that requests go first. `0` does neither",
    ),
    honoured(
        "storage.maintenance.collect.grace",
        Form::Duration,
        "24h",
        "extension: time for which content stays that nothing refers to, after a client has used it or the server has started",
    ),
    honoured(
        "storage.maintenance.collect.delay",
        Form::Duration,
        "",
        "extension, for a bucket: shortens the time between the announcement of a removal to all servers and the removal, which is \
         about 12 minutes. All servers and commands must have the same value. It is for tests: with a short one, content may be lost if the \
         store stalls for some seconds",
    ),
    honoured(
        "storage.maintenance.verify.interval",
        Form::Duration,
        "720h",
        "interval in which all stored content is read once and compared with its digests; damage is logged; `0s` never reads it",
    ),
    honoured(
        "storage.maintenance.verify.window",
        Form::Text,
        "01:00-05:00",
        "part of each day, in UTC, in which content is read for that; `\"\"` in the file reads it at any time",
    ),
    honoured(
        "storage.redirect.disable",
        Form::Switch,
        "",
        "if `true`, the server sends the content of blobs itself. By default, clients get it from the bucket, by a URL that is \
         valid for 20 minutes; with a directory, the server always sends it",
    ),
    accepted(
        "storage.cache.blobdescriptor",
        Form::Text,
        "the server reads the directory directly, without a cache that could be stale",
    ),
    accepted(
        "storage.cache.layerinfo",
        Form::Text,
        "deprecated name of `blobdescriptor`",
    ),
    accepted(
        "storage.cache.blobdescriptorsize",
        Form::Count,
        "there is no such cache",
    ),
    accepted(
        "storage.tag.concurrencylimit",
        Form::Count,
        "deleting a manifest reads only the tags that point at it; after a start, all tags of the repository are read \
         once",
    ),
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
    honoured(
        "http.addr",
        Form::Text,
        ":5000",
        "address and port to listen on; without a host, all IPv6 and IPv4 addresses. With `http.net: unix`, the path of a \
         socket",
    ),
    honoured(
        "http.prefix",
        Form::Text,
        "",
        "path before `/v2/`, such as `/registry/`",
    ),
    honoured(
        "http.host",
        Form::Text,
        "",
        "URL of the registry for clients; makes every `Location` absolute",
    ),
    honoured(
        "http.relativeurls",
        Form::Switch,
        "true",
        "if `true`, a `Location` is a path. If `false`, it is absolute, from the request and its `Forwarded` or \
         `X-Forwarded-*` headers; this is the default in registry:2",
    ),
    honoured(
        "http.tls.certificate",
        Form::Text,
        "",
        "PEM file with the certificate and those of the intermediate authorities; the server waits for it, and reloads it \
         when it changes",
    ),
    honoured(
        "http.tls.key",
        Form::Text,
        "",
        "PEM file with the private key of the certificate",
    ),
    honoured(
        "http.tls.clientcas",
        Form::List,
        "",
        "PEM files with the authorities of client certificates; clients need a certificate from one of them. Reloaded \
         when they change",
    ),
    honoured(
        "http.tls.clientauth",
        Form::Text,
        "require-and-verify-client-cert",
        "`require-and-verify-client-cert`, or `verify-client-cert-if-given`; modes that do not verify certificates are \
         refused",
    ),
    honoured(
        "http.tls.minimumtls",
        Form::Text,
        "tls1.2",
        "`tls1.2` or `tls1.3`; older versions are not supported and mean `tls1.2`, with a warning",
    ),
    honoured(
        "http.tls.ciphersuites",
        Form::List,
        "",
        "cipher suites, by the names of registry:2; by default all secure ones. Insecure ones are ignored, with a warning",
    ),
    honoured(
        "http.tls.letsencrypt.cachefile",
        Form::Text,
        "",
        "directory (in registry:2, a file) for the account and the certificates; enables certificates from an authority",
    ),
    honoured(
        "http.tls.letsencrypt.email",
        Form::Text,
        "",
        "address for messages from the authority",
    ),
    honoured(
        "http.tls.letsencrypt.hosts",
        Form::List,
        "",
        "host names to request certificates for; at least one",
    ),
    honoured(
        "http.tls.letsencrypt.directoryurl",
        Form::Text,
        "",
        "directory URL of another authority; by default Let's Encrypt",
    ),
    honoured(
        "http.tls.letsencrypt.directoryca",
        Form::Text,
        "",
        "extension: PEM file with the authorities to trust for the HTTPS of `directoryurl`, instead of those of the \
         system",
    ),
    honoured(
        "http.tls.letsencrypt.challenge",
        Form::Text,
        "tls-alpn-01",
        "extension: `tls-alpn-01`, which uses port 443, or `http-01`, which uses the port of `http.redirect.addr`",
    ),
    honoured(
        "http.redirect.addr",
        Form::Text,
        "",
        "extension: address for plain HTTP, such as `:80`: answers the challenge `http-01`, and redirects all other \
         requests to https (308)",
    ),
    honoured(
        "http.redirect.port",
        Form::Count,
        "",
        "extension: https port in these redirects, if it is not the port of `http.addr`",
    ),
    honoured(
        "http.net",
        Form::Text,
        "tcp",
        "`tcp`, or `unix`: a socket for a proxy on the same machine, which counts as `127.0.0.1`",
    ),
    honoured(
        "http.headers.*",
        Form::List,
        "",
        "header lines of every response below `/v2/`, one per value; `Access-Control-*` are sent only to the origins that \
         they allow",
    ),
    honoured(
        "http.proxies.trusted",
        Form::List,
        "",
        "extension: networks of trusted proxies; `[]` trusts none. By default, peers with loopback and private addresses \
         are trusted, for `hops` addresses",
    ),
    honoured(
        "http.proxies.hops",
        Form::Count,
        "1",
        "extension: number of proxies, if `trusted` is not set: the client is that many addresses from the right",
    ),
    honoured(
        "http.proxies.header",
        Form::Text,
        "X-Forwarded-For",
        "extension: header in which proxies send the client's address, such as `CF-Connecting-IP`",
    ),
    honoured(
        "http.allow",
        Form::List,
        "",
        "extension: networks that may connect, such as those of a proxy; others are answered with 403",
    ),
    honoured(
        "http.maxblobsize",
        Form::Size,
        "",
        "extension: maximum size of a blob, such as `100m`; larger blobs are answered with 413. By default any size",
    ),
    honoured(
        "http.draintimeout",
        Form::Duration,
        "8s",
        "time for running requests to complete after SIGTERM, SIGINT or SIGHUP; `docker stop` kills the process after 10 s",
    ),
    honoured(
        "http.timeouts.firstbyte",
        Form::Duration,
        "30s",
        "extension: from the start of a connection to its first byte",
    ),
    honoured(
        "http.timeouts.header",
        Form::Duration,
        "30s",
        "extension: from the first byte of a request to the end of its headers",
    ),
    honoured(
        "http.timeouts.bodyidle",
        Form::Duration,
        "900s",
        "extension: time without progress within a body; a client may compress a layer while it sends it",
    ),
    honoured(
        "http.timeouts.untaken",
        Form::Duration,
        "60s",
        "extension: time until a client reads the first part of a response; after that, it may pause for `bodyidle`",
    ),
    honoured(
        "http.timeouts.queue",
        Form::Duration,
        "10s",
        "extension: how long a request waits when `limits.http2requests` is reached",
    ),
    honoured(
        "http.timeouts.keepalive",
        Form::Duration,
        "300s",
        "extension: time between two requests. Set it longer than the timeout of a proxy in front, which otherwise \
         answers some requests with 502",
    ),
    honoured(
        "http.debug.addr",
        Form::Text,
        "",
        "address for health (`/debug/health`) and metrics, without a login",
    ),
    honoured(
        "http.debug.prometheus.enabled",
        Form::Switch,
        "false",
        "serves metrics on that address; `--debug-addr` enables them",
    ),
    honoured(
        "http.debug.prometheus.path",
        Form::Text,
        "/metrics",
        "path of the metrics",
    ),
    honoured(
        "http.http2.disabled",
        Form::Switch,
        "false",
        "offers HTTP/1.1 only, for HTTPS",
    ),
    accepted(
        "http.h2c",
        Form::Any,
        "HTTP/2 without TLS works for clients that start with it",
    ),
    accepted(
        "http.secret",
        Form::Secret,
        "upload sessions need no signature: their state is in the storage, where every server of a bucket finds it, and the \
         next server of a directory",
    ),
    accepted(
        "notifications.events",
        Form::Any,
        "there are no endpoints that could get events",
    ),
    refused(
        "notifications.endpoints",
        "webhooks are not implemented yet; endpoints with `disabled: true` are ignored",
    ),
    accepted(
        "redis",
        Form::Any,
        "registry:2 uses it as a cache; this server needs none, also with several servers on a bucket",
    ),
    honoured(
        "limits.connections",
        Form::Count,
        "4096",
        "extension: maximum number of concurrent connections. A further one replaces the one that has been idle longest, \
         or one that has waited for its client for 5 s; otherwise it is answered with 503",
    ),
    honoured(
        "limits.http2streams",
        Form::Count,
        "100",
        "extension: maximum number of concurrent requests on one HTTP/2 connection",
    ),
    honoured(
        "limits.http2requests",
        Form::Count,
        "4096",
        "extension: maximum number of concurrent requests on all HTTP/2 connections. Further ones wait, or replace those \
         whose clients neither send nor read anything",
    ),
    honoured(
        "limits.uploads",
        Form::Count,
        "100000",
        "extension: maximum number of open upload sessions",
    ),
    honoured(
        "limits.repositoryuploads",
        Form::Count,
        "10000",
        "extension: maximum number of open upload sessions in one repository",
    ),
    honoured(
        "limits.useruploads",
        Form::Count,
        "",
        "extension: maximum number of open upload sessions of one user, or of the anonymous clients of one address (in \
         IPv6, of 64 bits of it). By default a quarter of `repositoryuploads`",
    ),
    honoured(
        "limits.namecomponents",
        Form::Count,
        "32",
        "extension: maximum number of components in the name of a new repository; existing deeper ones are served",
    ),
    honoured(
        "limits.documents",
        Form::Size,
        "256m",
        "extension: maximum memory for manifests that are being received, and the same amount for manifests and lists \
         that are being sent; documents of up to 128 KiB do not count",
    ),
    honoured(
        "health.storagedriver.enabled",
        Form::Switch,
        "true",
        "checks the storage; the debug listener reports a failed check, and pulls continue to work",
    ),
    honoured(
        "health.storagedriver.interval",
        Form::Duration,
        "10s",
        "interval of this check",
    ),
    honoured(
        "health.storagedriver.threshold",
        Form::Count,
        "3",
        "number of consecutive failures after which the check fails",
    ),
    honoured(
        "health.file",
        Form::Any,
        "",
        "list of `{file, interval, threshold}`: while the file exists, the server is unhealthy",
    ),
    honoured(
        "health.http",
        Form::Any,
        "",
        "list of `{uri, statuscode, headers, timeout, interval, threshold}`: URLs that have to answer HEAD with this \
         status, by default 200",
    ),
    honoured(
        "health.tcp",
        Form::Any,
        "",
        "list of `{addr, timeout, interval, threshold}`: addresses that have to accept connections",
    ),
    honoured(
        "catalog.maxentries",
        Form::Count,
        "",
        "number of repositories on a page of the catalog; a larger `n` is answered with 400. By default 1,000, or `n` up \
         to 10,000, with a `Link` to the rest",
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
        "regular expressions: every URL in a layer's `urls` has to match one of them, or the manifest is refused; a layer \
         with such URLs may be missing from the registry. Without this section every URL is accepted, and only layers of \
         nondistributable types may be missing; registry:2 then accepts no URL",
    ),
    honoured(
        "validation.manifests.urls.deny",
        Form::List,
        "",
        "regular expressions; a URL that matches one of them is refused",
    ),
    honoured(
        "validation.manifests.sizes",
        Form::Text,
        "exact",
        "extension: `exact` refuses a manifest if a descriptor has a size other than its content; `any` accepts it if the \
         content is complete, with a warning in the log, as registry:2 does",
    ),
    honoured(
        "validation.manifests.indexes.platforms",
        Form::Text,
        "all",
        "images of an index that have to exist: `all` or `none`",
    ),
    refused(
        "validation.manifests.indexes.platformlist",
        "`platforms` can only be `all` or `none`",
    ),
    refused("proxy", "a pull-through cache is not implemented yet"),
    refused("policy", "there are no classes of repositories"),
    refused(
        "middleware",
        "there is no middleware to configure; entries with `disabled: true` are ignored",
    ),
    accepted(
        "compatibility.schema1",
        Form::Any,
        "signed manifests of Docker before 1.10 are neither accepted nor created, as in registry:3",
    ),
    honoured(
        "compatibility.refuseoldclients",
        Form::Switch,
        "false",
        "extension: answers docker before 1.6 with 404; otherwise such a client takes this for a registry of version 1",
    ),
    accepted(
        "reporting",
        Form::Any,
        "errors are logged, and not reported to any service",
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
        assert!(
            matches!(find(&["storage", "s3", "bucket"]), Known::Key(key) if key.path == "storage.s3.bucket")
        );
        assert!(matches!(find(&["http"]), Known::Section));
        assert!(matches!(find(&["http", "adr"]), Known::Unknown));
        assert!(matches!(find(&["http", "addr", "more"]), Known::Unknown));
    }
}
