//! Errors of the YAML library, in words for people who write rules.
//!
//! The library addresses programmers, with budgets, events and options. Its messages about the text itself are kept,
//! with a remedy added.

use serde_saphyr::{Error, UserMessageFormatter, budget::BudgetBreach};

/// Describes the fault of a text, without its line.
pub(crate) fn explained(error: &Error) -> String {
    match error.without_snippet() {
        Error::AliasError { error, .. } => explained(error),
        Error::Budget { breach, .. } => beyond(breach).into(),
        Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "`*name` stands for so much text that these cannot be rules".into()
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "`*name` stands inside of what `&name` marks, and would go on for ever".into()
        }
        Error::UnknownAnchor { .. } => {
            "`*name` stands for what `&name` marks, and nothing is marked so; a text that begins with `*` stands in quotes"
                .into()
        }
        Error::MergeValueNotMapOrSeqOfMaps { .. } => "`<<` adds a section, as in `<<: *name`".into(),
        Error::UnsupportedTag { .. }
        | Error::InvalidBinaryBase64 { .. }
        | Error::BinaryNotUtf8 { .. }
        | Error::TaggedScalarCannotDeserializeIntoString { .. }
        | Error::UnsupportedIncludeForm { .. }
        | Error::InvalidScalar { .. } => {
            "`!name` says what type a value has, and here there is no such type; a text that begins with `!` stands in \
             quotes"
                .into()
        }
        Error::SerdeUnknownField { field, expected, .. } => {
            let known: Vec<String> = expected.iter().map(|key| format!("`{key}`")).collect();
            format!("there is no key `{field}` here; there are {}", known.join(", "))
        }
        Error::SerdeMissingField { field, .. } => format!("`{field}` is missing"),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{key}` stands twice"),
        Error::DuplicateMappingKey { .. } => "a key stands twice".into(),
        Error::Unexpected { expected, .. } => match *expected {
            "mapping start" => "a section is expected here, of lines `key: value`".into(),
            "sequence start" => "a list is expected here".into(),
            _ => "a text is expected here; one that begins with `{` or `[` stands in quotes".into(),
        },
        Error::NullIntoString { .. } => "a text is expected here, and there is nothing".into(),
        Error::SerdeInvalidType { .. } | Error::SerdeInvalidValue { .. } => {
            "a text or a list of texts is expected here; a text that begins with `{` stands in quotes".into()
        }
        other => {
            let said = said(other);
            format!("this is not YAML: {said}{}", remedy(&said))
        }
    }
}

/// Describes the limit that a text exceeds.
const fn beyond(breach: &BudgetBreach) -> &'static str {
    match breach {
        BudgetBreach::Depth { .. } => "sections and lists lie too deep in each other for rules",
        _ => "there is too much text for rules; does `*name` stand for too much?",
    }
}

/// Returns the library's own message, without the place at its end, which the caller has.
fn said(error: &Error) -> String {
    let said = error.render_with_formatter(&UserMessageFormatter);
    let end = [" at line ", " (defined at line "]
        .into_iter()
        .filter_map(|place| said.find(place))
        .min();
    said.get(..end.unwrap_or(said.len())).unwrap_or(&said).to_owned()
}

/// Returns a remedy for the usual mistakes.
fn remedy(said: &str) -> &'static str {
    let is_about = |words: &str| said.contains(words);
    if is_about("tab") {
        "; lines are indented by spaces, never by tabs"
    } else if is_about("escape character") || is_about("hexadecimal") {
        "; between \"double quotes\" `\\` is written `\\\\`, and between 'single quotes' as it is"
    } else if is_about("mapping values are not allowed") || is_about("simple key expected") {
        "; is a line before it indented wrongly or without its `: `? A text with `: ` in it stands in quotes"
    } else if is_about("unexpected character") {
        "; a text that begins with it stands in quotes"
    } else if is_about("recursion limit") {
        "; sections and lists lie too deep in each other"
    } else if is_about("quoted scalar") {
        "; is a quote not closed?"
    } else if is_about("bracket") || is_about("':' indicator") {
        "; is a bracket not closed? A text that begins with one stands in quotes"
    } else if is_about("expected <document start>") {
        "; behind `%YAML` comes a line `---`"
    } else if is_about("expected key") || is_about("indentation") {
        "; keys of one section begin in one column. A text that begins with `{` or `[` stands in quotes"
    } else {
        ""
    }
}
