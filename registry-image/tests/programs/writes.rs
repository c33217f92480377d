//! Archives of this crate, loaded by other programs.

use crate::{
    bench::{Bench, NAME, argument, text, wait},
    engines::{Containerd, Docker},
};
use libtest_mimic::Trial;
use registry_core::Digest;
use registry_image::{Compression, Layout};

pub(crate) fn trials() -> Vec<Trial> {
    trials! { "writes":
        trial ["skopeo"] skopeo_copies_an_oci_archive,
        trial ["skopeo"] skopeo_reads_a_docker_archive,
        trial ["skopeo"] skopeo_misses_what_an_increment_leaves_out,
        trial ["skopeo"] skopeo_reads_converted_layers,
        trial ["podman"] podman_loads_an_archive_of_two_names,
        engine_trial ["docker", "dockerd"] docker_loads_an_archive,
        engine_trial ["ctr", "containerd"] containerd_imports_an_archive,
    }
}

fn skopeo_copies_an_oci_archive() {
    let bench = Bench::new();
    let archive = bench.export(&["v1", "multi"]);

    for (tag, digest) in bench.tagged() {
        let from = format!("oci-archive:{}:{tag}", argument(&archive));
        bench.skopeo(&[
            "copy",
            "--all",
            "--preserve-digests",
            &from,
            &format!("oci:copied:{tag}"),
        ]);
        bench.assert_has(&Layout::open(bench.path("copied")).unwrap(), tag, digest);
    }
}

fn skopeo_reads_a_docker_archive() {
    let bench = Bench::new();
    let archive = bench.export(&["v1", "latest", "multi"]);
    let config = wait(bench.repository.read_blob(&bench.config, 1 << 20))
        .unwrap()
        .unwrap();

    for tag in ["v1", "latest", "multi"] {
        let from = format!("docker-archive:{}:{NAME}:{tag}", argument(&archive));
        assert_eq!(bench.skopeo(&["inspect", "--config", "--raw", &from]), config);
        bench.skopeo(&["copy", &from, &format!("dir:{tag}")]);
    }
}

fn skopeo_misses_what_an_increment_leaves_out() {
    let bench = Bench::new();
    let [base, _] = bench.layers[..] else {
        panic!("the image has two layers")
    };
    let size = wait(bench.repository.blob(&base)).unwrap().unwrap().size;
    let archive = bench.export_as(&["v1"], |export| {
        export.since([(base, size)].into_iter().collect())
    });

    // What is there can be read. A copy fails with the reason.
    let from = format!("oci-archive:{}:v1", argument(&archive));
    let config = bench.skopeo(&["inspect", "--config", "--raw", &from]);
    assert_eq!(Digest::of(bench.config.algorithm(), &config), bench.config);
    let docker = format!("docker-archive:{}:{NAME}:v1", argument(&archive));
    for (from, reason) in [(from, &*base.hex()), (docker, "layer tarfiles are missing")] {
        let mut command = bench.command("skopeo");
        let copied = command
            .args(["--insecure-policy", "copy", &from, "dir:copied"])
            .output();
        let copied = copied.unwrap();
        let message = String::from_utf8_lossy(&copied.stderr);
        assert!(!copied.status.success());
        assert!(message.contains(reason), "{message}");
    }
}

fn skopeo_reads_converted_layers() {
    let bench = Bench::new();
    for (number, compression) in [Compression::Gzip, Compression::Zstd].into_iter().enumerate() {
        let archive = bench.export_as(&["v1"], |export| export.compress(compression));

        // It decompresses the layers, and names the files by the digests.
        let (from, to) = (
            format!("oci-archive:{}:v1", argument(&archive)),
            number.to_string(),
        );
        bench.skopeo(&["copy", "--dest-decompress", &from, &format!("dir:{to}")]);

        for layer in &bench.layers {
            assert!(bench.path(&to).join(layer.hex()).exists(), "{compression:?}");
        }
    }
}

fn podman_loads_an_archive_of_two_names() {
    let bench = Bench::new();
    let archive = bench.export(&["v1", "latest"]);

    bench.podman(&["load", "--input", argument(&archive)]);

    bench.assert_loaded(&["v1", "latest"], &bench.config.hex(), |arguments| {
        bench.podman(arguments)
    });
}

fn docker_loads_an_archive() {
    let bench = Bench::new();
    let archive = bench.export(&["v1", "latest", "multi"]);
    let docker = Docker::start(&bench);

    docker.run(&["load", "--input", argument(&archive)]);

    bench.assert_loaded(
        &["v1", "latest", "multi"],
        &bench.config.to_string(),
        |arguments| text(docker.run(arguments)),
    );
}

fn containerd_imports_an_archive() {
    let bench = Bench::new();
    let archive = bench.export(&["v1", "multi"]);
    let containerd = Containerd::start(&bench);

    containerd.import(&archive);

    let listed = text(containerd.run(&["images", "list"]));
    for (tag, digest) in bench.tagged() {
        let is_listed = |line: &str| {
            let mut columns = line.split_whitespace();
            let (name, _, found) = (columns.next(), columns.next(), columns.next());
            name == Some(&format!("{NAME}:{tag}")) && found == Some(&digest.to_string())
        };
        assert!(listed.lines().any(is_listed), "{tag}: {listed}");
    }
    for digest in bench.layers.iter().chain([&bench.config]) {
        let content = containerd.run(&["content", "get", &digest.to_string()]);
        assert_eq!(
            wait(bench.repository.read_blob(digest, 1 << 20))
                .unwrap()
                .unwrap(),
            content
        );
    }
}
