//! Commands of operators, which act on a storage beside its clients: on a server through a socket, or on a directory that
//! no server uses.
//!
//! An [`Operation`] is such a command, with its arguments as data. It runs on a [`Registry`](registry_core::Registry) and
//! produces items. The same operation runs in the server ([`serve`]) and in the process of the command ([`Place`]), so a
//! command has one implementation, and the hooks, events and the access log of a server see its changes.
//!
//! The protocol is HTTP/1.1 over a Unix socket ([`socket`]): `POST /control/v1/NAME` with the operation as JSON. The
//! response has a line of JSON for each item, and a last one for the outcome. Images are copied by the OCI protocol, under
//! `/v2/` on the same socket ([`images`]). The socket is in a directory that only the
//! server's user can enter. The server accepts that user and root; the command accepts a server of the user who owns the
//! storage, or of root.

mod client;
mod collection;
mod hold;
mod holding;
mod image_storage;
mod images;
mod line;
mod listings;
mod lost;
mod operation;
mod operators;
mod place;
mod quarantine;
mod removal;
mod retention;
mod serve;
mod socket;
mod time;
mod undo;
mod uploads;
mod usage;
mod user;
mod verification;
mod walk;

pub(crate) use self::{
    collection::{Collect, CollectItem, Collected, Kind, Outcome, Summary},
    hold::{Hold, HoldItem},
    image_storage::{ImageStorage, NotOpened},
    listings::{ListRepositories, ListTags, RepositoryItem, TagItem},
    lost::{ListLost, LossItem, LostItem},
    operation::{Access, BoxError, Operation},
    operators::Operators,
    place::Place,
    quarantine::{ListQuarantined, QuarantinedItem, RemoveQuarantined},
    removal::{Effect, PreviewRemoval, RemovalItem, Remove, Target},
    retention::{
        ApplyRules, DecisionItem, Excess, FailureItem, RetentionItem, RetentionSummary, TagAction,
        ages_ignored,
    },
    serve::serve,
    socket::ControlSocket,
    time::{parse_rfc3339, rfc3339},
    undo::{
        DeletedItem, HistoryItem, ListDeleted, ListHistory, RestoredItem, UndoDeletion, UndoDeletions,
        UndoneItem,
    },
    uploads::{EndUpload, ListUploads, UploadItem},
    usage::{Measure, UsageItem},
    verification::{Verify, VerifyItem, VerifySummary},
};
