//! Conversion of images: another compression of the layers, another family of media types.
//!
//! [`Converted`] is a source whose images are converted on the way. Digests of an image depend on those of its layers, so
//! an image is converted whole before anything of it is copied. Layers are kept in unnamed files meanwhile.

mod document;
mod image;
mod index;
mod layers;
mod media;
mod overlay;
mod recompress;

pub use self::media::{Compression, Format};

pub(crate) use self::overlay::Converted;
