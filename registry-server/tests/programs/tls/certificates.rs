//! Certificates and keys made by OpenSSL, following common instructions on the web.

use libtest_mimic::Trial;

use super::Place;

pub(super) fn trials() -> Vec<Trial> {
    trials!(["openssl", "curl"];
        a_certificate_of_version_1_is_served,
        keys_of_every_kind_are_taken,
        a_bundle_joined_by_cat_in_the_wrong_order_is_served_whole_and_right,
        a_proxy_that_sends_no_name_and_speaks_tls_1_2_is_served,
        what_cannot_be_used_is_refused_with_file_and_way_out,
    )
}

/// Uses the commands of a widely copied script for self-signed certificates: RSA 4096, and no extensions at all.
fn a_certificate_of_version_1_is_served() {
    let place = Place::new();
    place.openssl("genrsa -out tls.key 4096");
    place.openssl("req -new -subj /C=DE/O=Example/CN=localhost -key tls.key -out tls.csr");
    place.openssl("x509 -req -days 3650 -in tls.csr -signkey tls.key -out tls.crt");
    assert!(
        place
            .openssl("x509 -in tls.crt -noout -text")
            .contains("Version: 1 (0x0)")
    );

    let server = place.serve();

    assert_eq!(server.curl(&place, "tls.crt", &[]).unwrap(), "200 HTTP/2");
    assert!(
        server.log().contains("no subject alternative name"),
        "{}",
        server.log()
    );
}

fn keys_of_every_kind_are_taken() {
    let place = Place::new();
    place.openssl("genrsa -traditional -out pkcs1.key 2048");
    place.openssl("pkcs8 -topk8 -nocrypt -in pkcs1.key -out pkcs8.key");
    // With its EC PARAMETERS in front, as this command writes it.
    place.openssl("ecparam -name prime256v1 -genkey -out sec1.key");
    place.openssl("ecparam -name secp384r1 -genkey -noout -out p384.key");
    place.openssl("genpkey -algorithm ed25519 -out ed25519.key");
    for (key, begin) in [
        ("pkcs1", "BEGIN RSA PRIVATE KEY"),
        ("pkcs8", "BEGIN PRIVATE KEY"),
        ("sec1", "BEGIN EC PARAMETERS"),
        ("p384", "BEGIN EC PRIVATE KEY"),
        ("ed25519", "BEGIN PRIVATE KEY"),
    ] {
        assert!(place.text(&format!("{key}.key")).contains(begin), "{key}");
        place.openssl(&format!(
            "req -x509 -key {key}.key -out {key}.crt -subj /CN=localhost -addext subjectAltName=DNS:localhost"
        ));
        // As saved by an editor on Windows.
        for extension in ["key", "crt"] {
            let text = place.text(&format!("{key}.{extension}"));
            place.write(&format!("tls.{extension}"), &text.replace('\n', "\r\n"));
        }

        let server = place.serve();

        let got = server.curl(&place, &format!("{key}.crt"), &[]);
        assert_eq!(got.as_deref(), Ok("200 HTTP/2"), "{key}");
    }
}

fn a_bundle_joined_by_cat_in_the_wrong_order_is_served_whole_and_right() {
    let place = Place::new();
    place.authority("root");
    place.issue("middle", "root", "middle", "basicConstraints=critical,CA:TRUE");
    place.issue("server", "middle", "server", "subjectAltName=DNS:localhost");
    let parts = ["root.crt", "middle.crt", "server.crt"].map(|name| place.text(name).trim_end().to_owned());
    place.write("tls.crt", &parts.concat());

    let server = place.serve_with("tls.crt", "server.key", &[]);

    assert_eq!(server.curl(&place, "root.crt", &[]).unwrap(), "200 HTTP/2");
    let seen = server.s_client(&place, "-showcerts");
    let subjects: Vec<&str> = seen
        .lines()
        .filter_map(|line| line.trim().split_once(" s:"))
        .map(|(_, s)| s)
        .collect();
    assert_eq!(subjects, ["CN = server", "CN = middle", "CN = root"], "{seen}");
    assert!(server.log().contains("wrong order"), "{}", server.log());
}

/// Simulates nginx before an HTTPS upstream, with its default settings.
fn a_proxy_that_sends_no_name_and_speaks_tls_1_2_is_served() {
    let place = Place::new();
    place.self_signed("tls");
    let server = place.serve();

    let seen = server.s_client(&place, "-tls1_2 -noservername");
    assert!(seen.contains("New, TLSv1.2"), "{seen}");
    assert!(server.s_client(&place, "-tls1_3").contains("New, TLSv1.3"));
    assert!(server.s_client(&place, "-tls1_1").contains("alert"));
}

fn what_cannot_be_used_is_refused_with_file_and_way_out() {
    let place = Place::new();
    place.self_signed("tls");
    place.self_signed("other");
    place.openssl("x509 -in tls.crt -outform DER -out der.crt");
    place.openssl("pkey -in tls.key -aes128 -passout pass:secret -out encrypted.key");
    for (certificate, key, texts) in [
        ("tls.crt", "other.key", ["other.key does not belong", "tls.crt"]),
        (
            "tls.key",
            "tls.key",
            ["tls.key: contains a private key", "no certificate"],
        ),
        (
            "tls.crt",
            "tls.crt",
            ["tls.crt: contains a certificate", "no private key"],
        ),
        (
            "der.crt",
            "tls.key",
            ["der.crt: contains no PEM", "openssl x509 -inform DER"],
        ),
        (
            "tls.crt",
            "encrypted.key",
            ["encrypted.key: line 1", "openssl pkey"],
        ),
    ] {
        let said = place.refusal(certificate, key);
        for text in texts {
            assert!(said.contains(text), "{text:?} is not in {said:?}");
        }
    }
}
