//! [`Settings`]: the typed configuration of the server, and the keys that it is read from.

use super::{
    bucket::{self, Bucket},
    checks::checks,
    notice::Notice,
    problem::Problem,
    protection,
    reader::Reader,
    units::{count, duration, size, switch},
    value::Value,
};
use crate::{
    admission::Admission,
    collection,
    debug::{self, StorageCheck},
    health_checks::Check,
    layer_urls::{LayerUrls, Pattern},
    listen::Listen,
    retention,
    socket::Socket,
    tls,
};
use axum::http::{HeaderName, HeaderValue, Uri};
use registry_auth_htpasswd::Kind;
use registry_axum::{InvalidNetwork, Network, Proxies};
use registry_core::{
    maintenance::{InvalidWindow, UploadExpiry, VerifySchedule},
    protocol::Links,
};
use registry_listener::{ConnectionLimits, Timeouts};
use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};
use tracing_subscriber::filter::LevelFilter;

/// Complete, typed configuration of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) log: Log,
    pub(crate) storage: Storage,
    pub(crate) http: Http,
    /// Timeouts of a connection.
    pub(crate) timeouts: Timeouts,
    /// Limits on connections and HTTP/2 streams.
    pub(crate) limits: ConnectionLimits,
    /// Users that can log in; `None` if nobody can.
    pub(crate) login: Option<Htpasswd>,
    /// True if `auth.none` states that nobody logs in.
    pub(crate) open_on_purpose: bool,
    /// Path of the file of access rules.
    pub(crate) access: Option<PathBuf>,
    /// Further health checks for the debug listener.
    pub(crate) checks: Vec<Check>,
}

/// `log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) level: LevelFilter,
    pub(crate) format: Format,
    /// Fields that every line of the application log carries.
    pub(crate) fields: Vec<(String, String)>,
    /// True if the access log is written, with a line per request.
    pub(crate) access: bool,
}

/// `log.formatter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Logfmt,
    Json,
    Logstash,
}

/// `storage`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Storage {
    pub(crate) kind: StorageKind,
    /// True if tags, manifests and blobs may be deleted.
    pub(crate) deletion: bool,
    /// True if nothing may be changed.
    pub(crate) read_only: bool,
    /// Maximum size of a blob in bytes.
    pub(crate) blob_bytes: Option<u64>,
    /// Maximum `n` of a catalog request.
    pub(crate) catalog_n: Option<usize>,
    /// Maximum number of open upload sessions: in total, per repository, and per user.
    pub(crate) uploads: usize,
    pub(crate) repository_uploads: usize,
    pub(crate) user_uploads: usize,
    /// Maximum number of components in the name of a new repository.
    pub(crate) name_components: usize,
    pub(crate) document_bytes: u64,
    /// True if a pushed index is refused unless the registry has all of its images.
    pub(crate) whole_indexes: bool,
    /// True if the size in a descriptor must be the size of its content.
    pub(crate) exact_sizes: bool,
    /// Allowed `urls` of layers that the registry does not have. `None` allows any URL, but only for non-distributable
    /// layers.
    pub(crate) layer_urls: Option<LayerUrls>,
    /// Schedule on which abandoned uploads are ended; `None` keeps them.
    pub(crate) expiry: Option<UploadExpiry>,
    /// Time for which deletions can be undone.
    pub(crate) trash: Duration,
    /// True if their records are removed sooner while the disk is nearly full.
    pub(crate) trash_shrinks: bool,
    /// Collections that nobody asks for.
    pub(crate) collect: collection::Settings,
    /// Schedule of the verification.
    pub(crate) verify: Option<VerifySchedule>,
    /// Rules that say which tags are kept.
    pub(crate) retention: retention::Settings,
    /// Health check of the storage, for the debug listener.
    pub(crate) check: Option<StorageCheck>,
}

/// Storage that holds the images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StorageKind {
    Directory {
        root: PathBuf,
        /// Maximum number of concurrent file operations.
        threads: usize,
        /// Number of bytes that uploads leave free on the disk.
        min_free: u64,
        /// Maximum wait for another process to release the directory.
        wait: Duration,
    },
    Bucket(Box<Bucket>),
    Memory,
}

/// `http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Http {
    pub(crate) socket: Socket,
    /// Path before `/v2/` in requests: empty, or a path that begins with a slash and does not end with one.
    pub(crate) prefix: String,
    pub(crate) location: Location,
    pub(crate) headers: Headers,
    pub(crate) admission: Admission,
    pub(crate) tls: Option<tls::Settings>,
    /// Listener for health and metrics.
    pub(crate) debug: Option<debug::Settings>,
}

