//! One line for each failed login, which nobody can forge, and one for each kind of line that needs attention.

use crate::scene::{HOME, Scene, lines};

#[tokio::test(start_paused = true)]
async fn each_failed_login_is_one_line_with_address_and_user() {
    let scene = Scene::new(&[("alice", "right")]);
    scene.login("alice", "right").await;
    scene.login("alice", "top\u{20}secret").await;
    scene.login_from("[::ffff:198.51.100.1]:1", "bob", "right").await;
    scene.login_from("[2001:db8::1]:1", "bob", "right").await;
    scene.ping(None, "Basic !").await;

    assert_eq!(
        scene.log.take(),
        [
            r#"WARN registry_auth_htpasswd::login: login failed client=192.0.2.7 user="alice" reason="wrong password""#,
            r#"WARN registry_auth_htpasswd::login: login failed client=198.51.100.1 user="bob" reason="unknown user""#,
            r#"WARN registry_auth_htpasswd::login: login failed client=2001:db8::1 user="bob" reason="unknown user""#,
            r#"WARN registry_auth_htpasswd::login: login failed client=- user="" reason="malformed credentials""#,
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_cannot_forge_a_line() {
    let scene = Scene::new(&[("alice", "right")]);
    let names = [
        "x\nWARN login failed client=203.0.113.9",
        "\"quoted\" \u{1b}[31m\u{202e}",
        &"x".repeat(900),
    ];
    for name in names {
        assert_eq!(scene.login_from(HOME, name, "wrong").await.status, 401);
    }

    let log = scene.log.take();

    let start = "WARN registry_auth_htpasswd::login: login failed client=192.0.2.7 user=";
    let end = r#" reason="unknown user""#;
    assert_eq!(
        log,
        [
            format!(r#"{start}"x\nWARN login failed client=203.0.113.9"{end}"#),
            format!(r#"{start}"\"quoted\" \u{{1b}}[31m\u{{202e}}"{end}"#),
            format!(r#"{start}"{}"…{end}"#, "x".repeat(64)),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn refused_attempts_do_not_fill_the_log() {
    let scene = Scene::new(&[("alice", "right")]);
    for _ in 0..100 {
        scene.login("alice", "wrong").await;
    }
    assert_eq!(scene.log.take().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn what_costs_nothing_to_refuse_does_not_fill_the_log_either() {
    let scene = Scene::new(&[("alice", "right")]);
    for _ in 0..10 {
        assert_eq!(scene.ping(Some(HOME), "Basic !").await.status, 401);
    }
    for _ in 0..100 {
        let answer = scene.ping(Some(HOME), "Basic !").await;
        assert_eq!((answer.status, answer.retry_after), (429, Some(30)));
    }
    assert_eq!(scene.log.take().len(), 10);
    assert_eq!(scene.login("alice", "right").await, 200);

    let scene = Scene::with("# nobody yet\n", |builder| builder);
    scene.log.take();
    for index in 0..100 {
        scene.login(&format!("user{index}"), "wrong").await;
    }
    assert_eq!(scene.log.take().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn weak_kinds_and_lines_that_let_nobody_in_are_each_one_warning() {
    let sha = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";
    let text = format!(
        "a:{sha}\nb:{sha}\nc:plain text\nd:$y$j9T$x$y\na:{sha}\n{}",
        lines(&[("e", "right")])
    );
    let scene = Scene::with(&text, |builder| builder);

    let log = scene.log.take();

    let path = scene.path.display();
    assert_eq!(
        log,
        [
            format!(
                "WARN registry_auth_htpasswd::reload: weak password formats: a, b (SHA-1 without a salt \
                 ({{SHA}})); most of these passwords can be recovered from the file; set new ones with \
                 `htpasswd -B` path={path} \
                 users=2"
            ),
            format!(
                "WARN registry_auth_htpasswd::reload: users on these lines of the htpasswd file cannot log in: the \
                 user has an earlier line, which counts path={path} lines=5"
            ),
            format!(
                "WARN registry_auth_htpasswd::reload: users on these lines of the htpasswd file cannot log in: not \
                 a hash of a known kind \
                 (plain text is never accepted) path={path} lines=3, 4"
            ),
        ]
    );
    assert_eq!(scene.login("c", "plain text").await, 401);
}

#[tokio::test(start_paused = true)]
async fn strict_lets_in_by_bcrypt_alone() {
    let text = format!(
        "a:{{SHA}}5en6G6MezRroT3XKqkdPOmY/BfQ=\n{}",
        lines(&[("b", "right")])
    );
    let scene = Scene::with(&text, registry_auth_htpasswd::Builder::strict);

    let log = scene.log.take();

    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].contains("cannot log in: SHA-1 without a salt ({SHA}), which is not an accepted format"));
    assert_eq!(scene.users.users(), 1);
    assert_eq!(scene.login("b", "right").await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_file_without_users_lets_nobody_in_and_says_so() {
    let scene = Scene::with("# nobody yet\n", |builder| builder);

    let log = scene.log.take();
    assert!(
        log[0].contains("the htpasswd file has no user who can log in"),
        "{log:?}"
    );
    assert_eq!(scene.login("alice", "").await, 401);
}
