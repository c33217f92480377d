//! Asserts that the table of all keys in `docs/configuration.md` matches [`keys`](super::keys::keys).
//!
//! `UPDATE_DOCS=1 cargo test -p registry-server --lib config::` regenerates it.

use super::keys::{Form, Key, Role, keys};
use std::{fmt::Write as _, fs, path::Path};

const BEGIN: &str = "<!-- keys: begin -->\n";
const END: &str = "<!-- keys: end -->\n";

#[test]
fn the_documentation_has_every_key_as_the_code_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let wanted = tables();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{wanted}{END}{after}")).unwrap();
    } else {
        assert!(
            table == wanted,
            "docs/configuration.md is not as the code; UPDATE_DOCS=1 writes it anew"
        );
    }
}

/// Renders a table per section.
fn tables() -> String {
    let mut text = String::new();
    let mut open = "";
    for key in keys() {
        let section = key.path.split('.').next().unwrap();
        if section != open {
            open = section;
            _ = writeln!(text, "\n### `{section}`\n");
            text.push_str("| key | status | form | default | description |\n|---|---|---|---|---|\n");
        }
        let default = if key.default.is_empty() {
            String::new()
        } else {
            format!("`{}`", key.default)
        };
        _ = writeln!(
            text,
            "| `{}`<br>`{}` | {} | {} | {default} | {} |",
            key.path,
            variable(key),
            role(key.role),
            form(key),
            key.about
        );
    }
    text.push('\n');
    text
}

/// Returns the environment variable that sets the key.
fn variable(key: &Key) -> String {
    let name = key
        .path
        .strip_suffix(".*")
        .unwrap_or(key.path)
        .replace('.', "_")
        .to_uppercase();
    let free = if key.path.ends_with(".*") || (key.form == Form::Any && key.role != Role::Honoured) {
        "_…"
    } else {
        ""
    };
    format!("REGISTRY_{name}{free}")
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::Honoured => "honoured",
        Role::Accepted => "accepted without effect",
        Role::Refused => "refused",
    }
}

const fn form(key: &Key) -> &'static str {
    match key.form {
        Form::Text | Form::Secret => "text",
        Form::Switch => "`true` or `false`",
        Form::Count => "number",
        Form::Size => "size",
        Form::Duration => "duration",
        Form::List => "list",
        Form::Mark | Form::Any => "section",
    }
}
