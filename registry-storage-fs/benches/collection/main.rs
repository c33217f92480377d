//! Speed of collections on disk: `cargo bench -p registry-storage-fs --bench collection [-- DIR]`.
//!
//! Measures removals per second without a budget, beside `rm -rf` of an equal tree. Everything happens in a directory below
//! `DIR`, which is `/dev/shm` by default. The ways to remove a tree take turns, and the figures are medians. On a busy
//! machine, the processor time is more reliable than the rate.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a program for developers, which fails by panicking and prints"
)]

mod process;
mod removals;
mod tree;

use registry_core::maintenance::Clock;
use std::{
    env,
    path::Path,
    time::{Duration, SystemTime},
};

struct Host;

#[async_trait::async_trait]
impl Clock for Host {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

fn main() {
    let directory = env::args().skip(1).find(|argument| argument != "--bench");
    removals::compare(Path::new(directory.as_deref().unwrap_or("/dev/shm")));
}

/// Returns the median.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
