//! Places of images that a command line names: a directory, a configuration file, or the URL of a bucket.

use crate::{
    Config, Sources,
    command_line::{operator, sources::sources, storage},
    config::{Settings, key_below},
};
use std::{error::Error, path::Path};

/// Origin of values in messages.
const URL: &str = "the URL";
const ARGUMENT: &str = "the argument";

/// Schemes of URLs, with the section of the configuration, and the keys of its parts.
const SCHEMES: [(&str, &str, &[&str]); 3] = [
    ("s3://", "s3", &["bucket"]),
    ("gs://", "gcs", &["bucket"]),
    ("az://", "azure", &["accountname", "container"]),
];

/// Returns the settings of a place: those of the server, unless a place is named.
pub(super) fn settings(place: Option<&str>) -> Result<Settings, Box<dyn Error + Send + Sync>> {
    let sources = match place {
        None => operator::chosen(storage::Storage {
            config: None,
            root: None,
        }),
        Some(url) if url.contains("://") => of_url(url)?,
        Some(path) if Path::new(path).is_file() => sources(Some(path.into())),
        Some(path) => sources(None).set("storage", ARGUMENT, "filesystem").set(
            "storage.filesystem.rootdirectory",
            ARGUMENT,
            path,
        ),
    };
    Ok(Config::load(sources)?.settings)
}

/// Returns the settings that a URL names. Keys are in its query, but no secrets, which other users of the system could see.
fn of_url(url: &str) -> Result<Sources, String> {
    let known = SCHEMES
        .iter()
        .find_map(|(scheme, section, names)| Some((url.strip_prefix(scheme)?, *section, *names)));
    let Some((rest, section, names)) = known else {
        return Err(format!(
            "`{url}` is no URL of a bucket: s3://BUCKET, gs://BUCKET or az://ACCOUNT/CONTAINER"
        ));
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut parts = path.splitn(names.len() + 1, '/');
    let mut keys: Vec<(&str, &str)> = Vec::new();
    for name in names {
        match parts.next().filter(|part| !part.is_empty()) {
            Some(part) => keys.push((name, part)),
            None => return Err(format!("`{url}` lacks the {name}")),
        }
    }
    if let Some(root) = parts.next().filter(|root| !root.is_empty()) {
        keys.push(("rootdirectory", root));
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        keys.push(pair.split_once('=').unwrap_or((pair, "true")));
    }
    // The section first: it replaces what a file or a variable says about another storage.
    let mut sources = sources(None).set("storage", URL, section);
    for (name, value) in keys {
        let key = key_below(section, name).ok_or_else(|| {
            format!("`{url}`: `{name}` is no key of `storage.{section}` that a URL can have")
        })?;
        sources = sources.set(key, URL, value);
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StorageKind;

    fn bucket(url: &str) -> Result<String, String> {
        let config = of_url(url).map(Config::load)?;
        match config.map_err(|error| error.to_string())?.settings.storage.kind {
            StorageKind::Bucket(bucket) => Ok(format!("{bucket} {bucket:?}")),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn a_url_names_a_bucket_with_keys_of_the_configuration() {
        let s3 = bucket("s3://images/team/a?regionendpoint=http://127.0.0.1:9000&replicas=1").unwrap();
        assert!(s3.starts_with("s3://images/team/a "), "{s3}");
        assert!(
            s3.contains("http://127.0.0.1:9000") && s3.contains("sole: true"),
            "{s3}"
        );
        assert!(bucket("gs://images").unwrap().starts_with("gs://images "));
        let azure = bucket("az://account/images/team").unwrap();
        assert!(
            azure.starts_with("az://images/team ") && azure.contains("\"account\""),
            "{azure}"
        );
    }

    #[test]
    fn what_is_no_bucket_is_refused_and_so_are_secrets() {
        for (url, told) in [
            ("http://images", "no URL of a bucket"),
            ("s3://", "lacks the bucket"),
            ("az://account", "lacks the container"),
            ("s3://images?secretkey=shh", "`secretkey` is no key"),
            ("s3://images?region", "region"),
            ("s3://images?other=1", "`other` is no key"),
        ] {
            match bucket(url) {
                Err(error) => assert!(error.contains(told), "{url}: {error}"),
                Ok(bucket) => assert_eq!(told, "region", "{bucket}"),
            }
        }
    }
}
