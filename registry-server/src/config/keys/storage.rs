//! Keys of the storage but for those of buckets.

use super::key::{Form, Key, accepted, honoured, refused};

/// Directory and memory.
pub(super) const PLACES: &[Key] = &[
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

/// Storages that are refused, and the settings of any storage.
pub(super) const KEYS: &[Key] = &[
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
        "extension: time for which content stays that nothing refers to, after a client has used it or the server has started. In a \
         bucket: after it was written, and for an hour at most after a collection has announced its removal. Choose at least `10m` there: a lost tag is \
         noticed only 10 minutes after its last move",
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
        "the server reads the images directly, without a cache that could be stale",
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
];
