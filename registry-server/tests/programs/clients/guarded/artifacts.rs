//! Charts, files and images, pushed by clients that make the manifests themselves.

use std::fs;

use libtest_mimic::Trial;
use oci_client::{
    client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol},
    secrets::RegistryAuth,
};

use super::{
    super::{helm, oci_client as rust, oras},
    Guarded, PASSWORD, USER,
};
use crate::image::{digest_of, references, sha256};

pub(super) fn trials() -> Vec<Trial> {
    [
        trials!(["openssl", "helm"]; helm_pushes_and_pulls),
        trials!(["openssl"]; oci_client_pushes_and_pulls),
        oras::where_it_is_installed(trials!(["openssl", "python3"];
            oras_pushes_and_pulls,
            oras_pushes_in_chunks_that_are_each_refused_once,
        )),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn helm_pushes_and_pulls() {
    let place = Guarded::new();
    let chart = helm::chart(&place.bench);
    let charts = format!("oci://{}", place.repository("charts"));
    let push = ["push", "autumn-1.2.3.tgz", &charts];
    let refused = place.trusting("helm", &push).unwrap_err();
    assert!(refused.contains("basic credential not found"), "{refused}");

    let run = |arguments: &[&str]| place.trusting("helm", arguments).unwrap();
    run(&[
        "registry",
        "login",
        "--username",
        USER,
        "--password",
        PASSWORD,
        place.name(),
    ]);
    for _ in 0..2 {
        run(&push);
    }
    let (tagged, directories) = (format!("{charts}/autumn"), ["by-version", "by-digest"]);
    for directory in directories {
        fs::create_dir(place.bench.path(directory)).unwrap();
    }
    let digest = helm::digest(&run(&push));
    run(&[
        "pull",
        "--version",
        "1.2.3",
        "--destination",
        directories[0],
        &tagged,
    ]);
    run(&[
        "pull",
        "--destination",
        directories[1],
        &format!("{tagged}@{digest}"),
    ]);
    for directory in directories {
        // It names the file for what it was asked for.
        let mut pulled = fs::read_dir(place.bench.path(directory)).unwrap();
        let pulled = pulled.next().unwrap().unwrap().path();
        assert!(
            fs::read(pulled).is_ok_and(|pulled| pulled == chart),
            "{directory}: the chart is what was pushed"
        );
    }

    let scene = place.opened(2, "HTTP/2.0");
    let manifest = scene.server.get("/v2/charts/autumn/manifests/1.2.3").body;
    assert_eq!(sha256(&manifest), digest);
    scene.assert_holds_file("charts/autumn", &manifest, &chart);
}

fn oci_client_pushes_and_pulls() {
    let place = Guarded::new();
    let digest = place.layout.digest("one");
    let login = RegistryAuth::Basic(USER.to_owned(), PASSWORD.to_owned());
    let config = || ClientConfig {
        protocol: ClientProtocol::Https,
        extra_root_certificates: vec![Certificate {
            encoding: CertificateEncoding::Pem,
            data: fs::read(place.certificate()).unwrap(),
        }],
        ..ClientConfig::default()
    };
    let tagged = place.repository("team/app:one").parse().unwrap();
    let by_digest = format!("{}@{digest}", place.repository("team/app"))
        .parse()
        .unwrap();

    let (stranger, client) = (rust::client_with(config()), rust::client_with(config()));
    let (refused, pulled) = rust::run(async {
        let refused = rust::push(&stranger, &place.layout, &tagged, &RegistryAuth::Anonymous).await;
        rust::push(&client, &place.layout, &tagged, &login).await.unwrap();
        // It does not ask by itself: a second `push` would send everything again.
        let (_, blobs) = references(&place.layout.blob(&digest));
        for blob in blobs {
            let digest = digest_of(&blob).to_string();
            assert!(client.blob_exists(&tagged, &digest).await.unwrap());
        }
        let pulled = [
            rust::pull(&client, &tagged, &login).await,
            rust::pull(&client, &by_digest, &login).await,
        ];
        (refused, pulled)
    });

    assert!(refused.is_err());
    let (mut layers, config) = rust::image(&place.layout, "one");
    layers.sort();
    for pulled in pulled {
        assert!(
            pulled == (layers.clone(), config.clone()),
            "the image is what was pushed"
        );
    }
    // It shares its HTTP library with the clients of object stores, whose features include HTTP/2.
    let scene = place.opened(3, "HTTP/2.0");
    scene.assert_served("team/app", "one", &digest);
}

fn oras_pushes_and_pulls() {
    let place = Guarded::new();
    let leaves = place.file(200_000);
    let tagged = place.repository("team/artifacts:one");
    let push = "client.push(target=argv[0], files=['leaves'])";

    for _ in 0..2 {
        place.oras(push, &[&tagged]);
    }
    place.oras("client.pull(target=argv[0], outdir='by-tag')", &[&tagged]);
    let ask = "print(client.do_request(argv[0], 'HEAD').headers['Docker-Content-Digest'])";
    let manifest = format!("https://{}/v2/team/artifacts/manifests/one", place.name());
    let digest = place.oras(ask, &[&manifest]);
    let by_digest = format!("{}@{}", place.repository("team/artifacts"), digest.text());
    place.oras("client.pull(target=argv[0], outdir='by-digest')", &[&by_digest]);

    for directory in ["by-tag", "by-digest"] {
        let pulled = fs::read(place.bench.path(directory).join("leaves")).unwrap();
        assert!(pulled == leaves, "{directory}: the file is what was pushed");
    }
    let scene = place.opened(2, "HTTP/1.1");
    let manifest = scene.server.get("/v2/team/artifacts/manifests/one").body;
    scene.assert_holds_file("team/artifacts", &manifest, &leaves);
}

/// oras sends every request without its login first, including bodies, and must see the answer to that.
fn oras_pushes_in_chunks_that_are_each_refused_once() {
    let place = Guarded::new();
    let leaves = place.file(30_000_000);
    let tagged = place.repository("team/artifacts:one");

    place.oras(
        "client.push(target=argv[0], files=['leaves'], do_chunked=True)",
        &[&tagged],
    );

    let scene = place.opened(2, "HTTP/1.1");
    let manifest = scene.server.get("/v2/team/artifacts/manifests/one").body;
    scene.assert_holds_file("team/artifacts", &manifest, &leaves);
}
