//! Small examples, one idea per file: `cargo run -p registry-examples --example embed`.
