//! Keys of the buckets: `storage.s3`, `storage.gcs` and `storage.azure`.

use super::key::{Form, Key, accepted, honoured, refused};

/// Text for keys that all buckets have.
const ROOT: &str =
    "directory of the bucket that has the images, such as `team/registry`; by default the whole bucket";
const CHUNK: &str = "size of the parts of an upload, from `5m` to `5g`; registry:2's default is `10m`";
const MEMORY: &str = "extension: maximum memory for the parts of all uploads; a further upload waits. At least twice `chunksize`";
const REPLICAS: &str = "extension: `1` says that one server at a time writes to the bucket. A store that ignores preconditions needs it, and \
     the server then refuses to be a second one as far as it can tell. By default any number of servers, and such a store is \
     refused";
const AGENT: &str = "text after the server's name in the `User-Agent` of requests to the store";
const SKIP_VERIFY: &str =
    "trusts any certificate of the store. Whoever is on the way can then read and change the images";
const COPIES: &str = "the server copies blobs rarely, and decides by itself in which parts";

/// Keys of the buckets.
pub(super) const KEYS: &[Key] = &[
    honoured(
        "storage.s3.bucket",
        Form::Text,
        "",
        "name of the bucket, in which the images are in the layout of registry:2",
    ),
    honoured("storage.s3.rootdirectory", Form::Text, "", ROOT),
    honoured(
        "storage.s3.region",
        Form::Text,
        "",
        "region of Amazon S3, such as `eu-central-1`. By default that of `AWS_REGION`, or else `us-east-1`",
    ),
    honoured(
        "storage.s3.regionendpoint",
        Form::Text,
        "",
        "URL of a store that is not Amazon's, such as `https://minio.example.com:9000`",
    ),
    honoured(
        "storage.s3.forcepathstyle",
        Form::Switch,
        "",
        "puts the bucket into the path of URLs, not into their host. The default is `true` with `regionendpoint`, as in registry:2 (in registry:3 it is `false`), and `false` without",
    ),
    honoured(
        "storage.s3.accesskey",
        Form::Text,
        "",
        "access key. Without it the server is identified as the SDKs of Amazon do it: by `AWS_ACCESS_KEY_ID`, a web identity (IRSA), the role of the container or of the instance",
    ),
    honoured(
        "storage.s3.secretkey",
        Form::Secret,
        "",
        "secret of the access key",
    ),
    honoured(
        "storage.s3.sessiontoken",
        Form::Secret,
        "",
        "token of temporary credentials",
    ),
    honoured(
        "storage.s3.encrypt",
        Form::Switch,
        "false",
        "lets S3 encrypt what is written, with keys that it manages or with that of `keyid`; by default as the bucket is set",
    ),
    honoured(
        "storage.s3.keyid",
        Form::Text,
        "",
        "key of the key management service to encrypt with; requires `encrypt: true`",
    ),
    honoured(
        "storage.s3.secure",
        Form::Switch,
        "true",
        "uses HTTPS if `regionendpoint` does not say `http://`",
    ),
    honoured("storage.s3.skipverify", Form::Switch, "false", SKIP_VERIFY),
    honoured(
        "storage.s3.v4auth",
        Form::Switch,
        "true",
        "signs requests with version 4 of the signature; `false` is refused, because no store still needs version 2",
    ),
    honoured("storage.s3.chunksize", Form::Size, "16m", CHUNK),
    honoured("storage.s3.uploadmemory", Form::Size, "192m", MEMORY),
    honoured("storage.s3.replicas", Form::Count, "", REPLICAS),
    honoured(
        "storage.s3.storageclass",
        Form::Text,
        "",
        "storage class in which objects are written, such as `STANDARD_IA` or `INTELLIGENT_TIERING`; by default, and with `NONE`, as the bucket is set. Classes whose objects have to be restored are refused",
    ),
    honoured("storage.s3.useragent", Form::Text, "", AGENT),
    honoured(
        "storage.s3.objectacl",
        Form::Text,
        "",
        "only `private` is accepted: who may read the bucket is said by its policy",
    ),
    honoured(
        "storage.s3.accelerate",
        Form::Switch,
        "false",
        "uses Amazon's edge locations (S3 Transfer Acceleration)",
    ),
    honoured(
        "storage.s3.usedualstack",
        Form::Switch,
        "false",
        "uses Amazon's hosts that have IPv6 addresses, too",
    ),
    honoured(
        "storage.s3.usefipsendpoint",
        Form::Switch,
        "false",
        "uses Amazon's hosts with cryptography validated by FIPS 140",
    ),
    accepted("storage.s3.multipartcopychunksize", Form::Size, COPIES),
    accepted("storage.s3.multipartcopymaxconcurrency", Form::Count, COPIES),
    accepted("storage.s3.multipartcopythresholdsize", Form::Size, COPIES),
    accepted(
        "storage.s3.loglevel",
        Form::Text,
        "requests to the store are logged with `log.level: trace`",
    ),
    refused(
        "storage.s3.redirectendpoint",
        "clients are sent to the store's own address; set `storage.redirect.disable: true` if they cannot reach it",
    ),
    refused("storage.s3aws", "use `storage.s3`, with the same keys"),
    honoured(
        "storage.gcs.bucket",
        Form::Text,
        "",
        "name of the bucket, in which the images are in the layout of registry:2",
    ),
    honoured("storage.gcs.rootdirectory", Form::Text, "", ROOT),
    honoured(
        "storage.gcs.keyfile",
        Form::Text,
        "",
        "file with the key of a service account, in JSON. Without it and `credentials`, the application default credentials count: `GOOGLE_APPLICATION_CREDENTIALS`, or the identity of the workload or instance",
    ),
    honoured(
        "storage.gcs.credentials.*",
        Form::Secret,
        "",
        "key of a service account, with the fields of its JSON file",
    ),
    honoured("storage.gcs.chunksize", Form::Size, "16m", CHUNK),
    honoured("storage.gcs.uploadmemory", Form::Size, "192m", MEMORY),
    honoured("storage.gcs.replicas", Form::Count, "", REPLICAS),
    honoured("storage.gcs.useragent", Form::Text, "", AGENT),
    accepted(
        "storage.gcs.maxconcurrency",
        Form::Count,
        "what limits concurrent requests to the store is `uploadmemory`, and the number of requests of clients",
    ),
    honoured(
        "storage.azure.accountname",
        Form::Text,
        "",
        "name of the storage account",
    ),
    honoured(
        "storage.azure.container",
        Form::Text,
        "",
        "name of the container, in which the images are in the layout of registry:2",
    ),
    honoured("storage.azure.rootdirectory", Form::Text, "", ROOT),
    honoured("storage.azure.accountkey", Form::Secret, "", "key of the account"),
    honoured(
        "storage.azure.credentials.type",
        Form::Text,
        "",
        "`shared_key`, `client_secret` or `default_credentials`: as `AZURE_*` variables say, with a workload or managed identity. The default is `shared_key` if there is an `accountkey`, and `default_credentials` if not",
    ),
    honoured(
        "storage.azure.credentials.clientid",
        Form::Text,
        "",
        "client (application) to log in as, for `client_secret`",
    ),
    honoured(
        "storage.azure.credentials.tenantid",
        Form::Text,
        "",
        "tenant of the client",
    ),
    honoured(
        "storage.azure.credentials.secret",
        Form::Secret,
        "",
        "secret of the client",
    ),
    honoured(
        "storage.azure.realm",
        Form::Text,
        "core.windows.net",
        "domain of the service, after `ACCOUNT.blob.`",
    ),
    honoured(
        "storage.azure.serviceurl",
        Form::Text,
        "",
        "URL of the service, in place of the one that `accountname` and `realm` make",
    ),
    honoured("storage.azure.skipverify", Form::Switch, "false", SKIP_VERIFY),
    honoured("storage.azure.chunksize", Form::Size, "16m", CHUNK),
    honoured("storage.azure.uploadmemory", Form::Size, "192m", MEMORY),
    honoured("storage.azure.replicas", Form::Count, "", REPLICAS),
    accepted(
        "storage.azure.max_retries",
        Form::Count,
        "the server repeats what may be repeated for 10 s",
    ),
    accepted(
        "storage.azure.retry_delay",
        Form::Text,
        "the server repeats what may be repeated for 10 s",
    ),
    refused(
        "storage.azure.connectionstring",
        "registry:3 reads it without effect; set `accountname` and `accountkey`",
    ),
];
