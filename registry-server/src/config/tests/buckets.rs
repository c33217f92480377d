//! `storage.s3`, `storage.gcs` and `storage.azure`, as files and variables of registry:2 have them.

use super::{load, notices, settings};
use crate::config::{
    StorageKind,
    bucket::{Azure, AzureLogin, Bucket, Encryption, GcsKey, S3, Secret, Store},
};
use std::time::Duration;

fn file(storage: &str) -> String {
    format!("version: 0.1\nstorage:\n{storage}")
}

fn bucket(storage: &str, variables: &[(&str, &str)]) -> Bucket {
    match settings(&file(storage), variables).storage.kind {
        StorageKind::Bucket(bucket) => *bucket,
        other => panic!("{other:?}"),
    }
}

fn s3(storage: &str, variables: &[(&str, &str)]) -> S3 {
    match bucket(storage, variables).store {
        Store::S3(s3) => *s3,
        other => panic!("{other:?}"),
    }
}

fn refused(storage: &str) -> String {
    load(&file(storage), &[]).unwrap_err()
}

fn secret(text: &str) -> Secret {
    Secret(text.to_owned())
}

#[test]
fn a_bucket_of_s3_is_read_with_all_of_its_keys() {
    let text = "  s3:\n    bucket: images\n    rootdirectory: /team\n    region: eu-central-1\n    accesskey: AKID\n    secretkey: shh\n    \
                sessiontoken: token\n    encrypt: true\n    keyid: arn:key\n    secure: true\n    skipverify: true\n    v4auth: true\n    \
                chunksize: 10485760\n    multipartcopychunksize: 33554432\n    multipartcopymaxconcurrency: 100\n    \
                multipartcopythresholdsize: 33554432\n    storageclass: standard_ia\n    useragent: mine\n    objectacl: private\n    \
                accelerate: true\n    usedualstack: true\n    usefipsendpoint: true\n    loglevel: off\n    replicas: 1\n    uploadmemory: 64m\n    \
                readahead: 1\n    readmemory: 8m\n";

    let bucket = bucket(text, &[]);

    let wanted = S3 {
        bucket: "images".into(),
        region: Some("eu-central-1".into()),
        endpoint: None,
        path_style: false,
        key: Some(("AKID".into(), secret("shh"))),
        session_token: Some(secret("token")),
        encryption: Some(Encryption::Key("arn:key".into())),
        skip_verify: true,
        storage_class: Some("STANDARD_IA".into()),
        user_agent: Some("mine".into()),
        accelerate: true,
        dual_stack: true,
        fips: true,
    };
    assert_eq!(bucket.to_string(), "s3://images/team");
    assert_eq!(
        (bucket.part, bucket.memory, bucket.sole),
        (10 << 20, 64 << 20, true)
    );
    assert_eq!((bucket.reading.ahead, bucket.reading.memory), (1, 8 << 20));
    assert_eq!(bucket.redirects, Some(Duration::from_secs(1200)));
    assert_eq!(bucket.store, Store::S3(Box::new(wanted)));
}

#[test]
fn variables_configure_a_bucket_alone() {
    let variables = [
        ("REGISTRY_STORAGE", "s3"),
        ("REGISTRY_STORAGE_S3_BUCKET", "images"),
        ("REGISTRY_STORAGE_S3_REGIONENDPOINT", "http://minio:9000"),
        ("REGISTRY_STORAGE_S3_ACCESSKEY", "AKID"),
        ("REGISTRY_STORAGE_S3_SECRETKEY", "shh"),
        ("REGISTRY_STORAGE_REDIRECT_DISABLE", "true"),
        ("AWS_ROLE_ARN", "arn:role"),
        ("HOME", "/root"),
    ];

    let bucket = bucket("  filesystem: {}\n", &variables);

    let identity: Vec<&str> = bucket.identity.0.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(identity, ["AWS_ROLE_ARN"]);
    assert_eq!(bucket.redirects, None);
    let Store::S3(s3) = bucket.store else {
        panic!("{:?}", bucket.store)
    };
    assert_eq!(s3.endpoint.as_deref(), Some("http://minio:9000"));
    assert_eq!(s3.key, Some(("AKID".into(), secret("shh"))));
    assert!(s3.path_style, "the default with an endpoint");
}

#[test]
fn an_endpoint_without_a_scheme_gets_one_and_the_bucket_may_be_in_its_host() {
    let endpoint = |keys: &str| s3(&format!("  s3: {{bucket: b, {keys}}}\n"), &[]);
    let plain = endpoint("regionendpoint: 'minio:9000', secure: false");
    assert_eq!(plain.endpoint.as_deref(), Some("http://minio:9000"));
    let hosted = endpoint("regionendpoint: minio, forcepathstyle: false");
    assert_eq!(hosted.endpoint.as_deref(), Some("https://minio"));
    assert!(!hosted.path_style);
}

#[test]
fn secrets_are_shown_nowhere() {
    let text = "  s3: {bucket: b, accesskey: AKID, secretkey: shh, sessiontoken: shh}\n";
    let config = load(&file(text), &[("AWS_SECRET_ACCESS_KEY", "shh")]).unwrap();
    assert!(config.effective().contains("secretkey: (hidden)"));
    let gcs = "  gcs: {bucket: b, credentials: {private_key: shh}}\n";
    let inline = load(&file(gcs), &[]).unwrap();
    for shown in [
        config.effective(),
        inline.effective(),
        format!("{:?}", config.settings),
        format!("{:?}", inline.settings),
    ] {
        assert!(!shown.contains("shh"), "{shown}");
    }
}

