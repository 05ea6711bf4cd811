use std::sync::Arc;

use http::request::Parts;
use http::{Method, Response};
use plait_engine::archive::{ArchiveError, Listed, MANIFEST};

use super::App;
use crate::chunks::{ChunkFeed, FileChunks};
use crate::error::{Error, excerpt};
use crate::missing::Missing;
use crate::request::{Wanted, is_known};
use crate::request_id::RequestId;
use crate::response::{self, Body, Stream};

/// `GET archive/manifest.json` and `GET archive/{file}`: the manifest of the archive that is offered,
/// and every file that it names; nothing else of the folder.
///
/// The name of a file has the beginning of its checksum, so it never changes. The manifest does, and
/// is to be asked for anew each time.
pub(crate) async fn archive(app: &App, head: &Parts, name: &str) -> Result<Response<Body>, Error> {
    let folder = app.archive.clone().ok_or(Error::Path(Missing::Archive))?;
    let listed = {
        let folder = Arc::clone(&folder);
        app.bridge.files().read(move || told(folder.listed())).await??
    };
    if name == MANIFEST {
        return Ok(manifest(head, &listed));
    }
    let entry = listed.entry(name).ok_or_else(|| Error::Unlisted(excerpt(name)))?.clone();
    let (tag, len) = (format!("\"{}\"", entry.checksum), entry.bytes());
    if is_known(&head.headers, &tag) {
        return Ok(response::not_modified(&tag));
    }
    let wanted = match head.method {
        Method::GET => Wanted::of(&head.headers, &tag, len),
        _ => Wanted::Whole,
    };
    let (first, last) = match wanted {
        Wanted::Whole => (0, len.saturating_sub(1)),
        Wanted::Part { first, last } => (first, last),
        Wanted::Nothing => return Err(Error::Range { len }),
    };
    let open = move || told(folder.open(&entry, first));
    let file = app.bridge.files().read(open).await??;
    let count = last.saturating_sub(first).saturating_add(1);
    let chunks = FileChunks { file, left: count };
    let stream = Stream::sized(Box::new(ChunkFeed::new(&app.bridge, chunks)), count);
    let part = matches!(wanted, Wanted::Part { .. }).then_some((first, last, len));
    Ok(response::immutable(response::file(stream, part), &tag))
}

fn manifest(head: &Parts, listed: &Listed) -> Response<Body> {
    let tag = format!("\"{}\"", listed.tag());
    if is_known(&head.headers, &tag) {
        return response::revalidated(response::not_modified(&tag), &tag);
    }
    response::revalidated(response::shared_json(listed.bytes().clone()), &tag)
}

/// Tells the log what a client is not told.
fn told<T>(result: Result<T, ArchiveError>) -> Result<T, Error> {
    result.map_err(|error| match error {
        ArchiveError::Missing { .. } => Error::NoArchive,
        error => {
            let request = RequestId::current();
            tracing::error!(%request, "the archive cannot be read: {error}");
            Error::Archive
        }
    })
}
