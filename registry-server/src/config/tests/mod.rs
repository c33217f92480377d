//! The configuration as a whole: files and environments as people have them, and what comes out.

mod buckets;
mod check;
mod environment;
mod notices;
mod problems;
mod protection;
mod values;

use super::{
    Config, Settings, Sources,
    value::{Content, Value},
};
use std::fs;

/// The least that works.
const LEAST: &str = "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /data\n";

/// A configuration from a file `config.yml` with this text, and an environment.
fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yml");
    fs::write(&file, text).unwrap();
    let loaded = Config::load(Sources::new().file(file.clone()).variables(owned(variables)));
    let place = file.display().to_string();
    loaded.map_err(|error| error.to_string().replace(&place, "config.yml"))
}

fn owned(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn settings(text: &str, variables: &[(&str, &str)]) -> Settings {
    load(text, variables).unwrap().settings
}

/// Returns the notices about a configuration, without the directory of the file.
fn notices(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let config = load(text, variables).unwrap();
    let place = config.file.as_ref().unwrap().display().to_string();
    config
        .notices
        .iter()
        .map(|notice| notice.to_string().replace(&place, "config.yml"))
        .collect()
}

fn headers(settings: &Settings) -> Vec<(String, Vec<String>)> {
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    settings
        .http
        .headers
        .0
        .iter()
        .map(|(name, values)| (name.to_string(), values.iter().map(text).collect()))
        .collect()
}

/// The tree as one line of flow style, keys sorted by nothing.
fn flow(value: &Value) -> String {
    match &value.content {
        Content::Null => "~".into(),
        Content::Scalar(text) => text.clone(),
        Content::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Content::Map(map) => {
            let entries: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}: {}", flow(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}
