//! Hashing of new passwords, for programs that write password files.

use super::{
    bcrypt::COSTLIEST,
    digits::to_digit,
    kind::Kind,
    md5_crypt,
    sha_crypt::{FEWEST_ROUNDS, MOST_ROUNDS},
    sha1,
};
use crate::random::{RandomError, fill};
use sha_crypt::{Algorithm, CustomizedPasswordHasher as _, Params, ShaCrypt};

/// Hash function for a new password, with its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheme {
    /// bcrypt, written as `$2y$`: the one that registry:2, nginx and Apache read as well.
    Bcrypt {
        /// The logarithm of the work, from 4 to 15. Each step doubles it; 10 are about 80 ms of a processor.
        cost: u32,
    },
    /// SHA-256 crypt.
    Sha256 {
        /// Number of rounds, from 1000 to 1,000,000.
        rounds: u32,
    },
    /// SHA-512 crypt.
    Sha512 {
        /// Number of rounds, from 1000 to 1,000,000.
        rounds: u32,
    },
    /// Apache's MD5. Weak: only for programs that support nothing better.
    Apr1,
    /// SHA-1 without a salt. The weakest: only for programs that support nothing better.
    Sha1,
}

impl Scheme {
    /// Returns the kind of the hashes that it makes.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Bcrypt { .. } => Kind::Bcrypt,
            Self::Sha256 { .. } => Kind::Sha256Crypt,
            Self::Sha512 { .. } => Kind::Sha512Crypt,
            Self::Apr1 => Kind::Apr1,
            Self::Sha1 => Kind::Sha1,
        }
    }
}

impl Default for Scheme {
    /// Returns bcrypt at cost 10, which registry:2 uses for the users that it makes itself.
    fn default() -> Self {
        Self::Bcrypt { cost: 10 }
    }
}

/// Reason why no hash was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// The cost of bcrypt is out of range (4 to 15).
    #[error("the cost of bcrypt must be from 4 to {most}, but is {0}", most = COSTLIEST)]
    Cost(u32),
    /// The number of rounds is out of range (1000 to 1,000,000).
    #[error(
        "the rounds of SHA-crypt must be from {least} to {most}, but are {0}",
        least = FEWEST_ROUNDS,
        most = MOST_ROUNDS
    )]
    Rounds(u32),
    /// The system gave no randomness for a salt.
    #[error("the system provides no random bytes: {0}")]
    Random(RandomError),
}

/// Hashes a password with a random salt, in the form that follows `user:` in a file.
///
/// This is slow on purpose; keep it off an async runtime. bcrypt reads only the first 72 bytes of a password.
///
/// # Errors
///
/// [`MakeError`] if the cost is out of range, or the system has no randomness.
///
/// ```
/// use registry_auth_htpasswd::{PasswordHash, Scheme, hash};
///
/// let text = hash(b"correct horse", Scheme::Bcrypt { cost: 4 })?;
/// assert!(PasswordHash::parse(&text)?.verify(b"correct horse"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn hash(password: &[u8], scheme: Scheme) -> Result<String, MakeError> {
    match scheme {
        Scheme::Bcrypt {
            cost: cost @ 4..=COSTLIEST,
        } => {
            let parts = bcrypt::hash_with_salt(password, cost, random()?)
                .map_err(|_out_of_range| MakeError::Cost(cost))?;
            Ok(parts.format_for_version(bcrypt::Version::TwoY))
        }
        Scheme::Bcrypt { cost } => Err(MakeError::Cost(cost)),
        Scheme::Sha256 { rounds } => sha_crypt(password, Algorithm::Sha256Crypt, rounds),
        Scheme::Sha512 { rounds } => sha_crypt(password, Algorithm::Sha512Crypt, rounds),
        Scheme::Apr1 => {
            let salt = random::<8>()?.map(|byte| to_digit(byte.into()));
            Ok(md5_crypt::hash(password, &salt, md5_crypt::APR1))
        }
        Scheme::Sha1 => Ok(sha1::hash(password)),
    }
}

fn sha_crypt(password: &[u8], algorithm: Algorithm, rounds: u32) -> Result<String, MakeError> {
    let out_of_range = MakeError::Rounds(rounds);
    let params = match rounds {
        FEWEST_ROUNDS..=MOST_ROUNDS => Params::new(rounds).map_err(|_out_of_range| out_of_range.clone())?,
        _ => return Err(out_of_range),
    };
    // Twelve bytes are sixteen characters, which is the maximum that counts.
    let hash = ShaCrypt::from(algorithm)
        .hash_password_customized(password, &random::<12>()?, None, None, params)
        .map_err(|_out_of_range| out_of_range)?;
    Ok(hash.as_str().to_owned())
}

fn random<const N: usize>() -> Result<[u8; N], MakeError> {
    let mut bytes = [0; N];
    fill(&mut bytes).map_err(MakeError::Random)?;
    Ok(bytes)
}
