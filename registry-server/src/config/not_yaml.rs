//! Translates errors of the YAML library for authors of a configuration.
//!
//! The library's messages address programmers: they name budgets, events and options. The part about the text itself is
//! kept, and a remedy is added.

use serde_saphyr::{Error, UserMessageFormatter, budget::BudgetBreach};

/// Explains the fault in a text, without its line.
pub(super) fn explained(error: &Error) -> String {
    match error.without_snippet() {
        Error::AliasError { error, .. } => explained(error),
        Error::Budget { breach, .. } => beyond(breach).into(),
        Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "aliases (`*name`) expand to too much text for a configuration".into()
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "the alias `*name` is inside its own anchor `&name`".into()
        }
        Error::UnknownAnchor { .. } => {
            "`*name` refers to an anchor `&name`, and there is none; a text that begins with `*` needs quotes"
                .into()
        }
        Error::MergeValueNotMapOrSeqOfMaps { .. } => "`<<` requires a section, as in `<<: *name`".into(),
        Error::Unexpected { .. } | Error::NullIntoString { .. } => {
            "a key must be a text; a value that begins with `{` or `[` needs quotes".into()
        }
        Error::UnsupportedTag { .. }
        | Error::InvalidBinaryBase64 { .. }
        | Error::BinaryNotUtf8 { .. }
        | Error::TaggedScalarCannotDeserializeIntoString { .. }
        | Error::UnsupportedIncludeForm { .. }
        | Error::InvalidScalar { .. } => {
            "this type (`!name`) is not supported here; a text that begins with `!` needs quotes".into()
        }
        other => {
            let said = said(other);
            format!("this is not YAML: {said}{}", remedy(&said))
        }
    }
}

/// Names the bound that a text exceeds.
const fn beyond(breach: &BudgetBreach) -> &'static str {
    match breach {
        BudgetBreach::Depth { .. } => "sections and lists are nested too deeply for a configuration",
        _ => "there is too much text for a configuration; do aliases (`*name`) expand to too much?",
    }
}

/// Returns the library's message without the position at its end, which the caller reports.
fn said(error: &Error) -> String {
    let said = error.render_with_formatter(&UserMessageFormatter);
    let end = [" at line ", " (defined at line "]
        .into_iter()
        .filter_map(|place| said.find(place))
        .min();
    said.get(..end.unwrap_or(said.len())).unwrap_or(&said).to_owned()
}

/// Returns the remedy for a common mistake, or an empty text.
fn remedy(said: &str) -> &'static str {
    let is_about = |words: &str| said.contains(words);
    if is_about("tab") {
        "; indent lines with spaces, not with tabs"
    } else if is_about("escape character") || is_about("hexadecimal") {
        "; write `\\\\` for `\\` in \"double quotes\", or use 'single quotes'"
    } else if is_about("mapping values are not allowed") || is_about("simple key expected") {
        "; does a line above it have a wrong indentation, or no `: `? A text with `: ` in it needs quotes"
    } else if is_about("unexpected character") {
        "; a text that begins with it needs quotes"
    } else if is_about("recursion limit") {
        "; sections and lists are nested too deeply"
    } else if is_about("quoted scalar") {
        "; is a quote not closed?"
    } else if is_about("bracket") || is_about("':' indicator") {
        "; is a bracket not closed? A text that begins with one needs quotes"
    } else if is_about("expected <document start>") {
        "; a line `---` must follow `%YAML`"
    } else if is_about("expected key") || is_about("indentation") {
        "; all keys of a section must begin in the same column. A text that begins with `{` or `[` needs quotes"
    } else {
        ""
    }
}
