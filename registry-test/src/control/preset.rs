//! The presets by their names.

use super::fields::{BadField, Fields};
use crate::fault::{Rule, preset};

type Make = fn() -> Vec<Rule>;

/// Each preset, by the name of its function.
const PRESETS: [(&str, Make); 7] = [
    (
        "without_content_digest",
        || vec![preset::without_content_digest()],
    ),
    ("manifests_without_content_type", || {
        vec![preset::manifests_without_content_type()]
    }),
    ("chunks_without_range", || vec![preset::chunks_without_range()]),
    ("chunks_with_a_range_unit", || {
        vec![preset::chunks_with_a_range_unit()]
    }),
    ("heads_without_content_length", || {
        vec![preset::heads_without_content_length()]
    }),
    ("without_optional_headers", preset::without_optional_headers),
    ("bodies_in_chunks", || vec![preset::bodies_in_chunks()]),
];

/// Reads the rules of the preset that an object names.
pub(super) fn read(mut fields: Fields) -> Result<Vec<Rule>, BadField> {
    fields.only(&["preset"])?;
    let name = fields.text("preset")?.unwrap_or_default();
    let found = PRESETS.iter().find(|(known, _)| *known == name);
    found.map(|(_, make)| make()).ok_or_else(|| {
        let known = PRESETS.map(|(name, _)| name).join(", ");
        BadField::in_field("preset", &format!("must be one of {known}"))
    })
}
