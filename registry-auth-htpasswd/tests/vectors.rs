//! Hashes that other implementations made, one per kind and its variants.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; the harness reports where"
)]

use registry_auth_htpasswd::{HashError, Kind, MakeError, PasswordHash, Scheme, hash};

const PASSWORD: &[u8] = "größe:72".as_bytes();

#[track_caller]
fn assert_verified(text: &str, kind: Kind, password: &[u8]) {
    let hash = PasswordHash::parse(text).unwrap();
    assert_eq!(hash.kind(), kind, "{text}");
    assert!(hash.verify(password), "{text}");
    let mut wrong = password.to_owned();
    match wrong.first_mut() {
        Some(first) => *first ^= 1,
        None => wrong.push(b'x'),
    }
    assert!(!hash.verify(&wrong), "{text}");
    assert!(!format!("{hash:?}").contains(text));
}

/// Hashes by crypt(3) of libxcrypt 4.4, and the one with a random salt by passlib 1.7.4.
#[test]
fn bcrypt() {
    for text in [
        "$2a$04$abcdefghijklmnopqrstueFIwWVaWcpyebkmk24JJ2g7mt587ZBHW",
        "$2b$04$abcdefghijklmnopqrstueFIwWVaWcpyebkmk24JJ2g7mt587ZBHW",
        "$2y$04$abcdefghijklmnopqrstueFIwWVaWcpyebkmk24JJ2g7mt587ZBHW",
        "$2b$04$zHnh7nLlVHr1E0ryeXZdG.CWgpnEicFv/Rz1ptn75NTbDX.YuHIxO",
        // The first hash again, with a salt whose padding is not 0.
        "$2a$04$abcdefghijklmnopqrstufFIwWVaWcpyebkmk24JJ2g7mt587ZBHW",
    ] {
        assert_verified(text, Kind::Bcrypt, PASSWORD);
    }
}

/// A hash by crypt(3) of libxcrypt 4.4: 80 times x.
#[test]
fn bcrypt_reads_72_bytes() {
    let text = "$2y$04$abcdefghijklmnopqrstue9CGNI96MqIdW.wTILiiDA6TrLpVSRG2";
    assert_verified(text, Kind::Bcrypt, &[b'x'; 80]);
    assert_verified(text, Kind::Bcrypt, &[b'x'; 72]);
    assert!(!PasswordHash::parse(text).unwrap().verify(&[b'x'; 71]));
}

/// Hashes by passlib 1.7.4.
#[test]
fn apr1_and_sha1() {
    assert_verified("$apr1$abc$1HIID6dRDE3JjjvFeprjb.", Kind::Apr1, PASSWORD);
    assert_verified("{SHA}K1b9ObWiwy0g+BZ9XPU5EJjI5Ho=", Kind::Sha1, PASSWORD);
    assert_verified("{SHA}K1b9ObWiwy0g+BZ9XPU5EJjI5Ho", Kind::Sha1, PASSWORD);
    for text in [
        "{SSHA}erATDC8yYHZMw9hQEh9Zu5wtynUuRUjpXau1tg==",
        "{SSHA}XHD5pUHIz64wTrZVq/8v1moicAYRQkiJ",
    ] {
        assert_verified(text, Kind::SaltedSha1, PASSWORD);
    }
}

/// Hashes by crypt(3) of libxcrypt 4.4.
#[test]
fn sha_crypt() {
    for text in [
        "$5$s$sGxA095wcLgQ9JcM9BDE6CFk.HTsGr9Feo/vjK2BWH2",
        "$5$rounds=1000$saltsaltsaltsalt$/SiANeHE9HCazzWTmG8yt95CmnodWuLpn724n4/qfh5",
    ] {
        assert_verified(text, Kind::Sha256Crypt, PASSWORD);
    }
    assert_verified(
        "$6$rounds=1234$salt$Q7JH2ZkJI/B7AjWSr23CFLcoZOXL5hmZ0Yy6.bYnZf/Qr3wii8x6GUgbZN4kT1m7XxgYGotvTBp7sNhUcQmYL/",
        Kind::Sha512Crypt,
        PASSWORD,
    );
    assert_verified(
        "$6$saltstring$MTEOJx1zhJ5109YzqYzCaFk55JWZM1QJeKTBu63saMo0UwwWLpCB56lyhLVgvClgMHXn3tBaHXoSTCac4QqUv0",
        Kind::Sha512Crypt,
        &[b'x'; 100],
    );
}

