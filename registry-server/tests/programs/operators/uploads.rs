//! `registry uploads`.

use libtest_mimic::Trial;

use super::Desk;
use crate::server::OCTETS;

pub(super) fn trials() -> Vec<Trial> {
    trials!([]; sessions_are_listed_and_ended)
}

fn sessions_are_listed_and_ended() {
    let desk = Desk::new();
    let server = desk.serve();
    let session = server.open_upload("team/app");
    let session = server
        .request("PATCH", &session, &[OCTETS], b"12345")
        .expect_status(202)
        .location();

    let listed = desk.items(&["uploads"]);

    let [item] = &listed[..] else {
        panic!("{listed:?}");
    };
    assert_eq!(
        (&item["repository"], &item["bytes"]),
        (&"team/app".into(), &5.into())
    );
    assert_eq!(item["uploader"], "network:127.0.0.1");
    let id = item["id"].as_str().unwrap();

    let ended = desk.run(&["uploads", "--end", id]);

    assert_eq!(ended.text(), format!("ended {id} in team/app: 5 B dropped"));
    server.request("GET", &session, &[], b"").expect_status(404);
    assert_eq!(desk.run(&["uploads"]).text(), "");
    let again = desk.attempt(&["uploads", "--end", id]).unwrap_err();
    assert!(again.contains("there is no upload session"), "{again}");

    // Without a server, too.
    server.open_upload("team/app");
    server.stop();
    let listed = desk.items(&["uploads"]);
    desk.run(&["uploads", "--end", listed[0]["id"].as_str().unwrap()]);
    assert_eq!(desk.run(&["uploads"]).text(), "");
}