/// `http.headers`: header lines to send, by name. Each name occurs once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers(pub(crate) Vec<(HeaderName, Vec<HeaderValue>)>);

/// `auth.htpasswd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Htpasswd {
    pub(crate) path: PathBuf,
    pub(crate) realm: String,
    pub(crate) autocreate: bool,
    /// Formats of passwords that are accepted; `None` for all.
    pub(crate) formats: Option<Vec<Kind>>,
}

/// Form of the `Location` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// Path only; works behind every proxy that does not rewrite paths.
    Relative,
    /// URL with this scheme and host.
    Absolute(String),
    /// URL with the scheme and host of the request, as trusted proxies report them.
    FromRequest,
}

impl Settings {
    /// Reads the settings from the tree. Each value that cannot be read is added to `problems`.
    pub(super) fn read(root: &Value, notices: &mut Vec<Notice>, problems: &mut Vec<Problem>) -> Self {
        let reader = Reader::new(root);
        let settings = Self::from_reader(&reader, notices);
        problems.extend(reader.into_problems());
        settings
    }

    pub(super) fn from_reader(reader: &Reader<'_>, notices: &mut Vec<Notice>) -> Self {
        reader.parsed("version", |version| match version {
            "0.1" => Ok(()),
            _ => Err("unsupported version; must be `0.1`".into()),
        });
        protection::check(reader, notices);
        Self {
            log: Log::from(reader, notices),
            storage: Storage::from(reader, notices),
            http: Http::from(reader, notices),
            timeouts: timeouts(reader),
            limits: limits(reader),
            login: login(reader),
            open_on_purpose: reader.given("auth.none").is_some(),
            access: reader.path("access.rules"),
            checks: checks(reader, notices),
        }
    }
}

/// Reads `auth`: at most one way to log in.
fn login(reader: &Reader<'_>) -> Option<Htpasswd> {
    reader.at_most_one_of("auth");
    let path = reader.path("auth.htpasswd.path");
    let realm = reader.text("auth.htpasswd.realm");
    let autocreate = reader.switch("auth.htpasswd.autocreate");
    let formats = formats(reader, autocreate);
    if path.is_none() {
        reader.lacks(
            "auth.htpasswd",
            "`auth.htpasswd.path` is missing; nobody could log in",
        );
    }
    Some(Htpasswd {
        path: path?,
        realm,
        autocreate,
        formats,
    })
}

/// Reads `auth.htpasswd.formats`. A list with which nobody could log in is a problem.
fn formats(reader: &Reader<'_>, autocreate: bool) -> Option<Vec<Kind>> {
    const KEY: &str = "auth.htpasswd.formats";
    let formats = reader.items(KEY, |name| {
        name.parse::<Kind>()
            .map_err(|error| format!("`{name}` is not a format; {error}"))
    })?;
    let problem = match reader.given(KEY) {
        Some(value) if value.is_empty() => Some((
            value,
            "the list is empty; nobody could log in: name a format, or remove the key",
        )),
        Some(value) if autocreate && !formats.contains(&Kind::Bcrypt) => Some((
            value,
            "`bcrypt` is missing; the user that `auth.htpasswd.autocreate` creates could not log in",
        )),
        _ => None,
    };
    if let Some((value, what)) = problem {
        reader.problem(&value.origin, KEY, what);
    }
    Some(formats)
}

fn timeouts(reader: &Reader<'_>) -> Timeouts {
    let mut timeouts = Timeouts::default();
    timeouts.first_byte = reader.duration("http.timeouts.firstbyte");
    timeouts.header = reader.duration("http.timeouts.header");
    timeouts.body_idle = reader.duration("http.timeouts.bodyidle");
    timeouts.first_write_timeout = reader.duration("http.timeouts.untaken");
    timeouts.queue = reader.duration("http.timeouts.queue");
    timeouts.keep_alive = reader.duration("http.timeouts.keepalive");
    timeouts.drain = reader.duration("http.draintimeout");
    timeouts
}

fn limits(reader: &Reader<'_>) -> ConnectionLimits {
    let mut limits = ConnectionLimits::default();
    limits.connections = reader.parsed("limits.connections", some);
    limits.streams = u32::try_from(reader.parsed("limits.http2streams", some)).unwrap_or(u32::MAX);
    limits.all_streams = reader.parsed("limits.http2requests", some);
    limits
}

