//! Builders of images, indexes and artifacts. The same calls make the same bytes, on all platforms.
//!
//! Everything built is in memory, and a [`Source`](crate::Source): a [`ImageCopy`](crate::ImageCopy) puts it into a registry or a
//! layout.

mod artifact;
mod built;
mod image;
mod index;
mod layer;

pub use self::{
    artifact::ArtifactBuilder,
    built::Built,
    image::ImageBuilder,
    index::IndexBuilder,
    layer::{InvalidPath, Layer, LayerBuilder},
};
