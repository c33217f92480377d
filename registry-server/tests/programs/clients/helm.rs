//! helm: charts as artifacts, pushed by digest, read back, and then tagged.

use std::fs;

use libtest_mimic::Trial;
use registry_core::Digest;

use super::Scene;
use crate::{
    image::{OCI_MANIFEST, digest_of, references, sha256},
    program::{Printed, Workbench, argument},
};

const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

pub(super) fn trials() -> Vec<Trial> {
    trials!(["helm"];
        pushes_and_pulls_by_version_and_by_digest,
        uploads_nothing_when_it_pushes_again,
        pushes_again_after_cuts,
        shows_a_chart,
        logs_in_where_no_login_is_asked_for,
        says_what_is_missing,
    )
}

fn pushes_and_pulls_by_version_and_by_digest() {
    pushes_and_pulls(&Scene::new());
}

pub(super) fn pushes_and_pulls(scene: &Scene) {
    let chart = chart(&scene.bench);
    let charts = scene.charts();

    let digest = scene.helm_push(&charts);
    let reference = format!("{charts}/autumn");
    scene.helm(&[
        "pull",
        "--plain-http",
        "--version",
        "1.2.3",
        "--destination",
        "by-version",
        &reference,
    ]);
    let by_digest = format!("{reference}@{digest}");
    scene.helm(&["pull", "--plain-http", "--destination", "by-digest", &by_digest]);

    let manifest = scene.server.get("/v2/charts/autumn/manifests/1.2.3");
    assert_eq!(manifest.header("content-type"), Some(OCI_MANIFEST));
    assert_eq!(sha256(&manifest.body), digest);
    let (_, blobs) = references(&manifest.body);
    assert_eq!(blobs[0]["mediaType"], CHART);
    let served = scene
        .server
        .get(&format!("/v2/charts/autumn/blobs/{}", digest_of(&blobs[0])));
    assert!(served.body == chart, "the chart is served as it was pushed");
    for directory in ["by-version", "by-digest"] {
        let pulled = fs::read_dir(scene.bench.path(directory))
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        assert!(
            fs::read(pulled.path()).unwrap() == chart,
            "{directory}: the chart is what was pushed"
        );
    }
}

fn uploads_nothing_when_it_pushes_again() {
    let scene = Scene::new();
    chart(&scene.bench);
    let charts = format!("oci://{}", scene.tapped("charts"));

    let digest = scene.helm_push(&charts);
    let first = scene.traffic();
    let again = scene.helm_push(&charts);
    let later = scene.traffic();

    // The chart and a configuration.
    assert_eq!(first.uploads(), 2, "{}", first.lines());
    assert_eq!(later.uploads(), 0, "{}", later.lines());
    assert_eq!(again, digest);
}

fn pushes_again_after_cuts() {
    let scene = Scene::new();
    let chart = chart(&scene.bench);
    let charts = format!("oci://{}", scene.tapped("charts"));
    let push = ["push", "--plain-http", "autumn-1.2.3.tgz", &charts];

    // The configuration is shorter than that.
    scene.push_until_it_is_not_cut(200, || scene.bench.attempt("helm", &push).map(drop));

    let blob = format!("/v2/charts/autumn/blobs/{}", sha256(&chart));
    assert!(
        scene.server.get(&blob).body == chart,
        "the chart is served as it was pushed"
    );
}

fn shows_a_chart() {
    let scene = Scene::new();
    chart(&scene.bench);
    let charts = scene.charts();
    scene.helm_push(&charts);

    // Without a version it asks for the tags and takes the highest.
    let shown = scene.helm(&["show", "chart", "--plain-http", &format!("{charts}/autumn")]);

    assert!(shown.text().contains("version: 1.2.3"), "{}", shown.text());
}

fn logs_in_where_no_login_is_asked_for() {
    let scene = Scene::new();
    let address = scene.server.address().to_string();

    let login = [
        "registry",
        "login",
        "--plain-http",
        "--username",
        "u",
        "--password",
        "p",
    ];
    let login = scene.helm(&[&login[..], &[&address]].concat());

    assert!(login.log.contains("Login Succeeded"), "{}", login.log);
}

fn says_what_is_missing() {
    let scene = Scene::new();
    let reference = format!("{}/winter", scene.charts());

    let refused = scene.bench.refused(
        "helm",
        &["pull", "--plain-http", "--version", "1.0.0", &reference],
    );

    assert!(refused.contains("not found"), "{refused}");
}

impl Scene {
    fn helm(&self, arguments: &[&str]) -> Printed {
        for directory in ["by-version", "by-digest"] {
            fs::create_dir_all(self.bench.path(directory)).unwrap();
        }
        self.bench.run("helm", arguments)
    }

    pub(super) fn charts(&self) -> String {
        format!("oci://{}", self.server.repository("charts"))
    }

    /// Pushes the chart and returns the digest that helm prints.
    pub(super) fn helm_push(&self, charts: &str) -> Digest {
        digest(&self.helm(&["push", "--plain-http", "autumn-1.2.3.tgz", charts]))
    }
}

/// Packages a chart and returns the bytes of `autumn-1.2.3.tgz`.
pub(super) fn chart(bench: &Workbench) -> Vec<u8> {
    let directory = bench.path("autumn");
    fs::create_dir_all(directory.join("templates")).unwrap();
    let about = "apiVersion: v2\nname: autumn\nversion: 1.2.3\ndescription: leaves\n";
    fs::write(directory.join("Chart.yaml"), about).unwrap();
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: leaves\n";
    fs::write(directory.join("templates/leaves.yaml"), template).unwrap();
    bench.run("helm", &["package", argument(&directory)]);
    fs::read(bench.path("autumn-1.2.3.tgz")).unwrap()
}

/// Returns the manifest's digest as helm printed it.
pub(super) fn digest(pushed: &Printed) -> Digest {
    let said = [pushed.text(), &pushed.log].concat();
    let digest = said.lines().find_map(|line| line.strip_prefix("Digest: "));
    Digest::parse(digest.expect("helm says what it has pushed")).unwrap()
}