impl Log {
    fn from(reader: &Reader<'_>, notices: &mut Vec<Notice>) -> Self {
        let old = reader.optional("loglevel", level);
        if let (Some(_), Some(value)) = (old, reader.given("loglevel")) {
            notices.push(Notice::new(
                value.origin.clone(),
                "loglevel: deprecated; use `log.level`".into(),
            ));
        }
        let new = reader.optional("log.level", level);
        Self {
            level: new.or(old).unwrap_or_else(|| reader.parsed("log.level", level)),
            format: reader.parsed("log.formatter", format),
            fields: reader
                .named("log.fields.*")
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.in_one_line()))
                .collect(),
            access: !reader.switch("log.accesslog.disabled"),
        }
    }
}

fn level(text: &str) -> Result<LevelFilter, String> {
    match text.to_ascii_lowercase().as_str() {
        "panic" | "fatal" | "error" => Ok(LevelFilter::ERROR),
        "warn" | "warning" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err("must be `error`, `warn`, `info`, `debug` or `trace`".into()),
    }
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "text" => Ok(Format::Text),
        "logfmt" => Ok(Format::Logfmt),
        "json" => Ok(Format::Json),
        "logstash" => Ok(Format::Logstash),
        _ => Err("must be `text`, `logfmt`, `json` or `logstash`".into()),
    }
}

/// Sections of `storage` that are not drivers.
pub(super) const NO_DRIVERS: [&str; 5] = ["cache", "delete", "maintenance", "redirect", "tag"];

impl Storage {
    /// Returns the number of free bytes below which records of deletions expire sooner.
    pub(crate) fn trash_shrinks_below(&self) -> Option<u64> {
        match self.kind {
            StorageKind::Directory { min_free, .. } => {
                Some(min_free).filter(|min_free| *min_free > 0 && self.trash_shrinks)
            }
            StorageKind::Bucket(_) | StorageKind::Memory => None,
        }
    }

    fn from(reader: &Reader<'_>, notices: &mut Vec<Notice>) -> Self {
        let root = PathBuf::from(reader.text("storage.filesystem.rootdirectory"));
        let min_free = reader.size("storage.filesystem.minfree");
        let threads = reader.count("storage.filesystem.maxthreads").max(25);
        let wait = reader.duration("storage.filesystem.wait");
        let read_only = reader.switch("storage.maintenance.readonly.enabled");
        let memory = reader.given("storage.inmemory").is_some();
        let bucket = bucket::bucket(reader);
        if let (None, Some(value)) = (&bucket, reader.section("storage.redirect.disable")) {
            let message = "storage.redirect.disable: accepted without effect: only a bucket has URLs to redirect clients to";
            notices.push(Notice::needless(value.origin.clone(), message.into()));
        }
        let repository_uploads = reader.parsed("limits.repositoryuploads", some);
        reader.one_of("storage", &NO_DRIVERS, "no storage configuration provided: set `storage.filesystem.rootdirectory` or REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY, or a bucket, such as `storage.s3.bucket`");
        Self {
            kind: match bucket {
                Some(bucket) => StorageKind::Bucket(Box::new(bucket)),
                None if memory => StorageKind::Memory,
                None => StorageKind::Directory {
                    root,
                    threads,
                    min_free,
                    wait,
                },
            },
            deletion: reader.switch("storage.delete.enabled"),
            read_only,
            blob_bytes: reader.optional("http.maxblobsize", size),
            catalog_n: reader.optional("catalog.maxentries", some),
            uploads: reader.parsed("limits.uploads", some),
            repository_uploads,
            // Nobody fills a repository alone.
            user_uploads: reader
                .optional("limits.useruploads", some)
                .unwrap_or_else(|| repository_uploads.div_ceil(4)),
            name_components: reader.parsed("limits.namecomponents", some),
            document_bytes: reader.parsed("limits.documents", some_bytes),
            whole_indexes: reader.parsed(
                "validation.manifests.indexes.platforms",
                |platforms| match platforms {
                    "all" => Ok(true),
                    "none" => Ok(false),
                    "list" => Err("must be `all` or `none`".into()),
                    _ => Err("must be `all` or `none`".into()),
                },
            ),
            exact_sizes: reader.parsed("validation.manifests.sizes", |sizes| match sizes {
                "exact" => Ok(true),
                "any" => Ok(false),
                _ => Err("must be `exact` or `any`".into()),
            }),
            layer_urls: layer_urls(reader),
            expiry: expiry(reader).filter(|_| !read_only),
            trash: reader.duration("storage.maintenance.trash.keep"),
            trash_shrinks: reader.parsed("storage.maintenance.trash.underpressure", |text| match text {
                "shrink" => Ok(true),
                "keep" => Ok(false),
                _ => Err("must be `shrink` or `keep`".into()),
            }),
            collect: collection(reader, read_only),
            verify: verification(reader).filter(|_| !read_only && !memory),
            retention: retention::Settings {
                rules: reader.path("storage.maintenance.retention.rules"),
                interval: reader.parsed("storage.maintenance.retention.interval", some_time),
            },
            check: storage_check(reader),
        }
    }
}

