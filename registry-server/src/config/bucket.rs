//! `storage.s3`, `storage.gcs` and `storage.azure`: [`Bucket`].

use super::reader::Reader;
use std::{fmt, path::PathBuf, time::Duration};

/// Time for which the URL of a redirect is valid, as with registry:2.
const REDIRECT: Duration = Duration::from_secs(20 * 60);

/// Storage classes whose objects can be read at once.
const CLASSES: [&str; 8] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "OUTPOSTS",
    "GLACIER_IR",
    "EXPRESS_ONEZONE",
];

/// Smallest and largest part of an upload that stores accept.
const PARTS: std::ops::RangeInclusive<u64> = 5 << 20..=5 << 30;

/// A bucket that holds the images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) store: Store,
    /// Directory of the bucket.
    pub(crate) root: String,
    /// Number of bytes in a part of an upload.
    pub(crate) part: u64,
    /// Maximum number of bytes in the parts of all uploads.
    pub(crate) memory: u64,
    /// Reading of large blobs ahead of clients.
    pub(crate) reading: Reading,
    /// True if no other server writes to the bucket.
    pub(crate) sole: bool,
    /// Time between the announcement of a removal and the removal, if it is shorter than usual.
    pub(crate) collection_delay: Option<Duration>,
    /// Validity of the URLs to which clients are sent; `None` sends them nowhere.
    pub(crate) redirects: Option<Duration>,
    /// Variables of the environment by which stores know who asks.
    pub(crate) identity: Identity,
}

/// Reading of large blobs ahead of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Maximum number of ranges ahead of one client.
    pub(crate) ahead: usize,
    /// Maximum number of bytes ahead of all clients.
    pub(crate) memory: u64,
}

impl Bucket {
    /// Returns the name of the store in keys, health and metrics, as with registry:2.
    pub(crate) const fn driver(&self) -> &'static str {
        match self.store {
            Store::S3(_) => "s3",
            Store::Gcs(_) => "gcs",
            Store::Azure(_) => "azure",
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, name) = match &self.store {
            Store::S3(s3) => ("s3", &s3.bucket),
            Store::Gcs(gcs) => ("gs", &gcs.bucket),
            Store::Azure(azure) => ("az", &azure.container),
        };
        write!(f, "{scheme}://{name}")?;
        match self.root.trim_matches('/') {
            "" => Ok(()),
            root => write!(f, "/{root}"),
        }
    }
}

/// A store, and the bucket in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    S3(Box<S3>),
    Gcs(Box<Gcs>),
    Azure(Box<Azure>),
}

/// `storage.s3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct S3 {
    pub(crate) bucket: String,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) path_style: bool,
    pub(crate) key: Option<(String, Secret)>,
    pub(crate) session_token: Option<Secret>,
    /// `None` leaves encryption to the bucket's settings.
    pub(crate) encryption: Option<Encryption>,
    pub(crate) skip_verify: bool,
    pub(crate) storage_class: Option<String>,
    pub(crate) user_agent: Option<String>,
    pub(crate) accelerate: bool,
    pub(crate) dual_stack: bool,
    pub(crate) fips: bool,
}

/// `storage.s3.encrypt` and `storage.s3.keyid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Encryption {
    Managed,
    Key(String),
}

/// `storage.gcs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gcs {
    pub(crate) bucket: String,
    pub(crate) key: Option<GcsKey>,
    pub(crate) user_agent: Option<String>,
}

/// Key of a service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GcsKey {
    File(PathBuf),
    /// The same in JSON.
    Inline(Secret),
}

/// `storage.azure`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Azure {
    pub(crate) account: String,
    pub(crate) container: String,
    pub(crate) login: AzureLogin,
    /// URL of the service.
    pub(crate) service: String,
    pub(crate) skip_verify: bool,
}

/// `storage.azure.credentials`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AzureLogin {
    Default,
    Key(Secret),
    Client {
        tenant: String,
        client: String,
        secret: Secret,
    },
}

/// Text that is not printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Variables of the environment that are not the server's own.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity(pub(crate) Vec<(String, String)>);

