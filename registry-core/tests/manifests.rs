//! Documents that clients read differently: each field of each kind of object, in every spelling that Go takes for it.

use registry_core::{
    Algorithm, Digest, MediaType,
    manifest::{Child, InvalidManifest, Manifest},
};
use serde_json::{Value, json};

/// The fields of manifests and indexes, with a value that each may have.
const DOCUMENT: [(&str, &str); 9] = [
    ("schemaVersion", "2"),
    ("mediaType", r#""application/vnd.example+json""#),
    ("artifactType", r#""a/b""#),
    ("config", "<descriptor>"),
    ("layers", "[]"),
    ("manifests", "[]"),
    ("blobs", "[]"),
    ("subject", "<descriptor>"),
    ("annotations", "{}"),
];

const DESCRIPTOR: [(&str, &str); 8] = [
    ("mediaType", r#""a/b""#),
    ("digest", "<digest>"),
    ("size", "1"),
    ("urls", "[]"),
    ("annotations", "{}"),
    ("data", r#""YQ==""#),
    ("artifactType", r#""a/b""#),
    ("platform", "{}"),
];

const PLATFORM: [(&str, &str); 6] = [
    ("architecture", r#""amd64""#),
    ("os", r#""linux""#),
    ("os.version", r#""1""#),
    ("os.features", r#"["a"]"#),
    ("variant", r#""v8""#),
    ("features", r#"["sse4"]"#),
];

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, b"a")
}

/// A document of a type that may have all fields but those of the other kind, and one more text at its end.
fn document(more: &str) -> String {
    let descriptor = json!({"mediaType": "a/b", "digest": digest().to_string(), "size": 1});
    format!(r#"{{"mediaType":"application/vnd.example+json"{more}}}"#)
        .replace("<descriptor>", &descriptor.to_string())
        .replace("<digest>", &format!("\"{}\"", digest()))
}

/// An index with one entry, and one more text at the end of that.
fn entry_with(more: &str) -> String {
    document(&format!(
        r#","manifests":[{{"mediaType":"a/b","digest":<digest>,"size":1{more}}}]"#
    ))
}

/// Every document that has a field spelled in a way, or twice: (of what, field, document).
fn spelled(spell: impl Fn(&str, &str) -> String) -> Vec<(&'static str, &'static str, String)> {
    let mut documents = Vec::new();
    for (field, value) in DOCUMENT {
        documents.push(("document", field, document(&format!(",{}", spell(field, value)))));
    }
    for (field, value) in DESCRIPTOR {
        documents.push((
            "descriptor",
            field,
            entry_with(&format!(",{}", spell(field, value))),
        ));
    }
    for (field, value) in PLATFORM {
        let platform = format!(r#","platform":{{{}}}"#, spell(field, value));
        documents.push(("platform", field, entry_with(&platform)));
    }
    documents
}

fn refusal(document: &str) -> Option<String> {
    match Manifest::parse(document.as_bytes(), None) {
        Ok(_) => None,
        Err(error @ InvalidManifest::Json(_)) => Some(error.to_string()),
        Err(other) => panic!("{document}: {other}"),
    }
}

#[test]
fn no_field_of_any_object_may_be_in_another_case() {
    let upper = |field: &str, value: &str| format!("\"{}\":{value}", field.to_uppercase());
    for (of, field, document) in spelled(upper) {
        let refused = refusal(&document).unwrap_or_else(|| panic!("{of}: {document}"));
        assert!(refused.contains(&format!("for `{field}`")), "{of}: {refused}");
    }
    // The letters beyond ASCII that fold into it, where there are such fields.
    for letter in ["\u{17f}", "\\u017f"] {
        let long = |field: &str, value: &str| format!("\"{}\":{value}", field.replacen('s', letter, 1));
        for (of, field, document) in spelled(long) {
            if field.contains('s') {
                let refused = refusal(&document).unwrap_or_else(|| panic!("{of}: {document}"));
                assert!(refused.contains(&format!("for `{field}`")), "{of}: {refused}");
            }
        }
    }
}

#[test]
fn no_field_of_any_object_may_be_there_twice() {
    let twice = |field: &str, value: &str| format!("\"{field}\":{value},\"{field}\":{value}");
    for (of, field, document) in spelled(twice) {
        let refused = refusal(&document).unwrap_or_else(|| panic!("{of}: {document}"));
        assert!(
            refused.contains(&format!("`{field}` is there twice")),
            "{of}: {refused}"
        );
    }
}

/// Null is how Go writes what is empty.
#[test]
fn each_field_may_be_there_once_and_be_null_where_it_is_not_required() {
    let required = ["mediaType", "digest", "size"];
    let once = spelled(|field, value| format!("\"{field}\":{value}"));
    let null = spelled(|field, _| format!("\"{field}\":null"));
    for (of, field, document) in once.into_iter().chain(null) {
        // Those are there already.
        if of == "platform" || !required.contains(&field) {
            assert_eq!(refusal(&document), None, "{of}: {document}");
        }
    }
}

/// What was accepted once keeps all of its references from the collector.
#[test]
fn every_reference_of_a_stored_document_counts_however_its_key_is_spelled() {
    let descriptor = |of: &str| {
        let digest = Digest::of(Algorithm::Sha256, of.as_bytes());
        json!({"mediaType": "a/b", "digest": digest.to_string(), "size": 1}).to_string()
    };
    let [a, b, c, d] = ["a", "b", "c", "d"].map(descriptor);
    let stored = format!(
        r#"{{"config":{a},"CONFIG":{b},"layers":[{c}],"layers":[{d}],"manifests":[{a}],"Manifests":[{b}],"blobs":[{c}],"Blobs":[{d}]}}"#
    );

    let manifest = Manifest::parse_stored(stored.as_bytes(), &MediaType::parse("a/b+json").unwrap()).unwrap();

    let names = |children: &[Child]| -> Vec<String> {
        children.iter().map(|child| child.digest.to_string()).collect()
    };
    let digests = |of: &[&str]| -> Vec<String> {
        of.iter()
            .map(|of| Digest::of(Algorithm::Sha256, of.as_bytes()).to_string())
            .collect()
    };
    assert_eq!(names(manifest.blobs()), digests(&["a", "b", "c", "d", "c", "d"]));
    assert_eq!(names(manifest.manifests()), digests(&["a", "b"]));
}

/// One bad entry of an index hides all of them from clients that decode the whole.
#[test]
fn annotations_of_every_kind_of_descriptor_are_strings() {
    let bad = r#","annotations":{"number":5}"#;
    let entry = format!(r#"{{"mediaType":"a/b","digest":<digest>,"size":1{bad}}}"#);
    for (field, value) in [
        ("config", entry.clone()),
        ("layers", format!("[{entry}]")),
        ("blobs", format!("[{entry}]")),
        ("manifests", format!("[{entry}]")),
        ("subject", entry),
    ] {
        let document = document(&format!(",\"{field}\":{value}"));

        let refused = Manifest::parse(document.as_bytes(), None).unwrap_err();

        assert!(
            matches!(refused, InvalidManifest::Annotations { of, .. } if of == field),
            "{document}: {refused}"
        );
    }
    let value: Value = serde_json::from_str(&document("")).unwrap();
    assert!(Manifest::parse(value.to_string().as_bytes(), None).is_ok());
}
