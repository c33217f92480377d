//! `registry config check`: prints the effective configuration as a file, with the origin of each value.

use super::{
    Config,
    keys::{Form, Key, Role, keys},
    reader::{lookup, section_given},
    value::{Content, Origin, Value},
};
use std::fmt::Write as _;

/// Placeholder for a secret.
const HIDDEN: &str = "(hidden)";

impl Config {
    /// Renders an equivalent configuration file, with a comment per value that names its origin, as
    /// `registry config check` prints it. Secrets are hidden.
    #[must_use]
    pub fn effective(&self) -> String {
        render(self)
    }
}

fn render(config: &Config) -> String {
    let mut lines: Vec<(String, &Origin)> = Vec::new();
    let mut sections: Vec<&str> = Vec::new();
    for key in keys().filter(|key| key.role == Role::Honoured) {
        let free = key.path.strip_suffix(".*");
        let value = lookup(&config.root, free.unwrap_or(key.path));
        if value.is_none() && (key.default.is_empty() || !section_given(&config.root, key)) {
            continue;
        }
        open_sections(&mut lines, &mut sections, key);
        let depth = sections.len();
        let name = key.segments().last().unwrap_or_default();
        match value {
            None => lines.push((line(depth, name, key.default), &Origin::Default)),
            Some(value) if free.is_some() => {
                if let Content::Map(map) = &value.content {
                    for (name, value) in map.iter() {
                        lines.push((line(depth, &quoted(name), &shown(value, key.form)), &value.origin));
                    }
                }
            }
            Some(value) => lines.push((line(depth, name, &shown(value, key.form)), &value.origin)),
        }
    }
    let width = lines
        .iter()
        .map(|(text, _)| text.chars().count())
        .filter(|width| *width <= 60)
        .max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    let origin = config.file.as_ref().map_or_else(
        || "no file: defaults for local use".to_owned(),
        |path| path.display().to_string(),
    );
    _ = writeln!(text, "# {origin}");
    for (line, origin) in lines {
        if line.ends_with(':') {
            _ = writeln!(text, "{line}");
        } else {
            _ = writeln!(text, "{line:width$}  # {origin}");
        }
    }
    text
}

/// Adds the headings of those sections of `key` that are not open yet.
fn open_sections<'a>(lines: &mut Vec<(String, &'a Origin)>, sections: &mut Vec<&'a str>, key: &Key) {
    let mut wanted: Vec<&'static str> = key.segments().collect();
    wanted.pop();
    let common = sections
        .iter()
        .zip(&wanted)
        .take_while(|(open, wanted)| open == wanted)
        .count();
    sections.truncate(common);
    for section in wanted.into_iter().skip(common) {
        lines.push((
            format!("{}{section}:", "  ".repeat(sections.len())),
            &Origin::Default,
        ));
        sections.push(section);
    }
}

fn line(depth: usize, name: &str, value: &str) -> String {
    let indent = "  ".repeat(depth);
    if value.is_empty() {
        format!("{indent}{name}: ~")
    } else {
        format!("{indent}{name}: {value}")
    }
}

/// Renders a value on one line, as YAML.
fn shown(value: &Value, form: Form) -> String {
    match &value.content {
        _ if form == Form::Secret => HIDDEN.to_owned(),
        Content::Null => String::new(),
        Content::Scalar(text) => quoted(text),
        Content::List(items) => {
            let items: Vec<String> = items.iter().map(|item| shown(item, form)).collect();
            format!("[{}]", items.join(", "))
        }
        Content::Map(map) => {
            let entries: Vec<String> = map
                .iter()
                .map(|(key, value)| {
                    // Those of a request, which may log it in.
                    let form = if key == "headers" { Form::Secret } else { form };
                    format!("{}: {}", quoted(key), shown(value, form))
                })
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

/// Renders a text as YAML, without quotes if that is safe.
fn quoted(text: &str) -> String {
    let plain = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_./:+".contains(c))
        && !text.is_empty()
        && !text.ends_with(':')
        && text != "-";
    if plain && !matches!(text, "null" | "Null" | "NULL") {
        text.to_owned()
    } else {
        // JSON's strings are YAML's.
        serde_json::Value::from(text).to_string()
    }
}
