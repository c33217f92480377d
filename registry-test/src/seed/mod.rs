//! Content that a test puts into a registry before its clients come: images, indexes and artifacts.
//!
//! A seed is described, not stored. Equal seeds have equal digests, on every platform and in every version of this
//! crate: layers have no times, users or modes of the machine, and documents are written in a fixed order.
//!
//! ```
//! use registry_test::{artifact, image, index};
//!
//! let app = index([
//!     image().files([("etc/motd", "hello\n")]).platform("linux/amd64"),
//!     image().files([("etc/motd", "hello\n")]).platform("linux/arm64/v8"),
//! ]);
//! let signature = artifact("application/vnd.example.signature").file("a.sig", [1, 2, 3]).subject("app:v1");
//! ```

mod artifact;
mod document;
mod error;
mod gzip;
mod image;
mod index;
#[cfg_attr(
    not(any(test, feature = "serve")),
    expect(dead_code, reason = "the control API is its only user")
)]
pub(crate) mod json;
mod layer;
mod layout;
mod name;
mod parts;
mod plant;
mod subject;

pub use self::{
    artifact::{Artifact, artifact},
    image::{Image, image},
    index::{Index, Seed, index},
    subject::Subject,
};

pub(crate) use self::{
    error::SeedError,
    layout::Layout,
    plant::{plant, plant_layout},
};

#[cfg(test)]
mod tests;
