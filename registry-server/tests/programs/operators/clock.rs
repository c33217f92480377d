//! A wall clock that is set wrong by ten years, on a server that does everything that depends on ages.
//!
//! A library that is preloaded shifts the clocks of the server. Its monotonic clock goes ahead step by step, so that all
//! schedules of some days are due in a few seconds. The time since the boot stays right.

use std::{
    cell::Cell,
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use libtest_mimic::Trial;

use super::{Desk, Pushed, collect::Shop};
use crate::{
    image::{noise, sha256},
    program::argument,
    retention::note_the_time,
    server::{OCTETS, Server, closing},
};

pub(super) fn trials() -> Vec<Trial> {
    trials!(["cc"];
        nothing_alive_is_touched_while_the_clock_is_ten_years_ahead,
        nothing_alive_is_touched_while_the_clock_is_ten_years_behind,
    )
}

const TEN_YEARS: i64 = 10 * 365 * 24 * 60 * 60;
/// Step of the monotonic clock: schedules wait for a few minutes at a time.
const STEP: i64 = 10 * 60;
/// Time for all schedules; only a broken one comes near.
const PATIENCE: Duration = Duration::from_secs(120);

/// One rule counts tags, and the other measures ages.
const RULES: &str = "rules:
- {repository: '**', tags: 'release-*', keep: {newest: 2}}
- {repository: '**', tags: 'build-*', keep: {younger: 1h}}
";

/// The clocks of a server.
struct Clocks {
    offsets: PathBuf,
    shim: PathBuf,
    wall: Cell<i64>,
    monotonic: Cell<i64>,
}

impl Clocks {
    fn right(desk: &Desk) -> Self {
        let (source, shim) = (desk.bench.path("clock.c"), desk.bench.path("clock.so"));
        fs::write(&source, include_str!("clock.c")).unwrap();
        let arguments = ["-shared", "-fPIC", "-o", argument(&shim), argument(&source)];
        desk.bench.run("cc", &arguments);
        let clocks = Self {
            offsets: desk.bench.path("offsets"),
            shim,
            wall: Cell::new(0),
            monotonic: Cell::new(0),
        };
        clocks.write();
        clocks
    }

    fn write(&self) {
        let written = self.offsets.with_extension("new");
        fs::write(
            &written,
            format!("{}\n{}\n", self.wall.get(), self.monotonic.get()),
        )
        .unwrap();
        fs::rename(written, &self.offsets).unwrap();
    }

    fn set_wall(&self, seconds: i64) {
        self.wall.set(seconds);
        self.write();
    }

    /// Lets time pass, except for the wall clock and the time since the boot, until the server has said all of this.
    #[track_caller]
    fn advance_until(&self, server: &Server, said: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        while let Some(missing) = said.iter().find(|what| !server.has_said(what)) {
            assert!(
                Instant::now() < deadline,
                "the server does not say {missing:?}, only {}",
                server
                    .said()
                    .lines()
                    .filter(|line| !line.contains("/v2/"))
                    .collect::<Vec<_>>()
                    .join("\n")
            );
            self.monotonic.set(self.monotonic.get() + STEP);
            self.write();
            // It wakes the server, which looks at its clock.
            server.get("/v2/");
        }
    }
}

/// Returns the command of a server that does everything, with these clocks.
fn with_everything(desk: &Desk, clocks: &Clocks) -> Command {
    let rules = desk.bench.path("rules.yml");
    fs::write(&rules, RULES).unwrap();
    let mut command = Server::ours_command(&desk.root());
    command
        .env("LD_PRELOAD", &clocks.shim)
        .env("CLOCK_OFFSETS", &clocks.offsets)
        .env("REGISTRY_STORAGE_MAINTENANCE_COLLECT_GRACE", "0s")
        .env("REGISTRY_STORAGE_MAINTENANCE_TRASH_KEEP", "1h")
        .env("REGISTRY_STORAGE_MAINTENANCE_RETENTION_RULES", rules)
        .env("REGISTRY_STORAGE_MAINTENANCE_RETENTION_INTERVAL", "1h")
        .env("REGISTRY_STORAGE_MAINTENANCE_VERIFY_INTERVAL", "1h")
        .env("REGISTRY_STORAGE_MAINTENANCE_VERIFY_WINDOW", "03:00-02:59")
        .env("REGISTRY_LOG_LEVEL", "debug");
    command
}

fn nothing_alive_is_touched_while_the_clock_is_ten_years_ahead() {
    set_the_clock(TEN_YEARS);
}

fn nothing_alive_is_touched_while_the_clock_is_ten_years_behind() {
    set_the_clock(-TEN_YEARS);
}

fn set_the_clock(wrong: i64) {
    let desk = Desk::new();
    note_the_time(&desk.root());
    let clocks = Clocks::right(&desk);
    let server = Server::start(with_everything(&desk, &clocks), "http://");
    let mut shop = Shop::with(desk, server);
    for (tag, seed) in [
        ("release-1", 31),
        ("release-2", 32),
        ("build-1", 33),
        ("build-2", 34),
    ] {
        Pushed::to(&shop.server, "team/app", tag, seed);
        shop.kept.push(tag.to_owned());
    }
    let deleted = format!("/v2/team/app/manifests/{}", shop.old.digest);
    shop.server
        .request("DELETE", &deleted, &[], b"")
        .expect_status(202);
    let layer = noise(35, 5000);
    let (first, second) = layer.split_at(2000);
    let session = shop.server.open_upload("team/app");
    let begun = shop.server.request("PATCH", &session, &[OCTETS], first);
    let session = begun.expect_status(202).location();
    shop.server.says("the rules of retention are new or changed");
    let before = shop.content();

    clocks.set_wall(wrong);
    let due = [
        "no upload session ends and no record of a deletion expires because of its age",
        "rules of retention drop no tag because of its age",
        "the rules of retention were applied",
        "everything stored was verified",
    ];
    clocks.advance_until(&shop.server, &due);
    commands(&shop.desk);
    assert!(shop.content() == before, "what stays is as it was");

    let closing = closing(&session, &sha256(&layer).to_string());
    let closed = shop.server.request("PUT", &closing, &[OCTETS], second);
    closed.expect_status(201);

    // The machine starts again with the wrong clock.
    shop.server.stop();
    shop.server = Server::start(with_everything(&shop.desk, &clocks), "http://");
    clocks.advance_until(
        &shop.server,
        &["the rules of retention were applied", "a collection has "],
    );
    commands(&shop.desk);
    assert!(shop.content() == before, "what stays is as it was");

    // The record of the deletion is still there.
    shop.desk
        .run(&["restore", &format!("team/app@{}", shop.old.digest)]);
    shop.server.get("/v2/team/app/manifests/old");
    clocks.set_wall(0);
    shop.server.stop();
    shop.desk.run(&["verify"]);
}

/// Runs what removes something by itself, beside the server.
fn commands(desk: &Desk) {
    let rules = desk.bench.path("rules.yml");
    run(
        desk,
        &["retention", "run", "--force", "--rules", argument(&rules)],
    );
    run(desk, &["garbage-collect", "--keep-trash"]);
    run(desk, &["verify", "--repair"]);
}

/// Runs a command once no collection of the server runs.
fn run(desk: &Desk, arguments: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(failed) = desk.attempt(arguments) {
        let is_busy = failed.contains("another collection is running");
        assert!(is_busy && Instant::now() < deadline, "{arguments:?}: {failed}");
    }
}