#[test]
fn a_bucket_of_gcs_has_a_key_or_the_identity_of_the_machine() {
    let gcs = |keys: &str| match bucket(&format!("  gcs: {{bucket: b{keys}}}\n"), &[]).store {
        Store::Gcs(gcs) => gcs.key,
        other => panic!("{other:?}"),
    };
    assert_eq!(gcs(""), None);
    assert_eq!(
        gcs(", keyfile: /key.json"),
        Some(GcsKey::File("/key.json".into()))
    );
    let Some(GcsKey::Inline(Secret(json))) = gcs(", credentials: {type: service_account, client_id: 12}")
    else {
        panic!("the key is not inline");
    };
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"type": "service_account", "client_id": "12"})
    );
    let both = refused("  gcs: {bucket: b, keyfile: /k, credentials: {type: x}}\n");
    assert!(both.contains("only one of `keyfile` and `credentials`"), "{both}");
}

#[test]
fn a_container_of_azure_is_read_with_each_login() {
    let azure = |keys: &str| {
        let text = format!("  azure: {{accountname: a, container: c{keys}}}\n");
        match bucket(&text, &[]).store {
            Store::Azure(azure) => *azure,
            other => panic!("{other:?}"),
        }
    };
    let wanted = Azure {
        account: "a".into(),
        container: "c".into(),
        login: AzureLogin::Key(secret("k")),
        service: "https://a.blob.core.windows.net".into(),
        skip_verify: false,
    };
    assert_eq!(azure(", accountkey: k"), wanted);
    assert_eq!(azure(", accountkey: k, credentials: {type: shared_key}"), wanted);
    assert_eq!(azure("").login, AzureLogin::Default);
    assert_eq!(
        azure(", credentials: {type: client_secret, tenantid: t, clientid: i, secret: s}").login,
        AzureLogin::Client {
            tenant: "t".into(),
            client: "i".into(),
            secret: secret("s"),
        }
    );
    assert_eq!(
        azure(", realm: core.chinacloudapi.cn").service,
        "https://a.blob.core.chinacloudapi.cn"
    );
    assert_eq!(
        azure(", serviceurl: 'http://127.0.0.1:10000/a'").service,
        "http://127.0.0.1:10000/a"
    );
}

#[test]
fn what_cannot_take_effect_is_refused_with_its_key() {
    for (storage, told) in [
        (
            "  s3: {region: x}\n",
            "storage.s3: `storage.s3.bucket` is missing",
        ),
        ("  s3:\n", "`storage.s3.bucket` is missing"),
        (
            "  s3: {bucket: b, accesskey: a}\n",
            "storage.s3.accesskey: this requires `storage.s3.secretkey`",
        ),
        (
            "  s3: {bucket: b, v4auth: false}\n",
            "storage.s3.v4auth: `false`: version 2",
        ),
        (
            "  s3: {bucket: b, objectacl: public-read}\n",
            "storage.s3.objectacl: `public-read`: only `private`",
        ),
        (
            "  s3: {bucket: b, storageclass: GLACIER}\n",
            "storage.s3.storageclass: `GLACIER`: must be `NONE` or one of STANDARD",
        ),
        (
            "  s3: {bucket: b, keyid: k}\n",
            "storage.s3.keyid: this has no effect without",
        ),
        (
            "  s3: {bucket: b, chunksize: 1m}\n",
            "storage.s3.chunksize: `1m`: must be between",
        ),
        (
            "  s3: {bucket: b, uploadmemory: 16m}\n",
            "storage.s3.uploadmemory: must be at least twice `chunksize`",
        ),
        (
            "  s3: {bucket: b, replicas: 0}\n",
            "storage.s3.replicas: `0`: must be at least 1",
        ),
        (
            "  s3: {bucket: b, redirectendpoint: x}\n",
            "storage.s3.redirectendpoint: not supported: clients are sent to the store's own address",
        ),
        (
            "  s3aws: {bucket: b}\n",
            "storage.s3aws: not supported: use `storage.s3`",
        ),
        (
            "  s3: {bucket: b, rootdir: x}\n",
            "storage.s3.rootdir: unknown key; the server does not start",
        ),
        (
            "  s3: {bucket: b}\n  filesystem: {rootdirectory: /data}\n",
            "exactly one of these must be set: s3, filesystem",
        ),
        (
            "  azure: {accountname: a, container: c, credentials: {type: shared_key}}\n",
            "storage.azure.credentials.type: `shared_key`: this requires `storage.azure.accountkey`",
        ),
        (
            "  azure: {accountname: a, container: c, connectionstring: x}\n",
            "storage.azure.connectionstring: not supported: registry:3 reads it without effect",
        ),
        (
            "  azure: {accountname: a}\n",
            "`storage.azure.container` is missing",
        ),
        ("  gcs: {rootdirectory: /}\n", "`storage.gcs.bucket` is missing"),
    ] {
        let problems = refused(storage);
        assert!(problems.contains(told), "{storage}: {problems}");
    }
}

#[test]
fn a_redirect_has_no_effect_with_a_directory() {
    let text = "  filesystem: {rootdirectory: /data}\n  redirect: {disable: true}\n";
    let told = notices(&file(text), &[]);
    assert!(
        told.iter()
            .any(|notice| notice.contains("storage.redirect.disable: accepted without effect")),
        "{told:?}"
    );
}
