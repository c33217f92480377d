//! Keys of the service behind `/v2/`, and what registry:2 has beside it.

use super::key::{Form, Key, accepted, honoured, refused};

pub(super) const KEYS: &[Key] = &[
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
