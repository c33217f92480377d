//! Guides for programs that embed an OCI / Docker container registry.
//!
//! The crate contains no code. Each page is a guide for one task, and opens with its result. The examples are compiled,
//! and run where they end by themselves.
//!
//! | you want to | page |
//! |---|---|
//! | serve images from an axum service | [`in_axum`] |
//! | serve images from hyper, without a framework | [`in_hyper`] |
//! | put the registry behind layers of tower | [`in_tower`] |
//! | accept your own users, tokens and sessions | [`own_users`] |
//! | keep images in a storage of your own | [`own_storage`] |
//! | refuse pushes, bound and bill what teams store | [`hooks`] |
//! | know what your service has to drive | [`duties`] |
//! | replace the registry container of your tests | [`in_tests`] |
//! | come from `container-registry` or `ferro-oci-server` | [`coming_from`] |
//!
//! # Why this is a crate
//!
//! The guides are versioned and tested with the libraries. They need axum, hyper and most of the libraries at once. The
//! libraries must not depend on each other like that, not even for tests: there would be no order in which to publish them.
//! So the guides are in a crate of their own, on which no crate depends.

pub mod coming_from;
pub mod duties;
pub mod hooks;
pub mod in_axum;
pub mod in_hyper;
pub mod in_tests;
pub mod in_tower;
pub mod own_storage;
pub mod own_users;
