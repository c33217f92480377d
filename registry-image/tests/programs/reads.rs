//! Archives of other programs, read by this crate.

use crate::{
    bench::{Bench, NAME, argument},
    engines::{Containerd, Docker},
};
use libtest_mimic::Trial;
use registry_image::ArchiveReader;
use std::fs::File;

pub(crate) fn trials() -> Vec<Trial> {
    trials! { "reads":
        trial ["skopeo"] an_oci_archive_of_skopeo,
        trial ["skopeo"] a_docker_archive_of_skopeo,
        trial ["gzip", "zstd"] archives_compressed_by_gzip_and_zstd,
        trial ["podman"] archives_of_podman,
        engine_trial ["docker", "dockerd"] an_archive_of_docker,
        engine_trial ["ctr", "containerd"] an_archive_of_containerd,
    }
}

fn an_oci_archive_of_skopeo() {
    let bench = Bench::new();
    let exported = bench.export(&["v1", "multi"]);

    for (tag, digest) in bench.tagged() {
        let (from, archive) = (
            format!("oci-archive:{}:{tag}", argument(&exported)),
            bench.path("skopeo.tar"),
        );
        let to = format!("oci-archive:{}:{tag}", argument(&archive));
        bench.skopeo(&["copy", "--all", "--preserve-digests", &from, &to]);
        bench.assert_has(&ArchiveReader::new().open(&archive).unwrap(), tag, digest);
        std::fs::remove_file(&archive).unwrap();
    }
}

fn a_docker_archive_of_skopeo() {
    let bench = Bench::new();
    let (exported, archive) = (bench.export(&["v1"]), bench.path("skopeo.tar"));
    let from = format!("oci-archive:{}:v1", argument(&exported));
    bench.skopeo(&[
        "copy",
        &from,
        &format!("docker-archive:{}:{NAME}:v1", argument(&archive)),
    ]);

    let read = ArchiveReader::new().open(&archive).unwrap();

    // It has links for docker's old names, and no manifest.
    assert_eq!(read.entries()[0].names(), [format!("{NAME}:v1")]);
    bench.assert_is_image(&bench.import(&read));
}

fn archives_compressed_by_gzip_and_zstd() {
    let bench = Bench::new();
    let exported = bench.export(&["v1", "multi"]);

    for (program, extension) in [("gzip", "gz"), ("zstd", "zst")] {
        bench.run(program, &["--quiet", "--keep", argument(&exported)]);
        let archive = exported.with_extension(format!("tar.{extension}"));
        let read = ArchiveReader::new()
            .spool_in(bench.path(""))
            .open(&archive)
            .unwrap();
        bench.assert_has(&read, "multi", bench.index);
    }
}

fn archives_of_podman() {
    let bench = Bench::new();
    let (exported, name) = (bench.export(&["v1"]), format!("{NAME}:v1"));
    bench.podman(&["load", "--input", argument(&exported)]);

    for format in ["docker-archive", "oci-archive"] {
        let archive = bench.path(&format!("{format}.tar"));
        bench.podman(&["save", "--format", format, "--output", argument(&archive), &name]);
        let read = ArchiveReader::new().open(&archive).unwrap();
        assert_eq!(read.entries()[0].names(), [&*name]);
        let manifest = bench.import(&read);
        if format == "docker-archive" {
            bench.assert_is_image(&manifest);
        } else {
            // podman compresses the layers, which changes their digests.
            assert_eq!(manifest.blobs()[0].digest.known(), Some(&bench.config));
        }
    }
}

fn an_archive_of_docker() {
    let bench = Bench::new();
    let (exported, archive) = (bench.export(&["v1"]), bench.path("saved.tar"));
    let docker = Docker::start(&bench);
    docker.run(&["load", "--input", argument(&exported)]);
    docker.run(&["save", "--output", argument(&archive), &format!("{NAME}:v1")]);

    let read = ArchiveReader::new().open(&archive).unwrap();

    assert_eq!(read.entries()[0].names(), [format!("{NAME}:v1")]);
    bench.assert_is_image(&bench.import(&read));
}

fn an_archive_of_containerd() {
    let bench = Bench::new();
    let (exported, archive) = (bench.export(&["multi"]), bench.path("ctr.tar"));
    let containerd = Containerd::start(&bench);
    containerd.import(&exported);
    let name = format!("{NAME}:multi");
    containerd.run(&["images", "export", "--all-platforms", argument(&archive), &name]);

    // Its index comes after the blobs, also when it comes by a pipe.
    let read = ArchiveReader::new()
        .read("pipe", File::open(&archive).unwrap())
        .unwrap();

    bench.assert_has(&read, "multi", bench.index);
}
