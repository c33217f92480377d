//! `registry du`.

use libtest_mimic::Trial;
use serde_json::json;

use super::{Desk, Pushed};
use crate::image::{noise, sha256};

pub(super) fn trials() -> Vec<Trial> {
    trials!([]; shared_bytes_count_once)
}

fn shared_bytes_count_once() {
    let desk = Desk::new();
    let server = desk.serve();
    // The same image in two repositories, another one in one of them, and a blob that no manifest names.
    let shared = Pushed::to(&server, "team/a", "v1", 1).size;
    Pushed::to(&server, "team/b", "v1", 1);
    let own = Pushed::to(&server, "team/b", "v2", 2).size;
    let orphan = noise(3, 1000);
    server.push_blob("team/a", &sha256(&orphan).to_string(), &orphan);

    let used = desk.items(&["du"]);

    assert_eq!(
        used,
        [
            json!({"repository": "team/a", "charged": shared, "physical": orphan.len()}),
            json!({"repository": "team/b", "charged": shared + own, "physical": own}),
            json!({"repository": null, "charged": shared + own, "physical": shared + own + orphan.len()}),
        ]
    );
    let one = desk.run(&["du", "team/a"]);
    assert_eq!(one.text(), format!("{shared}\t{}\tteam/a", orphan.len()));
    let none = desk.attempt(&["du", "team/none"]).unwrap_err();
    assert!(none.contains("there is no repository"), "{none}");
}
