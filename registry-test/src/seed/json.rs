//! Seeds in JSON, as programs in other languages describe them.
//!
//! ```json
//! {"name": "app:v1", "image": {"files": [["etc/a", "1"]], "platform": "linux/arm64", "annotations": {"k": "v"}}}
//! {"name": "app:v1", "index": {"images": [{"files": [["a", "1"]]}, {"files": [["a", "2"]], "platform": "linux/arm64"}]}}
//! {"name": "app@sha256", "artifact": {"type": "application/vnd.x", "files": [["a", "1"]], "subject": "app:v1"}}
//! {"layout": "/home/ann/layout"}
//! ```

use super::{
    artifact::{Artifact, artifact},
    document::quoted,
    error::SeedError,
    image::{Image, image},
    index::{Index, Seed, index},
};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// Deepest index of indexes that is read.
const DEEPEST: usize = 8;

/// Content to put into a registry.
#[derive(Clone, Debug)]
pub(crate) enum SeedRequest {
    /// Content, and the name to put it under.
    Named { name: String, content: Seed },
    /// The images of the OCI layout in this directory.
    Layout(PathBuf),
}

impl SeedRequest {
    /// Reads a seed with its name, or a layout, whose images have names of their own.
    ///
    /// # Errors
    ///
    /// [`SeedError::Json`], which names the field. Everything else is refused when the seed is put.
    pub(crate) fn read(value: &Value) -> Result<Self, SeedError> {
        let fields = Fields::of(
            "the seed",
            value,
            &["name", "image", "index", "artifact", "layout"],
        )?;
        if let Some(path) = fields.text("layout")? {
            return match fields.members.len() {
                1 => Ok(Self::Layout(path.into())),
                _ => {
                    Err(fields
                        .error("has other fields beside `layout`, whose images have names of their own"))
                }
            };
        }
        let name = fields
            .text("name")?
            .ok_or_else(|| fields.error("has no `name`"))?;
        Ok(Self::Named {
            name: name.to_owned(),
            content: content(&fields, 0)?,
        })
    }
}

/// Reads the one of `image`, `index` and `artifact` that is there.
fn content(fields: &Fields<'_>, depth: usize) -> Result<Seed, SeedError> {
    let found: Vec<_> = ["image", "index", "artifact"]
        .into_iter()
        .filter_map(|kind| Some((kind, fields.get(kind)?)))
        .collect();
    match *found {
        [("image", value)] => read_image(value).map(Into::into),
        [("index", value)] => read_index(value, depth).map(Into::into),
        [("artifact", value)] => read_artifact(value).map(Into::into),
        _ => Err(fields.error("has not exactly one of `image`, `index` and `artifact`")),
    }
}

fn read_image(value: &Value) -> Result<Image, SeedError> {
    let known = ["files", "layers", "gzip", "platform", "config", "annotations"];
    let fields = Fields::of("`image`", value, &known)?;
    let mut image = image();
    if let Some(files) = fields.get("files") {
        image = image.files(fields.pairs("files", files)?);
    }
    for layer in fields.list("layers")? {
        image = image.layer(fields.pairs("layers", layer)?);
    }
    if fields.flag("gzip")? {
        image = image.gzip();
    }
    if let Some(platform) = fields.text("platform")? {
        image = image.platform(platform);
    }
    if let Some(config) = fields.get("config") {
        image = image.config(config.to_string());
    }
    for (key, value) in fields.annotations()? {
        image = image.annotation(key, value);
    }
    Ok(image)
}

/// Reads `images`, each as the value of `image`, and `entries`, each with its kind.
fn read_index(value: &Value, depth: usize) -> Result<Index, SeedError> {
    let fields = Fields::of("`index`", value, &["images", "entries", "annotations"])?;
    if depth == DEEPEST {
        return Err(fields.error("is too deep within other indexes"));
    }
    let mut entries = Vec::new();
    for one in fields.list("images")? {
        entries.push(read_image(one)?.into());
    }
    for one in fields.list("entries")? {
        let one = Fields::of("an entry of `index`", one, &["image", "index", "artifact"])?;
        entries.push(content(&one, depth + 1)?);
    }
    let mut index = index(entries);
    for (key, value) in fields.annotations()? {
        index = index.annotation(key, value);
    }
    Ok(index)
}

fn read_artifact(value: &Value) -> Result<Artifact, SeedError> {
    let known = ["type", "files", "layers", "subject", "annotations"];
    let fields = Fields::of("`artifact`", value, &known)?;
    let artifact_type = fields
        .text("type")?
        .ok_or_else(|| fields.error("has no `type`"))?;
    let mut artifact = artifact(artifact_type);
    if let Some(files) = fields.get("files") {
        for (name, content) in fields.pairs("files", files)? {
            artifact = artifact.file(name, content);
        }
    }
    if let Some(layers) = fields.get("layers") {
        for (media_type, content) in fields.pairs("layers", layers)? {
            artifact = artifact.layer(media_type, content);
        }
    }
    if let Some(subject) = fields.text("subject")? {
        artifact = artifact.subject(subject);
    }
    for (key, value) in fields.annotations()? {
        artifact = artifact.annotation(key, value);
    }
    Ok(artifact)
}

