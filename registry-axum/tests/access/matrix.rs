//! Every endpoint for every user.

use super::world::*;

/// Statuses of the answers to each of [`USERS`] in `team/app`, for each of [`every_request`].
const EXPECTED: [(&str, [u16; 5]); 27] = [
    //                                 anonymous, stranger, puller, pusher, owner
    ("GET tags", [401, 403, 200, 200, 200]),
    ("HEAD tags", [401, 403, 200, 200, 200]),
    ("GET tags, a page", [401, 403, 200, 200, 200]),
    ("GET referrers", [401, 403, 200, 200, 200]),
    ("GET blob", [401, 403, 200, 200, 200]),
    ("HEAD blob", [401, 403, 200, 200, 200]),
    ("GET manifest by tag", [401, 403, 200, 200, 200]),
    ("HEAD manifest by tag", [401, 403, 200, 200, 200]),
    ("GET manifest by digest", [401, 403, 200, 200, 200]),
    ("HEAD manifest by digest", [401, 403, 200, 200, 200]),
    ("POST, a session", [401, 403, 403, 202, 202]),
    ("POST, a whole blob", [401, 403, 403, 201, 201]),
    ("POST, mount from where all may pull", [401, 403, 403, 201, 201]),
    ("POST, mount from what is hidden", [401, 403, 403, 202, 201]),
    ("POST, mount from anywhere", [401, 403, 403, 202, 201]),
    ("GET session", [401, 403, 403, 204, 204]),
    ("PATCH session", [401, 403, 403, 202, 202]),
    ("PUT session", [401, 403, 403, 201, 201]),
    ("DELETE session", [401, 403, 403, 204, 204]),
    ("PUT the same manifest", [401, 403, 403, 201, 201]),
    ("PUT a new tag", [401, 403, 403, 201, 201]),
    ("PUT a tag that exists", [401, 403, 403, 403, 201]),
    ("PUT by digest", [401, 403, 403, 201, 201]),
    ("PUT by digest, with a tag that exists", [401, 403, 403, 403, 201]),
    ("DELETE tag", [401, 403, 403, 403, 202]),
    ("DELETE manifest", [401, 403, 403, 403, 202]),
    ("DELETE blob", [401, 403, 403, 403, 202]),
];

#[tokio::test]
async fn everybody_is_answered_as_the_rules_say() {
    let requests = every_request("team/app");
    assert_eq!(requests.len(), EXPECTED.len());
    for ((line, body), (what, expected)) in requests.into_iter().zip(EXPECTED) {
        for (user, status) in USERS.into_iter().zip(expected) {
            let world = World::filled().await;
            let before = world.content().await;
            let line = line.replace("SESSION", &world.session("team/app"));

            let answer = world.send(user, &line, &body).await;

            assert_eq!(answer.status, status, "{what} by {user}: {answer:?}");
            let challenged = answer.header("www-authenticate").is_some();
            assert_eq!(challenged, status == 401, "{what} by {user}: {answer:?}");
            let code = match status {
                401 => "UNAUTHORIZED",
                403 => "DENIED",
                _ => continue,
            };
            assert!(
                line.starts_with("HEAD ") || answer.text().contains(code),
                "{what} by {user}: {answer:?}"
            );
            // A manifest that may be pushed is in before its tag turns out not to be free.
            if !what.contains("a tag that exists") || user != "pusher" {
                assert_eq!(
                    world.content().await,
                    before,
                    "{what} by {user} has changed something"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_tag_that_may_not_be_moved_is_not_moved() {
    let world = World::filled().await;
    for target in ["v1".to_owned(), format!("{}?tag=v1", manifest_digest("second"))] {
        let line = format!("PUT /v2/team/app/manifests/{target}");
        assert_eq!(world.send("pusher", &line, &manifest("second")).await.status, 403);
        let tagged = world.send("puller", "GET /v2/team/app/manifests/v1", "").await;
        assert_eq!(tagged.text(), manifest("first"));
    }
}

#[tokio::test]
async fn a_mount_that_may_not_be_is_no_mount() {
    let world = World::filled().await;
    for source in ["&from=secret/app", ""] {
        let line = format!("POST /v2/team/app/blobs/uploads/?mount={}{source}", secret_blob());
        assert_eq!(world.send("pusher", &line, "").await.status, 202);
        let blob = format!("GET /v2/team/app/blobs/{}", secret_blob());
        assert_eq!(world.send("pusher", &blob, "").await.status, 404);
    }
}

#[tokio::test]
async fn the_base_asks_for_a_login_and_nothing_else() {
    let world = World::filled().await;
    for (user, status) in USERS.into_iter().zip([401, 200, 200, 200, 200]) {
        assert_eq!(world.send(user, "GET /v2/", "").await.status, status, "{user}");
    }
}

#[tokio::test]
async fn the_catalog_shows_each_what_they_may_pull() {
    let world = World::filled().await;
    for (user, expected) in USERS.into_iter().zip([
        &["public/app"][..],
        &["public/app"],
        &["public/app", "team/app"],
        &["public/app", "team/app"],
        &["public/app", "secret/app", "team/app"],
    ]) {
        // In pages of one, too: no link and no gap tells of what is hidden.
        let mut line = "GET /v2/_catalog?n=1".to_owned();
        let mut seen = Vec::new();
        loop {
            let page = world.send(user, &line, "").await;
            let listed: serde_json::Value = serde_json::from_slice(&page.body).unwrap();
            let names = listed["repositories"].as_array().unwrap();
            assert_eq!(names.len(), 1, "{user}");
            seen.push(names[0].as_str().unwrap().to_owned());
            let Some(link) = page.header("link") else { break };
            let (next, _) = link.trim_start_matches('<').split_once('>').unwrap();
            line = format!("GET {next}");
        }
        assert_eq!(seen, expected, "{user}");
        let whole = world.send(user, "GET /v2/_catalog", "").await;
        assert_eq!(
            whole.text(),
            serde_json::json!({"repositories": expected}).to_string()
        );
    }
}
