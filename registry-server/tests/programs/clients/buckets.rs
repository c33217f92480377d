//! Each client at a registry on a bucket, once: half of them on SeaweedFS, the others on versitygw.
//!
//! With `REGISTRY_TEST_AGAINST=weed` or `versitygw`, all tests of clients run there.

use std::io;

use libtest_mimic::Trial;
use object_stores::{S3Server, SeaweedFs, Versitygw};

use super::{Scene, buildah, crane, ctr, docker, helm, oci_client, oras, podman, regctl, skopeo};
use crate::{
    docker::{PROGRAMS, where_engines_start},
    program::Workbench,
    server::Server,
};

pub(super) fn trials() -> Vec<Trial> {
    let clients = vec![
        on_seaweedfs("buildah", &["buildah"], buildah::pushes_and_pulls),
        on_seaweedfs("crane", &["crane"], crane::pushes_and_pulls),
        on_seaweedfs("helm", &["helm"], helm::pushes_and_pulls),
        on_versitygw("oci_client", &[], oci_client::pushes_and_pulls),
        on_versitygw("podman", &["podman"], podman::pushes_and_pulls),
        on_versitygw("regctl", &["regctl"], regctl::pushes_and_pulls),
        on_versitygw("skopeo", &["skopeo"], skopeo::pushes_and_pulls),
    ];
    let engines = where_engines_start(vec![
        on_seaweedfs("docker", &PROGRAMS, docker::pushes_and_pulls),
        on_versitygw("ctr", &["containerd", "ctr"], ctr::pushes_and_pulls),
    ]);
    let packages =
        oras::where_it_is_installed(vec![on_seaweedfs("oras", &["python3"], oras::pushes_and_pulls)]);
    [clients, engines, packages].into_iter().flatten().collect()
}

fn on_seaweedfs(client: &str, programs: &[&str], test: fn(&Scene)) -> Trial {
    on(SeaweedFs::PROGRAM, SeaweedFs::start, client, programs, test)
}

fn on_versitygw(client: &str, programs: &[&str], test: fn(&Scene)) -> Trial {
    on(Versitygw::PROGRAM, Versitygw::start, client, programs, test)
}

fn on(
    store: &str,
    start: fn() -> io::Result<S3Server>,
    client: &str,
    programs: &[&str],
    test: fn(&Scene),
) -> Trial {
    let name = format!("{}::{client}_on_{store}", module_path!());
    crate::trial(&name, &[programs, &[store]].concat(), move || {
        let server = Server::ours_on(start().unwrap(), &[]);
        test(&Scene::of(Workbench::new(), server));
    })
}
