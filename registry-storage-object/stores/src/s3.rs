//! [`S3Server`]: a real S3 server as a process.

use crate::{
    bucket,
    keys::{KEYS, REGION},
    process::{Program, StoreProcess},
};
use object_store::aws::AmazonS3Builder;
use std::{io, net::SocketAddr};

/// Bucket of the start-up check, which no test uses.
const READY: &str = "is-it-ready";

/// A real S3 server on a loopback address, with an empty directory of its own. It is killed on drop.
///
/// It knows one user, with all permissions, and checks signatures. Buckets are addressed by path.
#[derive(Debug)]
pub struct S3Server(StoreProcess);

impl S3Server {
    pub(crate) fn start(program: impl Program) -> io::Result<Self> {
        StoreProcess::start(program).map(Self)
    }

    /// Returns the address of its S3 API.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Returns the URL of its S3 API.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Returns the access key of the only user.
    #[must_use]
    pub fn access_key(&self) -> &'static str {
        KEYS.access_key
    }

    /// Returns the secret of the only user.
    #[must_use]
    pub fn secret(&self) -> &'static str {
        KEYS.secret
    }

    /// Returns the region that signatures name.
    #[must_use]
    pub fn region(&self) -> &'static str {
        REGION
    }

    /// Makes a bucket, unless it exists, and returns the settings of a client.
    ///
    /// # Errors
    ///
    /// An error of the connection, or the server's refusal.
    pub fn bucket(&self, name: &str) -> io::Result<AmazonS3Builder> {
        bucket::create(self.address(), &KEYS, name)?;
        Ok(self.client(name))
    }

    /// Returns the settings of a client for a bucket.
    #[must_use]
    pub fn client(&self, bucket: &str) -> AmazonS3Builder {
        AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_region(REGION)
            .with_access_key_id(KEYS.access_key)
            .with_secret_access_key(KEYS.secret)
            .with_bucket_name(bucket)
    }

    /// Returns the keys of the multipart uploads in a bucket that are open, at most 1000.
    ///
    /// # Errors
    ///
    /// An error of the connection, or the server's refusal.
    pub fn open_multiparts(&self, bucket: &str) -> io::Result<Vec<String>> {
        bucket::multiparts(self.address(), &KEYS, bucket)
    }

    /// Returns the id of the process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Stops the process where it is (SIGSTOP): connections are accepted by the system, and nothing is answered.
    ///
    /// # Errors
    ///
    /// The process has ended.
    pub fn pause(&self) -> io::Result<()> {
        self.0.pause()
    }

    /// Lets a paused process continue (SIGCONT).
    ///
    /// # Errors
    ///
    /// The process has ended.
    pub fn resume(&self) -> io::Result<()> {
        self.0.resume()
    }

    /// Kills the process at once (SIGKILL). Its data remains, for [`Self::restart`].
    ///
    /// # Errors
    ///
    /// An error of killing or waiting.
    pub fn kill(&mut self) -> io::Result<()> {
        self.0.kill()
    }

    /// Starts the server again after [`Self::kill`], with the same data and address, and waits until it stores objects.
    ///
    /// # Errors
    ///
    /// The process cannot be started, ends, or stores nothing for a minute; the message contains its output.
    pub fn restart(&mut self) -> io::Result<()> {
        self.0.restart()
    }
}

/// Makes a bucket and an object in it, which a server that has just started may refuse.
pub(crate) fn stores(address: SocketAddr) -> io::Result<()> {
    bucket::create(address, &KEYS, READY)?;
    bucket::store(address, &KEYS, READY, "object")
}
