//! Parses YAML into [`Value`]s. Only this module and [`not_yaml`](super::not_yaml) use the YAML library.
//!
//! Files are read by Go's rules for YAML 1.1, as by registry:2: merge keys, anchors, flow style. Scalars keep their
//! spelling: a password `0123` stays a text, and a header's value `1728000` is not reformatted.

use super::{
    not_yaml::explained,
    value::{Content, Map, Origin, Value},
};
use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{
    Location, Spanned,
    options::{DuplicateKeyPolicy, NonFiniteFloatPolicy},
};
use std::{fmt, path::Path, sync::Arc};

/// Error about text that is not YAML.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotYaml {
    /// Line, counted from 1; `None` if the parser reports none.
    pub(crate) line: Option<u64>,
    pub(crate) message: String,
}

/// Key that occurs twice in a section. The last one counts, as with registry:2.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Duplicate {
    pub(crate) key: String,
    pub(crate) line: u64,
}

/// Reads a file.
pub(crate) fn parse_file(text: &str, path: &Path) -> Result<(Value, Vec<Duplicate>), NotYaml> {
    let path: Arc<Path> = path.into();
    let origin = |line| Origin::File {
        path: Arc::clone(&path),
        line,
    };
    parse(text, &origin)
}

/// Reads the value of an environment variable.
pub(crate) fn parse_variable(text: &str, name: &Arc<str>) -> Result<Value, NotYaml> {
    let origin = |_| Origin::Variable(Arc::clone(name));
    parse(text, &origin).map(|(value, _)| value)
}

fn parse(text: &str, origin: &dyn Fn(u64) -> Origin) -> Result<(Value, Vec<Duplicate>), NotYaml> {
    // Far beyond any configuration, and far below what would hurt.
    let budget = serde_saphyr::budget! {
        max_nodes: 20_000,
        max_events: 50_000,
        max_depth: 32,
        enforce_alias_anchor_ratio: false,
    };
    let options = serde_saphyr::options! {
        budget: budget,
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // An unknown tag would be dropped silently, together with its value.
        reject_unsupported_tags: true,
        // Numbers keep their spelling, whatever they are.
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let documents: Vec<Spanned<Node>> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| NotYaml {
            line: error.location().and_then(line),
            message: explained(&error),
        })?;
    // Those that hold nothing are left out: a `---` may end a file.
    let mut documents = documents.into_iter();
    let Some(node) = documents.next() else {
        let nothing = Value {
            origin: origin(1),
            content: Content::Null,
        };
        return Ok((nothing, Vec::new()));
    };
    if let Some(second) = documents.next() {
        return Err(NotYaml {
            line: line(second.referenced),
            message: SECOND.into(),
        });
    }
    let mut reader = Reader {
        text,
        origin,
        duplicates: Vec::new(),
    };
    let value = reader.value(node, None);
    Ok((value, reader.duplicates))
}

/// Message that refuses a second document. registry:2 reads the first document and ignores the rest.
const SECOND: &str = "a second document begins above, after `---`; a configuration must be one document";

fn line(location: Location) -> Option<u64> {
    Some(location.line()).filter(|line| *line > 0)
}

struct Reader<'a> {
    text: &'a str,
    origin: &'a dyn Fn(u64) -> Origin,
    duplicates: Vec<Duplicate>,
}

