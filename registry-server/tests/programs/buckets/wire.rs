//! The wire suite of `registry-conformance` at a server on a bucket of each store: every case passes.

use std::{
    io,
    sync::{Arc, Mutex},
};

use libtest_mimic::Trial;
use object_stores::{S3Server, SeaweedFs, Versitygw};
use registry_conformance::wire::{self, Case, Options};

use crate::server::Server;

pub(super) fn trials() -> Vec<Trial> {
    let weed = on(SeaweedFs::PROGRAM, SeaweedFs::start);
    let versitygw = on(Versitygw::PROGRAM, Versitygw::start);
    weed.into_iter().chain(versitygw).collect()
}

/// Returns the tests of all cases at one server. It starts with the first of them, and ends with the last.
fn on(store: &'static str, start: fn() -> io::Result<S3Server>) -> Vec<Trial> {
    let shared = Arc::new(Mutex::new(None));
    let trial = |case: &'static Case| {
        let (name, shared) = (
            format!("{}::{store}::{}", module_path!(), case.name()),
            Arc::clone(&shared),
        );
        crate::trial(&name, &[store], move || {
            let address = shared
                .lock()
                .expect("no other test failed at starting the server")
                .get_or_insert_with(|| Server::ours_on(start().unwrap(), &[]))
                .address();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let outcome = runtime.block_on(case.run(&format!("http://{address}"), &Options::default()));
            outcome.unwrap_or_else(|failure| panic!("{failure}"));
        })
    };
    wire::cases().iter().map(trial).collect()
}
