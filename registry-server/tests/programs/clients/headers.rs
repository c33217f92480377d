//! Headers of the registry's answers that clients depend on, found by removing them one at a time.
//!
//! The wire suite checks that they are sent. This test gives the reason: without a header that a client needs, the
//! client fails here; a header that no client needs may be dropped by a proxy. Measured with Debian's docker 20.10,
//! podman 4.3 and containerd 1.6, and helm 3.18.

use libtest_mimic::{Failed, Trial};
use registry_conformance::tools::{self, Process};
use registry_test::fault::{Rule, preset};

use super::{Scene, ctr::Containerd, helm};
use crate::{
    docker::{self, Engine, where_engines_start},
    image::{DockerArchive, Layer, Layout},
    program::output_of,
};

/// Result of a client with altered answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    PushAndPull,
    Push,
    Pull,
    Neither,
}

use Does::{Neither, Pull, Push, PushAndPull};

/// One alteration of answers, and the results of docker, podman, ctr and helm.
struct Line {
    name: &'static str,
    rules: fn() -> Vec<Rule>,
    docker: Does,
    podman: Does,
    ctr: Does,
    helm: Does,
}

const LINES: [Line; 7] = [
    Line {
        name: "without_docker_content_digest",
        rules: || vec![preset::without_content_digest()],
        docker: Pull,
        podman: PushAndPull,
        ctr: Pull,
        helm: PushAndPull,
    },
    Line {
        name: "without_content_type_of_manifests",
        rules: || vec![preset::manifests_without_content_type()],
        docker: Push,
        podman: Push,
        ctr: Push,
        helm: Neither,
    },
    Line {
        name: "without_range_of_chunks",
        rules: || vec![preset::chunks_without_range()],
        docker: Pull,
        podman: PushAndPull,
        ctr: PushAndPull,
        helm: PushAndPull,
    },
    Line {
        name: "with_a_unit_in_range_of_chunks",
        rules: || vec![preset::chunks_with_a_range_unit()],
        docker: Pull,
        podman: PushAndPull,
        ctr: PushAndPull,
        helm: PushAndPull,
    },
    Line {
        name: "without_content_length_of_heads",
        rules: || vec![preset::heads_without_content_length()],
        docker: Neither,
        podman: PushAndPull,
        ctr: PushAndPull,
        helm: Pull,
    },
    Line {
        name: "without_what_nobody_needs",
        rules: preset::without_optional_headers,
        docker: PushAndPull,
        podman: PushAndPull,
        ctr: PushAndPull,
        helm: PushAndPull,
    },
    Line {
        name: "with_bodies_in_chunks",
        rules: || vec![preset::bodies_in_chunks()],
        docker: PushAndPull,
        podman: PushAndPull,
        ctr: PushAndPull,
        helm: PushAndPull,
    },
];

