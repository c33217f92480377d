//! Wrappers of storages: [`forward_storage!`](crate::forward_storage), and shared storages, which use it.

use super::{
    collect::StorageCollect, error::Result, expire::StorageExpire, health::StorageHealth,
    inspect::StorageInspect, read::Storage, repair::StorageRepair, trash::StorageTrash, write::StorageWrite,
};
use std::{future::Future, pin::Pin, sync::Arc};

/// Future of a call of a storage, as `async_trait` makes it.
pub type StorageCall<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Forwards the calls of one plane from a wrapper to the storage inside it.
///
/// Use it in the `impl` of a plane. It provides every call that is not listed after `except`. The wrapper provides
/// those itself:
///
/// ```
/// use async_trait::async_trait;
/// use registry_core::{
///     Digest, RepositoryName, Storage, StorageWrite, forward_storage,
///     storage::{
///         Deletion, Result, StorageCollect, StorageError, StorageExpire, StorageHealth, StorageInspect,
///         StorageRepair, StorageTrash,
///     },
/// };
///
/// /// Keeps every blob.
/// #[derive(Debug)]
/// struct Archive<S>(S);
///
/// #[deny(clippy::missing_trait_methods)]
/// impl<S: Storage> Storage for Archive<S> {
///     forward_storage! { Storage: self => &self.0 }
///
///     fn write(&self) -> Option<&dyn StorageWrite> {
///         self.0.write().map(|_| self as &dyn StorageWrite)
///     }
///
///     fn inspect(&self) -> Option<&dyn StorageInspect> {
///         self.0.inspect()
///     }
///
///     fn expire(&self) -> Option<&dyn StorageExpire> {
///         self.0.expire()
///     }
///
///     // Every blob is kept.
///     fn collect(&self) -> Option<&dyn StorageCollect> {
///         None
///     }
///
///     fn repair(&self) -> Option<&dyn StorageRepair> {
///         self.0.repair()
///     }
///
///     fn health(&self) -> Option<&dyn StorageHealth> {
///         self.0.health()
///     }
///
///     fn trash(&self) -> Option<&dyn StorageTrash> {
///         self.0.trash()
///     }
/// }
///
/// #[async_trait]
/// #[deny(clippy::missing_trait_methods)]
/// impl<S: Storage> StorageWrite for Archive<S> {
///     forward_storage! { StorageWrite: self => self.0.write(); except delete_blob }
///
///     async fn delete_blob(&self, _: &RepositoryName, _: &Digest, _: Deletion) -> Result<bool> {
///         Err(StorageError::Unsupported("delete blobs"))
///     }
/// }
/// # let storage = Archive(registry_core::storage::MemoryStorage::new());
/// # assert!(storage.write().is_some() && storage.inspect().is_some());
/// ```
///
/// The expression after `=>` is a reference to a storage for `Storage`, and an `Option` of the plane for
/// every other plane. If that is `None`, the calls of the plane are
/// [`Unsupported`](crate::storage::StorageError::Unsupported).
///
/// The accessors of the planes (`write` and the others) are never forwarded, because calls of a forwarded plane
/// would bypass the wrapper. `#[deny(clippy::missing_trait_methods)]` makes sure that the wrapper defines each of
/// them, also those of later versions.
///
/// `; around name` passes every forwarded call through a method of the wrapper, for example to measure it:
/// `async fn name<T: Send>(&self, call: &'static str, future: impl Future<Output = Result<T>> + Send) ->
/// Result<T>`.
#[macro_export]
macro_rules! forward_storage {
    (Storage: $self:ident => $inner:expr $(; around $around:ident)? $(; except $($except:ident),+ $(,)?)?) => {
        $crate::__forward_unless_own! { abilities [$($($except)+)?]
            fn abilities(&$self) -> $crate::storage::Abilities {
                $crate::storage::Storage::abilities($inner)
            }
        }
        $crate::__forward_calls! {
            [Storage $self $inner] [$($around)?] [$($($except)+)?]
            blob<'a, 'b>(repository: &'a $crate::RepositoryName, digest: &'b $crate::Digest)
                -> Option<$crate::storage::BlobInfo>;
            open_blob<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                digest: &'b $crate::Digest,
                how: $crate::storage::ReadBlob
            ) -> Option<$crate::storage::BlobRead>;
            manifest<'a, 'b>(repository: &'a $crate::RepositoryName, reference: &'b $crate::Reference)
                -> Option<$crate::storage::StoredManifest>;
            tags<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                page: $crate::storage::Page<'b, $crate::Tag>
            ) -> Option<$crate::storage::Listing<$crate::Tag>>;
            referrers<'a, 'b, 'c>(
                repository: &'a $crate::RepositoryName,
                of: $crate::storage::Referring<'b>,
                page: $crate::storage::Page<'c, $crate::Digest>
            ) -> $crate::storage::Listing<$crate::Descriptor>;
            repositories<'a>(page: $crate::storage::Page<'a, $crate::RepositoryName>)
                -> $crate::storage::Listing<$crate::RepositoryName>;
            holders<'a, 'b>(
                digest: &'a $crate::Digest,
                page: $crate::storage::Page<'b, $crate::RepositoryName>
            ) -> $crate::storage::Listing<$crate::RepositoryName>;
        }
    };
    (StorageWrite: $self:ident => $plane:expr $(; around $around:ident)? $(; except $($except:ident),+ $(,)?)?) => {
        $crate::__forward_calls! {
            [StorageWrite $self $plane] [$($around)?] [$($($except)+)?]
            open_upload<'a>(repository: &'a $crate::RepositoryName, new: $crate::storage::NewUpload)
                -> $crate::storage::UploadState;
            upload<'a, 'b>(repository: &'a $crate::RepositoryName, id: &'b $crate::UploadId)
                -> Option<$crate::storage::UploadState>;
            append<'a, 'b, 'c>(
                repository: &'a $crate::RepositoryName,
                state: $crate::storage::UploadState,
                body: &'b mut $crate::storage::UploadBody<'c>
            ) -> $crate::storage::UploadState;
            rehash<'a>(
                repository: &'a $crate::RepositoryName,
                state: $crate::storage::UploadState,
                hasher: $crate::hash::Hasher
            ) -> ($crate::storage::UploadState, $crate::hash::Hasher);
            commit<'a>(
                repository: &'a $crate::RepositoryName,
                state: $crate::storage::UploadState,
                proof: $crate::storage::Verified
            ) -> $crate::storage::BlobInfo;
            cancel<'a, 'b>(repository: &'a $crate::RepositoryName, id: &'b $crate::UploadId) -> bool;
            mount<'a, 'b>(to: &'a $crate::RepositoryName, mount: $crate::storage::Mount<'b>)
                -> Option<$crate::storage::BlobInfo>;
            put_manifest<'a>(repository: &'a $crate::RepositoryName, put: $crate::storage::PutManifest)
                -> $crate::storage::PutOutcome;
            delete_tag<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                tag: &'b $crate::Tag,
                expect: $crate::storage::TagExpect,
                how: $crate::storage::Deletion
            ) -> Option<$crate::Digest>;
            delete_manifest<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                digest: &'b $crate::Digest,
                how: $crate::storage::Deletion
            ) -> Option<Vec<$crate::Tag>>;
            delete_blob<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                digest: &'b $crate::Digest,
                how: $crate::storage::Deletion
            ) -> bool;
        }
    };
    (StorageInspect: $self:ident => $plane:expr $(; around $around:ident)? $(; except $($except:ident),+ $(,)?)?) => {
        $crate::__forward_calls! {
            [StorageInspect $self $plane] [$($around)?] [$($($except)+)?]
            all_repositories<'a>(
                page: $crate::storage::Page<'a, $crate::RepositoryName>
            ) -> $crate::storage::Listing<$crate::storage::Seen<$crate::RepositoryName>>;
            blobs<'a>(
                page: $crate::storage::Page<'a, $crate::Digest>
            ) -> $crate::storage::Listing<$crate::storage::Seen<$crate::storage::BlobInfo, $crate::Digest>>;
            held_blobs<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                page: $crate::storage::Page<'b, $crate::Digest>
            ) -> $crate::storage::Listing<$crate::storage::Seen<$crate::storage::HeldBlob, $crate::Digest>>;
            manifests<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                page: $crate::storage::Page<'b, $crate::Digest>
            ) -> $crate::storage::Listing<$crate::storage::Seen<$crate::storage::HeldManifest, $crate::Digest>>;
            document<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                digest: &'b $crate::Digest
            ) -> $crate::storage::Document;
            tag_targets<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                page: $crate::storage::Page<'b, $crate::Tag>
            ) -> $crate::storage::Listing<$crate::storage::Seen<$crate::storage::TagTarget, $crate::Tag>>;
            tags_of<'a, 'b, 'c>(
                repository: &'a $crate::RepositoryName,
                digest: &'b $crate::Digest,
                page: $crate::storage::Page<'c, $crate::Tag>
            ) -> $crate::storage::Listing<$crate::Tag>;
            uploading<'a>(
                page: $crate::storage::Page<'a, $crate::RepositoryName>
            ) -> $crate::storage::Listing<$crate::storage::Seen<$crate::RepositoryName>>;
            uploads<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                page: $crate::storage::Page<'b, $crate::UploadId>
            ) -> $crate::storage::Listing<$crate::storage::Seen<$crate::storage::UploadState, $crate::UploadId>>;
        }
    };
    (StorageExpire: $self:ident => $plane:expr $(; around $around:ident)? $(; except $($except:ident),+ $(,)?)?) => {
        $crate::__forward_calls! {
            [StorageExpire $self $plane] [$($around)?] [$($($except)+)?]
            expire_upload<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                seen: &'b $crate::storage::UploadState
            ) -> bool;
        }
    };
    (StorageCollect: $self:ident => $plane:expr $(; around $around:ident)? $(; except $($except:ident),+ $(,)?)?) => {
        $crate::__forward_unless_own! { is_own [$($($except)+)?]
            fn is_own(&$self) -> bool {
                $plane.is_some_and(|plane| $crate::storage::StorageCollect::is_own(plane))
            }
        }
        $crate::__forward_calls! {
            [StorageCollect $self $plane] [$($around)?] [$($($except)+)?]
            expected_manifests<>() -> Option<u64>;
            begin<>(terms: $crate::storage::Terms) -> $crate::storage::Run;
            due<'a, 'b>(
                terms: &'a $crate::storage::Terms,
                victims: &'b [$crate::storage::Victim]
            ) -> Vec<$crate::storage::Due>;
            released<'a>(blobs: &'a [$crate::Digest]) -> Vec<bool>;
            condemn<'a, 'b>(
                run: &'a $crate::storage::Run,
                victims: &'b [$crate::storage::Victim]
            ) -> $crate::storage::Waiting;
            reclaim<'a, 'b>(
                run: &'a $crate::storage::Run,
                victims: &'b [$crate::storage::Victim]
            ) -> Vec<$crate::storage::Reclaimed>;
            end<>(run: $crate::storage::Run, seen: $crate::storage::Census) -> ();
            suspects<>(after: u64, limit: usize) -> Vec<$crate::storage::Suspect>;
        }
    };
    (StorageRepair: $self:ident => $plane:expr $(; around $around:ident)? $(; except $($except:ident),+ $(,)?)?) => {
        $crate::__forward_calls! {
            [StorageRepair $self $plane] [$($around)?] [$($($except)+)?]
            check<'a>(digest: &'a $crate::Digest) -> $crate::storage::Checked;
            quarantine<>(evidence: $crate::storage::Evidence) -> bool;
            quarantined<'a>(
                page: $crate::storage::Page<'a, $crate::storage::QuarantineId>
            ) -> $crate::storage::Listing<$crate::storage::Quarantined>;
            remove_quarantined<'a>(id: &'a $crate::storage::QuarantineId) -> bool;
            faults<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                page: $crate::storage::Page<'b, $crate::storage::Record>
            ) -> $crate::storage::Listing<$crate::storage::Fault>;
            fault<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                record: &'b $crate::storage::Record
            ) -> Option<$crate::storage::Fault>;
            mend<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                record: &'b $crate::storage::Record
            ) -> bool;
            saved_progress<>() -> Option<Vec<u8>>;
            save_progress<>(progress: Vec<u8>) -> ();
        }
    };
    (StorageHealth: $self:ident => $plane:expr $(; around $around:ident)? $(; except $($except:ident),+ $(,)?)?) => {
        $crate::__forward_calls! {
            [StorageHealth $self $plane] [$($around)?] [$($($except)+)?]
            probe<>() -> ();
            space<>() -> Option<$crate::storage::Space>;
            accepts_uploads<>() -> ();
        }
    };
    (StorageTrash: $self:ident => $plane:expr $(; around $around:ident)? $(; except $($except:ident),+ $(,)?)?) => {
        $crate::__forward_calls! {
            [StorageTrash $self $plane] [$($around)?] [$($($except)+)?]
            with_deleted<'a>(
                page: $crate::storage::Page<'a, $crate::RepositoryName>
            ) -> $crate::storage::Listing<$crate::storage::Seen<$crate::RepositoryName>>;
            deleted<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                page: $crate::storage::Page<'b, $crate::storage::TrashId>
            ) -> $crate::storage::Listing<
                $crate::storage::Seen<$crate::storage::Trashed, $crate::storage::TrashId>
            >;
            deleted_document<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                id: &'b $crate::storage::TrashId
            ) -> $crate::storage::Document;
            forget<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                id: &'b $crate::storage::TrashId
            ) -> bool;
            with_histories<'a>(
                page: $crate::storage::Page<'a, $crate::RepositoryName>
            ) -> $crate::storage::Listing<$crate::storage::Seen<$crate::RepositoryName>>;
            forget_history<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                tag: &'b $crate::Tag,
                ended_before: std::time::SystemTime
            ) -> bool;
            with_history<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                page: $crate::storage::Page<'b, $crate::Tag>
            ) -> $crate::storage::Listing<$crate::Tag>;
            history<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                tag: &'b $crate::Tag
            ) -> Vec<$crate::storage::TagEvent>;
            lost_tags<'a, 'b>(
                repository: &'a $crate::RepositoryName,
                page: $crate::storage::Page<'b, $crate::Tag>
            ) -> $crate::storage::Listing<$crate::storage::Seen<$crate::storage::LostTag, $crate::Tag>>;
        }
    };
}

