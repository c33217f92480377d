//! Copies of the referrers of a manifest.

use super::{event::Event, run::Run};
use crate::{error::Error, manifests::read, source::Source as _, walk};
use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use registry_core::{AnyDigest, Digest, Tag, storage::StoredManifest};
use std::pin::pin;

impl Run<'_> {
    /// Copies the referrers of a manifest, and the signatures that cosign stores under tags.
    pub(super) async fn referrers(&self, subject: &Digest, depth: usize) -> Result<(), Error> {
        let mut referrers = pin!(self.referrers_of(subject));
        while let Some(referrer) = referrers.try_next().await? {
            self.whole(&referrer, depth + 1).await?;
            self.put(&referrer, &[]).await?;
        }
        for tag in signature_tags(subject) {
            let Some(found) = self.source.resolve(&(&tag).into()).await? else {
                continue;
            };
            let signature = self.required(&found.digest).await?;
            self.whole(&signature, depth + 1).await?;
            self.put(&signature, &[tag]).await?;
        }
        Ok(())
    }

    /// Reports the referrers of a manifest that is not copied, because another one is in its place.
    pub(super) async fn report_referrers(&self, subject: &Digest) -> Result<(), Error> {
        let report = |digest| {
            self.update(|progress| progress.totals.referrers_not_copied += 1);
            self.copy.options.tell(|| Event::ReferrerNotCopied {
                subject: *subject,
                digest,
            });
        };
        let mut referrers = pin!(self.referrers_of(subject));
        while let Some(referrer) = referrers.try_next().await? {
            report(referrer.digest);
        }
        for tag in signature_tags(subject) {
            if let Some(found) = self.source.resolve(&(&tag).into()).await? {
                report(found.digest);
            }
        }
        Ok(())
    }

    /// Returns the manifests whose subject is this one.
    fn referrers_of<'b>(&'b self, subject: &'b Digest) -> BoxStream<'b, Result<StoredManifest, Error>> {
        let listed = walk::referrers(self.source, *subject);
        let found = listed.try_filter_map(async |referrer| {
            // A list may be older than a deletion.
            let Some(referrer) = read(self.source, &referrer.digest).await? else {
                return Ok(None);
            };
            // Some lists of referrers under tags are made by hand.
            let of = self
                .parsed(&referrer)?
                .subject()
                .and_then(AnyDigest::known)
                .copied();
            Ok((of == Some(*subject)).then_some(referrer))
        });
        found.boxed()
    }
}

/// Returns the tags under which cosign stores signatures and other content about a manifest.
fn signature_tags(subject: &Digest) -> impl Iterator<Item = Tag> + use<> {
    let begin = format!("{}-{}", subject.algorithm(), subject.hex());
    // The tag of a sha512 is longer than a tag may be.
    ["sig", "att", "sbom"]
        .into_iter()
        .filter_map(move |suffix| Tag::parse(&format!("{begin}.{suffix}")).ok())
}
