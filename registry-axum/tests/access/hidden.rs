//! A hidden repository is indistinguishable from one that does not exist, by the whole answer.

use super::world::*;
use registry_auth_rules::{Rule, Rules, Who};
use registry_core::{Registry, storage::MemoryStorage};

/// Returns every user for whom `secret/**` is hidden.
fn others() -> impl Iterator<Item = &'static str> {
    USERS.into_iter().filter(|user| *user != "owner")
}

#[tokio::test]
async fn a_hidden_repository_is_answered_like_one_that_is_not_there() {
    let world = World::filled().await;
    let (before, session) = (world.content().await, world.session("secret/app"));
    let exists = every_request("secret/app").into_iter();
    for ((hidden, body), (absent, _)) in exists.zip(every_request("secret/not")) {
        let [hidden, absent] = [hidden, absent].map(|line| line.replace("SESSION", &session));
        for user in others() {
            let hidden = world.send(user, &hidden, &body).await;
            let absent = world.send(user, &absent, &body).await;
            assert_eq!(
                hidden.clone().renamed("secret/app", "secret/not"),
                absent,
                "{user}"
            );
            assert!(
                hidden.status == 404 || hidden.text().contains("\"manifests\":[]"),
                "{user}: {hidden:?}"
            );
        }
    }
    assert_eq!(world.content().await, before);
}

#[tokio::test]
async fn a_hidden_repository_is_answered_like_an_absent_one_that_is_not_hidden() {
    let world = World::filled().await;
    // Where everybody may do everything, and there is nothing.
    let everything = Rule::allow(Rule::ALL, [Who::Everyone], ["**"]).unwrap();
    let open = Registry::builder(MemoryStorage::new()).authenticator(ByName);
    let open = World::serving(open.authorizer(Rules::builder().rule(everything).build()).build()).await;
    for (line, body) in every_request("secret/app") {
        let line = line.replace("SESSION", &world.session("secret/app"));
        let hidden = world.send("stranger", &line, &body).await;
        // What would make the repository has no answer for its absence: there is no such name to add to.
        if line.starts_with("POST ") || line.starts_with("PUT /v2/secret/app/manifests/") {
            assert_eq!(hidden.status, 404, "{line}");
            assert!(hidden.text().contains("NAME_UNKNOWN"), "{line}: {hidden:?}");
            continue;
        }
        assert_eq!(hidden, open.send("stranger", &line, &body).await, "{line}");
    }
}

#[tokio::test]
async fn a_hidden_source_of_a_mount_is_answered_like_one_that_is_not_there() {
    let world = World::filled().await;
    let mount = async |source: &str| {
        let line = format!("POST /v2/team/app/blobs/uploads/?mount={}{source}", secret_blob());
        let answer = world.send("pusher", &line, "").await;
        let session = answer.header("docker-upload-uuid").unwrap().to_owned();
        answer.renamed(&session, "SESSION")
    };
    let absent = mount("&from=team/none").await;
    assert_eq!(mount("&from=secret/app").await, absent);
    assert_eq!(mount("&from=secret/not").await, absent);
    assert_eq!(mount("").await, absent);
}

#[tokio::test]
async fn a_session_of_a_hidden_repository_is_no_session_elsewhere() {
    let world = World::filled().await;
    let (before, secret) = (world.content().await, world.session("secret/app"));
    let unknown = "00000000-0000-4000-8000-00000000000f";
    for (line, body) in every_request("team/app") {
        if !line.contains("SESSION") {
            continue;
        }
        let [taken, absent] = [&*secret, unknown].map(|session| line.replace("SESSION", session));
        let taken = world.send("pusher", &taken, &body).await;
        assert_eq!(taken.status, 404, "{line}");
        assert_eq!(taken, world.send("pusher", &absent, &body).await, "{line}");
    }
    assert_eq!(world.content().await, before);
}

#[tokio::test]
async fn nothing_that_others_are_told_names_what_is_hidden() {
    let world = World::filled().await;
    for (line, body) in every_request("team/app") {
        let line = line.replace("SESSION", &world.session("team/app"));
        for user in others() {
            let answer = world.send(user, &line, &body).await;
            let said = format!("{:?} {}", answer.headers, answer.text());
            assert!(!said.contains("secret/"), "{user} {line}: {said}");
        }
    }
}
