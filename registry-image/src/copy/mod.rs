//! [`ImageCopy`]: moves images from any source to any target.

mod base;
mod blobs;
mod event;
mod options;
mod referrers;
mod report;
mod run;

pub use self::{
    event::Event,
    options::{CopyItem, ImageCopy},
    report::{Copied, NotCopied, Report},
};

pub(crate) use self::options::Options;
