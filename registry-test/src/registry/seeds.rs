//! Seeds of a test registry: content that is there before the clients come.

use super::{Builder, TestRegistry};
use crate::seed::{Layout, Seed, SeedError, plant, plant_layout};
use registry_core::Digest;
use std::path::Path;

impl Builder {
    /// Puts content into the registry before it starts, as [`TestRegistry::seed`] does. Seeds are put in the order of
    /// the calls.
    pub fn seed(mut self, name: impl Into<String>, content: impl Into<Seed>) -> Self {
        self.seeds.push((name.into(), content.into()));
        self
    }
}

impl TestRegistry {
    /// Puts an image, an index or an artifact into the registry, and returns the digest of its manifest.
    ///
    /// The name is `app:v1`, `app` for the tag `latest`, or `app@sha256` for content without a tag. No client request is
    /// needed: neither faults nor logins apply, and nothing is recorded.
    ///
    /// ```
    /// use registry_test::{TestRegistry, artifact, image};
    ///
    /// let registry = TestRegistry::start();
    /// let app = registry.seed("team/app:v1", image().files([("etc/motd", "hello\n")]));
    /// let signature = artifact("application/vnd.example.signature").file("a.sig", "…").subject(app);
    /// registry.seed("team/app@sha256", signature);
    ///
    /// assert_eq!(registry.digest("team/app:v1"), Some(app));
    /// assert_eq!(app.to_string(), "sha256:9c32046ddf65e9d4a67f628d60d0f94c06eacc7b5478c51418c56bc47a497dad");
    /// ```
    ///
    /// # Panics
    ///
    /// If the name or the content is malformed, with the reason.
    #[track_caller]
    pub fn seed(&self, name: &str, content: impl Into<Seed>) -> Digest {
        match self.try_seed(name, content.into()) {
            Ok(digest) => digest,
            Err(error) => panic!("{error}"),
        }
    }

    /// Puts the images of an OCI layout into the registry: a directory as `skopeo copy … oci:DIR` and `crane pull
    /// --format=oci` write it. Returns their names, in the order of its `index.json`.
    ///
    /// An image with a whole name, such as `example.com/team/app:v1`, keeps it without the host. One with only a tag gets
    /// the repository with the name of the directory (`layout`, if no repository can have this name), and one without
    /// a tag is `REPOSITORY@sha256:…` there.
    ///
    /// ```no_run
    /// use registry_test::TestRegistry;
    ///
    /// let registry = TestRegistry::start();
    /// assert_eq!(registry.seed_layout("tests/images/app"), ["app:v1", "app:v2"]);
    /// ```
    ///
    /// # Panics
    ///
    /// If the layout is damaged, incomplete or larger than 1 GiB, or names content outside of the directory, with the file
    /// and the reason. Nothing has been put then.
    #[track_caller]
    pub fn seed_layout(&self, path: impl AsRef<Path>) -> Vec<String> {
        match self.try_seed_layout(path.as_ref()) {
            Ok(names) => names,
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn try_seed_layout(&self, path: &Path) -> Result<Vec<String>, SeedError> {
        let (registry, layout) = (self.registry().clone(), Layout::read(path)?);
        self.server
            .run(async move { plant_layout(&registry, layout).await })
    }

    pub(crate) fn try_seed(&self, name: &str, content: Seed) -> Result<Digest, SeedError> {
        let (registry, name) = (self.registry().clone(), name.to_owned());
        self.server
            .run(async move { plant(&registry, &name, &content).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{artifact, image, index};

    #[test]
    fn seeds_are_there_when_the_registry_starts_and_need_no_requests() {
        let registry = TestRegistry::builder()
            .seed("app:v1", index([image().platform("linux/arm64")]))
            .seed("app:report", artifact("application/vnd.a").subject("v1"))
            .start();

        assert_eq!(registry.tags("app"), ["report", "v1"]);
        assert_eq!(registry.requests().count(), 0);
    }

    #[test]
    fn a_malformed_seed_is_an_error_with_its_reason() {
        let refused = TestRegistry::builder()
            .seed("app:v1", image().platform("arm"))
            .try_start();

        let message = refused.unwrap_err().to_string();
        assert!(message.starts_with("\"arm\" is no platform; write"), "{message}");
    }

    #[test]
    #[should_panic(expected = "such as `linux/arm64/v8`")]
    fn a_malformed_seed_is_a_panic_with_its_reason() {
        let _ = TestRegistry::builder()
            .seed("app:v1", image().platform("arm"))
            .start();
    }
}
