use std::sync::Arc;

use http::Response;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use plait_engine::backup::{BackupError, BackupId};

use super::App;
use crate::backup::Jobs;
use crate::error::{Error, excerpt};
use crate::missing::Missing;
use crate::request_id::RequestId;
use crate::response::{self, Body};

/// `POST make-backup[?backupPact]`: begins a backup, unless one is being made; answers with the name
/// of either.
pub(crate) async fn make_backup(app: &App, head: &Parts) -> Result<Response<Body>, Error> {
    let (jobs, pact) = (jobs(app)?, wants_pact(head.uri.query().unwrap_or_default()));
    let reader = app.bridge.reader();
    let here = reader.clone();
    if let Err(error) = app.bridge.read_file(move || here.require_place()).await? {
        tracing::error!(request = %RequestId::current(), "no backup is made: {error}");
        return Err(Error::Displaced);
    }
    let id = app.bridge.read_file(move || jobs.begin(reader, pact)).await?;
    Ok(response::current_text(told(id)?.to_string()))
}

/// `GET check-backup/{id}`: what became of a backup.
pub(crate) async fn check_backup(app: &App, id: &str) -> Result<Response<Body>, Error> {
    let jobs = jobs(app)?;
    // What is no name is that of no backup.
    let none = || Error::NoBackup(excerpt(id));
    let id: BackupId = id.parse().map_err(|_| none())?;
    let status = app.bridge.read_file(move || jobs.status(&id)).await?;
    let status = told(status)?.ok_or_else(none)?;
    Ok(response::current_text(status.name().to_owned()))
}

/// Those who make backups, if they may be asked.
fn jobs(app: &App) -> Result<Arc<Jobs>, Error> {
    app.backups.clone().ok_or(Error::Path(Missing::Backups))
}

/// Whether the query has the flag `backupPact`, with any value that does not say no.
fn wants_pact(query: &str) -> bool {
    query.split('&').any(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let is_named =
            percent_decode_str(name).decode_utf8().is_ok_and(|name| name == "backupPact");
        is_named && !matches!(value, "false" | "0")
    })
}

/// Tells the log what a client is not told.
fn told<T>(result: Result<T, BackupError>) -> Result<T, Error> {
    result.map_err(|error| {
        let request = RequestId::current();
        tracing::error!(%request, "the folder of backups cannot be used: {error}");
        Error::Backup
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_is_there_or_not() {
        for query in
            ["backupPact", "backupPact=", "backupPact=true", "a=b&backupPact=1", "backup%50act"]
        {
            assert!(wants_pact(query), "{query}");
        }
        for query in ["", "backuppact", "a=backupPact", "backupPact=false", "backupPact=0"] {
            assert!(!wants_pact(query), "{query}");
        }
    }
}