/// Hashes by crypt(3) of libxcrypt 4.4.
#[cfg(feature = "legacy")]
#[test]
fn what_old_files_have() {
    assert_verified("$1$saltsalt$NiVWJzpFhCksTXnkuUcOc1", Kind::Md5Crypt, PASSWORD);
    assert_verified("$1$s$iXWZU0LDEJ7Jjmms7KFsH0", Kind::Md5Crypt, b"");
    for (text, password) in [
        ("abwakzfh/h4Yk", PASSWORD),
        ("./17m29LFAflg", b"secret"),
        ("zz6dpSdr.LHZw", b""),
        ("Z9GjMlUM6FObs", b"a longer one"),
        ("Z9GjMlUM6FObs", b"a longer, of which eight count"),
    ] {
        assert_verified(text, Kind::DesCrypt, password);
    }
}

#[cfg(not(feature = "legacy"))]
#[test]
fn what_old_files_have_needs_the_feature() {
    let refused = |text| PasswordHash::parse(text).unwrap_err();
    assert_eq!(
        refused("$1$saltsalt$NiVWJzpFhCksTXnkuUcOc1"),
        HashError::NotBuiltIn(Kind::Md5Crypt)
    );
    assert_eq!(refused("./17m29LFAflg"), HashError::NotBuiltIn(Kind::DesCrypt));
}

#[test]
fn what_is_no_hash_is_refused() {
    for text in [
        "",
        "secret",
        "{PLAIN}secret",
        "$y$j9T$salt$hash",
        "$2x$04$abc",
        "$",
        "./17m29LFAfl",
        "thirteenchart",
    ] {
        assert_eq!(PasswordHash::parse(text), Err(HashError::UnknownKind), "{text}");
    }
    for text in [
        "$2y$04$abcdefghijklmnopqrstue",
        "$2y$03$abcdefghijklmnopqrstueFIwWVaWcpyebkmk24JJ2g7mt587ZBHW",
        "$2y$04$abcdefghijklmnopqrstueFIwWVaWcpyebkmk24JJ2g7mt587ZBHé",
        "$apr1$muchtoolong$1HIID6dRDE3JjjvFeprjb.",
        "$apr1$abc$short",
        "$5$rounds=999$s$sGxA095wcLgQ9JcM9BDE6CFk.HTsGr9Feo/vjK2BWH2",
        "$5$rounds=many$s$sGxA095wcLgQ9JcM9BDE6CFk.HTsGr9Feo/vjK2BWH2",
        "$5$s$sGxA095wcLgQ9JcM9BDE6CFk.HTsGr9Feo/vjK2BWH2$more",
        "$6$salt",
        "{SHA}K1b9ObWiwy0g",
        "{SHA}erATDC8yYHZMw9hQEh9Zu5wtynUuRUjpXau1tg==",
        "{SSHA}K1b9ObWiwy0g+BZ9XPU5EJjI5Ho=",
    ] {
        assert!(
            matches!(PasswordHash::parse(text), Err(HashError::Damaged(_))),
            "{text}"
        );
    }
    for text in [
        "$2y$16$abcdefghijklmnopqrstueFIwWVaWcpyebkmk24JJ2g7mt587ZBHW",
        "$5$rounds=1000001$s$sGxA095wcLgQ9JcM9BDE6CFk.HTsGr9Feo/vjK2BWH2",
    ] {
        assert!(
            matches!(PasswordHash::parse(text), Err(HashError::TooCostly(_))),
            "{text}"
        );
    }
}

#[test]
fn what_is_made_is_verified() {
    for (scheme, kind) in [
        (Scheme::Bcrypt { cost: 4 }, Kind::Bcrypt),
        (Scheme::Sha256 { rounds: 5000 }, Kind::Sha256Crypt),
        (Scheme::Sha512 { rounds: 1000 }, Kind::Sha512Crypt),
        (Scheme::Apr1, Kind::Apr1),
        (Scheme::Sha1, Kind::Sha1),
    ] {
        assert_verified(&hash(PASSWORD, scheme).unwrap(), kind, PASSWORD);
    }
    assert!(hash(PASSWORD, Scheme::default()).unwrap().starts_with("$2y$10$"));
}

#[test]
fn costs_out_of_range_are_refused() {
    for cost in [0, 3, 16, 32] {
        assert_eq!(hash(b"", Scheme::Bcrypt { cost }), Err(MakeError::Cost(cost)));
    }
    for rounds in [0, 999, 1_000_001] {
        assert_eq!(
            hash(b"", Scheme::Sha256 { rounds }),
            Err(MakeError::Rounds(rounds))
        );
        assert_eq!(
            hash(b"", Scheme::Sha512 { rounds }),
            Err(MakeError::Rounds(rounds))
        );
    }
}