impl Http {
    pub(crate) const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    fn from(reader: &Reader<'_>, notices: &mut Vec<Notice>) -> Self {
        let host = reader.optional("http.host", external);
        let relative = reader.switch("http.relativeurls");
        let socket = socket(reader);
        let tls = super::tls::settings(reader);
        if tls.is_some() && matches!(socket, Socket::Unix(_)) {
            reader.lacks(
                "http.tls",
                "TLS is not available over a Unix socket (`http.net`); configure it in the proxy",
            );
        }
        Self {
            socket,
            prefix: reader.parsed("http.prefix", prefix),
            location: match host {
                Some(Some(url)) => Location::Absolute(url),
                _ if relative => Location::Relative,
                _ => Location::FromRequest,
            },
            headers: Headers::from(reader, notices),
            admission: admission(reader),
            tls,
            debug: debug(reader),
        }
    }
}

/// `http.net` and `http.addr`.
fn socket(reader: &Reader<'_>) -> Socket {
    let unix = reader.parsed("http.net", |net| match net {
        "tcp" | "" => Ok(false),
        "unix" => Ok(true),
        _ => Err("must be `tcp` or `unix`".into()),
    });
    if !unix {
        return reader.parsed("http.addr", |text| match text.contains('/') {
            true => Err("a path requires `http.net: unix`".into()),
            false => Listen::parse(text).map(Socket::Tcp),
        });
    }
    if reader.given("http.addr").is_none() {
        reader.lacks("http", "`net: unix` requires `addr`, the path of a socket");
    }
    let path = reader.optional("http.addr", |text| match text.contains('/') {
        true => Ok(PathBuf::from(text)),
        false => Err("with `http.net: unix`, it must be a path such as `/run/registry/registry.sock`".into()),
    });
    // Without one there is a problem, and no server.
    Socket::Unix(path.unwrap_or_default())
}

/// `validation.manifests.urls`.
fn layer_urls(reader: &Reader<'_>) -> Option<LayerUrls> {
    let allow = reader.items("validation.manifests.urls.allow", Pattern::parse);
    let deny = reader.items("validation.manifests.urls.deny", Pattern::parse);
    (allow.is_some() || deny.is_some()).then(|| LayerUrls {
        allow: allow.unwrap_or_default(),
        deny: deny.unwrap_or_default(),
    })
}

/// `storage.maintenance.uploadpurging`.
fn expiry(reader: &Reader<'_>) -> Option<UploadExpiry> {
    let purging = reader.switch("storage.maintenance.uploadpurging.enabled");
    let trying = reader.switch("storage.maintenance.uploadpurging.dryrun");
    let expiry = UploadExpiry::new(
        reader.duration("storage.maintenance.uploadpurging.age"),
        reader.parsed("storage.maintenance.uploadpurging.interval", some_time),
    );
    (purging && !trying).then_some(expiry)
}

/// `storage.maintenance.collect`.
fn collection(reader: &Reader<'_>, read_only: bool) -> collection::Settings {
    let enabled = reader.optional("storage.maintenance.collect.enabled", switch);
    collection::Settings {
        enabled: if read_only { Some(false) } else { enabled },
        rate: reader.parsed("storage.maintenance.collect.rate", |text| {
            let rate = u32::try_from(count(text)?).unwrap_or(u32::MAX);
            Ok(NonZeroU32::new(rate))
        }),
        grace: reader.duration("storage.maintenance.collect.grace"),
    }
}

/// `storage.maintenance.verify`.
fn verification(reader: &Reader<'_>) -> Option<VerifySchedule> {
    let interval = reader.duration("storage.maintenance.verify.interval");
    let window = reader.parsed("storage.maintenance.verify.window", |text| match text {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|error: InvalidWindow| error.to_string()),
    });
    (!interval.is_zero()).then(|| VerifySchedule::new(interval).window(window))
}

fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than 0".into()),
        some => Ok(some),
    }
}

/// Parses a count that must be at least 1.
fn some(text: &str) -> Result<usize, String> {
    match count(text)? {
        0 => Err("must be at least 1".into()),
        some => Ok(some),
    }
}

