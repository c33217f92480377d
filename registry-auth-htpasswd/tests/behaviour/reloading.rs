//! A file that changes while it is in use.

use crate::scene::{Scene, lines};
use std::{fs, os::unix::fs::symlink, process::Command, time::Duration};

#[tokio::test(start_paused = true)]
async fn a_file_rewritten_in_place_is_read_when_it_has_stopped_changing() {
    let scene = Scene::new(&[("alice", "right")]);
    let text = lines(&[("alice", "right"), ("bob", "right")]);
    let (half, _) = text.split_at(text.len() - 20);

    fs::write(&scene.path, half).unwrap();
    scene.users.check_now().await;
    assert_eq!(scene.users.users(), 1);
    fs::write(&scene.path, &text).unwrap();
    scene.settle().await;

    assert_eq!(scene.users.users(), 2);
    assert_eq!(scene.login("bob", "right").await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_file_replaced_by_a_rename_is_read() {
    let scene = Scene::new(&[("alice", "right")]);
    let new = scene.path.with_extension("new");
    fs::write(&new, lines(&[("bob", "right")])).unwrap();

    fs::rename(&new, &scene.path).unwrap();
    scene.settle().await;

    assert_eq!(scene.login("bob", "right").await, 200);
    assert_eq!(scene.login("alice", "right").await, 401);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_turns_is_followed_as_kubernetes_mounts_need_it() {
    let scene = Scene::new(&[("nobody", "here")]);
    let mount = scene.path.with_extension("mount");
    for (version, user) in [("..1", "alice"), ("..2", "bob")] {
        fs::create_dir_all(mount.join(version)).unwrap();
        fs::write(mount.join(version).join("users"), lines(&[(user, "right")])).unwrap();
    }
    symlink("..1", mount.join("..data")).unwrap();
    fs::remove_file(&scene.path).unwrap();
    symlink(mount.join("..data/users"), &scene.path).unwrap();
    scene.settle().await;
    assert_eq!(scene.login("alice", "right").await, 200);

    symlink("..2", mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    scene.settle().await;

    assert_eq!(scene.login("bob", "right").await, 200);
    assert_eq!(scene.login("alice", "right").await, 401);
}

#[tokio::test(start_paused = true)]
async fn requests_find_a_change_by_themselves() {
    let scene = Scene::new(&[("alice", "right")]);
    assert_eq!(scene.login("alice", "right").await, 200);
    fs::write(&scene.path, lines(&[("bob", "right")])).unwrap();

    for _ in 0..2 {
        tokio::time::advance(Duration::from_secs(1)).await;
        scene.login("somebody", "else").await;
    }

    assert_eq!(scene.login("bob", "right").await, 200);
    assert_eq!(scene.login("alice", "right").await, 401);
}

#[tokio::test(start_paused = true)]
async fn a_password_is_forgotten_with_its_line_and_with_no_other() {
    let alice = lines(&[("alice", "right")]);
    let scene = Scene::with(&(alice.clone() + &lines(&[("bob", "old")])), |builder| builder);
    assert_eq!(scene.login("alice", "right").await, 200);
    assert_eq!(scene.login("bob", "old").await, 200);

    fs::write(
        &scene.path,
        format!("# changed\n{}{alice}", lines(&[("bob", "new")])),
    )
    .unwrap();
    scene.settle().await;

    assert_eq!(scene.login("alice", "right").await, 200);
    assert_eq!(scene.hashed(), 2);
    assert_eq!(scene.login("bob", "old").await, 401);
    assert_eq!(scene.login("bob", "new").await, 200);
    assert_eq!(scene.hashed(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_broken_file_keeps_the_users_and_is_told_of_once() {
    let text = lines(&[("alice", "right")]);
    let scene = Scene::with(&text, |builder| builder);
    fs::write(&scene.path, format!("{text}# half a line:\nbob:$2y$05$abc")).unwrap();

    scene.settle().await;
    scene.settle().await;

    assert_eq!(scene.login("alice", "right").await, 200);
    let path = scene.path.display();
    assert_eq!(
        scene.log.take(),
        [format!(
            "ERROR registry_auth_htpasswd::reload: the htpasswd file {path}, line 3: a damaged hash: it begins as \
             bcrypt ($2y$), but is malformed; the users of the last valid file stay in use users=1"
        )]
    );

    // The text is the same as before, but the file is valid again.
    fs::write(&scene.path, text).unwrap();
    scene.settle().await;

    assert_eq!(
        scene.log.take(),
        [format!(
            "INFO registry_auth_htpasswd::reload: the htpasswd file has changed and was read path={path} users=1"
        )]
    );
}

#[tokio::test(start_paused = true)]
async fn a_file_that_vanishes_keeps_the_users_and_is_told_of_once() {
    let scene = Scene::new(&[("alice", "right")]);
    fs::remove_file(&scene.path).unwrap();

    scene.settle().await;
    scene.settle().await;

    assert_eq!(scene.login("alice", "right").await, 200);
    let log = scene.log.take();
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].starts_with("ERROR registry_auth_htpasswd::reload: there is no htpasswd file"));

    fs::write(&scene.path, lines(&[("bob", "right")])).unwrap();
    scene.settle().await;
    assert_eq!(scene.login("bob", "right").await, 200);
}

#[tokio::test(start_paused = true)]
async fn what_changes_nothing_is_not_told_of() {
    let text = lines(&[("alice", "right")]);
    let scene = Scene::with(&text, |builder| builder);

    scene.settle().await;
    fs::write(&scene.path, format!("# a comment\n{text}")).unwrap();
    scene.settle().await;

    assert_eq!(scene.log.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_named_pipe_in_place_of_the_file_keeps_the_users() {
    let scene = Scene::new(&[("alice", "right")]);
    fs::remove_file(&scene.path).unwrap();
    let made = Command::new("mkfifo").arg(&scene.path).status();
    assert!(made.unwrap().success());

    // Nobody writes to the pipe, so a check that waited for that would hang.
    scene.settle().await;

    assert_eq!(scene.login("alice", "right").await, 200);
    let path = scene.path.display();
    assert_eq!(
        scene.log.take(),
        [format!(
            "ERROR registry_auth_htpasswd::reload: cannot read the htpasswd file {path}: this is not a regular \
             file; the users of the last valid file stay in use users=1"
        )]
    );
}