pub(super) fn trials() -> Vec<Trial> {
    let lines = || LINES.iter();
    [
        where_engines_start(
            lines()
                .map(|line| line.trial(&docker::PROGRAMS, line.docker, docker))
                .collect(),
        ),
        lines()
            .map(|line| line.trial(&["podman"], line.podman, podman))
            .collect(),
        where_engines_start(
            lines()
                .map(|line| line.trial(&["containerd", "ctr"], line.ctr, ctr))
                .collect(),
        ),
        lines()
            .map(|line| line.trial(&["helm"], line.helm, helm))
            .collect(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl Line {
    /// Makes a test that the client has the expected result. It prepares, then pushes, and pulls what was pushed
    /// before.
    fn trial(
        &'static self,
        programs: &[&str],
        expected: Does,
        client: fn(&Scene, &dyn Fn()) -> Outcomes,
    ) -> Trial {
        let name = format!("clients::headers::{}::{}", programs[0], self.name);
        tools::trial(name, programs, move || -> Result<(), Failed> {
            let scene = Scene::new();
            let alter = || {
                (self.rules)()
                    .into_iter()
                    .for_each(|rule| _ = scene.tap.add(rule))
            };
            let outcomes = client(&scene, &alter);
            let does = match outcomes.each_ref().map(Result::is_ok) {
                [true, true] => PushAndPull,
                [true, false] => Push,
                [false, true] => Pull,
                [false, false] => Neither,
            };
            assert_eq!(does, expected, "push and pull: {outcomes:?}");
            Ok(())
        })
    }
}

type Outcomes = [Result<(), String>; 2];

fn docker(scene: &Scene, alter: &dyn Fn()) -> Outcomes {
    scene.publish("one", "team/app:one");
    // Each layer is tried once: else five times, with pauses that grow.
    let once = ["--max-download-attempts=1"];
    let engine = Engine::start_with(&scene.bench, "engine", &once);
    let reference = scene.tapped("pushed/app:one");
    let image = DockerArchive::new(&[&Layer::new(7, 20_000)]);
    engine.load(&image.to_load(&reference));
    alter();
    [
        push_once(&engine, &reference),
        engine.attempt(&["pull", &scene.tapped("team/app:one")]).map(drop),
    ]
}

/// Pushes until a layer would be retried, which no option of dockerd prevents.
fn push_once(engine: &Engine<'_>, reference: &str) -> Result<(), String> {
    let mut push = Process::start(&mut engine.command(&["push", reference])).unwrap();
    let fails = match push.wait_for_output("Retrying in") {
        Ok(()) => true,
        Err(_ended) => !push.wait().unwrap().success(),
    };
    if fails { Err(push.output()) } else { Ok(()) }
}

fn podman(scene: &Scene, alter: &dyn Fn()) -> Outcomes {
    scene.publish("one", "team/app:one");
    let podman =
        |storage: &str, arguments: &[&str]| output_of(scene.bench.podman_command(storage, arguments));
    // It has nothing in common with the other: podman remembers, machine-wide, where it has seen which layer, and a port
    // that another test had before can bring it to look there.
    let mut alone = Layout::create(scene.bench.path("alone"));
    let image = alone.image("arm64", &[&Layer::new(8, 100_000), &Layer::new(9, 20_000)]);
    alone.tag("two", &image);
    let image = podman("first", &["pull", "--quiet", "oci:alone:two"]).unwrap();
    alter();
    let to = scene.tapped("pushed/app:two");
    [
        podman("first", &["push", "--tls-verify=false", image.text(), &to]).map(drop),
        podman(
            "second",
            &["pull", "--tls-verify=false", &scene.tapped("team/app:one")],
        )
        .map(drop),
    ]
}

fn ctr(scene: &Scene, alter: &dyn Fn()) -> Outcomes {
    scene.publish("one", "team/app:one");
    let (first, second) = (
        Containerd::start(&scene.bench, "first"),
        Containerd::start(&scene.bench, "second"),
    );
    first.import(&scene.layout, &scene.tapped("pushed/app"));
    alter();
    let (to, from) = (scene.tapped("pushed/app:two"), scene.tapped("team/app:one"));
    let pull = ["images", "pull", "--plain-http", "--snapshotter", "native", &from];
    [
        first.attempt(&["images", "push", "--plain-http", &to]).map(drop),
        second.attempt(&pull).map(drop),
    ]
}

fn helm(scene: &Scene, alter: &dyn Fn()) -> Outcomes {
    helm::chart(&scene.bench);
    scene.helm_push(&scene.charts());
    alter();
    let helm = |arguments: &[&str]| scene.bench.attempt("helm", arguments).map(drop);
    // To where it is already: helm asks first.
    let to = format!("oci://{}", scene.tapped("charts"));
    let from = format!("oci://{}", scene.tapped("charts/autumn"));
    let pull = [
        "pull",
        "--plain-http",
        "--version",
        "1.2.3",
        "--destination",
        "by-version",
        &from,
    ];
    [
        helm(&["push", "--plain-http", "autumn-1.2.3.tgz", &to]),
        helm(&pull),
    ]
}
