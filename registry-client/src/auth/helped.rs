//! [`Helped`]: the answers of credential helpers, kept for a short time.

use super::credential::Credential;
use registry_core::BoxError;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Time for which an answer is used again. A helper starts programs and may use the network, and every request needs the login.
const KEPT: Duration = Duration::from_secs(60);

/// Login of a helper, and its time. Its lock is held while the helper runs, so that it runs once.
type Slot = Arc<tokio::sync::Mutex<Option<(Instant, Credential)>>>;

/// Answers of helpers, by their names and the servers they were asked for. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Helped(Arc<Mutex<HashMap<(String, String), Slot>>>);

impl Helped {
    /// Returns the login at `server` that the helper `name` has, by `ask` unless it is known.
    pub(super) async fn get(
        &self,
        name: &str,
        server: &str,
        ask: impl Future<Output = Result<Option<Credential>, BoxError>> + Send,
    ) -> Result<Option<Credential>, BoxError> {
        let key = (name.to_owned(), server.to_owned());
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(key).or_default())
        };
        let mut kept = slot.lock().await;
        if let Some((at, answer)) = kept.as_ref()
            && at.elapsed() < KEPT
        {
            return Ok(Some(answer.clone()));
        }
        let answer = ask.await?;
        // A missing login is asked for again, since the user may log in meanwhile.
        *kept = answer.clone().map(|answer| (Instant::now(), answer));
        Ok(answer)
    }

    /// Forgets a login that was refused. A helper that runs now gives a new one.
    pub(super) fn forget(&self, refused: &Credential) {
        let refused = refused.fingerprint();
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in slots.values() {
            if let Ok(mut kept) = slot.try_lock() {
                kept.take_if(|(_, kept)| kept.fingerprint() == refused);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_helper_is_asked_once_a_minute_for_each_server() {
        let (helped, asked) = (Helped::default(), AtomicUsize::new(0));
        let get = async |server: &str| {
            let ask = async {
                let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
                Ok(Some(Credential::password("ann", number.to_string())))
            };
            let found = helped.clone().get("pass", server, ask).await.unwrap();
            found.unwrap().fingerprint()
        };
        let number = |number: &str| Credential::password("ann", number).fingerprint();

        assert_eq!(get("a").await, number("1"));
        assert_eq!(get("a").await, number("1"));
        assert_eq!(get("b").await, number("2"));
        tokio::time::advance(KEPT).await;
        assert_eq!(get("a").await, number("3"));
    }

    #[tokio::test]
    async fn a_refused_or_missing_login_is_asked_for_again() {
        let (helped, old) = (Helped::default(), Credential::password("ann", "old"));
        let new = Credential::password("ann", "new");
        for (answer, expected) in [(None, None), (Some(&old), Some(&old)), (Some(&new), Some(&old))] {
            let ask = async { Ok(answer.cloned()) };
            let found = helped.get("pass", "a", ask).await.unwrap();
            let prints = [found.as_ref(), expected].map(|login| login.map(Credential::fingerprint));
            assert_eq!(prints[0], prints[1]);
        }

        // Another one was refused.
        helped.forget(&new);
        let kept = helped.get("pass", "a", async { Ok(None) }).await.unwrap();
        assert_eq!(kept.unwrap().fingerprint(), old.fingerprint());
        helped.forget(&old);
        let found = helped.get("pass", "a", async { Ok(Some(new.clone())) }).await;
        assert_eq!(found.unwrap().unwrap().fingerprint(), new.fingerprint());
    }

    #[tokio::test]
    async fn a_helper_that_fails_is_asked_again() {
        let helped = Helped::default();
        let fails = async { Err("it failed".into()) };
        helped.get("pass", "a", fails).await.unwrap_err();

        let found = helped.get("pass", "a", async { Ok(None) }).await;

        assert!(found.unwrap().is_none());
    }
}
