//! Formats of passwords that a host restricts.

use crate::scene::Scene;
use registry_auth_htpasswd::Kind;

const PASSWORD: &str = "größe:72";

/// Hashes of the password, by other implementations.
const HASHES: &[(Kind, &str)] = &[
    (
        Kind::Bcrypt,
        "$2y$04$abcdefghijklmnopqrstueFIwWVaWcpyebkmk24JJ2g7mt587ZBHW",
    ),
    (
        Kind::Sha512Crypt,
        "$6$rounds=1234$salt$Q7JH2ZkJI/B7AjWSr23CFLcoZOXL5hmZ0Yy6.bYnZf/Qr3wii8x6GUgbZN4kT1m7XxgYGotvTBp7sNhUcQmYL/",
    ),
    (
        Kind::Sha256Crypt,
        "$5$s$sGxA095wcLgQ9JcM9BDE6CFk.HTsGr9Feo/vjK2BWH2",
    ),
    (Kind::Apr1, "$apr1$abc$1HIID6dRDE3JjjvFeprjb."),
    (Kind::SaltedSha1, "{SSHA}XHD5pUHIz64wTrZVq/8v1moicAYRQkiJ"),
    (Kind::Sha1, "{SHA}K1b9ObWiwy0g+BZ9XPU5EJjI5Ho="),
    #[cfg(feature = "legacy")]
    (Kind::Md5Crypt, "$1$saltsalt$NiVWJzpFhCksTXnkuUcOc1"),
    #[cfg(feature = "legacy")]
    (Kind::DesCrypt, "abwakzfh/h4Yk"),
];

/// Returns a file with a user of each format, who is named by its key.
fn file() -> String {
    let line = |(kind, hash): &(Kind, &str)| format!("{}:{hash}\n", kind.key());
    HASHES.iter().map(line).collect()
}

#[tokio::test(start_paused = true)]
async fn without_a_restriction_users_of_every_format_log_in() {
    let scene = Scene::with(&file(), |builder| builder);

    for (kind, _) in HASHES {
        assert_eq!(scene.login(kind.key(), PASSWORD).await, 200, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_single_format_lets_in_its_user_and_no_other() {
    for &(accepted, _) in HASHES {
        let scene = Scene::with(&file(), |builder| builder.formats([accepted]));

        for (kind, _) in HASHES {
            let expected = if *kind == accepted { 200 } else { 401 };
            assert_eq!(
                scene.login(kind.key(), PASSWORD).await,
                expected,
                "{kind} for {accepted}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_restriction_holds_for_a_file_that_was_read_again() {
    let scene = Scene::with("# nobody yet\n", |builder| {
        builder.formats([Kind::Bcrypt, Kind::Apr1])
    });
    std::fs::write(&scene.path, file()).unwrap();
    scene.settle().await;

    assert_eq!(scene.users.users(), 2);
    assert_eq!(scene.login("apr1", PASSWORD).await, 200);
    assert_eq!(scene.login("sha", PASSWORD).await, 401);
    let log = scene.log.take().join("\n");
    assert!(
        log.contains("SHA-1 without a salt ({SHA}), which is not an accepted format"),
        "{log}"
    );
    assert!(
        log.contains("weak password formats: apr1 (Apache's MD5 ($apr1$));"),
        "{log}"
    );
}
