//! Maintenance of a registry, as in the guide: the swap by hand, users, certificates, copies, versions.

use super::{Place, Tour};
use crate::docker::MACHINE;

/// Address of the registry on its own machine.
const LOCAL: &str = "localhost:5000";

impl Tour<'_> {
    /// Swaps without compose and without a named volume, from the real registry:2.
    pub(super) fn swaps_by_hand(&self) {
        let mut place = self.empty_place("by-hand");
        self.registry_is("old");
        place.follows("swap-before");
        self.answers();
        place.push(LOCAL);

        self.registry_is("new");
        place.follows("swap");
        self.answers();
        place.pull_all(LOCAL);
        place.push(LOCAL);

        place.follows("swap-back");
        self.answers();
        place.pull_all(LOCAL);
        place.push(LOCAL);

        // Kept in a directory, by what runs from now on.
        place.follows("keep");
        self.answers();
        place.pull_all(LOCAL);
        place.runs("docker rm --force --volumes registry");
    }

    pub(super) fn closes_the_way_around(&self) {
        let place = self.empty_place("bypass");

        place.follows("bypass");

        self.answers();
        place.runs(&format!("! curl --silent http://{MACHINE}:5000/v2/"));
        place.runs("docker rm --force --volumes registry");
    }

    fn answers(&self) {
        assert_eq!(self.yard.answer(&format!("http://{LOCAL}/v2/")), "{}");
    }

    /// Runs the chores in the last set-up, which has the names that the guide uses.
    pub(super) fn chores(&self, place: &mut Place<'_>) {
        const HOST: &str = "edge.example.com";

        let login = |options: &str| {
            format!(
                "curl --silent --show-error --fail --user bob:other --cacert ca.crt {options} https://{}/v2/",
                super::HOST
            )
        };
        place.follows("user-add");
        let wait = "--retry 30 --retry-delay 1 --retry-all-errors";
        place.runs(&login(wait));
        place.follows("user-remove");
        let goes = || place.runs(&format!("{} || echo gone", login("--retry 0 --retry-delay 1")));
        assert!((0..600).any(|_| goes().text() == "gone"), "bob is still let in");

        place.certify("renewed", &[super::HOST, "renewed.example.com"]);
        place.follows("renew");
        self.served("https://renewed.example.com/v2/", &place.path("ca.crt"));
        let seen = place.follows("renewed");
        assert!(seen.text().contains("notAfter="), "{}", seen.text());

        place.follows("backup");
        let kept = place.kept.len();
        place.push(HOST);
        place.follows("restore");
        place.served(HOST);
        let (repository, _) = place.kept.remove(kept);
        self.yard
            .docker
            .refused(&["pull", &format!("{HOST}/{repository}")]);
        place.pull_all(HOST);
        place.push(HOST);

        // Another image of the same name, as a build makes it.
        let registry = place.container("registry");
        let image = || self.yard.inspect(&place.container("registry"), "{{.Image}}");
        let before = image();
        self.yard.docker.run(&["tag", "registry:2", "registry:previous"]);
        self.yard
            .docker
            .run(&["commit", "--message", "another version", &registry, "registry:2"]);
        place.follows("upgrade");
        place.served(HOST);
        assert_ne!(image(), before);
        place.follows("roll-back");
        place.served(HOST);
        assert_eq!(image(), before);
        place.pull_all(HOST);
    }
}
