//! One read of the database, with its entry in the log.

use std::fmt::Display;
use std::time::Duration;

use plait_engine::{QueryError, Reader, View};

use crate::error::Error;
use crate::request_id::RequestId;

/// How long a read waits for the database to be refreshed after a file is gone.
const MORE_TIME: Duration = Duration::from_secs(5);

/// Runs `job` on the current view of `reader`. If another process writes to the database, a file may be
/// gone, but its content is not: then the job runs again on the next view.
pub(crate) fn read_view<T>(
    reader: &Reader,
    job: &mut impl FnMut(&View) -> Result<T, QueryError>,
) -> Result<T, QueryError> {
    let seen = reader.shown();
    match job(&reader.view()) {
        Err(QueryError::Store(error))
            if error.is_of_lost_file() && reader.wait_for_more(seen, MORE_TIME) =>
        {
            job(&reader.view())
        }
        result => result,
    }
}

/// Logs the details that the response leaves out.
pub(crate) fn logged<T>(result: Result<T, QueryError>) -> Result<T, Error> {
    let result = result.map_err(Error::from);
    if let Err(Error::Store(source)) = &result {
        let cause: &dyn std::error::Error = source;
        tracing::error!(request = %RequestId::current(), cause, "the database cannot be read");
    }
    result
}

/// Logs a bug of ours.
pub(crate) fn panicked(how: &dyn Display) -> Error {
    tracing::error!(request = %RequestId::current(), "a read panicked: {how}");
    Error::Bug
}