fn some_bytes(text: &str) -> Result<u64, String> {
    match size(text)? {
        0 => Err("must be at least 1".into()),
        some => Ok(some),
    }
}

/// `health.storagedriver`.
fn storage_check(reader: &Reader<'_>) -> Option<StorageCheck> {
    let interval = reader.parsed("health.storagedriver.interval", some_time);
    let threshold = reader.parsed("health.storagedriver.threshold", |text| {
        let threshold: NonZeroU32 = text
            .parse()
            .ok()
            .ok_or_else(|| "must be a number, at least 1".to_owned())?;
        Ok(threshold.get())
    });
    reader
        .switch("health.storagedriver.enabled")
        .then_some(StorageCheck { interval, threshold })
}

/// `http.debug`.
fn debug(reader: &Reader<'_>) -> Option<debug::Settings> {
    let metrics = reader.text("http.debug.prometheus.path");
    let metrics = reader.switch("http.debug.prometheus.enabled").then_some(metrics);
    let addr = reader.optional("http.debug.addr", |text| match text {
        "" => Ok(None),
        _ => Listen::parse(text).map(Some),
    });
    Some(debug::Settings {
        addr: addr.flatten()?,
        metrics,
    })
}

fn admission(reader: &Reader<'_>) -> Admission {
    let hops = reader.parsed("http.proxies.hops", |text| {
        let hops: Option<NonZeroUsize> = text.parse().ok();
        hops.ok_or_else(|| "must be a number, at least 1".to_owned())
    });
    let trusted = reader.items("http.proxies.trusted", network);
    if let (Some(hops), Some(_)) = (reader.given("http.proxies.hops"), &trusted) {
        let what = "cannot be combined with `http.proxies.trusted`; remove one of them";
        reader.problem(&hops.origin, "http.proxies.hops", what);
    }
    let header = reader.parsed("http.proxies.header", |text| {
        HeaderName::try_from(text).map_err(|_bad| "not a valid header name".into())
    });
    Admission {
        proxies: trusted
            .map_or_else(|| Proxies::presumed(hops), Proxies::of)
            .with_header(header),
        allowed: reader.items("http.allow", network),
        refuse_old_clients: reader.switch("compatibility.refuseoldclients"),
    }
}

fn network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|error: InvalidNetwork| error.to_string())
}

impl Headers {
    fn from(reader: &Reader<'_>, notices: &mut Vec<Notice>) -> Self {
        let mut headers: Vec<(HeaderName, Vec<HeaderValue>)> = Vec::new();
        for (name, value) in reader.named("http.headers.*") {
            let place = format!("http.headers.{name}");
            let Ok(name) = HeaderName::try_from(name) else {
                reader.problem(&value.origin, &place, "not a valid header name");
                continue;
            };
            if let Some(meant) = with_dashes(name.as_str()) {
                let message = format!(
                    "{place}: sent under this name, which clients do not know; did you mean `{meant}`?"
                );
                notices.push(Notice::new(value.origin.clone(), message));
            }
            let mut values = Vec::new();
            for (text, origin) in reader.texts(value, &place) {
                match HeaderValue::from_str(text) {
                    Ok(value) => values.push(value),
                    Err(_) => reader.problem(origin, &place, "not a valid header value"),
                }
            }
            // `X-A` and `x-a` are one header.
            match headers.iter_mut().find(|(known, _)| *known == name) {
                Some((_, lines)) => lines.extend(values),
                None => headers.push((name, values)),
            }
        }
        Self(headers)
    }
}

/// Suggests the header name with dashes for a name with `_`; no client reads a header with `_` in its name.
fn with_dashes(name: &str) -> Option<String> {
    let capital = |word: &str| {
        let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        format!("{}{rest}", first.to_uppercase())
    };
    let words = name.split(['_', '-']).map(capital);
    name.contains('_').then(|| words.collect::<Vec<_>>().join("-"))
}

/// Returns the scheme and host of a URL. The path is dropped, as by registry:2.
fn external(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let malformed = || "must be a URL such as `https://registry.example.com`".to_owned();
    let uri: Uri = text.parse().ok().ok_or_else(malformed)?;
    match (uri.scheme_str(), uri.authority()) {
        (Some(scheme @ ("http" | "https")), Some(authority)) => Ok(Some(format!("{scheme}://{authority}"))),
        _ => Err(malformed()),
    }
}

fn prefix(text: &str) -> Result<String, String> {
    if !text.is_empty() && !text.starts_with('/') {
        return Err("must be a path such as `/registry/`".into());
    }
    Links::below(text).map_err(|error| error.to_string())?;
    Ok(text.trim_end_matches('/').to_owned())
}
