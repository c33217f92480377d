//! Tags: where they point, and how they move.