impl Reader<'_> {
    /// Converts a node. The line of a value is that of its key, if it has one.
    fn value(&mut self, node: Spanned<Node>, key: Option<Location>) -> Value {
        let line = key.unwrap_or(node.referenced).line();
        let content = match node.value {
            Node::Null => Content::Null,
            Node::Text(text) => Content::Scalar(text),
            Node::Typed(shown) => Content::Scalar(self.source(node.defined).unwrap_or(shown)),
            Node::List(items) => {
                Content::List(items.into_iter().map(|item| self.value(item, None)).collect())
            }
            Node::Map(entries) => {
                let mut map = Map::default();
                for (key, value) in entries {
                    if map.contains(&key.value) {
                        self.duplicates.push(Duplicate {
                            key: key.value.clone(),
                            line: key.referenced.line(),
                        });
                    }
                    let value = self.value(value, Some(key.referenced));
                    map.set(&key.value, value);
                }
                Content::Map(map)
            }
        };
        Value {
            origin: (self.origin)(line),
            content,
        }
    }

    /// Returns the spelling of a number or a switch in the text.
    fn source(&self, location: Location) -> Option<String> {
        let span = location.span();
        let start = usize::try_from(span.byte_offset()?).ok()?;
        let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
        let text = self.text.get(start..end)?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// A node as the library resolves it.
#[derive(Debug)]
enum Node {
    Null,
    Text(String),
    /// Number or switch, in the library's spelling.
    Typed(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a section")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Typed(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Typed(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Typed(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Typed(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Value {
        parse_file(text, Path::new("config.yml")).unwrap().0
    }

    /// Every leaf as `path=text@line`.
    fn leaves(value: &Value) -> Vec<String> {
        fn walk(path: &str, value: &Value, leaves: &mut Vec<String>) {
            let line = match &value.origin {
                Origin::File { line, .. } => *line,
                _ => 0,
            };
            match &value.content {
                Content::Null => leaves.push(format!("{path}=~@{line}")),
                Content::Scalar(text) => leaves.push(format!("{path}={text}@{line}")),
                Content::List(items) => {
                    for (index, item) in items.iter().enumerate() {
                        walk(&format!("{path}[{index}]"), item, leaves);
                    }
                }
                Content::Map(map) => {
                    for (key, value) in map.iter() {
                        walk(&format!("{path}.{key}"), value, leaves);
                    }
                }
            }
        }
        let mut found = Vec::new();
        walk("", value, &mut found);
        found
    }

    #[test]
    fn every_value_keeps_its_spelling_and_its_line() {
        let text = "version: 0.1\nhttp:\n  addr: :5000\n  secret: 007\n  flow: {a: 1e3, b: [0x10, yes, ~, 'q']}\nempty:\n";
        assert_eq!(
            leaves(&file(text)),
            [
                ".version=0.1@1",
                ".http.addr=:5000@3",
                ".http.secret=007@4",
                ".http.flow.a=1e3@5",
                ".http.flow.b[0]=0x10@5",
                ".http.flow.b[1]=yes@5",
                ".http.flow.b[2]=~@5",
                ".http.flow.b[3]=q@5",
                ".empty=~@6",
            ]
        );
    }

    #[test]
    fn lists_in_block_style_have_a_line_per_item() {
        let text = "headers:\n  Max-Age:\n    - 1728000\n    - true\n";
        assert_eq!(
            leaves(&file(text)),
            [".headers.Max-Age[0]=1728000@3", ".headers.Max-Age[1]=true@4"]
        );
    }

    #[test]
    fn anchors_and_merge_keys_count_as_in_registry_2() {
        let text = "base: &base\n  a: 1\n  b: 2\nhttp:\n  <<: *base\n  b: 3\nagain: *base\n";
        let found = leaves(&file(text));
        for leaf in [".http.a=1", ".http.b=3", ".again.a=1", ".again.b=2"] {
            assert!(
                found.iter().any(|f| f.starts_with(&format!("{leaf}@"))),
                "{leaf}: {found:?}"
            );
        }
    }

    #[test]
    fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
        let text = "\u{feff}version: 0.1\r\nhttp:\r\n  addr: :5000\r\n";
        assert_eq!(leaves(&file(text)), [".version=0.1@1", ".http.addr=:5000@3"]);
    }

    #[test]
    fn of_two_equal_keys_the_last_counts_and_it_is_told() {
        let (value, duplicates) = parse_file("a: 1\nb: 2\na: 3\n", Path::new("c.yml")).unwrap();
        assert_eq!(leaves(&value), [".a=3@3", ".b=2@2"]);
        assert_eq!(
            duplicates,
            [Duplicate {
                key: "a".into(),
                line: 3
            }]
        );
    }

    #[test]
    fn a_document_may_have_a_beginning_and_an_end_and_nothing_behind_it() {
        for text in [
            "a: 1\n---\n",
            "a: 1\n...\n",
            "a: 1\n---\n# nothing\n---\n~\n",
            "%YAML 1.1\n---\na: 1\n",
            "# comment\n---\na: 1\n...\n---\n",
        ] {
            let found = leaves(&file(text));
            assert_eq!(found.len(), 1, "{text:?}: {found:?}");
            assert!(found.concat().starts_with(".a=1@"), "{text:?}: {found:?}");
        }
        let error = parse_file("a: 1\n---\nb: 2\n", Path::new("c.yml")).unwrap_err();
        assert_eq!((error.line, &*error.message), (Some(3), SECOND));
    }

    #[test]
    fn what_is_no_yaml_is_explained_with_its_line() {
        for (text, line, expected) in [
            (
                "a: 1\n  b: 2\n",
                2,
                "this is not YAML: mapping values are not allowed in this context; does a line above it have a wrong",
            ),
            ("a:1\nb: 2\n", 2, "A text with `: ` in it needs quotes"),
            ("a: b: c\n", 1, "A text with `: ` in it needs quotes"),
            ("a:\n\tb: 1\n", 2, "indent lines with spaces, not with tabs"),
            (
                "a:\n  b: 1\n\tc: 2\n",
                2,
                "indent lines with spaces, not with tabs",
            ),
            ("a: \"C:\\data\"\n", 1, "write `\\\\` for `\\`"),
            ("a: \"\\x\"\n", 1, "write `\\\\` for `\\`"),
            ("a: 'x\nb: 1\n", 2, "is a quote not closed?"),
            ("a: 'x' y\n", 1, "is a quote not closed?"),
            ("a: {b: 2\n", 1, "is a bracket not closed?"),
            ("b: [1, 2\nc: 3\n", 2, "is a bracket not closed?"),
            ("a: ]\n", 1, "A text that begins with one needs quotes"),
            ("a: %x\n", 1, "a text that begins with it needs quotes"),
            ("a: @x\n", 1, "a text that begins with it needs quotes"),
            (
                "a:\n   b: 1\n  c: 2\n",
                3,
                "keys of a section must begin in the same column",
            ),
            (
                "a: {user}/x\n",
                1,
                "A text that begins with `{` or `[` needs quotes",
            ),
            ("%YAML 1.1\na: 1\n", 2, "a line `---` must follow `%YAML`"),
            ("a: **\n", 1, "a text that begins with `*` needs quotes"),
            ("a: &a [*a]\n", 1, "is inside its own anchor"),
            ("<<: 5\n", 1, "`<<` requires a section"),
            ("? [a, b]\n: 1\n", 1, "a key must be a text"),
            ("~: 1\n", 1, "a key must be a text"),
            ("a: !secret x\n", 1, "a text that begins with `!` needs quotes"),
            ("a: !x\n", 1, "a text that begins with `!` needs quotes"),
            (
                "a: !include x.yml\n",
                1,
                "a text that begins with `!` needs quotes",
            ),
            (
                "a: !!binary zzz=\n",
                1,
                "a text that begins with `!` needs quotes",
            ),
            ("a: !!int x\n", 1, "a text that begins with `!` needs quotes"),
        ] {
            let error = parse_file(text, Path::new("c.yml")).unwrap_err();
            assert_eq!(error.line, Some(line), "{text:?}: {error:?}");
            assert!(error.message.contains(expected), "{text:?}: {error:?}");
            assert!(!error.message.contains(" at line "), "{error:?}");
        }
    }

    #[test]
    fn a_text_that_grows_when_it_is_read_is_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let before = format!("*a{}", level - 1);
            text.push_str(&format!(
                "a{level}: &a{level} [{}]\n",
                [before.as_str(); 9].join(", ")
            ));
        }
        for (text, expected) in [
            (text, "there is too much text for a configuration"),
            (
                "- x\n".repeat(60_000),
                "there is too much text for a configuration",
            ),
            ("[".repeat(40) + &"]".repeat(40), "nested too deeply"),
            ("[".repeat(10_000), "nested too deeply"),
        ] {
            let error = parse_file(&text, Path::new("c.yml")).unwrap_err();
            assert!(error.message.contains(expected), "{error:?}");
        }
    }

    #[test]
    fn what_is_used_many_times_is_not_too_much() {
        let mut text = String::from("a: &a [x]\n");
        for key in 0..1000 {
            text.push_str(&format!("k{key}: *a\n"));
        }
        assert_eq!(leaves(&file(&text)).len(), 1001);
    }

    #[test]
    fn numbers_that_are_none_keep_their_spelling() {
        assert_eq!(leaves(&file("a: .inf\nb: .NaN\n")), [".a=.inf@1", ".b=.NaN@2"]);
    }

    #[test]
    fn nothing_at_all_is_null() {
        for text in ["", "\n", "# only a comment\n", "~", "---\n", "\u{feff}"] {
            assert_eq!(file(text).content, Content::Null, "{text:?}");
        }
    }
}