/// Forwards each of the calls, with the lifetimes and bounds that `async_trait` gives them: `async_trait` does not
/// see an `async fn` that a macro creates.
#[doc(hidden)]
#[macro_export]
macro_rules! __forward_calls {
    ($plane:tt $around:tt $except:tt) => {};
    (
        [$plane:ident $self:ident $inner:expr] $around:tt $except:tt
        $name:ident<$($lifetime:lifetime),*>($($argument:ident: $type:ty),*) -> $output:ty;
        $($rest:tt)*
    ) => {
        $crate::__forward_unless_own! { $name $except
            fn $name<'this, $($lifetime,)* 'call>(&'this $self, $($argument: $type),*)
                -> $crate::storage::StorageCall<'call, $output>
            where
                'this: 'call,
                $($lifetime: 'call,)*
                Self: 'call,
            {
                $crate::__forward_around! { $around $self $name
                    $crate::__forward_call!($plane $inner, $name($($argument),*))
                }
            }
        }
        $crate::__forward_calls! { [$plane $self $inner] $around $except $($rest)* }
    };
}

/// Calls the inner storage, or its plane if it has that.
#[doc(hidden)]
#[macro_export]
macro_rules! __forward_call {
    (Storage $inner:expr, $name:ident($($argument:ident),*)) => {
        $crate::storage::Storage::$name($inner, $($argument),*)
    };
    ($plane:ident $inner:expr, $name:ident($($argument:ident),*)) => {
        match $inner {
            Some(plane) => $crate::storage::$plane::$name(plane, $($argument),*),
            None => Box::pin(std::future::ready(Err($crate::storage::StorageError::Unsupported(stringify!($name))))),
        }
    };
}

/// Passes a call through the method of the wrapper after `around`, if there is one.
#[doc(hidden)]
#[macro_export]
macro_rules! __forward_around {
    ([] $self:ident $name:ident $call:expr) => {
        $call
    };
    ([$around:ident] $self:ident $name:ident $call:expr) => {
        Box::pin($self.$around(stringify!($name), $call))
    };
}

/// Defines a function, unless its name is in the brackets, because the wrapper defines it.
#[doc(hidden)]
#[macro_export]
macro_rules! __forward_unless_own {
    (abilities [abilities $($others:ident)*] $($function:tt)*) => {};
    (blob [blob $($others:ident)*] $($function:tt)*) => {};
    (open_blob [open_blob $($others:ident)*] $($function:tt)*) => {};
    (manifest [manifest $($others:ident)*] $($function:tt)*) => {};
    (tags [tags $($others:ident)*] $($function:tt)*) => {};
    (referrers [referrers $($others:ident)*] $($function:tt)*) => {};
    (repositories [repositories $($others:ident)*] $($function:tt)*) => {};
    (holders [holders $($others:ident)*] $($function:tt)*) => {};
    (open_upload [open_upload $($others:ident)*] $($function:tt)*) => {};
    (upload [upload $($others:ident)*] $($function:tt)*) => {};
    (append [append $($others:ident)*] $($function:tt)*) => {};
    (rehash [rehash $($others:ident)*] $($function:tt)*) => {};
    (commit [commit $($others:ident)*] $($function:tt)*) => {};
    (cancel [cancel $($others:ident)*] $($function:tt)*) => {};
    (mount [mount $($others:ident)*] $($function:tt)*) => {};
    (put_manifest [put_manifest $($others:ident)*] $($function:tt)*) => {};
    (delete_tag [delete_tag $($others:ident)*] $($function:tt)*) => {};
    (delete_manifest [delete_manifest $($others:ident)*] $($function:tt)*) => {};
    (delete_blob [delete_blob $($others:ident)*] $($function:tt)*) => {};
    (all_repositories [all_repositories $($others:ident)*] $($function:tt)*) => {};
    (blobs [blobs $($others:ident)*] $($function:tt)*) => {};
    (held_blobs [held_blobs $($others:ident)*] $($function:tt)*) => {};
    (manifests [manifests $($others:ident)*] $($function:tt)*) => {};
    (document [document $($others:ident)*] $($function:tt)*) => {};
    (tag_targets [tag_targets $($others:ident)*] $($function:tt)*) => {};
    (tags_of [tags_of $($others:ident)*] $($function:tt)*) => {};
    (uploading [uploading $($others:ident)*] $($function:tt)*) => {};
    (uploads [uploads $($others:ident)*] $($function:tt)*) => {};
    (expire_upload [expire_upload $($others:ident)*] $($function:tt)*) => {};
    (is_own [is_own $($others:ident)*] $($function:tt)*) => {};
    (expected_manifests [expected_manifests $($others:ident)*] $($function:tt)*) => {};
    (begin [begin $($others:ident)*] $($function:tt)*) => {};
    (due [due $($others:ident)*] $($function:tt)*) => {};
    (released [released $($others:ident)*] $($function:tt)*) => {};
    (condemn [condemn $($others:ident)*] $($function:tt)*) => {};
    (reclaim [reclaim $($others:ident)*] $($function:tt)*) => {};
    (end [end $($others:ident)*] $($function:tt)*) => {};
    (suspects [suspects $($others:ident)*] $($function:tt)*) => {};
    (check [check $($others:ident)*] $($function:tt)*) => {};
    (quarantine [quarantine $($others:ident)*] $($function:tt)*) => {};
    (quarantined [quarantined $($others:ident)*] $($function:tt)*) => {};
    (remove_quarantined [remove_quarantined $($others:ident)*] $($function:tt)*) => {};
    (faults [faults $($others:ident)*] $($function:tt)*) => {};
    (fault [fault $($others:ident)*] $($function:tt)*) => {};
    (mend [mend $($others:ident)*] $($function:tt)*) => {};
    (saved_progress [saved_progress $($others:ident)*] $($function:tt)*) => {};
    (save_progress [save_progress $($others:ident)*] $($function:tt)*) => {};
    (probe [probe $($others:ident)*] $($function:tt)*) => {};
    (space [space $($others:ident)*] $($function:tt)*) => {};
    (accepts_uploads [accepts_uploads $($others:ident)*] $($function:tt)*) => {};
    (with_deleted [with_deleted $($others:ident)*] $($function:tt)*) => {};
    (deleted [deleted $($others:ident)*] $($function:tt)*) => {};
    (deleted_document [deleted_document $($others:ident)*] $($function:tt)*) => {};
    (forget [forget $($others:ident)*] $($function:tt)*) => {};
    (with_histories [with_histories $($others:ident)*] $($function:tt)*) => {};
    (forget_history [forget_history $($others:ident)*] $($function:tt)*) => {};
    (with_history [with_history $($others:ident)*] $($function:tt)*) => {};
    (history [history $($others:ident)*] $($function:tt)*) => {};
    (lost_tags [lost_tags $($others:ident)*] $($function:tt)*) => {};
    ($name:ident [] $($function:tt)*) => {
        $($function)*
    };
    ($name:ident [$other:ident $($others:ident)*] $($function:tt)*) => {
        $crate::__forward_unless_own! { $name [$($others)*] $($function)* }
    };
}

/// Forwards every call and every plane to the shared storage.
#[deny(clippy::missing_trait_methods)]
impl<S: Storage + ?Sized> Storage for Arc<S> {
    forward_storage! { Storage: self => &**self }

    fn write(&self) -> Option<&dyn StorageWrite> {
        (**self).write()
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        (**self).inspect()
    }

    fn expire(&self) -> Option<&dyn StorageExpire> {
        (**self).expire()
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        (**self).collect()
    }

    fn repair(&self) -> Option<&dyn StorageRepair> {
        (**self).repair()
    }

    fn health(&self) -> Option<&dyn StorageHealth> {
        (**self).health()
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        (**self).trash()
    }
}
