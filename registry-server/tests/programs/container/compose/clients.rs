//! The guide's part about clients: trust in a certificate, and plain HTTP.

use std::fs;

use super::{HOST, Place, Tour, USER};

impl Tour<'_> {
    /// Runs it while a set-up serves the host by the tour's authority.
    pub(super) fn clients(&self) {
        let mut place = self.empty_place("clients");
        place.write("ca.crt", &self.authority.certificate());
        place.push(HOST);
        let (repository, _) = &place.kept[0];
        let image = format!("{HOST}/{repository}");

        // skopeo looks there, too.
        place.runs("rm -r /etc/docker/certs.d");
        place.runs(&format!("! skopeo --insecure-policy inspect docker://{image}"));
        place.follows("client-podman");
        place.runs(&format!("skopeo --insecure-policy inspect docker://{image}"));

        let fetch = format!(
            "ctr --address {containerd} content fetch --user {USER} --hosts-dir /etc/containerd/certs.d {image}",
            containerd = self.yard.docker.containerd().display()
        );
        place.runs(&format!("! {fetch}"));
        let hosts = self.yard.docker.etc("containerd/certs.d").join(HOST);
        fs::create_dir_all(&hosts).unwrap();
        fs::write(hosts.join("hosts.toml"), self.guide.block("client-containerd")).unwrap();
        fs::copy(place.path("ca.crt"), hosts.join("ca.crt")).unwrap();
        place.runs(&fetch);

        self.clients_in_plain_http(&place);
    }

    fn clients_in_plain_http(&self, place: &Place<'_>) {
        let docker = &self.yard.docker;
        docker.run(&["run", "-d", "-p", "5000:5000", "--name", "plain", "registry:2"]);
        self.yard.answer("http://localhost:5000/v2/");
        let image = self.yard.push(1000, "localhost:5000/app:latest");
        let reference = format!("{HOST}:5000/app:latest");

        docker.refused(&["pull", &reference]);
        fs::write(
            docker.etc("docker/daemon.json"),
            self.guide.block("client-docker-insecure"),
        )
        .unwrap();
        docker.reload();
        self.yard.assert_pulls(&reference, &image);

        let inspect = format!("skopeo --insecure-policy inspect docker://{reference}");
        place.runs(&format!("! {inspect}"));
        let directory = docker.etc("containers/registries.conf.d");
        fs::create_dir_all(&directory).unwrap();
        fs::write(
            directory.join("registry.conf"),
            self.guide.block("client-podman-insecure"),
        )
        .unwrap();
        place.runs(&inspect);
        docker.run(&["rm", "--force", "--volumes", "plain"]);
    }
}
