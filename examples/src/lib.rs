//! Small examples, one idea per file: `cargo run -p registry-examples --example embed`. The crate `registry-guide` has
//! guides, one task per page.
