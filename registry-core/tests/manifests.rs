//! Tests of documents that clients read differently: each field of each object, in every spelling that Go accepts.

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

/// Returns a document that may have any field of its kind, with `more` at its end.
fn document(more: &str) -> String {
    let descriptor = json!({"mediaType": "a/b", "digest": digest().to_string(), "size": 1});
    format!(r#"{{"mediaType":"application/vnd.example+json"{more}}}"#)
        .replace("<descriptor>", &descriptor.to_string())
        .replace("<digest>", &format!("\"{}\"", digest()))
}

/// Returns an index of one entry, with `more` at the end of the entry.
fn entry_with(more: &str) -> String {
    document(&format!(
        r#","manifests":[{{"mediaType":"a/b","digest":<digest>,"size":1{more}}}]"#
    ))
}

/// Returns a document for each field of each object, with the field as `spell` writes it: (object, field, document).
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
        assert!(refused.contains(&format!("as `{field}`")), "{of}: {refused}");
    }
    // Letters beyond ASCII that fold to a letter of the field.
    for letter in ["\u{17f}", "\\u017f"] {
        let long = |field: &str, value: &str| format!("\"{}\":{value}", field.replacen('s', letter, 1));
        for (of, field, document) in spelled(long) {
            if field.contains('s') {
                let refused = refusal(&document).unwrap_or_else(|| panic!("{of}: {document}"));
                assert!(refused.contains(&format!("as `{field}`")), "{of}: {refused}");
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
            refused.contains(&format!("`{field}` appears twice")),
            "{of}: {refused}"
        );
    }
}

/// Go writes null for an empty list.
#[test]
fn each_field_may_be_there_once_and_be_null_where_it_is_not_required() {
    let required = ["mediaType", "digest", "size"];
    let once = spelled(|field, value| format!("\"{field}\":{value}"));
    let null = spelled(|field, _| format!("\"{field}\":null"));
    for (of, field, document) in once.into_iter().chain(null) {
        // These fields are in the document already.
        if of == "platform" || !required.contains(&field) {
            assert_eq!(refusal(&document), None, "{of}: {document}");
        }
    }
}

/// An accepted document keeps all of its references from the collector.
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

/// Checks each entry of an index: one that is malformed makes all of them unreadable for clients.
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

/// Clients in Go decode a document completely or not at all.
#[test]
fn a_field_of_a_type_that_clients_cannot_decode_is_refused_by_its_name() {
    let entry = |more: &str| entry_with(&format!(",{more}"));
    let mut documents = vec![
        ("data", entry(r#""data":5"#)),
        ("data", entry(r#""data":["a"]"#)),
        ("data", entry(r#""data":"a b""#)),
        ("platform", entry(r#""platform":"linux/amd64""#)),
        ("urls", entry(r#""urls":"https://a/""#)),
        ("artifactType", entry(r#""artifactType":{}"#)),
        ("size", entry("").replace(r#""size":1,"#, r#""size":"1""#)),
        (
            "size",
            entry("").replace(r#""size":1,"#, r#""size":9223372036854775808"#),
        ),
        ("schemaVersion", document(r#","schemaVersion":"2""#)),
        ("config", document(r#","config":"sha256:""#)),
        ("layers", document(r#","layers":{}"#)),
    ];
    for (field, _) in PLATFORM {
        let lists = ["os.features", "features"].contains(&field);
        for value in ["5", "{}", if lists { r#""a""# } else { r#"["a"]"# }] {
            let platform = format!(r#""platform":{{"{field}":{value}}}"#);
            documents.push((field, entry(&platform)));
        }
    }
    for (field, document) in documents {
        let refused = refusal(&document).unwrap_or_else(|| panic!("{document}"));
        let named = format!("`{field}`: ");
        assert!(
            refused.contains(&named) && refused.contains(" at line 1 column "),
            "{document}: {refused}"
        );
        assert!(!refused.contains("line 0"), "{refused}");
    }
    let deep = entry(r#""platform":{"os":5}"#);
    assert!(
        refusal(&deep).unwrap().contains(
            ": `manifests`: `platform`: `os`: invalid type: integer `5`, expected a string at line 1 "
        ),
        "{:?}",
        refusal(&deep)
    );
}

/// Accepted documents are served and listed.
#[test]
fn a_stored_document_may_have_fields_of_any_type() {
    let media_type = MediaType::parse(MediaType::OCI_INDEX).unwrap();
    for more in [
        r#","data":5"#,
        r#","data":"a b""#,
        r#","platform":{"os":5,"features":"a"}"#,
        r#","platform":7"#,
        r#","\ud800":1,"\udc00key":{"\ud800":2}"#,
    ] {
        let stored = entry_with(more);
        let manifest = Manifest::parse_stored(stored.as_bytes(), &media_type).unwrap();
        assert_eq!(manifest.manifests().len(), 1, "{stored}");
    }
    let stored = document(r#","\ud800":{"a":1},"layers":[<descriptor>]"#);
    let manifest = Manifest::parse_stored(stored.as_bytes(), &media_type).unwrap();
    assert_eq!(manifest.blobs().len(), 1);
    assert!(Manifest::parse(stored.as_bytes(), None).is_err());
}

/// Go writes null for a list that was never filled.
#[test]
fn null_is_no_list_beside_those_of_the_other_kind() {
    let typed = |media_type: &str, more: &str| {
        let document = document(&format!(r#","schemaVersion":2{more}"#));
        document.replace("application/vnd.example+json", media_type)
    };
    let image = r#","config":<descriptor>,"layers":[<descriptor>]"#;
    let both = format!(r#"{image},"manifests":null"#);
    for media_type in [MediaType::OCI_MANIFEST, MediaType::DOCKER_MANIFEST, "a/b+json"] {
        for document in [
            typed(media_type, &both),
            typed(media_type, &format!(r#","manifests":null{image}"#)),
            typed(
                media_type,
                r#","config":<descriptor>,"layers":null,"manifests":null"#,
            ),
        ] {
            let manifest = Manifest::parse(document.as_bytes(), None).unwrap();
            assert!(manifest.manifests().is_empty() && !manifest.blobs().is_empty());
        }
    }
    for more in [
        r#","manifests":null"#,
        r#","manifests":null,"config":null,"layers":null"#,
        r#","manifests":[<descriptor>],"config":null,"layers":null"#,
    ] {
        let document = typed(MediaType::OCI_INDEX, more);
        assert!(Manifest::parse(document.as_bytes(), None).is_ok(), "{document}");
    }
    for (media_type, more) in [
        (MediaType::OCI_INDEX, &*both),
        (MediaType::OCI_MANIFEST, &format!(r#"{image},"manifests":[]"#)),
        ("a/b+json", r#","layers":[],"manifests":[]"#),
    ] {
        let document = typed(media_type, more);
        assert!(Manifest::parse(document.as_bytes(), None).is_err(), "{document}");
    }
}
