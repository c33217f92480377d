//! Histories of tags.
