//! Lists the public API of libraries, one item per line, from what rustdoc knows: `registry-api-listing FOLDER JSON…`.
//!
//! Each file `x.json` of rustdoc becomes `FOLDER/x.txt`. An item that has several paths is listed at each of them, and what
//! it consists of only once. Methods of implemented traits are left out, because the trait determines them.
//!
//! Two facts that a signature does not have are at the end of a line. `// required` is a method that implementations of a
//! trait must have. `// exhaustive` is a type to which a field or variant cannot be added without breaking its users.

use public_api::{Builder, PublicItem};
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    env, error, fs, iter,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn error::Error>> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments
        .next()
        .ok_or("usage: registry-api-listing FOLDER JSON...")?;
    for document in arguments {
        let name = document.file_stem().ok_or("a file has no name")?;
        let listing = folder.join(name).with_extension("txt");
        fs::write(listing, listed(&document)?)?;
    }
    Ok(())
}

fn listed(document: &Path) -> Result<String, Box<dyn error::Error>> {
    let api = Builder::from_rustdoc_json(document)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()?;
    let facts = Facts(serde_json::from_slice(&fs::read(document)?)?);
    let texts: HashMap<u32, String> = api.items().map(|item| (item.id().0, item.to_string())).collect();
    let mut seen = HashSet::new();
    let mut listing = String::new();
    for item in api.items() {
        let parent = item.parent_id().map(|parent| parent.0);
        let is_first = seen.insert(item.id().0);
        let is_part = parent.is_some_and(|parent| facts.kind(parent) != "module");
        let is_of_trait = parent
            .and_then(|parent| texts.get(&parent))
            .is_some_and(|text| is_implementation(text));
        let is_determined = is_of_trait && facts.kind(item.id().0) == "function";
        if (is_part && !is_first) || is_determined || is_marker(item) {
            continue;
        }
        let text = item.to_string();
        let fact = facts.of(item.id().0, parent);
        listing.extend(iter::once(&*text).chain(fact).chain(["\n"]));
    }
    Ok(listing)
}

/// Returns true for the implementation of a trait.
fn is_implementation(text: &str) -> bool {
    text.starts_with("impl") && text.contains(" for ")
}

/// Returns true for an implementation that the compiler adds to `PartialEq`.
fn is_marker(item: &PublicItem) -> bool {
    item.to_string()
        .contains("core::marker::StructuralPartialEq for ")
}

/// A document of rustdoc.
struct Facts(Value);

impl Facts {
    fn item(&self, id: u32) -> Option<&Value> {
        self.0.get("index")?.get(id.to_string())
    }

    fn inner(&self, id: u32) -> Option<(&str, &Value)> {
        let (kind, inner) = self.item(id)?.get("inner")?.as_object()?.iter().next()?;
        Some((kind, inner))
    }

    /// Returns the kind of an item, or an empty text for one of another crate.
    fn kind(&self, id: u32) -> &str {
        self.inner(id).map_or("", |(kind, _)| kind)
    }

    fn of(&self, id: u32, parent: Option<u32>) -> Option<&'static str> {
        let (kind, inner) = self.inner(id)?;
        let is_in_trait = parent.is_some_and(|parent| self.kind(parent) == "trait");
        match kind {
            "function" if is_in_trait && inner.get("has_body")? == false => Some(" // required"),
            "assoc_type" if is_in_trait && inner.get("type")?.is_null() => Some(" // required"),
            "struct" | "enum" if self.is_exhaustive(id, kind, inner) => Some(" // exhaustive"),
            _ => None,
        }
    }

    fn is_exhaustive(&self, id: u32, kind: &str, inner: &Value) -> bool {
        let attributes = self.item(id).and_then(|item| item.get("attrs"));
        let is_open = attributes.is_some_and(|attributes| attributes.to_string().contains("non_exhaustive"));
        let shape = inner.get("kind");
        let has_private = match shape.and_then(|shape| shape.get("plain")) {
            Some(fields) => fields.get("has_stripped_fields") == Some(&Value::Bool(true)),
            None => shape
                .and_then(|shape| shape.get("tuple"))
                .and_then(Value::as_array)
                .is_some_and(|fields| fields.iter().any(Value::is_null)),
        };
        !is_open && (kind == "enum" || !has_private)
    }
}