impl Identity {
    /// Keeps those of the SDKs of the vendors.
    pub(super) fn of(variables: &[(String, String)]) -> Self {
        let prefixes = ["AWS_", "AZURE_", "GOOGLE_", "IDENTITY_"];
        let known = |(name, _): &&(String, String)| prefixes.iter().any(|prefix| name.starts_with(prefix));
        Self(variables.iter().filter(known).cloned().collect())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

/// Values of the keys that all stores have, of one of them.
struct Common {
    root: String,
    part: u64,
    memory: u64,
    reading: Reading,
    sole: bool,
}

/// Paths of these keys.
struct CommonKeys {
    section: &'static str,
    root: &'static str,
    chunk_size: &'static str,
    upload_memory: &'static str,
    read_ahead: &'static str,
    read_memory: &'static str,
    replicas: &'static str,
}

/// The [`CommonKeys`] of a section.
macro_rules! common_keys {
    ($section:literal) => {
        CommonKeys {
            section: $section,
            root: concat!($section, ".rootdirectory"),
            chunk_size: concat!($section, ".chunksize"),
            upload_memory: concat!($section, ".uploadmemory"),
            read_ahead: concat!($section, ".readahead"),
            read_memory: concat!($section, ".readmemory"),
            replicas: concat!($section, ".replicas"),
        }
    };
}

/// Reads the bucket that is configured, if one is.
pub(super) fn bucket(reader: &Reader<'_>) -> Option<Bucket> {
    let disabled = reader.optional("storage.redirect.disable", super::units::switch);
    let collection_delay = reader.optional("storage.maintenance.collect.delay", super::units::duration);
    let redirects = (disabled != Some(true)).then_some(REDIRECT);
    let s3 = s3(reader).map(|(s3, common)| (Store::S3(Box::new(s3)), common));
    let gcs = gcs(reader).map(|(gcs, common)| (Store::Gcs(Box::new(gcs)), common));
    let azure = azure(reader).map(|(azure, common)| (Store::Azure(Box::new(azure)), common));
    let (store, common) = s3.or(gcs).or(azure)?;
    Some(Bucket {
        store,
        root: common.root,
        part: common.part,
        memory: common.memory,
        reading: common.reading,
        sole: common.sole,
        collection_delay,
        redirects,
        identity: Identity::default(),
    })
}

/// Reads a text that has to be there if the section is.
fn required(reader: &Reader<'_>, section: &str, path: &'static str) -> Option<String> {
    let text = reader.filled(path);
    if let (None, Some(value)) = (&text, reader.section(section)) {
        reader.problem(&value.origin, section, format!("`{path}` is missing"));
    }
    text
}

/// Reads a size that is a part of an upload.
fn part(reader: &Reader<'_>, path: &'static str) -> u64 {
    reader.parsed(path, |text| {
        let part = super::units::size(text)?;
        match PARTS.contains(&part) {
            true => Ok(part),
            false => Err("must be between `5m` and `5g`, which stores accept".into()),
        }
    })
}

impl Common {
    fn read(reader: &Reader<'_>, keys: &CommonKeys) -> Self {
        let part = part(reader, keys.chunk_size);
        let memory = reader.size(keys.upload_memory);
        let sole = reader.optional(keys.replicas, |text| match super::units::count(text)? {
            0 => Err("must be at least 1".to_owned()),
            replicas => Ok(replicas == 1),
        });
        if let (true, Some(value)) = (memory < 2 * part, reader.section(keys.section)) {
            let what = "must be at least twice `chunksize`";
            reader.problem(&value.origin, keys.upload_memory, what);
        }
        Self {
            root: reader.filled(keys.root).unwrap_or_default(),
            part,
            memory,
            reading: Reading {
                ahead: reader.count(keys.read_ahead),
                memory: reader.size(keys.read_memory),
            },
            sole: sole.unwrap_or(false),
        }
    }
}

fn s3(reader: &Reader<'_>) -> Option<(S3, Common)> {
    const KEYS: CommonKeys = common_keys!("storage.s3");
    let common = Common::read(reader, &KEYS);
    let bucket = required(reader, KEYS.section, "storage.s3.bucket");
    let secure = reader.switch("storage.s3.secure");
    let endpoint = reader.filled("storage.s3.regionendpoint").map(|text| {
        let scheme = if secure { "https" } else { "http" };
        if text.contains("://") {
            text
        } else {
            format!("{scheme}://{text}")
        }
    });
    let region = reader.filled("storage.s3.region");
    let path_style = reader.optional("storage.s3.forcepathstyle", super::units::switch);
    reader.optional("storage.s3.v4auth", |text| match super::units::switch(text)? {
        true => Ok(()),
        false => Err("version 2 of the signature is not supported; remove the key".to_owned()),
    });
    reader.optional("storage.s3.objectacl", |text| match text {
        "" | "private" => Ok(()),
        _ => Err("only `private` is supported; grant access by the policy of the bucket".to_owned()),
    });
    let encryption = encryption(reader);
    let key = s3_key(reader);
    let session_token = reader.filled("storage.s3.sessiontoken").map(Secret);
    let s3 = S3 {
        path_style: path_style.unwrap_or_else(|| endpoint.is_some()),
        bucket: bucket.unwrap_or_default(),
        region,
        endpoint,
        key,
        session_token,
        encryption,
        skip_verify: reader.switch("storage.s3.skipverify"),
        storage_class: reader
            .optional("storage.s3.storageclass", storage_class)
            .flatten(),
        user_agent: reader.filled("storage.s3.useragent"),
        accelerate: reader.switch("storage.s3.accelerate"),
        dual_stack: reader.switch("storage.s3.usedualstack"),
        fips: reader.switch("storage.s3.usefipsendpoint"),
    };
    reader.section(KEYS.section).map(|_| (s3, common))
}

fn storage_class(text: &str) -> Result<Option<String>, String> {
    let class = text.to_ascii_uppercase();
    match class.as_str() {
        "" | "NONE" => Ok(None),
        known if CLASSES.contains(&known) => Ok(Some(class)),
        _ => Err(format!("must be `NONE` or one of {}", CLASSES.join(", "))),
    }
}

fn encryption(reader: &Reader<'_>) -> Option<Encryption> {
    const KEY: &str = "storage.s3.keyid";
    let encrypt = reader.switch("storage.s3.encrypt");
    let key = reader.filled(KEY);
    if let (false, Some(_), Some(value)) = (encrypt, &key, reader.section(KEY)) {
        let what = "this has no effect without `storage.s3.encrypt: true`";
        reader.problem(&value.origin, KEY, what);
    }
    encrypt.then(|| key.map_or(Encryption::Managed, Encryption::Key))
}

/// Reads the access key: both parts, or none.
fn s3_key(reader: &Reader<'_>) -> Option<(String, Secret)> {
    let access = reader.filled("storage.s3.accesskey");
    let secret = reader.filled("storage.s3.secretkey");
    let missing = match (&access, &secret) {
        (Some(_), None) => Some(("storage.s3.accesskey", "storage.s3.secretkey")),
        (None, Some(_)) => Some(("storage.s3.secretkey", "storage.s3.accesskey")),
        _ => None,
    };
    if let Some((given, missing)) = missing
        && let Some(value) = reader.section(given)
    {
        reader.problem(&value.origin, given, format!("this requires `{missing}`"));
    }
    Some((access?, Secret(secret?)))
}

fn gcs(reader: &Reader<'_>) -> Option<(Gcs, Common)> {
    const KEYS: CommonKeys = common_keys!("storage.gcs");
    const INLINE: &str = "storage.gcs.credentials";
    let common = Common::read(reader, &KEYS);
    let bucket = required(reader, KEYS.section, "storage.gcs.bucket");
    let file = reader.path("storage.gcs.keyfile");
    let fields = reader.named("storage.gcs.credentials.*");
    if let (Some(_), false, Some(value)) = (&file, fields.is_empty(), reader.section(INLINE)) {
        reader.problem(
            &value.origin,
            INLINE,
            "only one of `keyfile` and `credentials` may be set",
        );
    }
    let inline = (!fields.is_empty()).then(|| {
        let fields: serde_json::Map<String, serde_json::Value> = fields
            .into_iter()
            .filter_map(|(name, value)| {
                let (text, _) = reader.texts(value, INLINE).into_iter().next()?;
                Some((name.to_owned(), text.into()))
            })
            .collect();
        GcsKey::Inline(Secret(serde_json::Value::from(fields).to_string()))
    });
    let gcs = Gcs {
        bucket: bucket.unwrap_or_default(),
        key: file.map(GcsKey::File).or(inline),
        user_agent: reader.filled("storage.gcs.useragent"),
    };
    reader.section(KEYS.section).map(|_| (gcs, common))
}

fn azure(reader: &Reader<'_>) -> Option<(Azure, Common)> {
    const KEYS: CommonKeys = common_keys!("storage.azure");
    let common = Common::read(reader, &KEYS);
    let account = required(reader, KEYS.section, "storage.azure.accountname").unwrap_or_default();
    let container = required(reader, KEYS.section, "storage.azure.container").unwrap_or_default();
    let realm = reader.text("storage.azure.realm");
    let service = reader
        .filled("storage.azure.serviceurl")
        .unwrap_or_else(|| format!("https://{account}.blob.{realm}"));
    let azure = Azure {
        account,
        container,
        login: azure_login(reader),
        service,
        skip_verify: reader.switch("storage.azure.skipverify"),
    };
    reader.section(KEYS.section).map(|_| (azure, common))
}

fn azure_login(reader: &Reader<'_>) -> AzureLogin {
    const KIND: &str = "storage.azure.credentials.type";
    let key = reader.filled("storage.azure.accountkey");
    let client = [
        "storage.azure.credentials.tenantid",
        "storage.azure.credentials.clientid",
        "storage.azure.credentials.secret",
    ]
    .map(|path| reader.filled(path));
    let login = reader.optional(KIND, |kind| match (kind, &key, &client) {
        ("shared_key", Some(key), _) | ("", Some(key), _) => Ok(AzureLogin::Key(Secret(key.clone()))),
        ("shared_key", None, _) => Err("this requires `storage.azure.accountkey`".to_owned()),
        ("client_secret", _, [Some(tenant), Some(client), Some(secret)]) => Ok(AzureLogin::Client {
            tenant: tenant.clone(),
            client: client.clone(),
            secret: Secret(secret.clone()),
        }),
        ("client_secret", ..) => Err("this requires `tenantid`, `clientid` and `secret`".to_owned()),
        ("default_credentials" | "", ..) => Ok(AzureLogin::Default),
        _ => Err("must be `shared_key`, `client_secret` or `default_credentials`".to_owned()),
    });
    login.unwrap_or_else(|| key.map_or(AzureLogin::Default, |key| AzureLogin::Key(Secret(key))))
}