/// The members of an object, all of which are known.
struct Fields<'a> {
    /// The object, for messages.
    place: &'static str,
    members: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    fn of(place: &'static str, value: &'a Value, known: &[&str]) -> Result<Self, SeedError> {
        let Value::Object(members) = value else {
            return Err(SeedError::Json(format!("{place} is no object")));
        };
        let fields = Self { place, members };
        match members.keys().find(|key| !known.contains(&key.as_str())) {
            Some(unknown) => Err(fields.error(&format!(
                "has the unknown field {}; known are `{}`",
                quoted(unknown),
                known.join("`, `")
            ))),
            None => Ok(fields),
        }
    }

    /// Returns a member, unless it is missing or null.
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.members.get(key).filter(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, SeedError> {
        let text = |value: &'a Value| {
            value
                .as_str()
                .ok_or_else(|| self.error(&format!("has a `{key}` that is no string")))
        };
        self.get(key).map(text).transpose()
    }

    fn flag(&self, key: &str) -> Result<bool, SeedError> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.error(&format!("has a `{key}` that is neither true nor false"))),
        }
    }

    fn list(&self, key: &str) -> Result<&'a [Value], SeedError> {
        match self.get(key) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(self.error(&format!("has `{key}` that are no list"))),
        }
    }

    /// Returns the pairs of strings of a list.
    fn pairs(&self, key: &str, value: &'a Value) -> Result<Vec<(&'a str, &'a str)>, SeedError> {
        let pair = |item: &'a Value| match item.as_array()?.as_slice() {
            [first, second] => Some((first.as_str()?, second.as_str()?)),
            _ => None,
        };
        let pairs = value
            .as_array()
            .and_then(|items| items.iter().map(pair).collect());
        pairs.ok_or_else(|| self.error(&format!("has `{key}` that are no list of pairs of strings")))
    }

    fn annotations(&self) -> Result<Vec<(&'a str, &'a str)>, SeedError> {
        let Some(value) = self.get("annotations") else {
            return Ok(Vec::new());
        };
        let members = value.as_object().and_then(|members| {
            let texts = members
                .iter()
                .map(|(key, value)| Some((key.as_str(), value.as_str()?)));
            texts.collect()
        });
        members.ok_or_else(|| self.error("has `annotations` that are no object of strings"))
    }

    fn error(&self, problem: &str) -> SeedError {
        SeedError::Json(format!("{} {problem}", self.place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TestRegistry;
    use serde_json::json;

    fn digests(registry: &TestRegistry, seeds: impl IntoIterator<Item = (String, Seed)>) -> Vec<String> {
        let digests = seeds
            .into_iter()
            .map(|(name, seed)| registry.seed(&name, seed).to_string());
        digests.collect()
    }

    #[test]
    fn a_seed_in_json_is_the_same_as_one_in_rust() {
        let registry = TestRegistry::start();
        let in_rust: [(&str, Seed); 3] = [
            (
                "app:image",
                image()
                    .files([("a", "1")])
                    .layer([("b", "2")])
                    .gzip()
                    .platform("linux/arm64")
                    .config(r#"{"Env":[]}"#)
                    .annotation("k", "v")
                    .into(),
            ),
            (
                "app:index",
                index([Seed::from(image()), artifact("application/vnd.y").into()])
                    .annotation("k", "v")
                    .into(),
            ),
            (
                "app:artifact",
                artifact("application/vnd.x")
                    .file("a", "1")
                    .layer("text/plain", "2")
                    .subject("app:image")
                    .annotation("k", "v")
                    .into(),
            ),
        ];
        let in_json = [
            json!({"name": "app:image", "image": {
                "files": [["a", "1"]], "layers": [[["b", "2"]]], "gzip": true, "platform": "linux/arm64", "config": {"Env": []},
                "annotations": {"k": "v"},
            }}),
            json!({"name": "app:index", "index": {
                "images": [{}], "entries": [{"artifact": {"type": "application/vnd.y"}}], "annotations": {"k": "v"},
            }}),
            json!({"name": "app:artifact", "artifact": {
                "type": "application/vnd.x", "files": [["a", "1"]], "layers": [["text/plain", "2"]],
                "subject": "app:image", "annotations": {"k": "v"},
            }}),
        ];

        let read = in_json.map(|value| match SeedRequest::read(&value).unwrap() {
            SeedRequest::Named { name, content } => (name, content),
            SeedRequest::Layout(path) => panic!("a layout in {}", path.display()),
        });

        let in_rust = in_rust.map(|(name, seed)| (name.to_owned(), seed));
        assert_eq!(digests(&registry, read), digests(&registry, in_rust));
    }

    #[test]
    fn the_message_about_a_malformed_seed_names_the_field() {
        let mut deep = json!({"artifact": {"type": "a/b"}});
        for _ in 0..=DEEPEST {
            deep = json!({"index": {"entries": [deep]}});
        }
        deep["name"] = "app:v1".into();
        for (seed, message) in [
            (json!([]), "the seed is no object"),
            (json!({"image": {}}), "the seed has no `name`"),
            (
                json!({"name": 1, "image": {}}),
                "the seed has a `name` that is no string",
            ),
            (
                json!({"name": "a", "image": {}, "index": {}}),
                "the seed has not exactly one of `image`, `index` and `artifact`",
            ),
            (
                json!({"name": "a", "index": {"image": []}}),
                "`index` has the unknown field \"image\"; known are `images`, `entries`, `annotations`",
            ),
            (
                json!({"name": "a", "image": {"files": [["a", 1]]}}),
                "`image` has `files` that are no list of pairs of strings",
            ),
            (
                json!({"name": "a", "artifact": {"type": "a/b", "annotations": {"a": 1}}}),
                "`artifact` has `annotations` that are no object of strings",
            ),
            (
                json!({"name": "a", "image": {"gzip": "yes"}}),
                "`image` has a `gzip` that is neither true nor false",
            ),
            (
                json!({"name": "a", "artifact": {"type": null}}),
                "`artifact` has no `type`",
            ),
            (
                json!({"name": "a", "layout": "/a"}),
                "the seed has other fields beside `layout`, whose images have names of their own",
            ),
            (deep, "`index` is too deep within other indexes"),
        ] {
            assert_eq!(SeedRequest::read(&seed).unwrap_err().to_string(), message);
        }
    }
}
