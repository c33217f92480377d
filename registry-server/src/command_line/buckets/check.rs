//! `registry storage check`: prints what an object store can do, and the lifecycle rule to set.

use super::{named, options::Check};
use crate::{
    bucket,
    config::{Bucket, StorageKind, Store},
    printable,
};
use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};

/// Time after which the store removes the parts of an upload that nobody has completed. Upload sessions end sooner.
const DAYS: u32 = 7;

pub(super) fn run(options: &Check) -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    let settings = named::settings(options.place.as_deref())?;
    let StorageKind::Bucket(bucket) = &settings.storage.kind else {
        return Err("the images are in no bucket; name a configuration with one, or its URL".into());
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let probed = runtime
        .block_on(bucket::probe(bucket))
        .map_err(|error| bucket::explained(bucket, &error))?;
    let suits = probed.supports_replicas || bucket.sole;
    let mut out = io::stdout().lock();
    writeln!(out, "{:36} {bucket}", "bucket")?;
    writeln!(out, "{}", printable::Lines(&probed.table))?;
    writeln!(out, "\n{}", lifecycle(bucket))?;
    if probed.supports_replicas && bucket.sole {
        writeln!(
            out,
            "\n`storage.{}.replicas: 1` has no effect: the store suits any number of servers.",
            bucket.driver()
        )?;
    }
    if !suits {
        writeln!(
            out,
            "\nThe store does not suit the configuration: more than one server would lose tags. Set `storage.{}.replicas: 1` to run one.",
            bucket.driver()
        )?;
    }
    out.flush()?;
    Ok(if suits {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// Returns the rule by which the store removes what a server that dies leaves, and the command that sets it.
fn lifecycle(bucket: &Bucket) -> String {
    let root = bucket.root.trim_matches('/');
    let prefix = if root.is_empty() {
        String::new()
    } else {
        format!("{root}/")
    };
    match &bucket.store {
        Store::S3(s3) => {
            let rule = serde_json::json!({"Rules": [{
                "ID": "registry-incomplete-uploads",
                "Status": "Enabled",
                "Filter": {"Prefix": prefix},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": DAYS},
            }]});
            let endpoint = s3.endpoint.as_ref();
            let endpoint = endpoint.map_or_else(String::new, |url| format!(" --endpoint-url {url}"));
            format!(
                "A server that dies leaves parts of uploads in the store. Let it remove them after {DAYS} days. If the bucket has \
                 other rules, put them into the same list, since the command replaces all:\n\
                 aws s3api put-bucket-lifecycle-configuration{endpoint} --bucket {} --lifecycle-configuration '{rule}'",
                s3.bucket
            )
        }
        Store::Gcs(gcs) => {
            let rule = serde_json::json!({"rule": [{
                "action": {"type": "AbortIncompleteMultipartUpload"},
                "condition": {"age": DAYS, "matchesPrefix": [prefix]},
            }]});
            format!(
                "A server that dies leaves parts of uploads in the store. Let it remove them after {DAYS} days. If the bucket has \
                 other rules, put them into the same list, since the command replaces all:\n\
                 gcloud storage buckets update gs://{} --lifecycle-file=FILE, where FILE has {rule}",
                gcs.bucket
            )
        }
        Store::Azure(_) => {
            format!(
                "Azure removes parts of uploads that a server has left after {DAYS} days; no rule is needed."
            )
        }
    }
}
