//! [`Calls`]: carries out the calls of the control API.

use super::{answer::Answer, content, faults::Faults, recorded, route::Call};
use crate::{
    TestRegistry,
    seed::{SeedError, json::SeedRequest},
};
use http::{Method, StatusCode, Uri};
use registry_core::storage::{MemoryStorage, StorageError};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A registry, its storage, and the token that allows to control it.
#[derive(Debug)]
pub(super) struct Calls {
    registry: Arc<TestRegistry>,
    storage: MemoryStorage,
    faults: Faults,
    token: String,
}

/// A call that is not carried out.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    reason: String,
}

impl Calls {
    pub(super) fn new(registry: Arc<TestRegistry>, storage: MemoryStorage, token: String) -> Self {
        Self {
            registry,
            storage,
            faults: Faults::default(),
            token,
        }
    }

    /// Parses the head of a request.
    pub(super) fn parse(&self, method: &Method, target: &Uri) -> Result<Call, Answer> {
        Call::parse(method, target.path(), target.query(), &self.token)
            .map_err(|no_call| Answer::refusal(no_call.status(), &no_call))
    }

    pub(super) async fn answer(&self, call: Call, body: &[u8]) -> Answer {
        match self.carry_out(call, body).await {
            Ok(answer) => answer,
            Err(refusal) => Answer::refusal(refusal.status, &refusal.reason),
        }
    }

    async fn carry_out(&self, call: Call, body: &[u8]) -> Result<Answer, Refusal> {
        Ok(match call {
            Call::Requests { take } => {
                let requests = if take {
                    self.registry.take_requests()
                } else {
                    self.registry.requests()
                };
                let requests: Vec<_> = requests.iter().map(recorded::json).collect();
                Answer::ok(json!({ "requests": requests }))
            }
            Call::State => Answer::ok(content::state(&self.storage).await?),
            Call::AssertPushed => match self.registry.check_pushed(&name(body)?) {
                Ok(digest) => Answer::ok(json!({ "pushed": true, "digest": digest.to_string() })),
                Err(missing) => Answer::ok(json!({ "pushed": false, "missing": missing.to_string() })),
            },
            Call::Seed => {
                let bad = |error: SeedError| Refusal::bad(&error);
                match SeedRequest::read(&json(body)?).map_err(bad)? {
                    SeedRequest::Named { name, content } => {
                        let digest = self.registry.try_seed(&name, content).map_err(bad)?;
                        Answer::ok(json!({ "digest": digest.to_string() }))
                    }
                    SeedRequest::Layout(path) => {
                        let names = self.registry.try_seed_layout(&path).map_err(bad)?;
                        Answer::ok(json!({ "names": names }))
                    }
                }
            }
            Call::AddFault => {
                let added = self.faults.add(&self.registry, object(body)?);
                Answer::ok(added.map_err(|error| Refusal::bad(&error))?)
            }
            Call::ClearFaults => {
                self.faults.clear(&self.registry);
                Answer::done()
            }
            Call::Faults => Answer::ok(self.faults.list()),
            Call::OpenGate(name) if self.faults.open(&name) => Answer::done(),
            Call::OpenGate(name) => {
                return Err(Refusal::bad(&format!("no fault has the gate {name:?}")));
            }
            Call::ExpireTokens => {
                self.registry.expire_tokens();
                Answer::done()
            }
            Call::Restart => {
                self.registry.restart();
                Answer::done()
            }
            Call::Pause => {
                self.registry.pause();
                Answer::done()
            }
            Call::Stop => {
                self.registry.stop();
                Answer::done()
            }
            Call::Resume => {
                self.registry.resume();
                Answer::done()
            }
            Call::Reset => {
                self.faults.clear(&self.registry);
                self.faults.open_all();
                self.registry.resume();
                self.storage.clear();
                drop(self.registry.take_requests());
                Answer::done()
            }
        })
    }
}

impl Refusal {
    fn bad(reason: &(impl ToString + ?Sized)) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            reason: reason.to_string(),
        }
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            reason: error.to_string(),
        }
    }
}

/// Returns the `name` in an object that has no other field.
fn name(body: &[u8]) -> Result<String, Refusal> {
    let mut object = object(body)?;
    let name = object.remove("name");
    if let Some(unknown) = object.keys().next() {
        return Err(Refusal::bad(&format!(
            "unknown field `{unknown}`; the only field is `name`"
        )));
    }
    match name {
        Some(Value::String(name)) => Ok(name),
        _ => Err(Refusal::bad("`name` must be a text, such as \"team/app:v1\"")),
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    match json(body)? {
        Value::Object(object) => Ok(object),
        _ => Err(Refusal::bad("the body must be a JSON object")),
    }
}

fn json(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::bad(&format!("the body is not JSON: {error}")))
}
